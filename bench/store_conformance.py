"""The published store suite on LangGraph's in-memory store and on ours, as a table.

python -m bench.store_conformance          # what differs, and the totals
python -m bench.store_conformance --all    # every behaviour
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping

import pytest
from langgraph.store.base import BaseStore, IndexConfig, TTLConfig
from langgraph.store.memory import InMemoryStore

from memos_integrations.testing.langgraph import BaseStoreTests

Outcomes = dict[str, dict[str, dict[str, int]]]
"""Behaviour -> store -> how many of its cases ended how."""
STORES = {"TestInMemoryStore": "InMemoryStore", "TestMemOSStore": "MemOSStore"}


_OPTIONS = [
    *("-q", "--no-header", "--no-summary", "--tb=no", "--assert=plain", "--import-mode=importlib"),
    *("-o", "addopts=", "-o", "filterwarnings=", "-p", "no:xdist", "-p", "no:cacheprovider"),
]


class TestInMemoryStore(BaseStoreTests):
    """LangGraph's own, which reads the documented operators only."""

    rich_filters = False

    def make_store(
        self,
        *,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
    ) -> BaseStore:
        return InMemoryStore(index=index)


class TestMemOSStore(BaseStoreTests):
    """Ours, as it comes."""

    def make_store(
        self, *, index: IndexConfig | None = None, ttl: TTLConfig | None = None
    ) -> BaseStore:
        from langgraph_memos import MemOSStore

        return MemOSStore(index=index, ttl=ttl, embedder=None)


class Tally:
    """A pytest plugin that counts how the cases of each behaviour end."""

    def __init__(self) -> None:
        self.found: Outcomes = defaultdict(lambda: defaultdict(lambda: defaultdict(int)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome == "skipped":
            _, store, name = report.nodeid.split("::")
            self.found[name.partition("[")[0]][STORES[store]][report.outcome] += 1


def run(only: str | None = None) -> Outcomes:
    """How every behaviour (or those whose name holds ``only``) ends on both stores."""
    tally = Tally()
    chosen = ["-k", only] if only else []
    pytest.main([__file__, *_OPTIONS, *chosen], plugins=[tally])
    return tally.found


def table(found: Outcomes, *, everything: bool) -> str:
    """The behaviours that not all stores have, or all of them, and the totals."""
    names = list(STORES.values())
    lines = ["| behaviour | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for behaviour, stores in found.items():
        told = [_told(stores.get(name, {})) for name in names]
        if everything or set(told) != {"yes"}:
            what = behaviour.removeprefix("test_").replace("_", " ")
            lines.append(f"| {what} | " + " | ".join(told) + " |")
    totals = [_total(found, name) for name in names]
    return "\n".join([*lines, "| **behaviours held** | " + " | ".join(totals) + " |"])


def _told(cases: Mapping[str, int]) -> str:
    passed, failed = cases.get("passed", 0), cases.get("failed", 0)
    if failed:
        return f"no ({passed} of {passed + failed} cases)" if passed else "no"
    return "yes" if passed else "not offered"


def _total(found: Outcomes, name: str) -> str:
    told = [_told(stores.get(name, {})) for stores in found.values()]
    return f"{told.count('yes')} of {len(told)}"


if __name__ == "__main__":
    words = [each for each in sys.argv[1:] if not each.startswith("-")]
    print(table(run(" or ".join(words) or None), everything="--all" in sys.argv[1:]))
