"""``python -m bench.llama_conformance [--why]``: LlamaIndex's own classes and ours on one suite.

The suites are ``memos_integrations.testing.llama_index``. ``--why`` names every test that failed.
Without scikit-learn, ``SimpleVectorStore`` fails the test that asks for its learner modes.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import pytest


class Tally:
    """A pytest plugin that counts outcomes by class."""

    def __init__(self) -> None:
        self.outcomes: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            subject, test = report.nodeid.split("::")[1:3]
            self.outcomes[subject.removeprefix("Test")][report.outcome].append(test)


def main() -> None:
    """Run the suites and print one line a class."""
    parser = argparse.ArgumentParser(prog="python -m bench.llama_conformance", description=__doc__)
    parser.add_argument("--why", action="store_true", help="name every test that failed")
    given = parser.parse_args()
    tally = Tally()
    subjects = Path(__file__).with_name("llama_subjects.py")
    # Warnings of LlamaIndex's own are not what is measured.
    quiet = ["-q", "--no-header", "--tb=no", "-p", "no:xdist", "-W", "ignore", "--no-summary"]
    pytest.main([*quiet, "-o", "filterwarnings=", str(subjects)], plugins=[tally])
    print(f"\n{'class':32} {'passed':>7} {'failed':>7} {'skipped':>8}")
    for subject, outcomes in tally.outcomes.items():
        counts = (len(outcomes[kind]) for kind in ("passed", "failed", "skipped"))
        print("{:32} {:>7} {:>7} {:>8}".format(subject, *counts))
        for test in outcomes["failed"] if given.why else ():
            print(f"    {test}")


if __name__ == "__main__":
    main()
