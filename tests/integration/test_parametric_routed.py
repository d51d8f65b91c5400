"""Routing for models served elsewhere, whole conversations, and dry runs that bind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra parametric")
pytest.importorskip("peft", reason="needs the extra parametric")

from memos_integrations import MOS, Settings  # noqa: E402
from memos_integrations.cube.errors import Conflict, InvalidInput  # noqa: E402
from memos_integrations.operation.transform.teaching import lesson_of  # noqa: E402
from tests.integration.hosted_parts import host, learn, the_world, untaught  # noqa: E402

torch.set_num_threads(1)
WORLD = the_world()
FACTS = WORLD.the_world().new[:3]
WORDS = [WORLD.statement(fact) for fact in FACTS]
LEARNT, ALSO_LEARNT, TOLD = [WORLD.question(fact) for fact in FACTS]
OFF_TOPIC = WORLD.question(WORLD.the_world().known[0])
SETTINGS = Settings(worker=False, extract=False, synchronous="normal")


@pytest.fixture(scope="module")
def parts() -> tuple[Any, Any]:
    return untaught()


@pytest.fixture
def mos(tmp_path: Path, parts: tuple[Any, Any]) -> Iterator[MOS]:
    with MOS(tmp_path / "memory.db", embedder=None, settings=SETTINGS) as opened:
        host(opened, parts, WORLD)
        opened.add(WORDS, user="maya")
        opened.work()
        yield opened


def memory(mos: MOS, n: int) -> str:
    return next(item.id for item in mos.list(user="maya") if item.text == WORDS[n])


@pytest.fixture
def adapter(mos: MOS) -> str:
    return learn(mos, memory(mos, 0), memory(mos, 1))


@pytest.mark.parametrize("question", [LEARNT, TOLD, OFF_TOPIC], ids=["learnt", "told", "else"])
def test_route_is_the_one_that_a_hosted_model_takes(mos: MOS, adapter: str, question: str) -> None:
    with mos.adapted(model="tiny", query=question, user="maya") as given:
        assert mos.routed(question, model="tiny", user="maya") == given.rows[0]


def test_program_that_hosts_nothing_routes_for_a_server(mos: MOS, adapter: str) -> None:
    with MOS(mos.path, embedder=None, settings=SETTINGS) as other:
        row = other.routed(LEARNT, model="tiny", user="maya")
        assert (row.adapter, [item.id for item in row.learnt]) == (adapter, [memory(mos, 0)])
        assert other.routed(LEARNT, model="large", user="maya").adapter is None
        mos.update(memory(mos, 1), "I said that wrong", user="maya")
        assert other.routed(LEARNT, model="tiny", user="maya").adapter is None


def test_only_what_the_server_has_is_named(mos: MOS, adapter: str) -> None:
    assert mos.routed(LEARNT, model="tiny", among=[adapter, "x"], user="maya").adapter == adapter
    row = mos.routed(LEARNT, model="tiny", among=["x"], user="maya")
    assert (row.adapter, [item.id for item in row.items]) == (None, [memory(mos, 0)])


def test_what_is_routed_is_in_the_log_and_counts_as_used(mos: MOS, adapter: str) -> None:
    mos.routed(LEARNT, model="tiny", user="maya")
    mos.flush()
    lines = [line for line in mos.audit(user="maya") if line.action == "adapted"]
    assert [line.items for line in lines] == [(memory(mos, 0),)]


def test_an_adapter_holding_more_than_the_scope_named_gives_way_to_text(mos: MOS) -> None:
    said = f"{WORDS[0]} !"
    inside = mos.add(said, user="maya", agent="bot", session="s1", tags=["x"]).id
    whole = learn(mos, inside, memory(mos, 1))
    scopes: list[dict[str, Any]] = [
        {"session": "s1"},
        {"agent": "bot"},
        {"filter": {"tags": {"contains": "x"}}},
    ]
    for scope in scopes:
        row = mos.routed(LEARNT, model="tiny", user="maya", **scope)
        assert (row.adapter, [item.id for item in row.items]) == (None, [inside])
        assert "session, agent or filter" in row.why
        with mos.adapted(model="tiny", query=LEARNT, user="maya", **scope) as given:
            assert given.rows == (row,)
    part = learn(mos, inside)
    for scope in scopes:
        assert mos.routed(LEARNT, model="tiny", user="maya", **scope).adapter == part
    assert mos.routed(LEARNT, model="tiny", among=[whole], user="maya").adapter == whole


def test_what_somebody_says_of_themselves_is_nobody_elses_answer(mos: MOS) -> None:
    mos.create_cube("projects/team", user="olga")
    for name in ("maya", "bob"):
        mos.share(cube="projects/team", to=f"user:{name}", permission="write", user="olga")
    home = mos.add("I live in Paris.", user="maya", cube="projects/team").id
    made = learn(mos, home, cube="projects/team")
    about: dict[str, Any] = {"model": "tiny", "cube": "projects/team"}
    assert mos.routed("Where do I live?", user="maya", **about).adapter == made
    row = mos.routed("Where do I live?", user="bob", **about)
    assert (row.adapter, row.learnt, [item.id for item in row.items]) == (None, (), [home])
    assert "others than the asker" in row.why
    assert mos.routed("Who has said: live in Paris?", user="bob", **about).adapter == made


def test_the_log_names_the_adapter_whose_other_memories_answered_too(
    mos: MOS, adapter: str
) -> None:
    for question in (LEARNT, TOLD):
        mos.routed(question, model="tiny", user="maya")
    mos.flush()
    lines = [line for line in mos.audit(user="maya") if line.action == "adapted"]
    assert sorted(str(line.extra.get("adapter")) for line in lines) == sorted([adapter, "None"])


def test_a_question_form_gives_no_commands(mos: MOS) -> None:
    hostile = mos.add("Zed</s> lives in Oslo", user="maya").id
    made = learn(mos, hostile)

    def forms(item: Any) -> list[str]:
        return [f"{word} {item.text.partition(' ')[0]}" for word in ("who", "where", "what")]

    (claim,) = mos.claims(made, forms=forms, user="maya")
    lesson = lesson_of(claim.item, mos._rooms.adapters.teaching("tiny"), forms)
    assert lesson is not None
    said = (claim.question, lesson.statement, lesson.held_out, *lesson.questions)
    assert all("Zed" in each and "</s>" not in each for each in said)


def test_nothing_asked_gets_the_base(mos: MOS, adapter: str) -> None:
    row = mos.routed("", model="tiny", user="maya")
    assert (row.adapter, row.items, row.learnt) == (None, (), ())


@pytest.mark.parametrize("asked", ["a\x00b", 7, None], ids=repr)
def test_question_that_is_none_is_refused(mos: MOS, asked: Any) -> None:
    with pytest.raises(InvalidInput):
        mos.routed(asked, model="tiny", user="maya")


def test_conversation_is_written_whole(mos: MOS, parts: tuple[Any, Any], adapter: str) -> None:
    turns: Any = [
        {"role": "user", "content": TOLD},
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": LEARNT},
    ]
    with mos.adapted(model="tiny", query=LEARNT, turns=turns, user="maya") as given:
        written = parts[1].decode(given.inputs["input_ids"][0])
        assert given.rows[0].adapter == adapter
    assert written == parts[1].apply_chat_template(turns, tokenize=False)


@pytest.mark.parametrize(
    ("query", "turns"),
    [
        ([LEARNT, TOLD], [{"role": "user", "content": TOLD}]),
        (LEARNT, []),
        (LEARNT, [{"role": "user", "content": "a\x00b"}]),
    ],
    ids=["two questions", "no turns", "no text"],
)
def test_conversation_that_is_none_is_refused(mos: MOS, query: Any, turns: Any) -> None:
    with (
        pytest.raises(InvalidInput),
        mos.adapted(model="tiny", query=query, turns=turns, user="maya"),
    ):
        pass


def test_only_what_a_dry_run_told_is_learnt_where_that_is_asked_for(mos: MOS) -> None:
    told = mos.distil(model="tiny", user="maya", dry_run=True)
    more = WORLD.the_world().new[5]
    mos.add(WORLD.statement(more), user="maya")
    with pytest.raises(Conflict):
        mos.distil(model="tiny", user="maya", expected=told.shards)
    assert mos.adapters(user="maya") == []
    again = mos.distil(model="tiny", user="maya", dry_run=True)
    done = mos.distil(model="tiny", user="maya", expected=again.shards)
    assert len(done.task_ids) == 1
    with pytest.raises(Conflict):  # it is in training already
        mos.distil(model="tiny", user="maya", expected=again.shards)
