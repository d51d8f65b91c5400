"""Memories of tool calls: the same call found again, a near one judged, none of it leaked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from memos_integrations import MOS, Principal, Settings, errors
from memos_integrations.operation.tool_traces import (
    ToolTrace,
    canonical,
    masked_named,
    similarity,
)
from memos_integrations.testing.fakes import ManualClock

QUIET = Settings(worker=False)
KEY = "sk-proj-" + "a1B2c3D4e5F6g7H8" * 3


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 5, 1, 12, tzinfo=UTC))


@pytest.fixture
def mos(tmp_path: Path, clock: ManualClock) -> Iterator[MOS]:
    with MOS(tmp_path / "m.db", embedder=None, settings=QUIET, clock=clock) as made:
        yield made


# -- the pure part -------------------------------------------------------------------------------


def test_canonical_arguments_know_no_order_and_no_spelling_of_numbers() -> None:
    assert canonical({"a": 1, "b": [1.0, {"y": 2, "x": None}]}) == canonical(
        {"b": [1, {"x": None, "y": 2.0}], "a": 1}
    )
    assert canonical({"a": 1}) != canonical({"a": "1"})
    assert canonical({"a": True}) != canonical({"a": 1})


@pytest.mark.parametrize(
    ("one", "other", "near"),
    [
        ({"city": "Berlin"}, {"city": " berlin"}, True),
        ({"city": "Berlin", "days": 3}, {"city": "Berlin", "days": 4}, False),
        ({"city": "Berlin"}, {"city": "Berlin", "days": 3}, False),
        ({"city": "Berlin", "unit": "c"}, {"city": "Munich", "unit": "c"}, False),
        ({"q": "flights on 3 May"}, {"q": "flights on 4 May"}, False),
        ({"live": True}, {"live": False}, False),
        ({"key": "[secret:api_key]"}, {"key": "[secret:api_key]"}, False),
        ({}, {}, True),
    ],
)
def test_a_call_is_near_only_if_each_of_its_values_is(
    one: dict[str, Any], other: dict[str, Any], near: bool
) -> None:
    assert (similarity(one, other, None) >= 0.85) is near


def by_letters(texts: Sequence[str]) -> list[list[float]]:
    """An embedder for which whole questions are near and single other words are not."""
    shared = sorted({c for text in texts for c in text})
    counts = [[float(text.count(c)) for c in shared] for text in texts]
    lengths = [sum(x * x for x in row) ** 0.5 for row in counts]
    return [[x / n for x in row] for row, n in zip(counts, lengths, strict=True)]


@pytest.mark.parametrize(
    ("one", "other", "near"),
    [
        ("the best ramen in osaka", "best ramen in osaka", True),
        ("the best ramen in all of osaka", "the best ramen in all of kyoto", False),
        ("shops that are open on sunday", "shops that are not open on sunday", False),
        ("shops that are open on sunday", "shops that aren't open on sunday", False),
        ("cakes made with nuts", "cakes made without nuts", False),
        ("dollars for euros", "euros for dollars", False),
    ],
)
def test_a_word_put_in_the_place_of_another_makes_another_question(
    one: str, other: str, near: bool
) -> None:
    whole, part = by_letters([one, other])
    assert sum(a * b for a, b in zip(whole, part, strict=True)) > 0.9  # near as a whole
    assert (similarity({"q": one}, {"q": other}, by_letters) >= 0.85) is near


def test_one_far_value_among_many_equal_ones_keeps_a_call_far() -> None:
    same = {f"option{n}": "on" for n in range(50)}
    assert similarity({**same, "city": "Berlin"}, {**same, "city": "Munich"}, None) == 0.0


def test_a_secret_is_known_by_its_form_and_by_its_name() -> None:
    shown = masked_named({"password": "hunter2horse", "deep": [{"q": KEY}]}, keep=frozenset())
    assert "hunter2horse" not in json.dumps(shown)
    assert KEY not in json.dumps(shown)


def test_words_of_a_call_say_what_was_asked_and_what_came() -> None:
    assert ToolTrace("f", {"a": 1}, "x").words() == "f(a=1) -> x"
    assert ToolTrace("f", {}, None, ok=False, error="timeout").words() == "f() failed: timeout"


# -- exact reuse ---------------------------------------------------------------------------------


def test_the_same_call_finds_its_result_whatever_the_order_of_its_arguments(mos: MOS) -> None:
    done = mos.remember_tool("weather", {"city": "Berlin", "days": 3}, {"temp": [12, 14]})
    mos.wait(done)
    (found,) = mos.recall_tool("weather", {"days": 3, "city": "Berlin"})
    assert found.exact
    assert found.result == {"temp": [12, 14]}
    assert found.arguments == {"city": "Berlin", "days": 3}
    header = found.item.header
    assert (header.memory_type, header.role, header.trust) == ("tool", "tool", "tool")
    assert header.source == "tool:weather"
    assert found.item.text == 'weather(city="Berlin", days=3) -> {"temp": [12, 14]}'


def test_another_call_or_another_tool_finds_nothing(mos: MOS) -> None:
    mos.remember_tool("weather", {"city": "Berlin", "days": 3}, "mild")
    assert mos.recall_tool("weather", {"city": "Berlin", "days": 4}) == []
    assert mos.recall_tool("climate", {"city": "Berlin", "days": 3}) == []


def test_the_newest_answer_comes_first_and_has_its_age(mos: MOS, clock: ManualClock) -> None:
    for answer in ("old", "new", "new"):
        mos.remember_tool("price", {"of": "gold"}, answer)
        clock.advance(seconds=60)
        mos.work()
    found = mos.recall_tool("price", {"of": "gold"})
    assert [each.result for each in found] == ["new", "new", "old"]
    assert [each.age_seconds for each in found] == [60, 120, 180]
    assert len(mos.recall_tool("price", {"of": "gold"}, max_age_seconds=90)) == 1


def test_an_answer_past_its_validity_is_never_used_but_can_be_looked_at(
    mos: MOS, clock: ManualClock
) -> None:
    mos.remember_tool("price", {"of": "gold"}, 2400, valid_seconds=100)
    assert mos.recall_tool("price", {"of": "gold"})[0].valid_until is not None
    clock.advance(seconds=100)
    assert mos.recall_tool("price", {"of": "gold"}) == []
    assert mos.recall_tool("price", like="price of gold") == []
    assert mos.recall_tool("price") == []
    for asked in ({"arguments": {"of": "gold"}}, {"like": "price of gold"}, {}):
        (found,) = mos.recall_tool("price", include_expired=True, **asked)  # type: ignore[arg-type]
        assert found.expired


def test_a_failed_call_is_kept_and_not_used(mos: MOS) -> None:
    mos.remember_tool("fetch", {"url": "x"}, None, ok=False, error="timed out", seconds=3)
    assert mos.recall_tool("fetch", {"url": "x"}) == []
    (found,) = mos.recall_tool("fetch", {"url": "x"}, ok_only=False)
    assert (found.ok, found.error, found.seconds) == (False, "timed out", 3.0)


def test_different_secrets_are_different_calls_and_neither_is_stored(mos: MOS) -> None:
    other = KEY[:-4] + "zZ9y"
    mos.remember_tool("login", {"key": KEY}, "as ann")
    mos.remember_tool("login", {"key": other}, "as bob")
    assert [f.result for f in mos.recall_tool("login", {"key": KEY})] == ["as ann"]
    assert [f.result for f in mos.recall_tool("login", {"key": other})] == ["as bob"]
    third = KEY[:-4] + "qQ1w"
    assert mos.recall_tool("login", {"key": third}) == []
    mos.flush()
    for file in Path(mos.path).parent.iterdir():
        if file.is_file():
            assert KEY.encode() not in file.read_bytes()


def test_a_deleted_a_quarantined_and_an_erased_answer_are_not_used(mos: MOS) -> None:
    ids = [mos.remember_tool("f", {"n": n}, n).id for n in range(3)]
    mos.delete(ids[0])
    mos.erase(ids[1])
    mos.quarantine("tool:f")
    assert [mos.recall_tool("f", {"n": n}) for n in range(3)] == [[], [], []]
    mos.release("tool:f")
    assert [len(mos.recall_tool("f", {"n": n})) for n in range(3)] == [0, 0, 1]
    assert mos.check().findings == ()


def test_answers_are_not_shared_between_users_unless_granted(mos: MOS) -> None:
    mos.remember_tool("f", {"n": 1}, "ann's", user="ann")
    assert mos.recall_tool("f", {"n": 1}, user="bob") == []
    with pytest.raises(errors.AccessDenied):
        mos.recall_tool("f", {"n": 1}, user="bob", cube="users/ann")
    assert mos.acting(Principal(tenant="other")).recall_tool("f", {"n": 1}, user="ann") == []
    mos.share(cube="users/ann", to="bob", user="ann")
    (found,) = mos.recall_tool("f", {"n": 1}, user="bob", cube="users/ann")
    assert found.result == "ann's"


def test_a_private_answer_in_a_shared_cube_stays_private(mos: MOS) -> None:
    mos.create_cube("team", user="ann")
    mos.share(cube="team", to="bob", user="ann")
    mos.remember_tool("f", {"n": 1}, "private", user="ann", cube="team", visibility="private")
    assert mos.recall_tool("f", {"n": 1}, user="bob", cube="team") == []
    assert mos.recall_tool("f", like="f n 1", user="bob", cube="team") == []
    assert mos.recall_tool("f", {"n": 1}, user="ann", cube="team")


def test_a_long_result_is_kept_whole_beside_its_memory_and_the_memory_says_so(mos: MOS) -> None:
    rows = [{"row": n, "value": "x" * 50} for n in range(2_000)]
    mos.remember_tool("query", {"sql": "all"}, rows)
    (found,) = mos.recall_tool("query", {"sql": "all"})
    assert found.result == rows
    payload = (found.item.data or {})["tool"]
    assert payload["result_cut"] is True
    assert payload["result_chars"] > 100_000
    assert len(found.item.text) < 10_000
    assert found.item.blobs[0].sha256 == payload["result_blob"]
    assert mos.check().findings == ()


def test_a_key_makes_a_call_be_kept_once(mos: MOS, clock: ManualClock) -> None:
    first = mos.remember_tool("f", {"n": 1}, 1, idempotency_key="k")
    clock.advance(seconds=5)
    assert mos.remember_tool("f", {"n": 1}, 1, idempotency_key="k") == first
    with pytest.raises(errors.IdempotencyConflict):
        mos.remember_tool("f", {"n": 2}, 1, idempotency_key="k")
    assert mos.count() == 1


# -- semantic reuse ------------------------------------------------------------------------------


def test_a_near_call_is_found_as_near_and_not_as_the_same(mos: MOS) -> None:
    mos.remember_tool("search", {"q": "best ramen in Osaka"}, ["Ichiran"])
    (found,) = mos.recall_tool("search", {"q": "  Best ramen in OSAKA"})
    assert not found.exact
    assert found.similarity >= 0.85
    assert mos.recall_tool("search", {"q": "  Best ramen in OSAKA"}, threshold=1.1) == []
    assert mos.recall_tool("search", {"q": "best sushi in Kyoto"}) == []


def test_a_call_is_found_by_words_that_describe_it(mos: MOS) -> None:
    mos.remember_tool("search", {"q": "best ramen in Osaka"}, ["Ichiran"])
    mos.remember_tool("search", {"q": "tyres for a truck"}, ["Michelin"])
    (found,) = mos.recall_tool("search", like="search best ramen in Osaka")
    assert found.result == ["Ichiran"]


def test_without_a_question_the_latest_calls_are_listed(mos: MOS, clock: ManualClock) -> None:
    for n in range(3):
        mos.remember_tool("f", {"n": n}, n)
        clock.advance(seconds=1)
    assert [each.result for each in mos.recall_tool("f", limit=2)] == [2, 1]


@pytest.mark.parametrize(
    "call",
    [
        lambda mos: mos.remember_tool("", {}, 1),
        lambda mos: mos.remember_tool("f", ["no", "mapping"], 1),
        lambda mos: mos.remember_tool("f", {"x": object()}, 1),
        lambda mos: mos.remember_tool("f", {1: "x"}, 1),
        lambda mos: mos.remember_tool("f", {"x": float("nan")}, 1),
        lambda mos: mos.remember_tool("f", {}, {"x": b"bytes"}),
        lambda mos: mos.remember_tool("f", {}, 1, ok="yes"),
        lambda mos: mos.remember_tool("f", {}, 1, error=ValueError("x")),
        lambda mos: mos.remember_tool("f", {}, 1, seconds=-1),
        lambda mos: mos.remember_tool("f", {}, 1, valid_seconds=0),
        lambda mos: mos.remember_tool("f", {}, "\x00"),
        lambda mos: mos.recall_tool("f", {"x": object()}),
        lambda mos: mos.recall_tool("f", {}, like="both"),
        lambda mos: mos.recall_tool("f", like=" "),
        lambda mos: mos.recall_tool("f", {}, limit=0),
        lambda mos: mos.recall_tool("f", {}, threshold="high"),
        lambda mos: mos.recall_tool("f", {}, max_age_seconds=0),
    ],
)
def test_a_malformed_call_is_told_as_one_and_stores_nothing(mos: MOS, call: Any) -> None:
    with pytest.raises(errors.InvalidInput):
        call(mos)
    assert mos.count() == 0


# -- calls in lists of messages ------------------------------------------------------------------

OPENAI = [
    {"role": "user", "content": "How warm is it in Berlin?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "c1",
                "type": "function",
                "function": {"name": "weather", "arguments": '{"city": "Berlin"}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": '{"temp": 12}'},
    {"role": "assistant", "content": "It is 12 degrees."},
]


def test_a_call_and_its_answer_in_openai_form_are_one_tool_memory(mos: MOS) -> None:
    done = mos.add(OPENAI, session="s")
    assert [o.status for o in done.outcomes] == ["stored", "merged", "stored", "stored"]
    assert mos.count() == 3
    (found,) = mos.recall_tool("weather", {"city": "Berlin"})
    assert found.exact
    assert found.result == {"temp": 12}
    assert found.item.text == 'weather(city="Berlin") -> {"temp": 12}'
    assert found.item.header.memory_type == "tool"


def test_the_same_in_langchain_form_and_an_answer_that_failed(mos: MOS) -> None:
    messages = pytest.importorskip("langchain_core.messages", reason="needs the langchain extra")
    asked = messages.AIMessage(
        "Let me look.", tool_calls=[{"name": "fetch", "args": {"url": "x"}, "id": "c1"}]
    )
    failed = messages.ToolMessage("no such host", tool_call_id="c1", status="error")
    done = mos.add([asked, failed])
    assert [o.status for o in done.outcomes] == ["stored", "stored"]
    assert mos.recall_tool("fetch", {"url": "x"}) == []
    (found,) = mos.recall_tool("fetch", {"url": "x"}, ok_only=False)
    assert found.item.text == 'fetch(url="x") failed: no such host'


def test_a_call_without_an_answer_is_kept_as_what_the_assistant_did(mos: MOS) -> None:
    done = mos.add(OPENAI[:2])
    assert mos.get(done.ids[1]).text == (
        'Called weather(city="Berlin"); no answer is among these messages.'
    )
    assert mos.recall_tool("weather", {"city": "Berlin"}) == []


def test_an_answer_without_its_call_is_a_message_like_any_other(mos: MOS) -> None:
    done = mos.add({"role": "tool", "tool_call_id": "c9", "content": "12 degrees"})
    assert mos.get(done.id).text == "12 degrees"


def test_secrets_in_the_calls_of_messages_are_masked(mos: MOS) -> None:
    function = {"name": "login", "arguments": json.dumps({"key": KEY})}
    mos.add(
        [
            {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "function": function}]},
            {"role": "tool", "tool_call_id": "c", "content": "welcome"},
        ]
    )
    (found,) = mos.recall_tool("login", {"key": KEY})
    assert found.exact
    assert KEY not in found.item.text + json.dumps(found.item.data)


@pytest.mark.parametrize(
    "calls", [["x"], [{"id": "c", "function": {"name": "f", "arguments": "{"}}], [{"id": "c"}]]
)
def test_a_malformed_call_in_a_message_is_told_as_one(mos: MOS, calls: list[Any]) -> None:
    with pytest.raises(errors.InvalidInput, match="message 0"):
        mos.add([{"role": "assistant", "content": "", "tool_calls": calls}])
    assert mos.count() == 0
