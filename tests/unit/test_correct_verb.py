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
