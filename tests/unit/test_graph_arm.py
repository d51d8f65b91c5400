"""The graph arm: what the question names and what hangs together with it, governed throughout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from memos_integrations import MOS, Settings
from memos_integrations.cube.item import Hit
from memos_integrations.operation.facts.keys import entity_key
from memos_integrations.operation.operator import graph_arm
from memos_integrations.operation.operator.graph_arm import names_asked
from memos_integrations.operation.operator.ranking import Ranking

QUIET = Settings(worker=False, extract=False)
ON = Ranking.default().with_weights(graph=1.0)


@pytest.fixture
def mos(tmp_path: Path) -> Iterator[MOS]:
    with MOS(tmp_path / "m.db", embedder=None, settings=QUIET, ranking=ON) as opened:
        yield opened


def told(mos: MOS, text: str, *names: str, **scope: str) -> str:
    """A memory that names these, as the fine stage would note it."""
    item = mos.add(text, user="maya", **scope).id
    assert item is not None

    def note(tx) -> None:  # type: ignore[no-untyped-def]
        iid, cid = tx.numbers([item])[item]
        for name in names:
            tx.execute("INSERT INTO mention VALUES (?, ?, ?)", (cid, entity_key(name), iid))

    mos._rooms.vault.maintain(note)
    return item


def ids(hits: list[Hit]) -> list[str]:
    return [hit.id for hit in hits]


def worth(hits: list[Hit], item: str) -> float:
    (hit,) = (each for each in hits if each.id == item)
    return next((s.value for s in hit.signals if s.name == "graph"), 0.0)


# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("What did Boris buy?", {"Boris"}),
        ("where is Lake Como", {"Lake", "Como", "Lake Como"}),
        ("Who was in The Bank of Lima?", {"Bank", "Lima", "Bank of Lima"}),
        ("what did i eat yesterday?", set()),
        ("What did I say?", set()),
        ("", set()),
    ],
)
def test_names_of_a_question_are_its_words_in_capitals(question: str, names: set[str]) -> None:
    assert set(names_asked(question)) == names


def test_names_that_speakers_answer_for_are_left_out() -> None:
    assert names_asked("Did Ann call Boris?", but=["ann"]) == ["Boris"]


def test_runs_of_chinese_may_hold_names() -> None:
    assert "王小明" in names_asked("王小明住在哪里？")


def test_a_question_of_many_names_is_read_up_to_a_bound() -> None:
    assert len(names_asked("Aa Bb Cc Dd " * 10_000)) <= 200


# --- what is found -----------------------------------------------------------------------------


def test_a_memory_that_names_who_is_asked_about_is_found_without_a_shared_word(mos: MOS) -> None:
    boat = told(mos, "He bought a small boat", "Boris")
    told(mos, "She sold a car", "Dalia")
    hits = mos.search("Anything new around Boris?", user="maya", explain=True)
    assert ids(hits) == [boat]
    assert worth(hits, boat) == pytest.approx(1.0)
    assert "names what the question names" in hits[0].why()


def test_rare_names_count_more_than_common_ones(mos: MOS) -> None:
    common = [told(mos, f"Entry number {n}", "Berlin") for n in range(6)]
    rare = told(mos, "A quiet evening", "Emeka")
    hits = mos.search("Has Emeka been to Berlin?", user="maya", explain=True)
    assert ids(hits)[0] == rare
    assert worth(hits, rare) > worth(hits, common[0]) > 0


def test_a_linked_memory_is_worth_half_and_the_next_one_nothing(mos: MOS) -> None:
    first = told(mos, "He bought a small boat", "Boris")
    second, third = (told(mos, text) for text in ("It leaks badly", "Paint is drying"))
    mos.link(first, "relates_to", second, user="maya")
    mos.link(third, "follows", second, user="maya")
    hits = mos.search("Anything new around Boris?", user="maya", explain=True)
    assert ids(hits) == [first, second]
    assert worth(hits, second) == pytest.approx(worth(hits, first) / 2)


def test_deeper_arms_walk_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with MOS(tmp_path / "m.db", embedder=None, settings=QUIET, ranking=ON) as mos:
        monkeypatch.setattr(mos._rooms.operator, "_graph", graph_arm.GraphArm(depth=2))
        chain = [told(mos, "He bought a small boat", "Boris"), told(mos, "It leaks badly")]
        chain.append(told(mos, "Paint is drying"))
        mos.link(chain[0], "part_of", chain[1], user="maya")
        mos.link(chain[1], "follows", chain[2], user="maya")
        hits = mos.search("Anything new around Boris?", user="maya", explain=True)
        assert ids(hits) == chain
        assert worth(hits, chain[2]) == pytest.approx(0.25)


def test_who_is_named_together_leads_from_one_memory_to_the_next(mos: MOS) -> None:
    met = told(mos, "They met at noon", "Boris", "Dalia")
    other = told(mos, "She sold a car", "Dalia")
    told(mos, "Nothing of it", "Farah")
    assert ids(mos.search("Anything new around Boris?", user="maya")) == [met, other]


def test_links_of_other_kinds_are_not_followed(mos: MOS) -> None:
    first = told(mos, "He bought a small boat", "Boris")
    other = told(mos, "It leaks badly")
    mos.link(first, "contradicts", other, user="maya")
    assert ids(mos.search("Anything new around Boris?", user="maya")) == [first]


def test_switched_off_it_neither_proposes_nor_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the graph was looked at")

    monkeypatch.setattr(graph_arm, "naming", never)
    with MOS(None, embedder=None, settings=QUIET, ranking=ON.without("graph")) as mos:
        told(mos, "He bought a small boat", "Boris")
        assert mos.search("Anything new around Boris?", user="maya") == []


def test_a_question_that_names_nobody_does_not_look_at_the_graph(
    mos: MOS, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the graph was looked at")

    boat = told(mos, "He bought a small boat", "Boris")
    monkeypatch.setattr(graph_arm, "naming", never)
    assert ids(mos.search("What about the boat?", user="maya")) == [boat]


# --- governance --------------------------------------------------------------------------------


def test_no_step_leads_over_a_memory_that_is_hidden(
    mos: MOS, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mos._rooms.operator, "_graph", graph_arm.GraphArm(depth=3))
    first, between, last = (
        told(mos, "He bought a small boat", "Boris"),
        told(mos, "It leaks badly"),
        told(mos, "Paint is drying"),
    )
    mos.link(first, "relates_to", between, user="maya")
    mos.link(between, "relates_to", last, user="maya")
    mos.share(to="bob", user="maya")
    asked = "Anything new around Boris?"
    assert ids(mos.search(asked, user="bob", cube="users/maya")) == [first, between, last]
    mos.deny(between, to="bob", user="maya")
    assert ids(mos.search(asked, user="bob", cube="users/maya")) == [first]
    mos.deny(first, to="bob", user="maya")
    assert mos.search(asked, user="bob", cube="users/maya") == []


def test_what_is_quarantined_or_deleted_leads_nowhere(mos: MOS) -> None:
    first = told(mos, "He bought a small boat", "Boris")
    second = told(mos, "It leaks badly")
    mos.link(first, "relates_to", second, user="maya")
    mos.delete(first, user="maya")
    assert mos.search("Anything new around Boris?", user="maya") == []


def test_a_filter_holds_for_every_step(mos: MOS) -> None:
    inside = told(mos, "He bought a small boat", "Boris", session="s")
    outside = told(mos, "It leaks badly", session="t")
    beyond = told(mos, "Paint is drying", session="s")
    mos.link(inside, "relates_to", outside, user="maya")
    mos.link(outside, "relates_to", beyond, user="maya")
    assert ids(mos.search("Anything around Boris?", user="maya", session="s")) == [inside]


def test_the_graph_of_one_user_is_not_that_of_another(mos: MOS) -> None:
    told(mos, "He bought a small boat", "Boris")
    mos.add("A plain note", user="sam")
    assert mos.search("Anything new around Boris?", user="sam") == []
