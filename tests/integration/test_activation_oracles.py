"""Stored caches tell nobody what they may not read, and keep nothing of what was erased."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra activation")
transformers = pytest.importorskip("transformers", reason="needs the extra activation")

from memos_integrations import MOS, Principal, Settings  # noqa: E402
from memos_integrations.infrastructure.activation import codec  # noqa: E402
from memos_integrations.operation.transform.prompt import Turn  # noqa: E402

# Two threads on busy cores wait for each other; one is faster for tensors of this size.
from tests.integration.hosted_parts import untaught  # noqa: E402

torch.set_num_threads(1)
SETTINGS = Settings(worker=False, extract=False)
TEAM = "projects/team"
PLAIN = "The team meets on Monday in the long room beside the old workshop, all of it"
SECRET = "My salary is 91400 a year and I will leave in June, as maya@example.org knows as well"
MONDAY, TUESDAY = datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 1, 6, tzinfo=UTC)
TURNS: list[Turn] = [
    {"role": "user", "content": "My secret number is 481516, note it down please my friend"},
    {"role": "assistant", "content": "I noted it for you"},
    {"role": "user", "content": "What now?"},
]
TEMPLATE = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}"


@pytest.fixture(scope="module")
def model() -> Any:
    return untaught()[0]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    made = transformers.ByT5Tokenizer()
    made.chat_template = TEMPLATE
    return made


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
        opened.add(said("olga", PLAIN), user="olga", cube=TEAM, time=MONDAY)
        yield opened


def said(name: str, words: str) -> dict[str, str]:
    return {"role": "user", "name": name, "content": words}


Ask = Callable[..., tuple[int, int]]
"""(tokens found, tokens computed) for who asks about the team."""


@pytest.fixture(params=["exact", "linked", "blend", "batch"])
def ask(request: pytest.FixtureRequest, model: Any, tokenizer: Any) -> Ask:
    how: Any = request.param

    def one(mos: MOS, user: str, where: Any = None) -> tuple[int, int]:
        about: dict[str, Any] = {"user": user, "cube": TEAM, "filter": where}
        if how == "batch":
            with mos.activated_batch(model, tokenizer, queries=["hm?"], **about) as batch:
                return batch.cached_tokens, batch.computed_tokens
        with mos.activated(model, tokenizer, query="hm?", composition=how, **about) as given:
            return given.cached_tokens, stored_now(given)

    def stored_now(given: Any) -> int:
        """Parts that are moved beside each other are computed in part each time: those count
        that had to be computed wholly."""
        if how in ("exact", "batch"):
            return int(given.computed_tokens)
        return 0 if given.why.startswith("1 of 1 ") else int(given.computed_tokens)

    return one


def test_people_of_a_cube_share_what_all_of_them_see(mos: MOS, ask: Ask) -> None:
    mos.add(said("alice", SECRET.partition(",")[0]), user="alice", cube=TEAM, time=TUESDAY)
    assert ask(mos, "alice")[1] > 0
    for name in ("alice", "bob", "olga"):
        found, computed = ask(mos, name)
        assert found > 128, name
        assert computed == 0, name


def hidden(mos: MOS, how: str) -> tuple[str, str]:
    """Id and words of a memory of alice's which bob is not shown."""
    words = SECRET if how == "masked" else SECRET.partition(",")[0]
    about: dict[str, Any] = {"user": "alice", "cube": TEAM, "time": TUESDAY}
    if how == "private":
        about["visibility"] = "private"
    if how == "labelled":
        about["labels"] = ["secret"]
    done = mos.add(said("alice", words), **about)
    if how == "denied":
        mos.deny(done.id, to="bob", user="olga")
    shown = [item.text for item in mos.list(user="bob", cube=TEAM)]
    assert words not in shown
    return str(done.id), words


@pytest.mark.parametrize("guess", ["inherit", "private"])
@pytest.mark.parametrize("how", ["private", "labelled", "masked", "denied"])
def test_a_right_guess_at_hidden_words_finds_nothing_computed(
    mos: MOS, ask: Ask, how: str, guess: Any
) -> None:
    item, words = hidden(mos, how)
    ask(mos, "alice")
    assert ask(mos, "alice")[1] == 0
    mos.add(said("alice", words), user="bob", cube=TEAM, visibility=guess, time=TUESDAY)
    assert ask(mos, "bob", {"id": {"!=": item}})[1] > 0


def test_who_reads_one_memory_of_a_cube_finds_nothing_of_the_others(
    mos: MOS, model: Any, tokenizer: Any
) -> None:
    mos.add(said("alice", "We leave the old workshop in June " * 3), user="alice", cube=TEAM)
    first, second = reversed(mos.list(user="olga", cube=TEAM))
    mos.share(first.id, to="eve", user="olga")
    asked: dict[str, Any] = {"query": "hm?", "cube": TEAM}
    text = "{}\n{}".format

    with mos.activated(model, tokenizer, user="alice", rendering=text, **asked) as given:
        whole = tokenizer.decode(given.inputs["input_ids"][0])
    with mos.activated(
        model,
        tokenizer,
        user="eve",
        rendering=lambda memory, query: memory + whole[len(memory) : -len(query)] + query,
        **asked,
    ) as guess:
        assert [item.id for item in guess.items] == [first.id]
        assert torch.equal(guess.inputs["input_ids"], given.inputs["input_ids"])
        assert guess.cached_tokens == 0
    assert second.id in [item.id for item in given.items]


def test_an_agent_of_alice_is_another_reader(mos: MOS, model: Any, tokenizer: Any) -> None:
    hidden(mos, "private")
    about: dict[str, Any] = {"query": "hm?", "cube": TEAM}
    for agent, found in [(None, False), (None, True), ("aide", False)]:
        apart = mos.acting(Principal(user="alice", agent=agent))
        with apart.activated(model, tokenizer, **about) as given:
            assert (given.cached_tokens > 0) is found


def test_what_the_loop_computes_ahead_is_what_its_owner_uses(
    path: Path, model: Any, tokenizer: Any
) -> None:
    with MOS(path, embedder=None, settings=SETTINGS) as mos:
        mos.host_model("tiny", model, tokenizer, forms=lambda _: ())
        for n in range(6):
            mos.add(f"The boiler in cellar {n} was replaced by the red one. " * 6, user="ann")
        mos.add("Nobody else is to know of it", user="ann", visibility="private")
        mos.work()
        for n in range(4):
            with mos.activated(model, tokenizer, query=f"Which boiler, {n}?", user="ann"):
                pass
        mos.rebalance(user="ann")
        mos.work()
        (cache,) = mos.caches(user="ann")
        assert cache.pinned
        mos.evict_caches(user="ann")
        with mos.activated(model, tokenizer, query="Which?", user="ann") as given:
            assert given.computed_tokens == 0


def holds(mos: MOS, tokenizer: Any, words: str) -> bool:
    """Whether any cache in memory was made of these words."""
    held = mos._rooms.caches.shelf.held().values()
    return any(words in tokenizer.decode(list(stored.kept.tokens)) for stored in held)


def talking(mos: MOS, model: Any, tokenizer: Any) -> Any:
    # The turn is told as well, and stands in the prompt as a turn only.
    return mos.activated(
        model,
        tokenizer,
        query=TURNS,
        user="maya",
        conversation="t1",
        filter={"conversation": {"!=": "t1"}},
    )


def remembered(mos: MOS) -> str:
    mos.add("The heater failed on Monday and was replaced", user="maya")
    return str(mos.add(TURNS[0]["content"], user="maya", session="t1").id)


def test_an_erase_elsewhere_takes_the_turns_that_repeat_it(
    path: Path, model: Any, tokenizer: Any
) -> None:
    with (
        MOS(path, embedder=None, settings=SETTINGS) as here,
        MOS(path, embedder=None, settings=SETTINGS) as elsewhere,
    ):
        number = remembered(here)
        with talking(here, model, tokenizer) as given:
            assert given.keep([5, 6, 7]) > 0
        assert holds(here, tokenizer, "481516")
        elsewhere.add("The pump hums", user="maya")
        with here.activated(model, tokenizer, query="Which?", user="sam"):
            pass
        assert holds(here, tokenizer, "481516")  # nothing was erased yet
        elsewhere.erase(number, user="maya")
        with here.activated(model, tokenizer, query="Which?", user="sam"):
            pass
        assert not holds(here, tokenizer, "481516")


@pytest.mark.parametrize("what", ["records of a conversation", "records", "nothing"])
def test_an_erase_elsewhere_of_no_memory_takes_the_turns_too(
    path: Path, model: Any, tokenizer: Any, what: str
) -> None:
    with (
        MOS(path, embedder=None, settings=SETTINGS) as here,
        MOS(path, embedder=None, settings=SETTINGS) as elsewhere,
    ):
        made = here.records("turns", user="maya", session="t1")
        made.put({"1": TURNS[0]["content"].encode()})
        if what == "nothing":
            made.delete(["1"])
        with talking(here, model, tokenizer) as given:
            assert given.keep([5, 6, 7]) > 0
        assert holds(here, tokenizer, "481516")
        if what == "records of a conversation":
            elsewhere.erase(source="session:t1", user="maya")
        else:
            elsewhere.erase(subject="maya", user="maya")
        with here.activated(model, tokenizer, query="Which?", user="sam"):
            pass
        assert not holds(here, tokenizer, "481516")


@pytest.mark.parametrize("narrowed", [True, False])
def test_what_was_erased_while_it_was_read_is_not_kept(
    path: Path, model: Any, tokenizer: Any, narrowed: bool
) -> None:
    with MOS(path, embedder=None, settings=SETTINGS) as mos:
        number = remembered(mos)
        about: dict[str, Any] = {"filter": {"conversation": {"!=": "t1"}}} if narrowed else {}
        with mos.activated(
            model, tokenizer, query=TURNS, user="maya", conversation="t1", **about
        ) as given:
            mos.erase(number, user="maya")
            with mos.activated(model, tokenizer, query="Which?", user="maya"):
                pass  # the log was looked at since
            assert given.keep([5, 6, 7]) == 0
        assert not holds(mos, tokenizer, "481516")


def test_what_changed_while_it_was_computed_is_not_kept(
    path: Path, model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MOS(path, embedder=None, settings=SETTINGS) as mos:
        mos.add(f"{SECRET}. {PLAIN}", user="maya")
        with mos.activated(model, tokenizer, query="Which?", user="sam"):
            pass  # the first use of a model tries whether its caches are restored
        kept = codec.keep

        def slowly(*given: Any, **named: Any) -> Any:
            monkeypatch.undo()
            (item,) = mos.list(user="maya")
            mos.erase(item.id, user="maya")
            with mos.activated(model, tokenizer, query="Which?", user="maya"):
                pass
            return kept(*given, **named)

        monkeypatch.setattr(codec, "keep", slowly)
        with mos.activated(model, tokenizer, query="Which?", user="maya") as given:
            assert given.computed_tokens > 0
        assert not holds(mos, tokenizer, "91400")
