"""Columns: what stands beside what, through additions, changes and deletions."""

from __future__ import annotations

import random

import numpy as np
import pytest

from memos_integrations.infrastructure.backends.column_entry import ColumnEntry
from memos_integrations.infrastructure.backends.columns import (
    FOREVER,
    ColumnIndex,
    Columns,
    Mark,
    plain_marks,
)
from memos_integrations.infrastructure.backends.part_vectors import PartEntry, PartVectors


def _entry(item: int, *, version: int = 1, **more: object) -> ColumnEntry:
    given = {"time": item, "session": "s", "speaker": None, "role": "user", "drawn_from": None}
    return ColumnEntry(
        item=item,
        version=version,
        valid_from=0,
        valid_to=None,
        **(given | more),  # type: ignore[arg-type]
    )


def _columns(index: ColumnIndex) -> Columns:
    columns = index.columns(1)
    assert columns is not None
    return columns


def test_a_cube_never_fed_has_no_columns() -> None:
    assert ColumnIndex().columns(1) is None


def test_neighbours_are_found_by_time_within_their_session_only() -> None:
    index = ColumnIndex()
    index.upsert(1, [_entry(1, time=30), _entry(2, time=10), _entry(3, session="t"), _entry(4)])
    columns = _columns(index)
    rows = columns.rows(np.array([4, 2, 1, 3, 9]))
    assert rows.tolist() == [3, 1, 0, 2, -1]
    assert columns.items[columns.beside(rows[:2], 1)].tolist() == [2, 1]
    assert columns.beside(rows[2:4], 1).tolist() == [-1, -1]


def test_facts_and_sessionless_memories_have_no_neighbours() -> None:
    index = ColumnIndex()
    index.upsert(
        1, [_entry(1, session=None), _entry(2, session=None), _entry(3), _entry(4, drawn_from=3)]
    )
    columns = _columns(index)
    assert columns.talk == 3
    assert columns.beside(np.arange(4), 1).tolist() == [-1, -1, -1, -1]
    assert columns.drawn_from.tolist() == [-1, -1, -1, 3]


def test_an_older_version_changes_nothing_and_a_newer_one_replaces() -> None:
    index = ColumnIndex()
    index.upsert(1, [_entry(1, version=2, speaker="Maya"), _entry(2)])
    index.upsert(1, [_entry(1, version=1, speaker="Tom")])
    before = _columns(index)
    index.upsert(1, [_entry(1, version=3, speaker="TOM")])
    after = _columns(index)
    assert before.speakers[before.speaker[0]] == "maya"
    assert after.speakers[after.speaker[0]] == "tom"
    assert dict(index.versions(1)) == {1: 3, 2: 1}


def test_spoken_dates_stay_with_their_rows() -> None:
    index = ColumnIndex()
    index.upsert(1, [_entry(2, spans=((5, 9), (10, 12))), _entry(4, spans=((1, 2),))])
    index.upsert(1, [_entry(1, spans=((7, 8),)), _entry(2, spans=((3, 4),)), _entry(3)])
    columns = _columns(index)
    held = zip(columns.span_row.tolist(), columns.span_start.tolist(), strict=True)
    assert list(held) == [(0, 7), (1, 3), (3, 1)]


@pytest.mark.parametrize("seed", range(20))
def test_many_steps_leave_what_a_fresh_index_would_hold(seed: int) -> None:
    rng = random.Random(seed)
    index, truth = ColumnIndex(), dict[int, ColumnEntry]()
    for step in range(60):
        if rng.random() < 0.25 and truth:
            gone = rng.sample(sorted(truth), min(len(truth), rng.randrange(1, 4)))
            index.delete(1, gone)
            for item in gone:
                del truth[item]
        batch = [
            _random_entry(rng, rng.randrange(1, 40 + step), step) for _ in range(rng.randrange(6))
        ]
        index.upsert(1, batch)
        truth |= {entry.item: entry for entry in batch}
        if rng.random() < 0.5 and truth:
            _assert_holds(_columns(index), truth)
    _assert_holds(_columns(index), truth)


def _random_entry(rng: random.Random, item: int, step: int) -> ColumnEntry:
    spans = tuple((rng.randrange(9), 10 + rng.randrange(9)) for _ in range(rng.randrange(3)))
    return _entry(
        item,
        version=step + 1,
        time=rng.randrange(20),
        session=rng.choice([None, "a", "b", "c"]),
        drawn_from=rng.choice([None, None, 7]),
        speaker=rng.choice([None, "Ann", "Bo"]),
        spans=spans,
    )


def _assert_holds(columns: Columns, truth: dict[int, ColumnEntry]) -> None:
    entries = [truth[item] for item in sorted(truth)]
    assert columns.items.tolist() == [e.item for e in entries]
    assert columns.time.tolist() == [e.time for e in entries]
    spans = list(zip(columns.span_row, columns.span_start, columns.span_end, strict=True))
    assert spans == [(row, *span) for row, e in enumerate(entries) for span in e.spans]
    who = [columns.speakers[n] if n >= 0 else None for n in columns.speaker]
    assert who == [e.speaker.casefold() if e.speaker else None for e in entries]
    talk = [e for e in entries if e.drawn_from is None and e.session is not None]
    beside = columns.beside(np.arange(len(entries)), 1)
    for row, entry in enumerate(entries):
        later = [
            e
            for e in talk
            if e.session == entry.session and (e.time, e.item) > (entry.time, entry.item)
        ]
        next_ = min(later, key=lambda e: (e.time, e.item), default=None)
        expected = -1 if entry not in talk or next_ is None else entries.index(next_)
        assert beside[row] == expected


def test_marks_tell_times_numbers_and_questions_apart() -> None:
    assert plain_marks("We met yesterday") == Mark.TIME
    assert plain_marks("She has seven cats") == Mark.NUMBER
    assert plain_marks("Really?") == Mark.QUESTION
    assert plain_marks("I like jazz") == 0
    assert FOREVER > 2**62


def _unit(*values: float) -> np.ndarray:
    vector = np.array(values, np.float32)
    return vector / np.linalg.norm(vector)


def test_parts_score_bare_words_and_the_best_sentence() -> None:
    index = PartVectors()
    index.upsert(1, [PartEntry(5, 1, ((0, _unit(1, 0)), (1, _unit(0, 1)), (2, _unit(1, 1))))])
    index.upsert(1, [PartEntry(3, 1, ((0, _unit(0, 1)),)), PartEntry(9, 1, ((1, _unit(1, 0)),))])
    bare, best = index.scores(1, _unit(1, 0), np.array([3, 5, 7, 9]))
    assert np.allclose(bare, [0, 1, np.nan, np.nan], equal_nan=True)
    assert np.allclose(best, [np.nan, 0.5**0.5, np.nan, 1], equal_nan=True)


def test_replaced_and_deleted_parts_are_gone_and_their_memory_is_given_back() -> None:
    index = PartVectors()
    for version in range(1, 50):
        index.upsert(
            1,
            [
                PartEntry(5, version, ((0, _unit(1, version)),)),
                PartEntry(6, version, ((0, _unit(1, 0)),)),
            ],
        )
    index.upsert(1, [PartEntry(5, 3, ((0, _unit(0, 1)),))])
    index.delete(1, [6, 77])
    bare, _ = index.scores(1, _unit(1, 49), np.array([5, 6]))
    assert bare[0] == pytest.approx(1.0)
    assert np.isnan(bare[1])
    assert dict(index.versions(1)) == {5: 49}
    assert len(index._cubes[1].snapshot.matrix) <= 4
