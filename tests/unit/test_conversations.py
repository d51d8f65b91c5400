"""The conversation reader: every form it takes, and every way a file can be wrong."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memos_integrations.cube.errors import InvalidInput
from memos_integrations.interface.conversations import Session, Turn, read_conversation

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "cookbook" / "data" / "conversations.jsonl"
QUESTIONS = ROOT / "cookbook" / "data" / "questions.json"
LOCOMO = Path(os.environ.get("MEMOS_TEST_DATA", ROOT.parent / "shared" / "data")) / "locomo"


def write(folder: Path, text: str | bytes, name: str = "talk.txt") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(folder: Path, *records: Any) -> list[Session]:
    return read_conversation(write(folder, "\n".join(json.dumps(r) for r in records)))


def only_turn(folder: Path, **record: Any) -> Turn:
    [session] = read(folder, {"role": "user", "content": "hi", **record})
    [turn] = session.turns
    return turn


def refusal(folder: Path, text: str | bytes) -> str:
    with pytest.raises(InvalidInput) as caught:
        read_conversation(write(folder, text))
    return str(caught.value)


# --- messages ------------------------------------------------------------------------------


def test_json_lines_become_turns_with_all_they_say(tmp_path: Path) -> None:
    turn = only_turn(tmp_path, time="2026-10-01T10:00:00+02:00", name="Maya", session="first", id=7)
    when = datetime(2026, 10, 1, 8, tzinfo=UTC)
    assert turn == Turn("user", "hi", time=when, name="Maya", session="first", id="7")


def test_turn_without_session_belongs_to_the_file(tmp_path: Path) -> None:
    assert only_turn(tmp_path) == Turn("user", "hi", session="talk")


def test_interleaved_sessions_are_grouped_in_order_of_their_first_turn(tmp_path: Path) -> None:
    said = [("b", "1"), ("a", "2"), ("b", "3")]
    found = read(tmp_path, *({"role": "user", "content": c, "session": s} for s, c in said))
    assert [(s.name, [t.content for t in s.turns]) for s in found] == [
        ("b", ["1", "3"]),
        ("a", ["2"]),
    ]


def test_json_list_reads_like_json_lines(tmp_path: Path) -> None:
    records = [{"role": "user", "content": "a"}, {"role": "ai", "content": "b"}]
    assert read(tmp_path, records) == read(tmp_path, *records)


def test_pretty_printed_document_reads_like_a_compact_one(tmp_path: Path) -> None:
    record = {"messages": [{"role": "user", "content": "a"}]}
    pretty = read_conversation(write(tmp_path, json.dumps(record, indent=2)))
    assert [t.content for s in pretty for t in s.turns] == ["a"]


def test_each_messages_object_is_a_session_of_its_own(tmp_path: Path) -> None:
    record = {"messages": [{"role": "user", "content": "a"}]}
    found = read(tmp_path, record, record, {**record, "id": "named"})
    assert len(found) == 3
    assert found[2].name == "named"


@pytest.mark.parametrize(
    ("role", "expected"),
    [("Human", "user"), ("ai", "assistant"), ("developer", "system"), ("function", "tool")],
)
def test_other_names_of_the_roles_are_understood(tmp_path: Path, role: str, expected: str) -> None:
    assert only_turn(tmp_path, role=role).role == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", ""),
        (None, ""),
        ([], ""),
        (["a", "b"], "a\nb"),
        ([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}], "a"),
        ([{"type": "input_text", "text": "a"}, {"text": "b"}, "c"], "a\nb\nc"),
    ],
)
def test_content_may_be_text_or_parts(tmp_path: Path, content: object, expected: str) -> None:
    assert only_turn(tmp_path, content=content).content == expected


@pytest.mark.parametrize(
    "written",
    [
        "2026-10-01T08:00:00Z",
        "2026-10-01T08:00:00",
        "2026-10-01 10:00+02:00",
        "8:00 am on 1 October, 2026",
        1790841600,
        1790841600.0,
        1790841600000,
    ],
)
def test_one_instant_can_be_written_in_many_ways(tmp_path: Path, written: object) -> None:
    assert only_turn(tmp_path, time=written).time == datetime(2026, 10, 1, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "hour"),
    [
        ("12:05 am on 8 May, 2023", 0),
        ("12:05 pm on 8 May, 2023", 12),
        ("1:05 pm on 8 May, 2023", 13),
    ],
)
def test_noon_and_midnight_are_told_apart(tmp_path: Path, written: str, hour: int) -> None:
    assert only_turn(tmp_path, time=written).time == datetime(2023, 5, 8, hour, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "written",
    [
        "yesterday",
        "",
        "0001-01-01T00:00:00+14:00",
        "+292277026596-12-04T15:30:07Z",
        9223372036854775807,
        -(10**400),
        1e308,
        True,
        [],
        {"seconds": 1},
        "31 at noon on 31 February, 2026",
    ],
)
def test_time_that_is_none_is_refused(tmp_path: Path, written: object) -> None:
    record = json.dumps({"role": "user", "content": "hi", "time": written})
    assert refusal(tmp_path, record).startswith("talk.txt, line 1: time must be ISO 8601")


# --- files ---------------------------------------------------------------------------------

GOOD = b'{"role": "user", "content": "hi"}'


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf" + GOOD,
        GOOD + b"\r\n" + GOOD,
        b"\n\n \n" + GOOD + b"\n\n",
        b"[" + GOOD + b"]\r\n",
    ],
    ids=["byte order mark", "CRLF", "blank lines", "list"],
)
def test_harmless_differences_of_files_are_read_over(tmp_path: Path, text: bytes) -> None:
    [session] = read_conversation(write(tmp_path, text))
    assert {turn.content for turn in session.turns} == {"hi"}


def test_line_separator_inside_text_does_not_end_the_line(tmp_path: Path) -> None:
    line = '{"role": "user", "content": "a\u2028b\x85c"}'
    [session] = read_conversation(write(tmp_path, line))
    assert session.turns[0].content == "a\u2028b\x85c"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"role": "user"', "expected JSON"),
        (b'{"role": "user", "content": "\x00"}', "expected JSON"),
        (b'{"role": "user", "content": "\xff"}', "expected UTF-8 text"),
        (b'{"role": "user", "content": "\\u0000"}', "content holds a NUL"),
        (b'{"role": "user", "content": "\\ud800"}', "content holds a NUL or a lone surrogate"),
        (b'{"role": "user", "content": ["\\udfff"]}', "content holds a NUL or a lone surrogate"),
        (b'{"role": "user", "content": 7}', "content must be text or a list of parts, not int"),
        (b'{"role": "user", "content": [7]}', "part 1: expected text or an object"),
        (b'{"role": "user", "content": [{"type": "text"}]}', "part 1: text must be text"),
        (b'{"role": "user"}', "expected the key content"),
        (b'{"role": 3, "content": "hi"}', "role must be text, not int"),
        (b'{"role": "king", "content": "hi"}', "role must be one of user"),
        (b'{"role": "user", "content": "hi", "name": []}', "name must be"),
        (b'{"role": "user", "content": "hi", "session": "a\\nb"}', "session holds control"),
        (b'{"content": "hi"}', "expected an object with one of the keys role"),
        (b'{"messages": {}}', "messages must be a list"),
        (b'"hi"', "expected an object"),
        (b"17", "expected an object"),
        (b'{"role": "user", "content": NaN}', "a number that JSON does not have"),
        (b'{"role": "user", "time": ' + b"1" * 5000 + b"}", "a number that JSON does not have"),
        (b'{"role": "user", "content": ' + b"[" * 100_000 + b"}", "nested too deeply"),
    ],
)
def test_bad_line_is_named_with_what_was_expected(
    tmp_path: Path, line: bytes, expected: str
) -> None:
    message = refusal(tmp_path, GOOD + b"\n\n" + line)
    assert message.startswith("talk.txt, line 3")
    assert expected in message
    assert len(message) < 200


def test_bad_entry_of_a_list_is_named(tmp_path: Path) -> None:
    text = json.dumps([{"role": "user", "content": "a"}, {"role": "user", "content": 1}])
    assert refusal(tmp_path, text).startswith("talk.txt, entry 2: content must be")


def test_broken_document_names_the_line_it_breaks_at(tmp_path: Path) -> None:
    assert refusal(tmp_path, '[\n{"role": "user",\n"content": oops}]').startswith(
        "talk.txt, line 3"
    )


def test_error_and_its_causes_never_repeat_the_file(tmp_path: Path) -> None:
    for line in (
        '{"role": "swordfish", "content": "hi"}',
        '{"role": "user", "content": "swordfish}',
        '{"role": "user", "content": "hi", "time": "swordfish on sea"}',
        '{"role": "user", "content": "hi", "time": "swordfish"}',
        '{"role": "user", "content": "swordfish\\ud800"}',
        '{"role": "user", "content": {"swordfish": 1}}',
        '{"role": "user", "content": "hi", "session": "swordfish\\u0001"}',
        '{"swordfish": 1}',
    ):
        with pytest.raises(InvalidInput) as caught:
            read_conversation(write(tmp_path, line))
        assert "swordfish" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize("text", ["", " \n\n", "[]", "[]\n", '{"mapping": {}}'])
def test_file_without_messages_is_refused(tmp_path: Path, text: str) -> None:
    assert refusal(tmp_path, text) == "talk.txt holds no messages"


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"cannot read none\.jsonl"):
        read_conversation(tmp_path / "none.jsonl")
    with pytest.raises(InvalidInput, match="cannot read"):
        read_conversation(tmp_path)


def test_file_over_the_limit_is_refused_and_one_at_it_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    assert read_conversation(path, max_bytes=len(GOOD))
    with pytest.raises(InvalidInput, match="larger than"):
        read_conversation(path, max_bytes=len(GOOD) - 1)


def test_long_line_is_read_whole(tmp_path: Path) -> None:
    assert len(only_turn(tmp_path, content="x" * 5_000_000).content) == 5_000_000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "time", "messages", "mapping", "current_node"])
            | st.sampled_from(["conversation", "session_1", "text", "type", "message", "id"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_file_is_read_or_refused_and_never_breaks(tmp_path: Path, text: bytes) -> None:
    try:
        sessions = read_conversation(write(tmp_path, text))
    except InvalidInput:
        return
    assert all(turn.content.encode() is not None for s in sessions for turn in s.turns)


# --- ChatGPT -------------------------------------------------------------------------------


def node(name: str, parent: str | None, role: str = "user", **message: Any) -> dict[str, Any]:
    content = {"content_type": "text", "parts": [f"says {name}"]}
    said = {"id": f"m-{name}", "author": {"role": role}, "content": content, **message}
    return {"id": name, "parent": parent, "children": [], "message": said}


def chatgpt(*nodes: dict[str, Any], current: str) -> dict[str, Any]:
    mapping = {"root": {"id": "root", "parent": None, "message": None}}
    mapping |= {n["id"]: n for n in nodes}
    return {"title": "T", "conversation_id": "c1", "mapping": mapping, "current_node": current}


def test_chatgpt_export_gives_the_branch_that_was_shown(tmp_path: Path) -> None:
    export = chatgpt(
        node("a", "root", create_time=1790841600.5),
        node("dropped", "a", "assistant"),
        node("b", "a", "assistant", create_time=None),
        current="b",
    )
    [session] = read(tmp_path, [export])
    when = datetime(2026, 10, 1, 8, 0, 0, 500_000, tzinfo=UTC)
    assert session == Session(
        "c1",
        (
            Turn("user", "says a", time=when, session="c1", id="m-a"),
            Turn("assistant", "says b", session="c1", id="m-b"),
        ),
    )


def test_chatgpt_system_hidden_empty_and_picture_messages_are_left_out(tmp_path: Path) -> None:
    export = chatgpt(
        node("system", "root", "system"),
        node("hidden", "system", metadata={"is_visually_hidden_from_conversation": True}),
        node("empty", "hidden", content={"content_type": "text", "parts": [""]}),
        node("picture", "empty", content={"content_type": "multimodal_text", "parts": [{}]}),
        node("code", "picture", "assistant", content={"content_type": "code", "text": "x = 1"}),
        node("mixed", "code", content={"content_type": "multimodal_text", "parts": [{}, "look"]}),
        node("tool", "mixed", "tool", content={"content_type": "execution_output", "text": "4"}),
        current="tool",
    )
    [session] = read(tmp_path, [export])
    assert [(t.role, t.content) for t in session.turns] == [("user", "look"), ("tool", "4")]


@pytest.mark.parametrize("current", ["loop", "orphan", "nowhere", None, 3])
def test_chatgpt_tree_that_does_not_lead_to_a_root_is_refused(
    tmp_path: Path, current: str | None
) -> None:
    export = chatgpt(node("loop", "pool"), node("pool", "loop"), node("orphan", "gone"), current="")
    export["current_node"] = current
    message = refusal(tmp_path, json.dumps([export]))
    assert message.startswith("talk.txt, entry 1: current_node must lead to the root")


@pytest.mark.parametrize(
    "message", [3, {}, {"author": {"role": "user"}}, {"author": {}, "content": {"parts": []}}]
)
def test_chatgpt_message_of_the_wrong_form_is_refused(tmp_path: Path, message: object) -> None:
    export = chatgpt({"id": "a", "parent": "root", "message": message}, current="a")
    assert "message of a mapping node" in refusal(tmp_path, json.dumps([export]))


def test_chatgpt_conversation_of_many_turns_is_followed_to_its_start(tmp_path: Path) -> None:
    nodes = [node(str(n), str(n - 1) if n else "root") for n in range(4_000)]
    [session] = read(tmp_path, [chatgpt(*nodes, current="3999")])
    assert [session.turns[0].id, session.turns[-1].id] == ["m-0", "m-3999"]


# --- LoCoMo --------------------------------------------------------------------------------


def locomo(**extra: Any) -> dict[str, Any]:
    said = [{"speaker": "Ana", "dia_id": "D1:1", "text": "hello"}]
    sessions = {f"session_{n}": said for n in (10, 2)}
    dates = {"session_2_date_time": "1:56 pm on 8 May, 2023", "session_3_date_time": "never"}
    return {"conversation": {"speaker_a": "Ana", **sessions, **dates}, **extra}


def test_locomo_sessions_come_in_order_of_their_numbers(tmp_path: Path) -> None:
    found = read(tmp_path, [locomo(sample_id="conv-1")])
    assert [s.name for s in found] == ["conv-1/session_2", "conv-1/session_10"]
    when = datetime(2023, 5, 8, 13, 56, tzinfo=UTC)
    assert found[0].turns == (
        Turn("user", "hello", time=when, name="Ana", session="conv-1/session_2", id="D1:1"),
    )


def test_single_locomo_sample_needs_no_list(tmp_path: Path) -> None:
    assert [s.name for s in read(tmp_path, locomo())] == ["session_2", "session_10"]


def test_locomo_turn_without_text_is_named(tmp_path: Path) -> None:
    sample = {"conversation": {"session_1": [{"speaker": "Ana"}]}}
    assert "entry 1, session_1, turn 1: text must be" in refusal(tmp_path, json.dumps([sample]))


@pytest.mark.skipif(not LOCOMO.exists(), reason="the LoCoMo data set is not on this machine")
def test_every_turn_of_the_locomo_file_is_read() -> None:
    turns = [t for s in read_conversation(LOCOMO / "locomo10.json") for t in s.turns]
    raw = json.loads((LOCOMO / "locomo10.json").read_text())
    said = sum(len(v) for s in raw for v in s["conversation"].values() if isinstance(v, list))
    assert len(turns) == said > 0
    assert all(turn.time and turn.name and turn.id for turn in turns)


# --- the sample that ships -----------------------------------------------------------------


def test_shipped_sample_is_as_its_questions_say() -> None:
    turns = [turn for session in read_conversation(SAMPLE) for turn in session.turns]
    asked = json.loads(QUESTIONS.read_text())
    lines = asked["lines"]
    assert len(turns) == len(SAMPLE.read_text().splitlines())
    assert turns == sorted(turns, key=lambda t: t.time or datetime.max.replace(tzinfo=UTC))
    assert turns[lines["empty"] - 1].content == ""
    assert turns[lines["tool"] - 1].role == "tool"
    first, second = (turns[n - 1].content for n in lines["repeated"])
    assert first == second
    assert "sk-test-" in turns[lines["secret"] - 1].content
    for question in asked["questions"]:
        for answer in (question, question.get("before_correction", question)):
            for line in answer["evidence"]:
                assert answer["answer"] in turns[line - 1].content
