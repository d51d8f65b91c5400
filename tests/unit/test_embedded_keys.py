"""Texts with vectors looked up by the keys they were put under: whose, when, and how many."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from memos_integrations import MOS, Settings, errors
from memos_integrations.cube.embedded import Embedded

CUBE = "users/alice/docs"


@pytest.fixture
def mos(tmp_path: Path) -> Iterator[MOS]:
    settings = Settings(worker=False, synchronous="normal")
    with MOS(tmp_path / "memory.db", embedder=None, settings=settings) as opened:
        yield opened


def put(mos: MOS, *keys: str, word: str = "text") -> None:
    texts = [Embedded(key, f"{word} of {key}", [1.0, 2.0]) for key in keys]
    mos.put_embedded(texts, model="m", user="alice", cube=CUBE)


def found(mos: MOS, *keys: str, user: str = "alice") -> dict[str, str]:
    items = mos.embedded(list(keys), user=user, cube=CUBE)
    return {key: item.text for key, item in items.items()}


def test_texts_are_found_by_key_and_only_those_that_are_there(mos: MOS) -> None:
    put(mos, "a", "b", "c")
    assert found(mos, "c", "a", "nothing") == {"a": "text of a", "c": "text of c"}
    assert found(mos) == {}


def test_replaced_text_is_found_once_and_the_past_keeps_the_old_one(mos: MOS) -> None:
    put(mos, "a")
    then = mos.embedded(["a"], user="alice", cube=CUBE)["a"].header.seq
    put(mos, "a", word="news")
    assert found(mos, "a") == {"a": "news of a"}
    past = mos.as_of(then).embedded(["a"], user="alice", cube=CUBE)
    assert past["a"].text == "text of a"


def test_deleted_archived_and_quarantined_texts_are_not_found(mos: MOS) -> None:
    put(mos, "a", "b", "c", "d")
    items = mos.embedded(["a", "b", "c"], user="alice", cube=CUBE)
    mos.delete(items["a"].id, user="alice", cube=CUBE)
    mos.archive(items["b"].id, user="alice", cube=CUBE)
    mos.erase(items["c"].id, user="alice", cube=CUBE)
    assert found(mos, "a", "b", "c", "d") == {"d": "text of d"}


def test_keys_of_a_closed_cube_tell_nothing(mos: MOS) -> None:
    put(mos, "a")
    with pytest.raises(errors.AccessDenied):
        found(mos, "a", user="bob")
    mos.share(to="bob", user="alice", cube=CUBE)
    assert found(mos, "a", user="bob") == {"a": "text of a"}
    mos.revoke(to="bob", user="alice", cube=CUBE)
    with pytest.raises(errors.AccessDenied):
        found(mos, "nothing", user="bob")


def test_personal_key_is_found_by_its_owner_and_not_by_a_reader_it_is_masked_for(mos: MOS) -> None:
    put(mos, "maya@example.org", "plain")
    mos.share(to="bob", user="alice", cube=CUBE)
    assert len(found(mos, "maya@example.org", "plain")) == 2
    assert found(mos, "maya@example.org", "plain", user="bob").keys() == {"plain"}


@pytest.mark.parametrize("wrong", ["a", None, [1], [None]], ids=str)
def test_keys_are_a_list_of_text(mos: MOS, wrong: object) -> None:
    with pytest.raises(errors.InvalidInput):
        mos.embedded(wrong, user="alice")  # type: ignore[arg-type]
