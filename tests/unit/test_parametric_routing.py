"""Which adapter answers a question, and which memories are learnt together: the pure decisions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos_integrations.operation.transform.routing import (
    Bar,
    Candidate,
    asks_of_asker,
    choose,
    names_in,
    passes,
)
from memos_integrations.operation.transform.shards import assigned


def found(row: int, text: str, score: float = 4.0, **about: Any) -> Candidate:
    return Candidate(
        **{"row": row, "text": text, "score": score, "near": 0.7, "words": 0.2} | about
    )


MAYA = found(1, "Maya lives in Berlin.")
TEA = found(2, "My favourite tea is oolong.")


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("where does Maya live?", {"Maya"}),
        ("Where does Maya's brother live?", {"Maya"}),
        ("question : which pet has Sotiba ? answer :", {"Sotiba"}),
        ("Where do I live? And what did I say of O'Brien?", {"O'Brien"}),
        ("what is my favourite tea?", set()),
        ("Who is it? Maya?", set()),  # a capital that opens a sentence proves nothing
        ("where does Zoë-Ann live?", {"Zoë-Ann"}),
    ],
)
def test_names_are_capitals_inside_a_sentence(question: str, names: set[str]) -> None:
    assert names_in(question) == names


@pytest.mark.parametrize(
    ("question", "memory", "answers"),
    [
        ("where does Maya live?", MAYA, True),
        ("where does Zorbo live?", MAYA, False),  # close in meaning, about somebody else
        ("where do maya and Zorbo live?", MAYA, False),
        ("does Maya live in Rome?", MAYA, True),  # half of what it names
        ("what is my favourite tea?", TEA, True),
        ("what is my favourite tea?", found(2, TEA.text, near=0.3), False),
        ("where does zorbo live?", found(1, MAYA.text, words=0.03), False),
        ("which town is she in?", found(1, MAYA.text, words=0.0, near=0.85), True),
        ("where does Maya live?", found(1, MAYA.text, near=0.2), False),
        ("where does Maya live?", found(1, "I live in Berlin.", called="Maya"), True),
        ("where does maya live?", found(1, MAYA.text, near=None, words=0.3), True),
        ("where does zorbo live?", found(1, MAYA.text, near=None, words=0.05), False),
    ],
)
def test_a_memory_answers_when_it_is_near_and_of_whom_is_asked(
    question: str, memory: Candidate, answers: bool
) -> None:
    assert passes(memory, names_in(question), Bar()) is answers


def test_off_topic_questions_get_the_base_and_no_text() -> None:
    route = choose("where does Zorbo live?", [MAYA, TEA], {"a": {1}, "b": {2}})
    assert (route.adapter, route.text, route.covered) == (None, (), ())
    assert "Zorbo" in route.why
    assert "base" in route.why


def test_the_adapter_that_most_was_found_for_is_active_and_the_rest_is_text() -> None:
    maya = [found(n, f"Maya said {n}", score=5.0 - n) for n in range(4)]
    route = choose("what did Maya say?", maya, {"a": {0}, "b": {1, 2}})
    assert route.adapter == "b"  # 4 + 3 points, against 5
    assert route.covered == (1, 2)
    assert route.text == (0, 3)
    assert "2 stand in the prompt as text" in route.why


def test_without_a_usable_adapter_what_was_found_is_text() -> None:
    for adapters in ({}, {"a": {9}}):
        route = choose("where does Maya live?", [MAYA], adapters)
        assert (route.adapter, route.text) == (None, (1,))
        assert "no adapter that may be used holds them" in route.why


def test_a_fact_is_covered_by_an_adapter_of_the_memory_it_restates() -> None:
    fact = found(7, "Maya lives in Berlin", restates=1)
    assert choose("where does Maya live?", [fact], {"a": {1}}).covered == (7,)
    assert choose("where does Maya live?", [fact], {"a": {2}}).text == (7,)


def test_equal_adapters_are_chosen_by_name() -> None:
    both = {"b": {1}, "a": {1}}
    assert choose("where does Maya live?", [MAYA], both).adapter == "a"


@pytest.mark.parametrize(
    ("question", "personal"),
    [
        ("Where do I live?", True),
        ("what's my sister's name?", True),
        ("Where did we go, and who paid for us?", True),
        ("I\u2019m allergic to what?", True),
        ("\u6211\u4f4f\u5728\u54ea\u91cc\uff1f", True),  # where do I live
        ("\u739b\u96c5\u4f4f\u5728\u54ea\u91cc\uff1f", False),  # where does Maya live
        ("Who governs the US?", False),
        ("where does Imeus live?", False),
    ],
)
def test_a_question_about_whoever_asks_is_known(question: str, personal: bool) -> None:
    assert asks_of_asker(question) is personal


def test_weights_answer_about_me_only_with_what_i_said() -> None:
    mine, theirs = found(1, "I live in Rome."), found(2, "I live in Berlin.", own=False)
    assert choose("where do I live?", [mine], {"a": {1}}).adapter == "a"
    assert choose("where do I live?", [mine, theirs], {"a": {1, 2}}).text == (1, 2)
    route = choose("where do I live?", [mine, theirs], {"a": {1}, "b": {2}})
    assert (route.adapter, route.covered, route.text) == ("a", (1,), (2,))
    assert choose("who does live in Berlin?", [theirs], {"a": {2}}).adapter == "a"


def test_an_adapter_that_holds_more_than_was_asked_about_does_not_serve() -> None:
    route = choose("where does Maya live?", [MAYA], {"a": {1}, "b": {1, 2}}, outside={"a"})
    assert route.adapter == "b"
    route = choose("where does Maya live?", [MAYA], {"a": {1, 2}}, outside={"a"})
    assert (route.adapter, route.text) == (None, (1,))
    assert "leaves out" in route.why


# -- shards ---------------------------------------------------------------------------------------


def test_a_memory_keeps_its_shard_and_new_ones_fill_up() -> None:
    rights = dict.fromkeys(range(10), ("ann",))
    first = assigned(range(5), members={}, rights=rights, most=3)
    assert first == {0: 0, 1: 0, 2: 0, 3: 1, 4: 1}
    # One is gone: its place is taken, and nobody moves.
    left = {iid: shard for iid, shard in first.items() if iid != 1}
    assert assigned([0, 2, 3, 4, 5, 6], members=left, rights=rights, most=3) == {
        0: 0, 2: 0, 3: 1, 4: 1, 5: 0, 6: 1,
    }  # fmt: skip


def test_memories_of_other_rights_are_never_learnt_together() -> None:
    rights = {1: ("ann",), 2: ("bob",), 3: ("ann",)}
    assert assigned([1, 2, 3], members={}, rights=rights) == {1: 0, 2: 1, 3: 0}
    # Whose rights changed moves out; those of a shard nothing is known of is joined by nobody.
    changed = rights | {3: ("bob",)}
    assert assigned([1, 2, 3], members={1: 0, 2: 1, 3: 0}, rights=changed) == {1: 0, 2: 1, 3: 1}
    assert assigned([1], members={8: 0}, rights={1: ("ann",)}) == {1: 1}


@given(
    st.lists(st.integers(0, 40), unique=True),
    st.dictionaries(st.integers(0, 40), st.integers(0, 5), max_size=20),
    st.dictionaries(st.integers(0, 40), st.sampled_from("ab"), min_size=0),
    st.integers(1, 4),
)
def test_shards_are_never_mixed_and_only_grow_up_to_their_size(
    wanted: list[int], members: dict[int, int], letters: dict[int, str], most: int
) -> None:
    rights = {iid: (letters.get(iid, "a"),) for iid in range(41)}
    places = assigned(wanted, members=members, rights=rights, most=most)
    assert set(places) == set(wanted)
    after = members | places
    joined = {iid for iid in wanted if after[iid] != members.get(iid)}
    for shard in {after[iid] for iid in joined}:
        came = [iid for iid in joined if after[iid] == shard]
        first = min((iid for iid, where in members.items() if where == shard), default=came[0])
        assert {rights[iid] for iid in came} == {rights[first]}
        inside = [iid for iid, where in after.items() if where == shard]
        assert len(inside) <= most
