"""Links that were drawn in a branch hold in the cube it is merged into, for erases and changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from memos_integrations import MOS, Settings
from memos_integrations.cube.header import Relation

BRANCH = "users/maya/try"
RIGHT = "Maya lives in Lyon."


@pytest.fixture
def mos(tmp_path: Path) -> Iterator[MOS]:
    settings = Settings(worker=False, extract=False, synchronous="normal")
    with MOS(tmp_path / "m.db", embedder=None, settings=settings) as opened:
        yield opened
        assert opened.check().sound


def branched(mos: MOS, words: str = "I live in Porto.") -> tuple[str, str]:
    """Ids of a memory of maya's and of its copy in a branch."""
    said = str(mos.add(words, user="maya").id)
    mos.fork(BRANCH, user="maya")
    (copy,) = mos.list(user="maya", cube=BRANCH)
    return said, copy.id


def merged(mos: MOS) -> list[str]:
    return mos.merge_branch(BRANCH, user="maya")


def links(mos: MOS, item: str) -> set[tuple[str, str]]:
    return {(link.relation.value, link.target) for link in mos.links(item, user="maya")}


def state(mos: MOS, item: str) -> str:
    return mos.get(item, user="maya").header.state


def corrected(mos: MOS) -> tuple[str, str]:
    """Ids, in the cube, of what was said and of the correction that was made in a branch."""
    said, copy = branched(mos)
    mos.correct(copy, RIGHT, user="maya", cube=BRANCH)
    archived, made = merged(mos)
    assert archived == said
    return said, made


def test_a_correction_stands_in_the_place_of_what_it_corrects(mos: MOS) -> None:
    said, made = corrected(mos)
    assert links(mos, made) == {("replaces", said)}
    assert (state(mos, said), mos.get(made, user="maya").text) == ("archived", RIGHT)
    assert [hit.id for hit in mos.search("where does maya live", user="maya")] == [made]
    assert merged(mos) == []


@pytest.mark.parametrize("which", [0, 1])
def test_an_erase_of_one_takes_the_other_along(mos: MOS, which: int) -> None:
    pair = corrected(mos)
    receipt = mos.erase(pair[which], user="maya")
    assert set(pair) <= set(receipt.erased)
    assert mos.list(user="maya") == []


def test_what_was_derived_in_the_branch_turns_stale_with_its_source(mos: MOS) -> None:
    said, copy = branched(mos)
    mos.add("Porto has bridges.", user="maya", cube=BRANCH, derived_from=[copy])
    (made,) = merged(mos)
    assert links(mos, made) == {("derived_from", said)}
    mos.update(said, "I live in Rome.", user="maya")
    assert mos.get(made, user="maya").header.stale
    mos.erase(said, user="maya")
    assert mos.list(user="maya") == []


def test_links_between_what_is_on_both_sides_and_what_is_new_are_drawn(mos: MOS) -> None:
    said, copy = branched(mos)
    one, two = mos.add(["The bridge is old.", "The river is wide."], user="maya", cube=BRANCH).ids
    mos.link(copy, Relation.MENTIONS, one, user="maya")
    mos.link(one, Relation.RELATES_TO, two, user="maya")
    made = dict(zip(("one", "two"), merged(mos), strict=True))
    assert links(mos, said) == {("mentions", made["one"])}
    assert links(mos, made["one"]) >= {("relates_to", made["two"])}


def test_what_was_taken_away_in_the_cube_since_is_not_drawn_again(mos: MOS) -> None:
    one, two = mos.add(["The bridge is old.", "The river is wide."], user="maya").ids
    mos.link(one, Relation.MENTIONS, two, user="maya")
    mos.fork(BRANCH, user="maya")
    mos.unlink(one, Relation.MENTIONS, two, user="maya")
    assert merged(mos) == []
    assert links(mos, one) == set()


def test_a_second_merge_brings_what_was_linked_after_the_first(mos: MOS) -> None:
    said, copy = branched(mos)
    new = mos.add("The bridge is old.", user="maya", cube=BRANCH).id
    (made,) = merged(mos)
    assert links(mos, said) == set()
    mos.link(copy, Relation.MENTIONS, new, user="maya")
    assert merged(mos) == []
    assert links(mos, said) == {("mentions", made)}
    mos.unlink(said, Relation.MENTIONS, made, user="maya")
    assert merged(mos) == []
    assert links(mos, said) == set()


def test_what_the_cube_says_otherwise_by_now_is_not_archived(mos: MOS) -> None:
    said, copy = branched(mos)
    mos.correct(copy, RIGHT, user="maya", cube=BRANCH)
    mos.update(said, "I live in Rome.", user="maya")
    (made,) = merged(mos)
    assert links(mos, made) == {("replaces", said)}
    assert state(mos, said) != "archived"


def test_a_hold_keeps_what_was_corrected_in_a_branch_as_it_stands(mos: MOS) -> None:
    said, copy = branched(mos)
    mos.correct(copy, RIGHT, user="maya", cube=BRANCH)
    mos.freeze(said, user="maya")
    (made,) = merged(mos)
    assert (state(mos, said), links(mos, made)) == ("frozen", {("replaces", said)})


def test_nobody_hands_a_memory_of_others_over_by_way_of_a_branch(mos: MOS) -> None:
    """Ben owns his copies, so he may say what they rest on: there, not in the cube."""
    mos.create_cube("teams/a", user="maya")
    for permission in ("read", "write"):
        mos.share(cube="teams/a", to="ben", permission=permission, user="maya")
    hers, his = (
        mos.add("The bridge is old.", user="maya", cube="teams/a").id,
        mos.add("The river is wide.", user="ben", cube="teams/a").id,
    )
    mos.fork("users/ben/try", user="ben", cube="teams/a")
    copies = {each.text: each.id for each in mos.list(user="ben", cube="users/ben/try")}
    bridge, river = copies["The bridge is old."], copies["The river is wide."]
    mos.link(bridge, Relation.DERIVED_FROM, river, user="ben")
    mos.link(bridge, Relation.MENTIONS, river, user="ben")
    mos.merge_branch("users/ben/try", user="ben")
    assert links(mos, hers) == {("mentions", his)}
    mos.erase(his, user="maya")
    assert [each.id for each in mos.list(user="maya", cube="teams/a")] == [hers]
