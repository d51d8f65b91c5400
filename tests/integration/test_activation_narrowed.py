"""A memory that fewer people see from now on takes along what was computed of it for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra activation")
transformers = pytest.importorskip("transformers", reason="needs the extra activation")

from memos_integrations import MOS, Settings  # noqa: E402
from memos_integrations.infrastructure.activation import codec  # noqa: E402

# Two threads on busy cores wait for each other; one is faster for tensors of this size.
from tests.integration.hosted_parts import untaught  # noqa: E402

torch.set_num_threads(1)
SETTINGS = Settings(worker=False, extract=False, synchronous="normal")
TEAM = "projects/team"
PLAIN = "The team meets on Monday in the long room beside the old workshop, all of it"
SECRET = "My salary is 91400 a year and I will leave in June, as nobody here knows by now"


@pytest.fixture(scope="module")
def model() -> Any:
    return untaught()[0]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.db"


@pytest.fixture
def mos(path: Path) -> Iterator[MOS]:
    """A cube of olga's, which alice and bob read and write."""
    with MOS(path, embedder=None, settings=SETTINGS) as opened:
        opened.create_cube(TEAM, user="olga")
        for name in ("alice", "bob"):
            for permission in ("read", "write"):
                opened.share(cube=TEAM, to=name, permission=permission, user="olga")
        opened.add(said("olga", PLAIN), user="olga", cube=TEAM, time="2026-01-05")
        yield opened


def said(name: str, words: str) -> dict[str, str]:
    return {"role": "user", "name": name, "content": words}


Ask = Callable[..., Any]


@pytest.fixture
def ask(model: Any) -> Ask:
    tokenizer = transformers.ByT5Tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}\n{% endfor %}"

    def one(mos: MOS, user: str, where: Any = None, **about: Any) -> Any:
        with mos.activated(
            model, tokenizer, query="hm?", user=user, cube=TEAM, filter=where, **about
        ) as given:
            return given

    return one


def told(mos: MOS) -> str:
    """Id of a memory of alice's that all of the team see."""
    return str(mos.add(said("alice", SECRET), user="alice", cube=TEAM, time="2026-01-06").id)


def guessed(mos: MOS, ask: Ask, item: str, **about: Any) -> Any:
    """What bob is given for the very prompt that alice had, by a guess of his own."""
    mos.add(said("alice", SECRET), user="bob", cube=TEAM, time="2026-01-06")
    return ask(mos, "bob", {"id": {"!=": item}}, **about)


def make_private(mos: MOS, item: str) -> None:
    mos.set_visibility("private", item, user="olga")


def deny(mos: MOS, item: str) -> None:
    mos.deny(item, to="bob", user="olga")


def deny_again(mos: MOS, item: str) -> None:
    """In place of a denial that did not reach the reading."""
    mos.deny(item, to="bob", permission="write", user="olga")
    mos.deny(item, to="bob", user="olga")


WAYS = pytest.mark.parametrize("narrow", [make_private, deny, deny_again])


@WAYS
def test_a_guess_finds_nothing_that_was_computed_while_all_saw_it(
    mos: MOS, ask: Ask, narrow: Any
) -> None:
    item = told(mos)
    ask(mos, "alice")
    assert ask(mos, "bob").computed_tokens == 0  # as long as all see it
    narrow(mos, item)
    assert SECRET not in [each.text for each in mos.list(user="bob", cube=TEAM)]
    assert guessed(mos, ask, item).cached_tokens == 0


@WAYS
def test_a_part_that_was_computed_by_itself_goes_as_well(mos: MOS, ask: Ask, narrow: Any) -> None:
    item = told(mos)
    ask(mos, "alice", composition="linked")
    assert ask(mos, "bob", composition="linked").why.startswith("1 of 1 parts were stored")
    narrow(mos, item)
    guess = guessed(mos, ask, item, composition="linked")
    assert guess.why.startswith("0 of 1 parts were stored")


@WAYS
def test_its_file_is_withdrawn_in_the_same_transaction(
    mos: MOS, path: Path, ask: Ask, narrow: Any
) -> None:
    item = told(mos)
    for _ in range(2):
        ask(mos, "alice")
    assert [each.withdrawn for each in mos.caches(user="olga", cube=TEAM)] == [False]
    narrow(mos, item)
    assert [each.withdrawn for each in mos.caches(user="olga", cube=TEAM)] == [True]
    with MOS(path, embedder=None, settings=SETTINGS) as later:
        assert guessed(later, ask, item).cached_tokens == 0


@WAYS
def test_another_process_serves_it_no_longer(mos: MOS, path: Path, ask: Ask, narrow: Any) -> None:
    item = told(mos)
    ask(mos, "alice")
    with MOS(path, embedder=None, settings=SETTINGS) as elsewhere:
        narrow(elsewhere, item)
    assert guessed(mos, ask, item).cached_tokens == 0


@WAYS
def test_what_was_read_before_and_computed_after_is_not_kept(
    mos: MOS, ask: Ask, narrow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(mos, "bob", {"id": "none"})  # the first use of a model tries whether caches are restored
    item = told(mos)
    kept = codec.keep

    def slowly(*given: Any, **named: Any) -> Any:
        monkeypatch.undo()
        narrow(mos, item)
        return kept(*given, **named)

    monkeypatch.setattr(codec, "keep", slowly)
    assert ask(mos, "alice").computed_tokens > 192
    assert mos.caches(user="olga", cube=TEAM) == []
    assert guessed(mos, ask, item).cached_tokens == 0


@WAYS
def test_who_still_sees_it_computes_it_once_more_and_then_finds_it(
    mos: MOS, ask: Ask, narrow: Any
) -> None:
    item = told(mos)
    for _ in range(2):
        ask(mos, "alice")
    narrow(mos, item)
    assert ask(mos, "alice").computed_tokens > 128
    assert ask(mos, "alice").computed_tokens == 0


def test_what_is_not_made_of_it_stays(mos: MOS, ask: Ask) -> None:
    item = told(mos)
    other = {"id": {"!=": item}}
    for _ in range(2):
        ask(mos, "alice", other)
    make_private(mos, item)
    assert ask(mos, "bob", other).computed_tokens == 0


def test_a_grant_withdraws_nothing(mos: MOS, ask: Ask) -> None:
    item = told(mos)
    ask(mos, "alice")
    mos.share(item, to="eve", user="olga")
    mos.deny(item, to="bob", permission="write", user="olga")
    assert ask(mos, "alice").computed_tokens == 0


def test_a_file_of_a_quarantined_memory_is_withdrawn(mos: MOS, path: Path, ask: Ask) -> None:
    words = said("alice", SECRET)
    mos.add(words, user="alice", cube=TEAM, time="2026-01-06", source="crm")
    for _ in range(2):
        ask(mos, "alice")
    mos.quarantine("crm", user="olga", cube=TEAM)
    with MOS(path, embedder=None, settings=SETTINGS) as later:
        assert [each.withdrawn for each in later.caches(user="olga", cube=TEAM)] == [True]
        assert guessed(later, ask, "none").cached_tokens == 0


def test_a_branch_of_denied_memories_keeps_its_caches(mos: MOS, model: Any, ask: Ask) -> None:
    deny(mos, told(mos))
    mos.fork("projects/branch", user="olga", cube=TEAM)
    about: dict[str, Any] = {"query": "hm?", "user": "olga", "cube": "projects/branch"}
    for found in (False, True):
        with mos.activated(model, transformers.ByT5Tokenizer(), **about) as given:
            assert (given.cached_tokens > 0) is found
