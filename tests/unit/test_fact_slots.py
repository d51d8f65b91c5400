"""Facts of one subject and attribute are looked up by their slot: the same, without the rest."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memos_integrations import MOS, Settings
from memos_integrations.infrastructure.vault.governed import Governed
from memos_integrations.operation.facts import arranging

QUIET = Settings(worker=False, synchronous="normal")
TEAM = "teams/acme"
SAID = [
    "I live in Lisbon.",
    "I moved to Oslo last month.",
    "I like jazz.",
    "I no longer like jazz.",
    "I like tea and cello.",
    "My sister Ann lives in Porto.",
    "I'm allergic to peanuts.",
    "I work at Siemens.",
]


@pytest.fixture
def mos(tmp_path: Path) -> Iterator[MOS]:
    with MOS(tmp_path / "m.db", embedder=None, settings=QUIET) as made:
        yield made


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each governed look-up was asked for."""
    counts: list[int] = []
    items: Callable[..., object] = Governed.items

    def counting(self: Governed, iids: list[int], **given: object) -> object:
        counts.append(len(iids))
        return items(self, iids, **given)

    monkeypatch.setattr(Governed, "items", counting)
    return counts


def team(mos: MOS) -> None:
    rng = random.Random(4)
    mos.create_cube(TEAM, user="maya")
    mos.share(to="sam", permission="write", user="maya", cube=TEAM)
    for turn in range(40):
        who = ("maya", "sam")[turn % 2]
        mos.add({"role": "user", "name": who, "content": rng.choice(SAID)}, user=who, cube=TEAM)
    mos.work()


def test_a_question_looks_at_the_facts_of_its_slot_alone(mos: MOS, looked_at: list[int]) -> None:
    mos.add([f"I like jam{n}." for n in range(300)] + ["I live in Lisbon."], user="ann")
    mos.work()
    looked_at.clear()
    assert mos.ask("Where do I live?", user="ann").value == "Lisbon"
    assert [fact.value for fact in mos.facts("ann", "lives_in", user="ann")] == ["Lisbon"]
    assert max(looked_at) <= 2
    assert len(mos.facts(attribute="likes", user="ann", limit=1000)) == 300


@pytest.mark.parametrize("history", [False, True])
def test_what_a_slot_gives_is_what_a_look_at_every_fact_gives(mos: MOS, history: bool) -> None:
    team(mos)
    view = mos.as_of(mos.version(cube=TEAM, user="maya"))
    for asked in (mos, view):
        every = asked.facts(user="maya", cube=TEAM, history=history, limit=10_000)
        assert len({(fact.subject, fact.attribute) for fact in every}) > 5
        for subject, attribute in {(fact.subject, fact.attribute) for fact in every}:
            found = asked.facts(
                subject.upper(), attribute, user="maya", cube=TEAM, history=history, limit=10_000
            )
            same = [f.id for f in every if (f.subject, f.attribute) == (subject, attribute)]
            assert [fact.id for fact in found] == same


def test_facts_of_several_owners_in_one_cube_are_all_found(mos: MOS) -> None:
    mos.create_cube(TEAM, user="maya")
    mos.share(to="sam", permission="write", user="maya", cube=TEAM)
    for who in ("maya", "sam"):
        mos.add("Tom lives in Oslo.", user=who, cube=TEAM)
    mos.work()
    found = mos.facts("Tom", "lives_in", user="maya", cube=TEAM, history=True)
    assert {fact.item.header.owner for fact in found} == {"user:maya", "user:sam"}


def test_a_fork_and_a_loaded_cube_answer_by_slot_as_well(mos: MOS, tmp_path: Path) -> None:
    mos.add("I live in Lisbon.", user="ann")
    mos.work()
    mos.fork("branches/ann", user="ann")
    assert mos.ask("Where do I live?", user="ann", cube="branches/ann").value == "Lisbon"
    mos.dump(tmp_path / "ann.memcube", user="ann")
    mos.load(tmp_path / "ann.memcube", user="ann", cube="users/ann/again")
    assert mos.ask("Where do I live?", user="ann", cube="users/ann/again").value == "Lisbon"


def test_statements_that_all_hold_beside_each_other_are_not_set_against_each_other(
    mos: MOS, monkeypatch: pytest.MonkeyPatch
) -> None:
    arranged: list[int] = []
    standings = arranging.standings
    monkeypatch.setattr(
        arranging, "standings", lambda facts: arranged.append(len(facts)) or standings(facts)
    )
    mos.add([f"I like jam{n}." for n in range(200)], user="ann")
    mos.work()
    assert arranged == []  # each task would look at all there are, and there are many tasks
    mos.add("I no longer like jam7.", user="ann")
    mos.work()
    assert arranged == [201]
    ended = [f.value for f in mos.facts("ann", "likes", user="ann", history=True) if f.valid_to]
    assert ended == ["jam7"]
