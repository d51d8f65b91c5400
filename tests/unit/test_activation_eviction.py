from __future__ import annotations

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


def test_free_room_is_given_at_the_first_touch_and_anothers_at_the_second() -> None:
    held = tier(100)
    assert keep(held, Artifact("a", 60, 1.0), at=0)
    newcomer = Artifact("b", 60, 5.0)
    assert not keep(held, newcomer, at=1)
    assert "1 of 2" in held.offer(newcomer, 1).why
    assert keep(held, newcomer, at=2)
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
    assert counts.rate("old", 100.0 + 15_000.0) < before / 500


def test_ghosts_are_bounded_and_what_is_held_is_not_forgotten() -> None:
    counts = Frequencies(max_keys=50)
    counts.touch("held", 0.0)
    for n in range(1_000):
        counts.touch(f"k{n}", float(n), keep=["held"])
    assert len(counts._counts) <= 51
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


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3))]
)
def test_more_prefill_is_saved_than_by_recency_on_each_kind_of_work(seed: int) -> None:
    for name, trace in traces(seed).items():
        capacity = share_of(trace, 0.15)
        ours, lru = by_worth(trace, capacity), by_recency(trace, capacity)
        assert ours.most_bytes <= capacity
        assert ours.saved_seconds > 1.02 * lru.saved_seconds, name
