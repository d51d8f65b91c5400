"""Every (state, event) pair, against the table and through the public verbs.

The legal steps are written out here by hand, from the design: Generated -> Activated -> Merged
-> Archived -> Frozen and the two tombstones. Frozen is a lock that only ``thaw`` opens.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memos_integrations.cube.acl import Principal
from memos_integrations.cube.errors import (
    AccessDenied,
    IllegalTransition,
    ItemFrozen,
    MemosError,
    NotFound,
    UsageError,
)
from memos_integrations.cube.header import State
from memos_integrations.interface.mos import MOS
from memos_integrations.interface.settings import Settings
from memos_integrations.operation.lifecycle.states import TRANSITIONS, Event, next_state
from memos_integrations.testing.fakes import ManualClock

G, A, M, R = State.GENERATED, State.ACTIVATED, State.MERGED, State.ARCHIVED
F, X, D = State.FROZEN, State.EXPIRED, State.DELETED

LEGAL: dict[Event, dict[State, State]] = {
    Event.ACTIVATE: {G: A, A: A, R: A},
    Event.REVISE: {G: G, A: A, R: R},
    Event.MERGE: {G: M, A: M},
    Event.SPLIT: {M: A},
    Event.ARCHIVE: {G: R, A: R, M: R},
    Event.FREEZE: {G: F, A: F, M: F, R: F},
    Event.THAW: {},
    Event.EXPIRE: {G: X, A: X, M: X, R: X},
    Event.DELETE: {G: D, A: D, M: D, R: D, X: D},
    Event.RESTORE: {},
}
PAIRS = list(itertools.product(State, Event))


# -- the table -------------------------------------------------------------------------------


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_pair_of_state_and_event_steps_as_written_or_raises(state: State, event: Event) -> None:
    if event in (Event.THAW, Event.RESTORE):
        may = (state is F) is (event is Event.THAW)
        for named in State:
            if may and named is not F:
                assert next_state(state, event, item="m", named=named) is named
            else:
                with pytest.raises(IllegalTransition):
                    next_state(state, event, item="m", named=named)
        return
    if state in LEGAL[event]:
        assert next_state(state, event, item="m") is LEGAL[event][state]
        return
    with pytest.raises(ItemFrozen if state is F else IllegalTransition) as refused:
        next_state(state, event, item="m")
    assert "m" in str(refused.value)


def test_table_names_every_state_and_event_and_cannot_be_changed() -> None:
    assert {state for state, _ in TRANSITIONS} == set(State)
    assert {event for _, event in TRANSITIONS} == set(Event)
    with pytest.raises(TypeError):
        TRANSITIONS[G, Event.THAW] = A  # type: ignore[index]


def test_only_thaw_leaves_a_frozen_memory_and_only_to_a_state_that_is_named() -> None:
    assert [event for state, event in TRANSITIONS if state is F] == [Event.THAW]
    with pytest.raises(IllegalTransition):
        next_state(F, Event.THAW, item="m", named=None)


def test_every_state_can_be_reached_from_a_new_memory() -> None:
    reached, todo = {G}, [G]
    while todo:
        state = todo.pop()
        steps = {LEGAL[event][state] for event in LEGAL if state in LEGAL[event]}
        todo += steps - reached
        reached |= steps
    assert reached == set(State)


# -- the verbs -------------------------------------------------------------------------------


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def mos(tmp_path: Path, clock: ManualClock) -> Iterator[MOS]:
    settings = Settings(worker=False, synchronous="normal")
    with MOS(tmp_path / "a.db", embedder=None, clock=clock, settings=settings) as made:
        yield made


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MOS]:
    """One file for many cases: opening one costs more than all the verbs of a case."""
    settings = Settings(worker=False, synchronous="normal")
    path = tmp_path_factory.mktemp("house") / "a.db"
    with MOS(path, embedder=None, clock=ManualClock(), settings=settings) as made:
        yield made
        assert made.check().sound


@pytest.fixture
def own(house: MOS, request: pytest.FixtureRequest) -> MOS:
    """The shared file, for a user nobody has heard of."""
    return house.acting(Principal(user=request.node.name))


def brought_to(mos: MOS, state: State) -> str:
    """A memory of the default user in this state, by public verbs alone."""
    item = mos.add("the kettle is red").id
    if state in (A, M, R, F):
        mos.activate(item)
    if state is M:
        mos.merge([item, mos.add("the pot is blue").id], "kettle red, pot blue")
    elif state is R:
        mos.archive(item)
    elif state is F:
        mos.freeze(item)
    elif state is D:
        mos.delete(item)
    assert mos.history(item)[-1].item.header.state is state
    return item


def steps_of(mos: MOS, item: str) -> list[tuple[int, State, str, str]]:
    """What of a history no later verb may change."""
    return [(s.version, s.item.header.state, s.item.text, s.reason) for s in mos.history(item)]


VERBS: dict[Event, Callable[[MOS, str], object]] = {
    Event.ACTIVATE: lambda mos, item: mos.activate(item),
    Event.REVISE: lambda mos, item: mos.update(item, "the kettle is green"),
    Event.MERGE: lambda mos, item: mos.merge([item, mos.add("more").id], "both"),
    Event.ARCHIVE: lambda mos, item: mos.archive(item),
    Event.FREEZE: lambda mos, item: mos.freeze(item),
    Event.THAW: lambda mos, item: mos.thaw(item),
    Event.DELETE: lambda mos, item: mos.delete(item),
    Event.RESTORE: lambda mos, item: mos.rollback(item, version=1),
}
# An expired memory is out of every verb's sight, see below.
REACHABLE = (G, A, M, R, F, D)


@pytest.mark.parametrize(("state", "event"), list(itertools.product(REACHABLE, VERBS)))
def test_verb_takes_the_step_of_the_table_or_leaves_all_as_it_was(
    state: State, event: Event, own: MOS
) -> None:
    mos, item = own, brought_to(own, state)
    before = steps_of(mos, item)
    after = LEGAL[event].get(state)
    if event is Event.RESTORE and state is not F:
        after = G
    if event is Event.THAW and state is F:
        after = A
    if after is None:
        count = mos.count()
        with pytest.raises(ItemFrozen if state is F else IllegalTransition):
            VERBS[event](mos, item)
        assert steps_of(mos, item) == before
        extra = 1 if event is Event.MERGE else 0  # the other memory of the merge
        assert mos.count() == count + extra
    else:
        VERBS[event](mos, item)
        steps = steps_of(mos, item)
        assert [number for number, *_ in steps] == list(range(1, len(before) + 2))
        assert steps[:-1] == before
        assert steps[-1][1] is after


@pytest.mark.parametrize("state", [s for s in REACHABLE if s is not M])
def test_splitting_what_was_not_merged_is_refused(state: State, mos: MOS) -> None:
    item = brought_to(mos, state)
    with pytest.raises(UsageError):
        mos.split(item)


def test_split_brings_back_one_source_or_all_of_them(mos: MOS) -> None:
    item = brought_to(mos, M)
    merged = mos.get(item).header.merged_into
    assert merged is not None
    mos.split(item)
    assert mos.get(item).header.state is A
    assert mos.get(item).header.merged_into is None
    mos.split(merged)
    assert mos.get(merged).header.state is R
    assert {i.text for i in mos.list(filter={"state": "activated"})} == {
        "the kettle is red",
        "the pot is blue",
    }


@pytest.mark.parametrize("apart", ["archive", "delete"])
def test_split_passes_over_a_source_that_left_the_merge_itself(apart: str, mos: MOS) -> None:
    one, two = mos.add("one").id, mos.add("two").id
    both = mos.merge([one, two], "one and two").id
    getattr(mos, apart)(one)
    mos.split(both)
    assert mos.get(two).header.state is A
    assert mos.history(one)[-1].item.header.state is (R if apart == "archive" else D)


def test_archived_merge_can_still_be_split(mos: MOS) -> None:
    one, two = mos.add("one").id, mos.add("two").id
    both = mos.merge([one, two], "one and two").id
    mos.archive(both)
    mos.split(both)
    assert {mos.get(i).header.state for i in (one, two)} == {A}
    assert mos.get(both).header.state is R


@pytest.mark.parametrize("state", [G, A, M, R])
def test_time_to_live_ends_every_state_but_frozen(
    state: State, mos: MOS, clock: ManualClock
) -> None:
    item = mos.add("short-lived", ttl_seconds=60).id
    if state is not G:
        mos.activate(item)
    if state is M:
        mos.merge([item, mos.add("lasting").id], "both")
    if state is R:
        mos.archive(item)
    clock.advance(seconds=61)
    with pytest.raises(NotFound):
        mos.get(item)
    assert mos.expire_due() >= 1
    assert mos.expire_due() == 0
    for verb in VERBS.values():
        with pytest.raises(NotFound):
            verb(mos, item)
    assert mos.check().sound


def test_memories_that_expire_together_with_their_source_all_do(
    mos: MOS, clock: ManualClock
) -> None:
    source = mos.add("source", ttl_seconds=60).id
    mos.add("derived", derived_from=[source], ttl_seconds=60)
    clock.advance(seconds=61)
    assert mos.expire_due() == 2
    assert mos.list() == []


# -- frozen is a lock ------------------------------------------------------------------------


def frozen(mos: MOS, **about: object) -> tuple[str, str]:
    """A memory under a hold, and another one beside it."""
    other = mos.add("the pot is blue", source="shop").id
    item = mos.add("the kettle is red", source="shop", **about).id  # type: ignore[arg-type]
    mos.link(item, "relates_to", other)
    mos.freeze(item)
    return item, other


LOCKED: dict[str, Callable[[MOS, str, str], object]] = {
    "update": lambda mos, item, other: mos.update(item, "green"),
    "update of a tag": lambda mos, item, other: mos.update(item, tags=["x"]),
    "delete": lambda mos, item, other: mos.delete(item),
    "archive": lambda mos, item, other: mos.archive(item),
    "activate": lambda mos, item, other: mos.activate(item),
    "merge": lambda mos, item, other: mos.merge([item, other], "both"),
    "split": lambda mos, item, other: mos.split(_folded(mos, item, other)),
    "link": lambda mos, item, other: mos.link(item, "mentions", other),
    "unlink": lambda mos, item, other: mos.unlink(item, "relates_to", other),
    "freeze again": lambda mos, item, other: mos.freeze(item),
    "rollback": lambda mos, item, other: mos.rollback(item, version=1),
    "erase": lambda mos, item, other: mos.erase(item),
    "pipeline": lambda mos, item, other: _in_pipeline(mos, item),
}


def _in_pipeline(mos: MOS, item: str) -> None:
    with mos.pipeline() as pipe:
        pipe.add("never stored")
        pipe.update(item, "green")


def _folded(mos: MOS, item: str, other: str) -> str:
    """A merge of which one source, not ``item``, is under a hold."""
    more = mos.add("more").id
    both = mos.merge([other, more], "both").id
    mos.freeze(more)
    return both


@pytest.mark.parametrize("verb", LOCKED)
def test_no_writing_verb_gets_past_a_hold(verb: str, own: MOS) -> None:
    mos = own
    item, other = frozen(mos)
    before = (steps_of(mos, item), mos.links(item))
    with pytest.raises(ItemFrozen):
        LOCKED[verb](mos, item, other)
    assert (steps_of(mos, item), mos.links(item)) == before
    assert "never stored" not in {i.text for i in mos.list()}


def test_rollback_of_a_cube_or_a_source_goes_round_a_hold(mos: MOS) -> None:
    start = mos.get(mos.add("first").id).header.seq
    item, other = frozen(mos)
    assert item not in mos.rollback(source="shop")
    assert mos.get(item).header.state is F
    assert item not in mos.rollback(to=start)
    assert mos.get(item).header.state is F
    with pytest.raises(NotFound):
        mos.get(other)


def test_branch_cannot_change_a_memory_that_was_frozen_meanwhile(mos: MOS) -> None:
    item = mos.add("the kettle is red").id
    branch = mos.fork("users/default/what-if")
    (copy,) = mos.list(cube=branch)
    mos.update(copy.id, "the kettle is green")
    mos.freeze(item)
    with pytest.raises(ItemFrozen):
        mos.merge_branch(branch)
    assert mos.get(item).text == "the kettle is red"


def test_hold_on_the_copy_does_not_stop_the_branch_from_coming_home(mos: MOS) -> None:
    item = mos.add("the kettle is red").id
    branch = mos.fork("users/default/what-if")
    (copy,) = mos.list(cube=branch)
    mos.update(copy.id, "the kettle is green")
    mos.freeze(copy.id)
    assert mos.merge_branch(branch) == [item]
    assert mos.get(item).text == "the kettle is green"
    assert mos.get(item).header.state is G


def test_hold_beats_the_time_to_live_until_it_is_lifted(mos: MOS, clock: ManualClock) -> None:
    item, _ = frozen(mos, ttl_seconds=60)
    clock.advance(seconds=3600)
    assert mos.expire_due() == 0
    assert mos.get(item).header.legal_hold
    assert [hit.id for hit in mos.search("kettle")] == [item]
    mos.thaw(item)
    with pytest.raises(NotFound):
        mos.get(item)
    assert mos.expire_due() == 1


def test_erase_of_a_source_or_a_person_keeps_what_is_held_and_says_so(mos: MOS) -> None:
    item, other = frozen(mos)
    by_source = mos.erase(source="shop")
    assert (by_source.kept, by_source.erased) == ((item,), (other,))
    by_subject = mos.erase(subject="default")
    assert by_subject.kept == (item,)
    assert mos.get(item).text == "the kettle is red"


@pytest.mark.parametrize("since", ["freeze", "delete", "archive"])
def test_erase_of_a_merge_succeeds_whatever_became_of_its_other_sources(
    since: str, mos: MOS
) -> None:
    said, other = mos.add("said by mistake").id, mos.add("the pot is blue").id
    both = mos.merge([said, other], "mistake and pot").id
    getattr(mos, since)(other)
    receipt = mos.erase(said)
    assert set(receipt.erased) == {said, both}
    assert mos.history(other)[-1].item.header.merged_into is None
    assert mos.check().sound


def test_staleness_reaches_a_frozen_memory_without_touching_its_words(mos: MOS) -> None:
    source = mos.add("the kettle is red").id
    item = mos.add("all kettles are red", derived_from=[source]).id
    mos.freeze(item)
    assert mos.update(source, "the kettle is green").stale == (item,)
    held = mos.get(item)
    assert (held.text, held.header.state, held.header.stale) == ("all kettles are red", F, True)


def test_only_admin_rights_freeze_and_thaw(mos: MOS) -> None:
    item = mos.add("the kettle is red").id
    mos.share(to="bob", permission="write")
    for verb in ("freeze", "thaw"):
        with pytest.raises(AccessDenied):
            getattr(mos, verb)(item, user="bob")
    mos.share(to="bob", permission="admin")
    mos.freeze(item, user="bob")
    with pytest.raises(MemosError):
        mos.delete(item)
    mos.thaw(item, user="bob")
    assert mos.get(item).header.state is G
