"""Random filters over random histories: columns, the truth's SQL and the plain meaning agree."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from memos_integrations import MOS, Principal, Settings
from memos_integrations.cube.errors import MemosError
from memos_integrations.cube.filters import FIELDS, OPERATORS, field_of, matches, parse
from memos_integrations.cube.ids import home_path, to_micros
from memos_integrations.infrastructure.backends.column_filters import decides, passing
from memos_integrations.infrastructure.vault.governed import Instant
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.infrastructure.vault.rows import to_item
from memos_integrations.testing.fakes import ManualClock

_SPEC = importlib.util.spec_from_file_location(
    "filter_trees", Path(__file__).with_name("test_filters_against_oracle.py")
)
assert _SPEC is not None
assert _SPEC.loader is not None
trees = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(trees)

STORIES = 25
FEW = 3
"""Stories of the fast run."""
FILTERS = 220
STEPS = 60
START = datetime(2026, 1, 1, tzinfo=UTC)
TEXTS = [text for text in trees.TEXTS if text.strip() and text.isprintable()]
INTEGERS = [number for number in trees.INTEGERS if number > -(2**63)]
ALICE = Principal(user="alice")
HOME = home_path(user="alice", agent=None)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def mos(tmp_path: Path, clock: ManualClock) -> Iterator[MOS]:
    settings = Settings(worker=False, synchronous="normal", extract=False)
    with MOS(tmp_path / "a.db", embedder=None, clock=clock, settings=settings) as opened:
        yield opened


class Story:
    """Random writes by alice to her own cube, as an application would make them."""

    def __init__(self, mos: MOS, clock: ManualClock, rng: random.Random) -> None:
        self._mos, self._clock, self._rng = mos, clock, rng
        self.ids: list[str] = []

    def step(self) -> None:
        rng = self._rng
        self._clock.advance(seconds=rng.choice([0, 1, 3600, 86400]))
        steps = [self._add, self._add, self._add, self._change, self._change, self._forget]
        steps += [self._quarantine, self._freeze, self._archive]
        if self.ids:
            rng.choice(steps)()
        else:
            self._add()

    def _add(self) -> None:
        rng = self._rng
        texts = TEXTS
        done = self._mos.add(
            rng.choice(texts) + f" {len(self.ids)}",
            user="alice",
            session=rng.choice([None, "s1", "s2"]),
            agent=rng.choice([None, "scribe"]),
            tags=rng.sample(texts, rng.randrange(3)),
            info={
                rng.choice(trees.KEYS): rng.choice([*texts, *INTEGERS, *trees.FLOATS, True])
                for _ in range(rng.randrange(5))
            },
            source=rng.choice([None, "mail", "web"]),
            ttl_seconds=rng.choice([None, None, 5_000, 200_000]),
            valid_from=rng.choice([None, START - timedelta(days=3), START + timedelta(days=2)]),
            valid_to=rng.choice([None, None, START + timedelta(days=4)]),
        )
        self.ids += done.ids

    def _pick(self) -> str:
        return self._rng.choice(self.ids)

    def _change(self) -> None:
        rng = self._rng
        changes: list[dict[str, Any]] = [
            {"text": f"changed {rng.random()}"},
            {"tags": rng.sample(TEXTS, 2)},
            {"info": {"n": rng.choice(INTEGERS), "a": {"a": [1, "b"]}}},
        ]
        self._quietly(lambda: self._mos.update(self._pick(), user="alice", **rng.choice(changes)))

    def _forget(self) -> None:
        self._quietly(lambda: self._mos.delete(self._pick(), user="alice"))

    def _quarantine(self) -> None:
        verb = self._rng.choice([self._mos.quarantine, self._mos.release])
        self._quietly(lambda: verb(self._rng.choice(["mail", "web"]), user="alice"))

    def _freeze(self) -> None:
        verb = self._rng.choice([self._mos.freeze, self._mos.thaw])
        self._quietly(lambda: verb(self._pick(), user="alice"))

    def _archive(self) -> None:
        self._quietly(
            lambda: self._rng.choice([self._mos.archive, self._mos.activate])(
                self._pick(), user="alice"
            )
        )

    def _quietly(self, act: Any) -> None:
        try:
            act()
        except MemosError:
            self._rng.random()  # a step that the state of the memory does not allow


def _asked(rng: random.Random, ids: list[str]) -> Any:
    if rng.random() < 0.5:
        return trees.random_filter(rng)
    field = rng.choice(["conversation", "agent", "source", "tags", "info.n", "info.a", "expires"])
    op = rng.choice(OPERATORS[field_of(field).type])
    return {field: {op: _operand(rng, field, op)}}


def _operand(rng: random.Random, field: str, op: str) -> Any:
    if field in ("conversation", "agent", "source") and op not in ("exists", "in", "nin"):
        return rng.choice(["s1", "s2", "scribe", "mail", "web", "m%" if op == "like" else "a"])
    if field == "expires" and op != "exists":
        when = START + timedelta(seconds=rng.choice([0, 5_000, 86_400 + 5_000, 300_000]))
        return [when] if op in ("in", "nin") else when
    return trees._operand(rng, field, op)


@pytest.mark.parametrize(
    "seed",
    [*range(FEW), *(pytest.param(n, marks=pytest.mark.slow) for n in range(FEW, STORIES))],
)
def test_columns_truth_and_meaning_agree_on_every_filter(
    mos: MOS, clock: ManualClock, seed: int
) -> None:
    rng = random.Random(seed)
    story, told, decided = Story(mos, clock, rng), 0, 0
    for _ in range(4):
        for _ in range(STEPS // 4):
            story.step()
        for _ in range(FILTERS // 4):
            asked = _asked(rng, story.ids)
            rows = _agreed(mos, clock, asked, rng.choice([None, None, START + timedelta(days=1)]))
            decided += rows is not None
            told += bool(rows)
    assert decided > FILTERS / 2, "too few filters were decided on columns"
    assert told > FILTERS / 10, "too few filters found anything"


def _agreed(
    mos: MOS, clock: ManualClock, asked: Any, valid_at: datetime | None
) -> list[int] | None:
    """What all three say; ``None`` where the columns leave it to the truth."""
    vault, where = mos._rooms.vault, parse(asked)
    assert where is not None
    micros = None if valid_at is None else to_micros(valid_at)
    with vault.reading(ALICE, instant=Instant(valid_micros=micros)) as reading:
        cubes = reading.cubes([HOME])
        space = vault.space(reading, cubes, where=where, exact=False)
        cids = [cube.cid for cube in cubes]
        rows = reading.governed.rows(cids=cids, where=where)
        every = [item for _, item, _ in reading.governed.rows(cids=cids)]
        stored = reading.governed.items(every, cids=cids, pick="searchable")
        table = vault.columns.index.table(cids[0])
    truth = [item for _, item, _ in rows]
    assert truth == sorted(r.iid for r in stored if matches(where, to_item(r, ALICE))), asked
    assert space.rooms[0].rows is not None
    assert space.rooms[0].rows.tolist() == truth, asked
    assert table is not None
    found = passing(table, where, now=to_micros(clock.now()), valid_at=micros)
    assert (found is not None) is decides(where)
    assert found is None or found.tolist() == truth, asked
    return None if found is None else truth


def test_every_field_and_operator_is_decided_like_the_truth_decides(
    mos: MOS, clock: ManualClock
) -> None:
    rng = random.Random(5)
    story = Story(mos, clock, rng)
    for _ in range(3 * STEPS):
        story.step()
    for field in [*FIELDS, "info.n", "info.project", r"info.a\.b", "info.a.a"]:
        for op in OPERATORS[field_of(field).type]:
            for _ in range(4):
                _agreed(mos, clock, {field: {op: trees._operand(rng, field, op)}}, None)


def test_a_principal_who_sees_masked_words_is_answered_by_the_truth(mos: MOS) -> None:
    mos.create_cube("teams/x", user="alice")
    mos.add("Call me", cube="teams/x", user="alice", info={"mail": "bob@example.org"})
    mos.add("Call her", cube="teams/x", user="alice", info={"mail": "eve@example.org"})
    mos.share(to="bob", cube="teams/x", user="alice")
    asked = {"info.mail": "bob@example.org"}
    assert len(mos.search("call", cube="teams/x", user="alice", filter=asked)) == 1
    assert mos.search("call", cube="teams/x", user="bob", filter=asked) == []


def test_a_filter_on_columns_reads_no_rows_of_the_memories_it_leaves_out(mos: MOS) -> None:
    mos.add([f"note {n}" for n in range(300)], user="alice", info={"n": 1})
    mos.add("the only one", user="alice", info={"n": 2})
    mos.search("one", user="alice")
    vault, where = mos._rooms.vault, parse({"info.n": 2})
    with vault.reading(ALICE) as reading:
        cubes = reading.cubes([HOME])
        steps = _steps(reading, lambda: vault.space(reading, cubes, where=where, exact=False))
        by_truth = _steps(reading, lambda: reading.governed.rows(cids=[1], where=where))
    assert steps * 5 < by_truth


def _steps(reading: Reading, work: Callable[[], object]) -> int:
    """How many times SQLite's machine reported progress (every 100 of its steps)."""
    seen = 0

    def count() -> int:
        nonlocal seen
        seen += 1
        return 0

    reading.connection.set_progress_handler(count, 100)
    try:
        work()
    finally:
        reading.connection.set_progress_handler(None, 100)
    return seen
