"""Facts drawn from turns: kept beside their source, contradicted, confirmed and withdrawn."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from memos_integrations import MOS, Settings
from memos_integrations.cube.facts import (
    Extraction,
    Fact,
    FactKind,
    Mention,
    TimeSpan,
    TurnText,
)
from memos_integrations.testing.fakes import ManualClock

_LIVES = re.compile(r"(?:I|i) (?P<no>don't |no longer )?live in (?P<place>\w+)")
_LIKES = re.compile(r"I (?P<no>no longer |don't )?like (?P<what>\w+)")
_DAY = 86_400_000_000


class ScriptedExtractor:
    """Understands two sentences; enough to drive everything behind it."""

    name = "scripted/1"

    def __init__(self) -> None:
        self.read: list[str] = []

    def extract(self, turns: Sequence[TurnText]) -> list[Extraction]:
        self.read += [turn.text for turn in turns]
        return [self._one(turn) for turn in turns]

    def _one(self, turn: TurnText) -> Extraction:
        who = turn.speaker or "user"
        facts: list[Fact] = []
        mentions: list[Mention] = []
        for m in _LIVES.finditer(turn.text):
            place = m["place"]
            negated = m["no"] is not None
            facts.append(
                Fact(
                    FactKind.ATTRIBUTE,
                    who,
                    "lives_in",
                    place,
                    f"{who} {'does not live' if negated else 'lives'} in {place}",
                    m.start(),
                    m.end(),
                    single=True,
                    negated=negated,
                )
            )
            mentions.append(Mention(place, "place", m.start("place"), m.end("place")))
        facts += [
            Fact(
                FactKind.PREFERENCE,
                who,
                "likes",
                m["what"],
                f"{who} likes {m['what']}" if m["no"] is None else f"{who} dislikes {m['what']}",
                m.start(),
                m.end(),
                negated=m["no"] is not None,
            )
            for m in _LIKES.finditer(turn.text)
        ]
        times = [TimeSpan(turn.time, turn.time + _DAY, "day", 0, 5)] if "today" in turn.text else []
        return Extraction(tuple(facts), tuple(mentions), tuple(times))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def mos(clock: ManualClock) -> Iterator[MOS]:
    with MOS(
        embedder=None,
        clock=clock,
        extractor=ScriptedExtractor(),
        settings=Settings(worker=False),
    ) as opened:
        yield opened


def tell(mos: MOS, clock: ManualClock, text: str, **given: object) -> str:
    clock.advance(seconds=3600)
    done = mos.add(text, user="maya", **given)  # type: ignore[arg-type]
    mos.wait()
    return done.id


def facts_of(mos: MOS) -> dict[str, object]:
    rows = mos.list(user="maya", filter={"model": "scripted/1", "state": "activated"})
    return {row.text: row.header.valid_to for row in rows}


def test_a_turn_becomes_a_fact_of_its_own_with_its_quote_and_source(
    mos: MOS, clock: ManualClock
) -> None:
    turn = tell(mos, clock, "Hello! I live in Berlin, you know.", tags=["x"], info={"a": 1})
    (fact,) = mos.list(user="maya", filter={"model": "scripted/1"})
    assert fact.text == "maya lives in Berlin"
    assert fact.header.memory_type == "user"
    assert fact.header.origin == "inference"
    assert fact.header.state == "activated"
    assert fact.header.tags == ()
    assert fact.header.info == {}
    assert fact.header.time == mos.get(turn, user="maya").header.time
    (step,) = fact.header.provenance
    assert (step.source, step.quote) == (turn, "I live in Berlin")
    assert [s.id for s in mos.provenance(fact.id, user="maya").sources] == [turn]


def test_a_later_fact_of_the_slot_ends_the_earlier_one_and_links_both(
    mos: MOS, clock: ManualClock
) -> None:
    tell(mos, clock, "I live in Paris")
    tell(mos, clock, "I live in Berlin")
    old, new = sorted(mos.list(user="maya", filter={"model": "scripted/1"}), key=lambda f: f.id)
    assert old.header.valid_to == new.header.valid_from
    assert new.header.valid_to is None
    links = {(e.source, e.relation.value, e.target) for e in mos.links(new.id, user="maya")}
    assert {(new.id, "supersedes", old.id), (new.id, "contradicts", old.id)} <= links
    assert mos.check().sound


def current(mos: MOS, **given: object) -> list[str]:
    return [f.text for f in mos.facts(user="maya", **given)]  # type: ignore[arg-type]


def test_facts_tell_what_holds_what_held_and_what_took_its_place(
    mos: MOS, clock: ManualClock
) -> None:
    first = tell(mos, clock, "I live in Paris")
    between = clock.now()
    tell(mos, clock, "I live in Berlin")
    assert current(mos) == ["maya lives in Berlin"]
    assert current(mos, valid_at=between) == ["maya lives in Paris"]
    old, new = mos.facts("maya", "lives_in", user="maya", history=True)
    assert (old.value, old.source, old.quote) == ("Paris", first, "I live in Paris")
    assert (old.superseded_by, old.valid_to) == (new.id, new.valid_from)
    assert new.superseded_by is None
    assert mos.facts("bob", user="maya") == []
    assert mos.facts(attribute="likes", user="maya") == []


def test_the_past_answers_with_the_facts_it_knew(mos: MOS, clock: ManualClock) -> None:
    tell(mos, clock, "I live in Paris")
    then = clock.now()
    tell(mos, clock, "I live in Berlin")
    (known,) = mos.as_of(then).facts(user="maya")
    assert (known.value, known.valid_to) == ("Paris", None)


def test_the_same_told_twice_is_one_fact_with_two_sources(mos: MOS, clock: ManualClock) -> None:
    one = tell(mos, clock, "I live in Paris")
    two = tell(mos, clock, "You know that I live in Paris!")
    (fact,) = mos.facts(user="maya")
    assert fact.sources == (one, two)
    mos.delete(one, user="maya")
    mos.wait()
    (fact,) = mos.facts(user="maya")
    assert fact.sources == (two,)


def test_an_older_message_that_arrives_late_is_put_in_its_place(
    mos: MOS, clock: ManualClock
) -> None:
    early, middle = clock.now(), clock.now() + timedelta(days=1)
    clock.advance(seconds=7 * 86_400)
    for time, place in ((early, "Paris"), (clock.now(), "Berlin"), (middle, "Rome")):
        mos.add({"role": "user", "content": f"I live in {place}", "time": time}, user="maya")
        mos.wait()
    held = [(f.value, f.valid_to) for f in mos.facts(user="maya", history=True)]
    assert held == [("Paris", middle), ("Rome", clock.now()), ("Berlin", None)]


def test_a_denial_ends_what_it_denies_and_nothing_else(mos: MOS, clock: ManualClock) -> None:
    tell(mos, clock, "I like jazz and I like tea")
    tell(mos, clock, "I no longer like jazz")
    assert current(mos, attribute="likes") == ["maya likes tea", "maya dislikes jazz"]


def test_less_trusted_words_never_end_a_fact_a_user_told(mos: MOS, clock: ManualClock) -> None:
    tell(mos, clock, "I live in Paris")
    tell(mos, clock, "I live in Berlin", trust="web")
    told, claimed = mos.facts(user="maya")
    assert (told.value, told.valid_to) == ("Paris", None)
    assert told.conflicts == (claimed.id,)


def test_a_frozen_fact_is_never_changed(mos: MOS, clock: ManualClock) -> None:
    tell(mos, clock, "I live in Paris")
    (held,) = mos.facts(user="maya")
    mos.freeze(held.id, user="maya")
    version = mos.get(held.id, user="maya").version
    tell(mos, clock, "I live in Berlin")
    old, new = mos.facts(user="maya")
    assert mos.get(held.id, user="maya").version == version
    assert old.conflicts == (new.id,)


def test_a_corrected_turn_takes_its_fact_back_and_what_it_had_ended_holds_again(
    mos: MOS, clock: ManualClock
) -> None:
    tell(mos, clock, "I live in Paris")
    turn = tell(mos, clock, "I live in Berlin")
    mos.update(turn, "I visited Berlin", user="maya")
    assert current(mos) == []  # at once: neither the old fact nor what it had ended
    mos.wait()
    (fact,) = mos.facts(user="maya")
    assert (fact.value, fact.valid_to, fact.superseded_by) == ("Paris", None, None)
    gone = next(f for f in mos.facts(user="maya", history=True) if f.value == "Berlin")
    assert gone.item.header.state == "archived"
    assert mos.history(gone.id, user="maya")[-1].reason == "source corrected"
    mos.rollback(turn, version=2, user="maya")
    mos.wait()
    assert current(mos) == ["maya lives in Berlin"]
    assert mos.check().sound


def test_a_fact_that_is_still_said_after_a_correction_is_confirmed(
    mos: MOS, clock: ManualClock
) -> None:
    turn = tell(mos, clock, "I live in Berlin")
    (before,) = mos.facts(user="maya")
    mos.update(turn, "Oh: I live in Berlin, near the canal", user="maya")
    mos.wait()
    (after,) = mos.facts(user="maya")
    assert after.id == before.id
    assert not after.item.header.stale
    links = mos.links(after.id, user="maya")
    newest = mos.get(turn, user="maya").version
    (link,) = [e for e in links if e.relation.value == "derived_from"]
    assert mos.get(turn, version=link.target_version, user="maya").text == (
        "Oh: I live in Berlin, near the canal"
    )
    assert link.target_version is not None
    assert link.target_version <= newest


@pytest.mark.parametrize("step", ["archive", "delete", "quarantine", "expire"])
def test_what_takes_a_turn_away_takes_its_facts_away(
    mos: MOS, clock: ManualClock, step: str
) -> None:
    tell(mos, clock, "I live in Paris")
    ttl = {"ttl_seconds": 60.0} if step == "expire" else {}
    turn = tell(mos, clock, "I live in Berlin", source="mail", **ttl)
    match step:
        case "archive":
            mos.archive(turn, user="maya")
        case "delete":
            mos.delete(turn, user="maya")
        case "quarantine":
            mos.quarantine("mail", user="maya")
        case _:
            clock.advance(seconds=61)
            mos.expire_due()
    assert "maya lives in Berlin" not in current(mos)
    mos.wait()
    assert current(mos) == ["maya lives in Paris"]
    assert not [
        h for h in mos.search("Where does maya live, Berlin?", user="maya") if "Berlin" in h.text
    ]
    assert mos.check().sound


@pytest.mark.parametrize("step", ["archive", "quarantine"])
def test_what_brings_a_turn_back_brings_its_facts_back(
    mos: MOS, clock: ManualClock, step: str
) -> None:
    tell(mos, clock, "I live in Paris")
    turn = tell(mos, clock, "I live in Berlin", source="mail")
    if step == "archive":
        mos.archive(turn, user="maya")
        mos.wait()
        mos.activate(turn, user="maya")
    else:
        mos.quarantine("mail", user="maya")
        mos.wait()
        mos.release("mail", user="maya")
    mos.wait()
    assert current(mos) == ["maya lives in Berlin"]
    assert len(mos.facts(user="maya", history=True)) == 2


def test_an_erased_turn_leaves_no_fact_and_what_it_had_ended_holds_again(
    mos: MOS, clock: ManualClock
) -> None:
    tell(mos, clock, "I live in Paris")
    turn = tell(mos, clock, "I live in Berlin, today")
    receipt = mos.erase(turn, user="maya")
    assert receipt.scan.found == 0
    assert len(receipt.erased) == 2
    assert current(mos) == ["maya lives in Paris"]
    (fact,) = mos.facts(user="maya", history=True)
    assert fact.valid_to is None
    assert b"Berlin" not in Path(mos.path).read_bytes()
    assert mos.check().sound


def test_facts_stand_behind_their_source_in_listings(mos: MOS, clock: ManualClock) -> None:
    tell(mos, clock, "I live in Paris")
    assert [m.text for m in mos.list(user="maya")] == ["I live in Paris"]
    assert mos.count(user="maya") == 1
    assert mos.stats(user="maya")["memories"] == 1
    assert mos.count(user="maya", filter={"memory_type": "user"}) == 1


def test_running_the_fine_stage_again_makes_no_second_fact(mos: MOS, clock: ManualClock) -> None:
    tell(mos, clock, "I live in Paris and I like tea")
    before = [(f.id, f.item.version) for f in mos.facts(user="maya")]
    mos.reembed(user="maya")
    mos.wait()
    assert [(f.id, f.item.version) for f in mos.facts(user="maya", history=True)] == before


def test_personal_data_is_masked_before_anything_is_read(clock: ManualClock) -> None:
    reader = ScriptedExtractor()
    with MOS(embedder=None, clock=clock, extractor=reader, settings=Settings(worker=False)) as mos:
        tell(mos, clock, "Mail me at ann.smith@example.org. I live in Paris")
        (fact,) = mos.facts(user="maya")
    assert fact.value == "Paris"
    assert "example.org" not in "".join(reader.read)


def test_tools_and_documents_are_not_read_for_facts(mos: MOS, clock: ManualClock) -> None:
    tell(mos, clock, {"role": "tool", "content": "I live in Paris"})  # type: ignore[arg-type]
    tell(mos, clock, "I live in Rome", memory_type="document")
    assert mos.facts(user="maya") == []


def test_an_assistant_states_no_wishes_and_never_ends_what_a_user_said(
    mos: MOS, clock: ManualClock
) -> None:
    tell(mos, clock, "I live in Paris")
    said = {"role": "assistant", "name": "maya", "content": "I live in Berlin. I like tea"}
    tell(mos, clock, said)  # type: ignore[arg-type]
    assert current(mos, attribute="likes") == []
    assert mos.facts(user="maya")[0].value == "Paris"
    assert mos.facts(user="maya")[0].valid_to is None


def test_without_extraction_words_are_all_that_is_kept(clock: ManualClock) -> None:
    settings = Settings(worker=False, extract=False)
    with MOS(embedder=None, clock=clock, extractor=ScriptedExtractor(), settings=settings) as mos:
        tell(mos, clock, "I live in Paris")
        assert mos.facts(user="maya", history=True) == []


def test_whoever_may_not_see_the_turn_may_not_see_its_fact(mos: MOS, clock: ManualClock) -> None:
    turn = tell(mos, clock, "I live in Paris")
    mos.share(to="bob", user="maya")
    assert len(mos.facts(user="bob", cube="users/maya")) == 1
    mos.deny(turn, to="bob", user="maya")
    assert mos.facts(user="bob", cube="users/maya", history=True) == []
    mos.revoke(turn, to="bob", denial=True, user="maya")
    mos.set_visibility("private", turn, user="maya")
    assert mos.facts(user="bob", cube="users/maya", history=True) == []


def test_a_fork_has_the_facts_and_follows_its_own_changes(mos: MOS, clock: ManualClock) -> None:
    tell(mos, clock, "I live in Paris")
    tell(mos, clock, "I live in Berlin")
    mos.fork("branches/maya", user="maya")
    mos.wait()
    assert [f.value for f in mos.facts(user="maya", cube="branches/maya")] == ["Berlin"]
    assert mos.count(user="maya", cube="branches/maya") == 2
    mos.add("I live in Rome", user="maya", cube="branches/maya")
    mos.wait()
    assert [f.value for f in mos.facts(user="maya", cube="branches/maya")] == ["Rome"]
    assert current(mos) == ["maya lives in Berlin"]
    clock.advance(seconds=60)
    mos.merge_branch("branches/maya", user="maya")
    mos.wait()
    assert current(mos) == ["maya lives in Rome"]
    assert mos.count(user="maya") == 3
    assert mos.check().sound


def test_a_loaded_cube_has_its_facts(mos: MOS, clock: ManualClock, tmp_path: object) -> None:
    tell(mos, clock, "I live in Paris")
    tell(mos, clock, "I live in Berlin, today")
    path = f"{tmp_path}/maya.memos"
    mos.dump(path, user="maya")
    mos.load(path, user="maya", cube="copies/maya")
    mos.wait()
    held = mos.facts(user="maya", cube="copies/maya", history=True)
    assert [(f.value, f.valid_to is None) for f in held] == [("Paris", False), ("Berlin", True)]
    assert mos.count(user="maya", cube="copies/maya") == 2
    assert mos.check().sound


def test_a_cube_rolled_back_holds_what_it_held(mos: MOS, clock: ManualClock) -> None:
    tell(mos, clock, "I live in Paris")
    then = clock.now()
    tell(mos, clock, "I live in Berlin")
    mos.rollback(to=then, user="maya")
    mos.wait()
    (fact,) = mos.facts(user="maya")
    assert (fact.value, fact.valid_to) == ("Paris", None)
    assert mos.check().sound
