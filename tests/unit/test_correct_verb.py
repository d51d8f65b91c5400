"""A model corrects a memory: in its own words, once, and shown to no more people than before."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from memos_integrations import MOS, Settings
from memos_integrations.cube.errors import (
    AccessDenied,
    IdempotencyConflict,
    InvalidInput,
    ItemFrozen,
    NotFound,
)
from memos_integrations.testing.fakes import ManualClock

RIGHT = "Maya lives in Lyon."


@pytest.fixture
def mos(tmp_path: Path) -> Iterator[MOS]:
    clock = ManualClock(datetime(2026, 6, 1, tzinfo=UTC))
    with MOS(
        tmp_path / "m.db", embedder=None, clock=clock, settings=Settings(worker=False)
    ) as opened:
        yield opened
        assert opened.check().sound


def words(mos: MOS, user: str, cube: str | None = None) -> set[str]:
    listed = mos.list(user=user, cube=cube)
    return {item.text for item in listed if item.header.state != "archived"}


def test_own_inference_gets_a_new_version(mos: MOS) -> None:
    own = mos.add("Maya lives in Porto.", user="maya", trust="inference").id
    done = mos.correct(own, RIGHT, user="maya")
    assert (done.id, done.version, done.replaced) == (own, 2, None)
    assert words(mos, "maya") == {RIGHT}


def test_what_a_person_said_is_archived_and_the_models_words_stand_beside_it(mos: MOS) -> None:
    said = mos.add("I live in Porto.", user="maya", tags=["home"], memory_type="user").id
    done = mos.correct(said, RIGHT, user="maya", session="s1")
    assert done.replaced == said
    made, old = mos.get(done.id, user="maya"), mos.get(said, user="maya")
    assert (made.text, made.header.trust, made.header.origin) == (RIGHT, "inference", "inference")
    assert (made.header.tags, made.header.memory_type) == (("home",), "user")
    assert (made.header.info, made.header.conversation) == ({"replaces": said}, "s1")
    assert (old.text, old.header.state) == ("I live in Porto.", "archived")
    assert done.task_ids  # the fine stage reads the new words


@pytest.mark.parametrize("trust", ["user", "inference"])
def test_a_key_makes_it_once_and_names_one_request(mos: MOS, trust: str) -> None:
    said = mos.add("Porto it is.", user="maya", trust=trust).id
    first = mos.correct(said, RIGHT, user="maya", idempotency_key="k")
    assert mos.correct(said, RIGHT, user="maya", idempotency_key="k") == first
    assert mos.get(first.id, user="maya").version == first.version
    assert words(mos, "maya") == {RIGHT}
    with pytest.raises(IdempotencyConflict):
        mos.correct(said, "Maya lives in Rome.", user="maya", idempotency_key="k")


def test_nothing_is_left_where_the_old_memory_may_not_change(mos: MOS) -> None:
    said = mos.add("I live in Porto.", user="maya").id
    mos.freeze(said, reason="a hold", user="maya")
    with pytest.raises(ItemFrozen):
        mos.correct(said, RIGHT, user="maya")
    assert words(mos, "maya") == {"I live in Porto."}


def test_only_what_the_asker_may_write_is_corrected(mos: MOS) -> None:
    said = mos.add("I live in Porto.", user="maya").id
    with pytest.raises(NotFound):
        mos.correct(said, RIGHT, user="ben")
    mos.share(said, to="ben", user="maya")
    with pytest.raises(AccessDenied):
        mos.correct(said, RIGHT, user="ben")
    assert words(mos, "ben") == set()


def test_correction_is_seen_by_no_more_people_and_for_no_longer(mos: MOS) -> None:
    mos.create_cube("teams/t", user="maya")
    for name in ("ben", "cleo"):
        mos.share(to=name, cube="teams/t", permission="write", user="maya")
    secret = mos.add(
        "The code is 12.",
        user="maya",
        cube="teams/t",
        visibility="private",
        labels=["secret"],
        ttl_seconds=60,
    ).id
    open_to_ben = mos.add("The key is blue.", user="maya", cube="teams/t").id
    mos.deny(open_to_ben, to="cleo", user="maya")
    made = mos.correct(secret, "The code is 13.", user="maya", cube="teams/t")
    mos.correct(open_to_ben, "The key is red.", user="maya", cube="teams/t")
    assert words(mos, "ben", "teams/t") == {"The key is red."}
    assert words(mos, "cleo", "teams/t") == set()
    header = mos.get(made.id, user="maya").header
    assert (header.labels, header.expires) == (
        ("secret",),
        mos.get(secret, user="maya").header.expires,
    )


def test_what_is_quarantined_stays_so_in_a_models_words(mos: MOS) -> None:
    said = mos.add("I live in Porto.", user="maya", trust="web", source="page").id
    mos.quarantine(source="page", reason="a lie", user="maya")
    made = mos.correct(said, RIGHT, user="maya")
    assert mos.search("Lyon", user="maya") == []
    assert mos.get(made.id, user="maya").header.quarantined


# -- both halves of what was corrected -------------------------------------------------------------


@pytest.mark.parametrize("asked", ["said", "made"])
def test_an_erase_of_either_half_takes_both_and_their_copies(mos: MOS, asked: str) -> None:
    said = mos.add("My PIN is 481516.", user="maya").id
    mos.create_cube("teams/t", user="maya")
    copied = mos.add("My code is 7731.", user="maya", cube="teams/t").id
    mos.fork("teams/before", cube="teams/t", user="maya")
    again = mos.correct(copied, "The code is 7732.", user="maya", cube="teams/t").id
    mos.fork("teams/after", cube="teams/t", user="maya")
    made = mos.correct(said, "The PIN is 481517.", user="maya").id
    receipt = mos.erase({"said": said, "made": made}[asked], user="maya")
    assert (set(receipt.erased), receipt.not_allowed) == ({said, made}, 0)
    for gone in (said, made):
        with pytest.raises(NotFound):
            mos.get(gone, user="maya")
    receipt = mos.erase({"said": copied, "made": again}[asked], user="maya")
    assert len(receipt.erased) == 5
    for cube in ("teams/t", "teams/before", "teams/after"):
        assert mos.list(user="maya", cube=cube) == []


def test_a_half_in_a_fork_takes_its_other_half_there(mos: MOS) -> None:
    mos.create_cube("teams/t", user="maya")
    said = mos.add("My code is 7731.", user="maya", cube="teams/t").id
    mos.fork("teams/fork", cube="teams/t", user="maya")
    [copy] = mos.list(user="maya", cube="teams/fork")
    made = mos.correct(copy.id, "The code is 7732.", user="maya", cube="teams/fork").id
    assert set(mos.erase(made, user="maya", cube="teams/fork").erased) == {made, copy.id}
    assert mos.get(said, user="maya", cube="teams/t").text == "My code is 7731."


def test_what_a_correction_stood_for_and_is_not_its_authors_to_erase_is_told(mos: MOS) -> None:
    mos.create_cube("teams/t", user="maya")
    mos.share(to="ben", cube="teams/t", permission="write", user="maya")
    said = mos.add("My desk is 9.", user="maya", cube="teams/t").id
    made = mos.correct(said, "Maya's desk is 10.", user="ben").id  # into his own home
    receipt = mos.erase(made, user="ben")
    assert (receipt.erased, receipt.kept, receipt.not_allowed) == ((made,), (), 1)
    assert mos.get(said, user="maya", cube="teams/t").text == "My desk is 9."
    more = mos.add("My room is 3.", user="maya", cube="teams/t").id
    theirs = mos.correct(more, "Maya's room is 4.", user="ben").id
    assert mos.erase(more, user="maya", cube="teams/t").erased == (more,)  # what she may see
    with pytest.raises(NotFound):
        mos.get(theirs, user="ben")


def test_what_is_held_is_kept_and_named(mos: MOS) -> None:
    said = mos.add("I live in Porto.", user="maya").id
    made = mos.correct(said, RIGHT, user="maya").id
    mos.activate(said, user="maya")
    mos.freeze(said, reason="a hold", user="maya")
    receipt = mos.erase(made, user="maya")
    assert (receipt.erased, receipt.kept) == ((made,), (said,))


def test_a_correction_is_not_stale_because_what_it_replaces_is_archived(mos: MOS) -> None:
    said = mos.add("I live in Porto.", user="maya").id
    made = mos.correct(said, RIGHT, user="maya").id
    assert not mos.get(made, user="maya").header.stale
    [link] = mos.links(made, user="maya")
    assert (link.source, link.relation, link.target) == (made, "replaces", said)


def test_nobody_says_of_a_memory_that_it_replaces_another(mos: MOS) -> None:
    one, two = (mos.add(text, user="maya").id for text in ("One.", "Two."))
    with pytest.raises(InvalidInput, match="correct alone"):
        mos.link(one, "replaces", two, user="maya")
    made = mos.correct(one, "Three.", user="maya").id
    with pytest.raises(InvalidInput, match="correct alone"):
        mos.unlink(made, "replaces", one, user="maya")


def test_the_link_goes_along_with_a_dump(mos: MOS, tmp_path: Path) -> None:
    said = mos.add("I live in Porto.", user="maya").id
    mos.correct(said, RIGHT, user="maya")
    mos.dump(tmp_path / "a.mem", user="maya")
    with MOS(tmp_path / "n.db", embedder=None, settings=Settings(worker=False)) as other:
        other.load(tmp_path / "a.mem", user="maya")
        [now] = [item for item in other.list(user="maya") if item.text == RIGHT]
        assert len(other.erase(now.id, user="maya").erased) == 2
