"""Random stories of entries: at every place of the log the store answers as a dict did then."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from memos_integrations import MOS, Settings
from memos_integrations.cube.entries import (
    DeleteEntry,
    EntryOp,
    GetEntry,
    ListNamespaces,
    Namespace,
    PutEntry,
)
from memos_integrations.testing.fakes import FakeEmbedder, ManualClock

SPACES: list[Namespace] = [("a",), ("a", "b"), ("ab",), ("b", "a", "c")]
KEYS = ["k", "k2", "ключ"]
WORDS = ["apple", "train", "ship", "red"]
STEPS = 60
Model = dict[tuple[Namespace, str], tuple[dict[str, Any], float | None]]
"""Name -> value, and when it ends."""


class Story:
    """Does the same to a MOS and to a dict, and remembers what the dict was at each place."""

    def __init__(self, mos: MOS, clock: ManualClock, rng: random.Random) -> None:
        self.mos, self.clock, self.rng = mos, clock, rng
        self.model: Model = {}
        self.lives: dict[tuple[Namespace, str], float | None] = {}
        self.past: list[tuple[int, dict[tuple[Namespace, str], dict[str, Any]]]] = []

    def now(self) -> float:
        return self.clock.now().timestamp()

    def shown(self) -> dict[tuple[Namespace, str], dict[str, Any]]:
        now = self.now()
        return {n: value for n, (value, ends) in self.model.items() if ends is None or ends > now}

    def step(self) -> None:
        steps: list[Callable[[], None]] = [self.batch] * 6
        steps += [self.read, self.wait, self.mos.work, self.undo, self.archive]
        self.rng.choice(steps)()
        self.compare()

    def batch(self) -> None:
        ops: list[EntryOp] = [self._op() for _ in range(self.rng.randrange(1, 6))]
        before = self.shown()
        results = self.mos.entries(ops, user="alice")
        for op, result in zip(ops, results, strict=True):
            if isinstance(op, GetEntry):
                value = before.get((op.namespace, op.key))
                assert (result and result.value) == value  # type: ignore[union-attr]
            elif isinstance(op, ListNamespaces):
                assert result == sorted({name[0] for name in before})
        for op in ops:
            self._apply(op)
        self.past.append((self.mos.version(user="alice"), self.shown()))

    def _op(self) -> EntryOp:
        name = self.rng.choice(SPACES), self.rng.choice(KEYS)
        match self.rng.randrange(8):
            case 0:
                return DeleteEntry(*name)
            case 1:
                return GetEntry(*name, refresh_ttl=False)
            case 2:
                return ListNamespaces()
            case _:
                words = " ".join(self.rng.choices(WORDS, k=2))
                value = {"text": words, "n": self.rng.randrange(3)}
                index = self.rng.choice([None, None, ["text"], ["missing"], False])
                ttl = self.rng.choice([None, None, None, 50.0])
                return PutEntry(*name, value, index=index, ttl_seconds=ttl)  # type: ignore[arg-type]

    def _apply(self, op: EntryOp) -> None:
        if isinstance(op, PutEntry):
            ends = None if op.ttl_seconds is None else self.now() + op.ttl_seconds
            self.model[op.namespace, op.key] = (dict(op.value), ends)
            self.lives[op.namespace, op.key] = op.ttl_seconds
        elif isinstance(op, DeleteEntry):
            self.model.pop((op.namespace, op.key), None)

    def read(self) -> None:
        """A read that puts the end off."""
        shown = self.shown()
        if shown:
            name = self.rng.choice(sorted(shown))
            found = self.mos.get_entry(*name, user="alice")
            assert found is not None
            ttl = self.lives[name]
            if ttl is not None:
                self.model[name] = (shown[name], self.now() + ttl)

    def wait(self) -> None:
        self.clock.advance(seconds=self.rng.choice([1, 20, 60]))

    def undo(self) -> None:
        """Roll one memory back to its first version: the name holds that value again."""
        shown = {n: v for n, v in self.shown().items() if self.model[n][1] is None}
        if shown:
            name = self.rng.choice(sorted(shown))
            entry = self.mos.get_entry(*name, user="alice")
            assert entry is not None
            first = self.mos.get(entry.item, version=1, user="alice")
            self.mos.rollback(entry.item, version=1, user="alice")
            self.model[name] = (first.data or {}, None)

    def archive(self) -> None:
        """Take one memory out of searches: its name still holds it."""
        shown = self.shown()
        if shown:
            entry = self.mos.get_entry(
                *self.rng.choice(sorted(shown)), refresh_ttl=False, user="alice"
            )
            assert entry is not None
            self.mos.archive(entry.item, user="alice") if self._active(entry.item) else None

    def _active(self, item: str) -> bool:
        return self.mos.get(item, user="alice").header.state == "activated"

    def compare(self) -> None:
        shown = self.shown()
        for space in ((), *SPACES):
            expected = {n: v for n, v in shown.items() if n[0][: len(space)] == space}
            found = self.mos.find_entries(space, limit=100, refresh_ttl=False, user="alice")
            assert {(e.namespace, e.key): e.value for e in found} == expected
        assert self.mos.entry_namespaces(user="alice") == sorted({name[0] for name in shown})
        word = self.rng.choice(WORDS)
        asked = self.mos.find_entries((), query=word, limit=100, refresh_ttl=False, user="alice")
        assert all(shown[e.namespace, e.key] == e.value for e in asked)
        scores = [each.score for each in asked if each.score is not None]
        assert scores == sorted(scores, reverse=True)

    def compare_past(self) -> None:
        """Every place of the log, but for names that ended since: time takes the past along."""
        for place, then in self.past:
            view = self.mos.as_of(place)
            found = {
                (e.namespace, e.key): e.value
                for e in view.find_entries((), limit=100, user="alice")
            }
            assert found.items() <= then.items()
            lost = then.keys() - found.keys()
            assert all(view.get_entry(*name, user="alice") is None for name in lost)
            assert all(self.mortal(name) for name in lost)

    def mortal(self, name: tuple[Namespace, str]) -> bool:
        return name in self.ever_mortal

    @property
    def ever_mortal(self) -> set[tuple[Namespace, str]]:
        rows = self.mos._rooms.vault.readers
        with rows.snapshot() as connection:
            found = connection.execute(
                "SELECT n.space, n.key FROM entry n JOIN item i ON i.iid = n.iid "
                "WHERE i.expires IS NOT NULL"
            ).fetchall()
        from memos_integrations.cube.entries import decode

        return {(decode(space), key) for space, key in found}


@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 6))]
)
@pytest.mark.parametrize("embedder", [None, FakeEmbedder(64)], ids=["words", "meaning"])
def test_names_hold_what_a_dict_holds_now_and_then(
    seed: int, embedder: FakeEmbedder | None
) -> None:
    clock = ManualClock()
    settings = Settings(worker=False, synchronous="normal")
    with MOS(None, embedder=embedder, clock=clock, settings=settings) as mos:
        story = Story(mos, clock, random.Random(seed))
        for _ in range(STEPS):
            story.step()
        story.compare_past()
        mos.work()
        assert mos.check().findings == ()
        branch = mos.fork("users/alice/branch", user="alice").path
        found = mos.find_entries((), limit=100, refresh_ttl=False, user="alice", cube=branch)
        assert {(e.namespace, e.key): e.value for e in found} == story.shown()
