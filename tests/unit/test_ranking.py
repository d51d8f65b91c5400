"""The ranking: what a question asks, what each signal says, how facts stand behind their source."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from memos_integrations import MOS, Settings, errors
from memos_integrations.operation.operator.fitting import Example, fit
from memos_integrations.operation.operator.question import (
    Query,
    called,
    in_first_person,
    names_in,
)
from memos_integrations.operation.operator.ranking import Ranking
from memos_integrations.operation.operator.signals import SIGNALS

QUIET = Settings(worker=False, extract=False)
START = datetime(2024, 3, 4, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        ("When did Ann adopt the dog?", "wants_time"),
        ("What year did they marry?", "wants_time"),
        ("产品什么时候发布？", "wants_time"),
        ("How many cats does Ben have?", "wants_number"),
        ("你有多少只猫？", "wants_number"),
        ("Can you recommend a hotel in Rome?", "wants_advice"),
        ("What should I cook tonight?", "wants_advice"),
        ("请推荐一个项目", "wants_advice"),
        ("What did you suggest about the roof?", "wants_assistant"),
        ("What was your last recommendation?", "wants_assistant"),
    ],
)
def test_a_question_says_what_kind_of_answer_it_wants(question: str, wanted: str) -> None:
    assert getattr(Query(question), wanted)


@pytest.mark.parametrize("question", ["Where does Ann live?", "Is the roof done?", "", "红色的门"])
def test_a_plain_question_wants_nothing_special(question: str) -> None:
    query = Query(question)
    told = (query.wants_time, query.wants_number, query.wants_advice, query.wants_assistant)
    assert not any(told)


def test_names_are_found_whole_or_by_the_first_alone_unless_two_share_it() -> None:
    known = called(("maya chen", "ben", "ann lee", "ann wu"))
    assert names_in("What does Maya Chen's sister say?", known) == [0]
    assert names_in("What does Maya say to Ben?", known) == [0, 1]
    assert names_in("Where is Ann?", known) == []
    assert names_in("Where is Ann Wu?", known) == [3]


def test_a_question_is_put_in_the_first_person_of_the_one_it_names() -> None:
    assert in_first_person("What is Maya's dog called?", "maya") == "What is my dog called?"
    assert in_first_person("Where does Maya live?", "maya") == "Where does I live?"
    assert in_first_person("Where does Mayan art hang?", "maya") == "Where does Mayan art hang?"


def test_an_unknown_signal_is_refused_by_name() -> None:
    with pytest.raises(errors.UsageError, match="no signal 'cosin'"):
        Ranking.default().without("cosin")
    with pytest.raises(errors.UsageError, match="finite"):
        Ranking.default().with_weights(cosine=float("nan"))


def test_every_signal_has_a_weight_and_can_be_switched_off() -> None:
    for signal in SIGNALS:
        left = Ranking.default().without(signal.name)
        assert signal.name not in {each.name for each in left.signals}
        on = Ranking.default().with_weights(**{signal.name: 1.5})
        assert signal.name in {each.name for each in on.signals}
    off = {signal.name for signal in SIGNALS} - {each.name for each in Ranking.default().signals}
    assert off == {"graph"}


def _told(mos: MOS, *turns: tuple[str, str], session: str = "s") -> list[str]:
    messages = [
        {"role": "user", "name": who, "content": words, "time": START + timedelta(minutes=n)}
        for n, (who, words) in enumerate(turns)
    ]
    ids = mos.add(messages, user="maya", session=session).ids
    mos.work()
    return ids


def test_the_terms_of_a_hit_add_up_to_its_score() -> None:
    with MOS(None, embedder=None, settings=QUIET) as mos:
        _told(mos, ("Maya", "The kiln is in the old barn"), ("Ben", "Since 2019, I think"))
        for hit in mos.search("When did Ben see the kiln?", user="maya", explain=True):
            assert hit.score == pytest.approx(sum(s.points for s in hit.signals), abs=1e-4)
            assert all(s.why for s in hit.signals)


def test_an_answer_without_a_word_of_the_question_is_found_beside_it() -> None:
    with MOS(None, embedder=None, settings=QUIET) as mos:
        ids = _told(
            mos,
            ("Ben", "Where did you put the pottery kiln?"),
            ("Maya", "Behind the barn, under a tarp."),
            ("Ben", "Nice weather."),
            ("Maya", "Lovely."),
        )
        hits = mos.search("Where is the pottery kiln?", user="maya", limit=2)
        assert {hit.id for hit in hits} == set(ids[:2])
        alone = Ranking.default().without("nearness", "window", "session")
    with MOS(None, embedder=None, settings=QUIET, ranking=alone) as mos:
        assert mos.ranking == alone


def test_the_time_in_a_question_finds_what_was_said_then() -> None:
    with MOS(None, embedder=None, settings=QUIET) as mos:
        for month in (1, 2, 3):
            when = datetime(2024, month, 10, tzinfo=UTC)
            mos.add(f"We met the builders again, visit {month}", user="maya", time=when)
        mos.work()
        hits = mos.search("builders in February 2024", user="maya", limit=1, explain=True)
        assert hits[0].text.endswith("visit 2")
        assert "said_then" in {signal.name for signal in hits[0].signals}


def test_what_an_assistant_said_stands_back_unless_it_is_asked_for() -> None:
    with MOS(None, embedder=None, settings=QUIET) as mos:
        mos.add(
            [
                {"role": "assistant", "content": "Cedar shingles suit the roof"},
                {"role": "user", "content": "Slate shingles suit the roof"},
            ],
            user="maya",
        )
        mos.work()
        assert mos.search("roof shingles", user="maya")[0].item.header.role == "user"
        asked = mos.search("Which roof shingles did you suggest before?", user="maya")
        first = asked[0].signals
        assert "assistant" not in {signal.name for signal in first}


def _examples(rng: np.random.Generator, wanted: int, count: int) -> Sequence[Example]:
    """Questions whose evidence is marked by one signal, among twenty proposals."""
    made: list[Example] = []
    for _ in range(count):
        values = rng.random((20, len(Ranking.default().signals)), dtype=np.float32) * 0.3
        answer = int(rng.integers(20))
        values[answer, wanted] = 1.0
        made.append(Example(values, (answer,), 1))
    return made


def test_a_fit_learns_the_signal_that_tells_and_reports_held_out_recall() -> None:
    names = [signal.name for signal in Ranking.default().signals]
    wanted = names.index("number")
    start = Ranking.default().with_weights(number=-1.0)
    examples = _examples(np.random.default_rng(3), wanted, 16)
    learnt = fit(examples, start)
    assert learnt.ranking.weights["number"] > start.weights["number"]
    assert learnt.recall_after > learnt.recall_before
    assert learnt.helps
    assert fit(examples, start).ranking == learnt.ranking


def test_a_fit_with_too_few_labels_or_none_proposed_is_refused() -> None:
    few = _examples(np.random.default_rng(1), 0, 3)
    with pytest.raises(errors.UsageError, match="at least 10"):
        fit(few, Ranking.default())
    none = [Example(few[0].values, (), 1)] * 10
    with pytest.raises(errors.UsageError, match="no evidence"):
        fit(none, Ranking.default())


def test_fit_takes_ids_the_asker_may_see_and_changes_nothing() -> None:
    with MOS(None, embedder=None, settings=QUIET) as mos:
        ids = _told(mos, *[("Maya", f"The {w} is blue") for w in "door gate roof wall".split()])
        questions = [f"Which colour has the {w}?" for w in "door gate roof wall".split()] * 3
        learnt = mos.fit(questions, [[i] for i in ids] * 3, user="maya")
        assert learnt.questions == 12
        assert learnt.recall_before == 1.0
        assert mos.ranking == Ranking.default()
        with pytest.raises(errors.UsageError, match="one list"):
            mos.fit(questions, [], user="maya")
        with pytest.raises(errors.AccessDenied):
            mos.fit(questions, [[i] for i in ids] * 3, user="eve", cube="users/maya")
        with pytest.raises(errors.NotFound):
            mos.fit(questions, [[i] for i in ids] * 3, user="eve")


def _away(query: str, texts: Sequence[str]) -> list[float]:
    raise errors.LLMUnavailable("gone")


def _shortest(query: str, texts: Sequence[str]) -> list[float]:
    return [-float(len(text)) for text in texts]


def test_a_reranker_decides_the_order_among_the_best_and_says_so() -> None:
    with MOS(None, embedder=None, settings=QUIET, reranker=_shortest) as mos:
        _told(mos, ("Maya", "the roof roof roof needs slate"), ("Maya", "roof"))
        hits = mos.search("roof slate", user="maya", limit=1, explain=True)
        assert [hit.text for hit in hits] == ["roof"]
        assert "judged it" in hits[0].signals[-1].why


def test_a_reranker_that_is_away_leaves_the_order_and_is_told_of() -> None:
    with MOS(None, embedder=None, settings=QUIET, reranker=_away) as mos:
        _told(mos, ("Maya", "the roof roof roof needs slate"), ("Maya", "roof"))
        hits = mos.search("roof slate", user="maya")
        assert hits[0].text.startswith("the roof")
        assert "did not answer" in hits[0].signals[-1].why
