"""Pure choices about caches in files: load or compute, write or not, and what leaves the disk."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from memos_integrations.infrastructure.activation.identity import Digest
from memos_integrations.infrastructure.activation.transfers import Pace, Transfers
from memos_integrations.infrastructure.vault.cache_records import Resident
from memos_integrations.operation.transform.disk_room import room_for

MIB = 2**20
WEEK = 7 * 86_400 * 1_000_000


def resident(
    key: str, *, size: int = 10, build: float = 1.0, hits: int = 0, used: int = 0, **more: bool
) -> Resident:
    return Resident(Digest(key), size, build, hits, used, more.get("pinned", False))


def test_before_anything_was_measured_a_file_is_tried() -> None:
    transfers = Transfers.unknown()
    assert transfers.load_pays(10 * MIB, 0.0) is None
    assert transfers.write_pays(10 * MIB, 0.0, 0) is None


def test_a_slow_disk_loses_against_computing_and_says_by_how_much() -> None:
    transfers = Transfers.unknown()
    transfers.load.measured(10 * MIB, 10.0)
    why = transfers.load_pays(10 * MIB, 2.0)
    assert why is not None
    assert "10.00 s against 2.00 s" in why
    assert transfers.load_pays(MIB, 2.0) is None
    assert transfers.load_pays(10 * MIB, 11.0) is None


def test_a_file_is_written_where_as_many_uses_again_gain_more_than_it_takes() -> None:
    transfers = Transfers.unknown()
    transfers.write.measured(MIB, 4.0)
    transfers.load.measured(MIB, 1.0)
    assert transfers.write_pays(MIB, 2.0, uses=2) is not None  # 2 x (2 - 1) < 4
    assert transfers.write_pays(MIB, 3.0, uses=2) is None


def test_the_estimate_follows_the_machine_and_weighs_large_moves_most() -> None:
    pace = Pace()
    pace.measured(MIB, 1.0)
    for _ in range(20):
        pace.measured(100 * MIB, 1.0)
    estimate = pace.estimate(100 * MIB)
    assert estimate is not None
    assert 0.9 < estimate < 1.2


def test_small_files_tell_nothing_and_are_always_worth_it() -> None:
    pace = Pace()
    pace.measured(MIB - 1, 100.0)
    assert pace.estimate(MIB) is None
    pace.measured(MIB, 100.0)
    assert pace.pays(MIB - 1, 0.0) is None
    assert pace.pays(MIB, 0.0) is not None


def test_after_many_refusals_it_is_measured_anew() -> None:
    pace = Pace()
    pace.measured(MIB, 100.0)
    refused = 0
    while pace.pays(MIB, 0.0) is not None:
        refused += 1
    assert refused == 31
    for _ in range(31):
        pace.measured(MIB, 0.001)
    assert pace.pays(MIB, 0.001) is None


def test_what_is_worth_least_leaves_the_disk_first() -> None:
    there = [
        resident("cold", hits=5, used=0),
        resident("warm", hits=1, used=4 * WEEK),
        resident("dear", hits=9, used=4 * WEEK),
    ]
    new = resident("new", build=2.0, used=4 * WEEK)
    assert room_for(new, there, capacity_bytes=30, now=4 * WEEK) == ["cold"]
    assert room_for(new, there, capacity_bytes=40, now=4 * WEEK) == []


def test_what_is_worth_less_than_what_it_would_push_out_is_not_written() -> None:
    there = [resident(name, hits=9) for name in ("a", "b")]
    small, large = resident("new", size=5), resident("new", size=25)
    assert room_for(small, there, capacity_bytes=20, now=0) is None
    assert room_for(large, there, capacity_bytes=20, now=0) is None
    pinned = resident("new", size=5, pinned=True)
    assert room_for(pinned, there, capacity_bytes=20, now=0) == ["a"]


def test_pinned_caches_stay_and_a_new_file_of_one_takes_its_own_place() -> None:
    there = [resident("a", pinned=True), resident("b")]
    assert room_for(resident("new", build=9.0), there, capacity_bytes=20, now=0) == ["b"]
    assert room_for(resident("a"), there, capacity_bytes=20, now=0) == []
    both = [resident("a", pinned=True), resident("b", pinned=True)]
    assert room_for(resident("new", build=9.0), both, capacity_bytes=20, now=0) is None


@given(seed=st.integers(0, 10_000))
def test_room_is_never_more_than_there_is(seed: int) -> None:
    dice = random.Random(seed)
    there = [
        resident(
            f"k{n}",
            size=dice.randrange(1, 20),
            build=dice.random(),
            hits=dice.randrange(5),
            used=dice.randrange(9) * WEEK,
            pinned=dice.random() < 0.3,
        )
        for n in range(8)
    ]
    capacity = dice.randrange(1, 120)
    new = resident("new", size=dice.randrange(1, 40), build=dice.random() * 9, used=9 * WEEK)
    leaving = room_for(new, there, capacity_bytes=capacity, now=9 * WEEK)
    if leaving is not None:
        stay = [each for each in there if each.key not in leaving]
        assert sum(each.bytes for each in stay) + new.bytes <= capacity
        assert not any(each.pinned for each in there if each.key in leaving)
