from __future__ import annotations

from collections import Counter
from itertools import pairwise, product
from math import sqrt
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos_integrations.cube.errors import InvalidInput
from memos_integrations.infrastructure.activation.eviction import (
    Artifact,
    Frequencies,
    Residents,
)
from memos_integrations.infrastructure.activation.identity import Digest
from memos_integrations.infrastructure.activation.shelf import Shelf
from memos_integrations.testing.activation_simulation import (
    Request,
    at_most,
    by_recency,
    by_worth,
    share_of,
    traces,
)


def tier(capacity: int) -> Residents:
    return Residents(capacity, Frequencies())


def keep(held: Residents, artifact: Artifact, *, at: float, touches: int = 1) -> bool:
    for _ in range(touches):
        held.touch(artifact.key, at)
    verdict = held.offer(artifact, at)
    if verdict.admitted:
        for key in verdict.evicted:
            held.remove(key)
        held.place(artifact)
    return verdict.admitted


def test_free_room_is_given_to_anyone_and_anothers_to_who_saves_more() -> None:
    held = tier(100)
    assert keep(held, Artifact("a", 60, 1.0), at=0)
    lesser = Artifact("b", 60, 0.5)
    assert not keep(held, lesser, at=1)
    assert "saves more" in held.offer(lesser, 1).why
    assert keep(held, Artifact("c", 60, 5.0), at=2)
    assert "a" not in held


def test_a_scan_evicts_nothing_that_is_asked_again_and_again() -> None:
    held = tier(100)
    for n in range(5):
        keep(held, Artifact("often", 100, 1.0), at=n)
    for n in range(1_000):
        keep(held, Artifact(f"once{n}", 50, 1.0), at=5 + n * 0.01)
    assert "often" in held


def test_what_was_evicted_comes_back_by_its_remembered_count() -> None:
    held = tier(100)
    keep(held, Artifact("a", 100, 1.0), at=0, touches=10)
    keep(held, Artifact("b", 100, 100.0), at=1, touches=2)
    assert "a" not in held
    assert held.frequencies.touches("a") == 10
    held.remove("b")
    assert keep(held, Artifact("a", 100, 1.0), at=2)


def test_what_is_pinned_stays_and_says_why_nothing_else_fits() -> None:
    held = tier(100)
    assert keep(held, Artifact("p", 80, 0.0, pinned=True), at=0)
    other = Artifact("x", 40, 1_000.0)
    assert not keep(held, other, at=1, touches=5)
    assert "pinned" in held.offer(other, 1).why


def test_larger_than_the_tier_is_never_taken() -> None:
    held = tier(10)
    verdict = held.offer(Artifact("x", 11, 1.0, pinned=True), 0)
    assert not verdict.admitted
    assert "larger" in verdict.why


def test_an_old_habit_fades() -> None:
    counts = Frequencies()
    for n in range(100):
        counts.touch("old", float(n))
    before = counts.rate("old", 100.0)
    for n in range(1_000):
        counts.touch(f"new{n}", 100.0 + 15.0 * n)
    assert counts.rate("old", 100.0 + 15_000.0) < before / 500


def test_that_such_things_do_not_come_back_is_learned() -> None:
    counts = Frequencies()
    counts.touch("first", 0.0)
    unknown = counts.rate("first", 400.0)
    for n in range(300):
        counts.touch(f"once{n}", 10.0 * n)
    counts.touch("next", 3_000.0)
    assert counts.rate("next", 3_400.0) < unknown / 10


def test_the_rhythm_of_others_is_expected_of_who_follows_it() -> None:
    counts = Frequencies()
    for round_ in range(8):
        for n in range(40):
            counts.touch(f"daily{n}", round_ * 1_000.0 + n)
    for at in (8_000.0, 9_000.0, 10_000.0):
        counts.touch("another", at)
    # What is asked for each 1,000 seconds is expected then, and not half way.
    assert counts.rate("another", 10_900.0) > 3 * counts.rate("another", 10_100.0)


def test_who_is_late_by_a_slow_rhythm_is_judged_by_who_was_late_by_a_fast_one() -> None:
    knowing, blank = Frequencies(), Frequencies()
    for round_ in range(12):
        for n in range(20):
            knowing.touch(f"hourly{n}", round_ * 3_600.0 + n)
    for _ in range(5):
        knowing.touch("a day on", 39_600.0 + 86_400.0)
    for n in range(20):
        knowing.drop(f"hourly{n}")
    for counts in (knowing, blank):
        for round_ in range(12):
            counts.touch("daily", 200_000.0 + round_ * 86_400.0)
    # The hourly ones were late as well for a day, and none of them came again.
    late = 200_000.0 + 15 * 86_400.0
    assert knowing.rate("daily", late) < blank.rate("daily", late) / 2


def test_the_busier_of_one_class_comes_first() -> None:
    counts = Frequencies()
    for n in range(40):
        counts.touch("busier", 25.0 * n)
        if n % 8 < 5:
            counts.touch("slower", 25.0 * n)
    now = 1_000.0
    busier, slower = counts._uses["busier"], counts._uses["slower"]
    busier.last = slower.last = now - 10.0
    slower.habit = busier.habit
    assert counts.rate("busier", now) > 1.1 * counts.rate("slower", now)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 500)), max_size=80))
def test_all_waiting_is_booked_once(uses: list[tuple[str, float]]) -> None:
    counts, now = Frequencies(), 0.0
    times: dict[str, list[float]] = {}
    for key, gap in uses:
        now += gap
        counts.touch(key, now)
        times.setdefault(key, []).append(now)
    waited = 0.0
    for at in times.values():
        for n, (begin, end) in enumerate(pairwise([*at, now]), start=1):
            # The root of n uses in the time since the first and 300 seconds more, added up.
            roots = sqrt(end - at[0] + 300.0) - sqrt(begin - at[0] + 300.0)
            waited += 2.0 * sqrt(n) * roots
    booked = sum(seen.waiting for seen in counts._classes._alike.values())
    assert booked == pytest.approx(waited, abs=1e-3)


def test_ghosts_are_bounded_and_what_is_held_is_not_forgotten() -> None:
    counts = Frequencies(max_keys=50)
    counts.touch("held", 0.0)
    for n in range(1_000):
        counts.touch(f"k{n}", float(n), keep=["held"])
    assert len(counts._uses) <= 51
    assert counts.touches("held") == 1


def test_placing_beyond_the_free_bytes_is_an_error_and_changes_nothing() -> None:
    held = tier(10)
    held.place(Artifact("a", 8, 1.0))
    with pytest.raises(InvalidInput, match="are free"):
        held.place(Artifact("b", 8, 1.0))
    assert held.used_bytes == 8


@pytest.mark.parametrize(
    "wrong", [{"bytes": 0}, {"saved_seconds": -1.0}, {"saved_seconds": float("nan")}]
)
def test_impossible_figures_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidInput):
        Artifact(**{"key": "a", "bytes": 1, "saved_seconds": 0.0, **wrong})  # type: ignore[arg-type]


def blocks(words: str) -> list[Digest]:
    return [Digest(words[:end]) for end in range(1, len(words) + 1)]


def shelved(shelf: Shelf[str], words: str) -> None:
    shelf.find(blocks(words), 0.0)
    shelf.offer(Artifact(words, len(words), 1.0), words, blocks(words), 0.0)


def test_caches_that_begin_alike_stand_side_by_side() -> None:
    shelf: Shelf[str] = Shelf(100)
    for words in ("heading-one", "heading-two"):
        shelved(shelf, words)
    for words in ("heading-one", "heading-two"):
        found = shelf.find(blocks(words), 1.0)
        assert found is not None
        assert (found.held, found.blocks) == (words, len(words))


def test_a_cache_that_goes_on_from_another_takes_its_place() -> None:
    shelf: Shelf[str] = Shelf(100)
    for words in ("heading", "heading and more"):
        shelved(shelf, words)
    assert shelf.keys() == ("heading and more",)
    found = shelf.find(blocks("heading"), 1.0)
    assert found is not None
    assert (found.held, found.blocks) == ("heading and more", len("heading"))


requests = st.lists(
    st.tuples(
        st.sampled_from("abcdef"),
        st.integers(1, 60),
        st.floats(0, 10),
        st.floats(0, 50),
        st.booleans(),
    ),
    max_size=60,
)


@given(requests)
def test_the_bytes_are_never_more_than_there_are(given_: list) -> None:  # type: ignore[type-arg]
    held, now = tier(100), 0.0
    for key, size, saved, wait, pinned in given_:
        now += wait
        keep(held, Artifact(key, size, saved, pinned), at=now)
        assert held.used_bytes == sum(a.bytes for a in held._held.values()) <= 100


def test_a_day_is_all_four_kinds_of_work_at_once() -> None:
    kinds = traces(1)
    day = kinds.pop("day")
    asked = Counter(each.artifact.key for each in day)
    for name, trace in kinds.items():
        mine = [each for each in day if each.artifact.key.startswith(f"{name} ")]
        assert [each.artifact.bytes for each in mine] == [each.artifact.bytes for each in trace]
        assert mine[-1].at == pytest.approx(86_400.0)
        for key, times in Counter(each.artifact.key for each in trace).items():
            assert asked[f"{name} {key}"] == times
    assert len(day) == sum(len(trace) for trace in kinds.values())
    assert all(one.at <= next_.at for one, next_ in pairwise(day))


SAVED = {"drift": 1.11, "scans": 1.09, "sessions": 1.13, "tenants": 1.04, "day": 1.08}
"""Times recency, on the whole of the first trace; a hundredth or two below what is measured."""


def ratio(trace: list[Request], share: float = 0.15) -> float:
    """Prefill saved, times recency; never more than any policy could."""
    capacity = share_of(trace, share)
    ours, lru = by_worth(trace, capacity), by_recency(trace, capacity)
    assert ours.most_bytes <= capacity
    assert ours.saved_seconds <= at_most(trace, capacity) <= ours.possible_seconds + 1e-6
    return ours.saved_seconds / lru.saved_seconds


def test_more_prefill_is_saved_than_by_recency_soon_after_the_start() -> None:
    saved = {name: ratio(trace[:2_500]) for name, trace in traces(1).items()}
    assert min(saved.values()) > 1.01, saved
    assert fmean(saved.values()) > 1.08, saved


@pytest.mark.slow
@pytest.mark.parametrize("name", SAVED)
def test_more_prefill_is_saved_than_by_recency_on_each_kind_of_work(name: str) -> None:
    assert ratio(traces(1)[name]) > SAVED[name]


SIZES = {"a": 3, "b": 4, "c": 5, "d": 6}


@given(st.lists(st.sampled_from("abcd"), max_size=9), st.integers(3, 14))
def test_at_most_is_no_less_than_what_knowing_the_future_saves(keys: list[str], room: int) -> None:
    trace = [
        Request(float(n), Artifact(key, SIZES[key], SIZES[key] ** 1.5))
        for n, key in enumerate(keys)
    ]
    waits = [
        (keys[:n][::-1].index(key), n, trace[n].artifact)
        for n, key in enumerate(keys)
        if key in keys[:n]
    ]
    best = 0.0
    for chosen in product((False, True), repeat=len(waits)):
        taken = [0] * len(keys)
        saved = 0.0
        for (passed, n, artifact), kept in zip(waits, chosen, strict=True):
            if kept:
                saved += artifact.saved_seconds
                for place in range(n - passed - 1, n):
                    taken[place] += artifact.bytes
        if max(taken, default=0) <= room:
            best = max(best, saved)
    assert at_most(trace, room) >= best - 1e-9
