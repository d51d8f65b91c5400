"""The graph: links and names followed step by step, never over a memory that is hidden."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from memos_integrations import MOS, Settings
from memos_integrations.cube.errors import InvalidInput
from memos_integrations.interface.graph_verbs import Related
from memos_integrations.operation.facts.keys import entity_key
from memos_integrations.operation.operator.entity_graph import mentioned, spelled


@pytest.fixture
def mos(tmp_path: Path) -> Iterator[MOS]:
    with MOS(tmp_path / "m.db", embedder=None, settings=Settings(worker=False)) as opened:
        yield opened


def told(mos: MOS, text: str, *names: str, user: str = "maya") -> str:
    """A memory that names these, as the fine stage would note it."""
    item = mos.add(text, user=user).id

    def note(tx) -> None:  # type: ignore[no-untyped-def]
        iid, cid = tx.numbers([item])[item]
        for name in names:
            tx.execute("INSERT INTO mention VALUES (?, ?, ?)", (cid, entity_key(name), iid))

    mos._rooms.vault.maintain(note)
    return item


def ids(found: list[Related]) -> list[str]:
    return [each.item.id for each in found]


def chain(mos: MOS, count: int = 4) -> list[str]:
    items = [mos.add(f"Link number {n}", user="maya").id for n in range(count)]
    for left, right in pairwise(items):
        mos.link(left, "follows", right, user="maya")
    return items


# --- links ---------------------------------------------------------------------------------


def test_links_are_followed_both_ways_up_to_the_depth(mos: MOS) -> None:
    a, b, c, d = chain(mos)
    assert set(ids(mos.related(b, user="maya"))) == {a, c}
    found = mos.related(a, depth=3, user="maya")
    assert ids(found) == [b, c, d]
    assert [each.depth for each in found] == [1, 2, 3]
    assert found[-1].relations == ("follows", "follows", "follows")


def test_only_the_relations_named_are_followed(mos: MOS) -> None:
    a, b, *_ = chain(mos)
    other = mos.add("An aside", user="maya").id
    mos.link(a, "relates_to", other, user="maya")
    assert ids(mos.related(a, relations=["relates_to"], user="maya")) == [other]
    assert ids(mos.related(a, relations=["follows"], user="maya")) == [b]


def test_cycles_end(mos: MOS) -> None:
    items = chain(mos)
    mos.link(items[-1], "follows", items[0], user="maya")
    assert set(ids(mos.related(items[0], depth=16, user="maya"))) == set(items[1:])


def test_walk_never_leads_over_a_hidden_memory(mos: MOS) -> None:
    a, b, *_ = chain(mos)
    mos.share(to="bob", user="maya")
    assert len(mos.related(a, depth=3, user="bob", cube="users/maya")) == 3
    mos.deny(b, to="bob", user="maya")
    assert mos.related(a, depth=3, user="bob", cube="users/maya") == []


def test_deleted_memory_and_what_lies_behind_it_are_not_reached(mos: MOS) -> None:
    a, b, *_ = chain(mos)
    mos.delete(b, user="maya")
    assert mos.related(a, depth=3, user="maya") == []


def test_the_past_shows_the_links_of_then(mos: MOS) -> None:
    a, b, *_ = chain(mos, 2)
    then = max(mos.get(i, user="maya").header.seq for i in (a, b))
    with mos._rooms.vault.reading(mos._scope(user="maya").principal) as reading:
        head = reading.connection.execute("SELECT max(seq) FROM outbox").fetchone()[0]
    mos.unlink(a, "follows", b, user="maya")
    assert mos.related(a, user="maya") == []
    assert ids(mos.as_of(head).related(a, user="maya")) == [b]
    assert mos.as_of(then).related(a, user="maya") == []


@pytest.mark.parametrize(
    "asked",
    [
        {"depth": 0},
        {"depth": 17},
        {"limit": 0},
        {"limit": 10**9},
        {"relations": ["likes"]},
        {"relations": "follows"},
    ],
)
def test_senseless_questions_are_refused(mos: MOS, asked: dict[str, object]) -> None:
    item = mos.add("x", user="maya").id
    with pytest.raises(InvalidInput):
        mos.related(item, user="maya", **asked)  # type: ignore[arg-type]


# --- names ---------------------------------------------------------------------------------


def test_name_finds_the_memories_that_hold_it_and_what_hangs_on_them(mos: MOS) -> None:
    first = told(mos, "Ines plays the violin", "Ines")
    second = told(mos, "I met Ines and Tom", "Ines", "Tom")
    third = told(mos, "Tom sold his car", "Tom")
    told(mos, "The rent is due")
    found = mos.related("ines", user="maya")
    assert {each.item.id: each.depth for each in found} == {first: 0, second: 0, third: 1}
    assert {each.relations for each in found if each.depth} == {("mentions",)}


def test_memories_hang_together_by_a_shared_name(mos: MOS) -> None:
    first = told(mos, "Ines plays the violin", "Ines")
    second = told(mos, "I met Ines", "Ines")
    [found] = mos.related(first, user="maya")
    assert (found.item.id, found.relations) == (second, ("mentions",))
    assert mos.related(first, relations=["follows"], user="maya") == []


def test_unknown_name_finds_nothing(mos: MOS) -> None:
    told(mos, "Ines plays the violin", "Ines")
    assert mos.related("Nobody", user="maya") == []


def test_names_of_another_user_are_not_found(mos: MOS) -> None:
    told(mos, "Ines plays the violin", "Ines")
    assert mos.related("Ines", user="bob") == []
    assert mos.entities(user="bob") == []


def test_entities_are_counted_and_written_as_they_were(mos: MOS) -> None:
    told(mos, "Ines plays the violin", "Ines")
    told(mos, "I met Ines and the Acme Corp", "Ines", "Acme Corp")
    told(mos, "我喜欢北京烤鸭", "北京")
    found = {each.name: each.memories for each in mos.entities(user="maya")}
    assert found == {"Ines": 2, "Acme Corp": 1, "北京": 1}


def test_masked_name_is_not_told(mos: MOS) -> None:
    told(mos, "Write to ines@example.org today", "ines@example.org")
    mos.share(to="bob", user="maya")
    assert mos.entities(user="bob", cube="users/maya") == []


def test_mentioned_proposes_those_that_name_most_first(mos: MOS) -> None:
    one = told(mos, "Ines plays", "Ines")
    both = told(mos, "Ines and Tom", "Ines", "Tom")
    told(mos, "The rent is due")
    scope = mos._scope(user="maya")
    with mos._reading(scope, action="test") as reading:
        numbers = reading.numbers([one, both])
        cid = numbers[one][1]
        found = mentioned(reading, cid, ["Tom", "INES"], 10)
        assert found == [numbers[both][0], numbers[one][0]]
        assert mentioned(reading, cid, ["Tom", "Ines"], 1) == [numbers[both][0]]
        assert mentioned(reading, cid, [], 10) == []


def test_erased_memory_leaves_no_name(mos: MOS) -> None:
    item = told(mos, "Ines plays the violin", "Ines")
    mos.erase(item, user="maya")
    assert mos.entities(user="maya") == []
    assert mos.related("Ines", user="maya") == []


def test_hub_is_bounded(mos: MOS) -> None:
    items = [told(mos, f"Ines, note {n}", "Ines") for n in range(30)]
    assert len(mos.related(items[0], limit=10, user="maya")) == 10


def test_name_is_found_in_any_writing() -> None:
    keys = {entity_key("New York City"), entity_key("maya")}
    assert set(spelled("MAYA's trip to New York City!", keys).values()) == {"New York City", "MAYA"}
    assert spelled("nothing here", keys) == {}
