"""Files of conversations as sessions of turns, whichever of the usual forms they have.

Called by the command line and the demo, calls nothing: its turns are what ``MOS.add`` takes.
The form is seen from the content, never from the file's name:

- JSON Lines or a JSON list of ``{role, content, time?, name?, session?, id?}``;
- ``{"messages": [...]}`` of the same, one session each;
- a ChatGPT export: conversations with a ``mapping`` tree and the ``current_node`` that was shown;
- LoCoMo samples: ``{"conversation": {"session_1": [...], "session_1_date_time": ...}}``.

A file is foreign data: it is parsed as JSON and nothing else, its size is bounded, and an error
says the line and the key but never repeats what was written there.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn, TypeAlias, cast

from memos_integrations.cube.errors import InvalidInput
from memos_integrations.cube.ids import clean_name

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

_ROLES = {
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("assistant", "ai"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("tool", "function"), "tool"),
}
_TEXT_PARTS = ("text", "input_text", "output_text")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_MILLISECONDS = 1e11
"""Numbers from here on are milliseconds: as seconds they would lie after the year 5138."""
_HALF_PAIR = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Turn:
    """One message. ``role`` is user, assistant, system or tool; ``time`` is aware and UTC."""

    role: str
    content: str
    time: datetime | None = None
    name: str | None = None
    session: str = ""
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """The turns of one session, in the order of the file."""

    name: str
    turns: tuple[Turn, ...]


def read_conversation(path: Path, *, max_bytes: int = 256 * 2**20) -> list[Session]:
    """The sessions in a file, in order of their first turn; the module lists the forms.

    A turn without a session gets the file's name without its ending. An empty ``content`` is
    kept, so that whoever stores it can say it was refused. Raises ``InvalidInput`` with the line
    (in a JSON document: the entry) and what was expected there; then nothing was read.
    """
    file = clean_name(path.name, "file name")
    grouped: dict[str, list[Turn]] = {}
    for where, record in _records(_text_of(path, max_bytes), file):
        for turn in _turns(record, where):
            session = turn.session or path.stem
            grouped.setdefault(session, []).append(replace(turn, session=session))
    if not grouped:
        raise InvalidInput(f"{file} holds no messages")
    return [Session(name, tuple(turns)) for name, turns in grouped.items()]


def _text_of(path: Path, max_bytes: int) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(max_bytes + 1)
    except OSError as error:
        raise InvalidInput(f"cannot read {path.name}: {error.strerror}") from error
    if len(raw) > max_bytes:
        raise InvalidInput(f"{path.name} is larger than {max_bytes} bytes; split it first")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _wrong(f"{path.name}, line {line}", "expected UTF-8 text") from None


def _records(text: str, file: str) -> Iterator[tuple[str, Json]]:
    """Every top-level object with its place: the lines of JSON Lines, or a document's entries."""
    head = text.lstrip()
    if head.startswith("{") and head.partition("\n")[0].rstrip().endswith("}"):
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                yield f"{file}, line {number}", _parse(line, file, first_line=number)
        return
    document = _parse(text, file) if head else []
    entries = document if isinstance(document, list) else [document]
    for number, entry in enumerate(entries, 1):
        yield f"{file}, entry {number}", entry


def _parse(text: str, file: str, *, first_line: int = 1) -> Json:
    line = first_line
    try:
        return cast(Json, json.loads(text, parse_constant=_no_constant))
    except json.JSONDecodeError as error:
        line += error.lineno - 1
        what = f"expected JSON: {error.msg}, column {error.colno}"
    except RecursionError:
        what = "the JSON is nested too deeply"
    except ValueError:
        what = "it holds a number that JSON does not have"
    # Raised outside the handlers: a cause would carry the words of the file.
    raise _wrong(f"{file}, line {line}", what)


def _no_constant(_: str) -> NoReturn:
    raise ValueError


def _turns(record: Json, where: str) -> Iterator[Turn]:
    """The turns of one record, read by the form it has."""
    if isinstance(record, dict):
        for key, read in _FORMS.items():
            if key in record:
                return read(record, where)
    raise _wrong(where, f"expected an object with one of the keys {', '.join(_FORMS)}")


def _message(record: Mapping[str, Json], where: str) -> Iterator[Turn]:
    role = _ROLES.get(_string(record, "role", where).lower())
    if role is None:
        raise _wrong(where, f"role must be one of {', '.join(_ROLES)}")
    if "content" not in record:
        raise _wrong(where, "expected the key content beside role")
    yield Turn(
        role=role,
        content=_content(record["content"], where),
        time=_time(record.get("time"), where, "time"),
        name=_name(record, "name", where),
        session=_name(record, "session", where) or "",
        id=_name(record, "id", where),
    )


def _content(value: Json, where: str) -> str:
    """The words of a message: text, or the text parts of a list; a tool call has none."""
    if value is None:
        return ""
    if isinstance(value, str):
        return _clean(value, where, "content")
    if not isinstance(value, list):
        raise _wrong(where, f"content must be text or a list of parts, not {type(value).__name__}")
    parts = (_part(part, f"{where}, part {n}") for n, part in enumerate(value, 1))
    return "\n".join(part for part in parts if part)


def _part(part: Json, where: str) -> str:
    if isinstance(part, dict):
        return _string(part, "text", where) if part.get("type", "text") in _TEXT_PARTS else ""
    if isinstance(part, str):
        return _clean(part, where, "content")
    raise _wrong(where, f"expected text or an object with type and text, not {type(part).__name__}")


def _messages(record: Mapping[str, Json], where: str) -> Iterator[Turn]:
    session = _name(record, "session", where) or _name(record, "id", where)
    for number, entry in enumerate(_list(record, "messages", where), 1):
        place = f"{where}, message {number}"
        for turn in _message(_object(entry, place), place):
            yield replace(turn, session=turn.session or session or where)


def _chatgpt(record: Mapping[str, Json], where: str) -> Iterator[Turn]:
    """The branch that was shown last: other branches were edited away or regenerated."""
    session = _name(record, "conversation_id", where) or _name(record, "id", where) or where
    for node in _shown(record, where):
        message = node.get("message")
        if message is not None:
            place = f"{where}, message of a mapping node"
            yield from _chatgpt_message(_object(message, place), session, place)


def _shown(record: Mapping[str, Json], where: str) -> list[Mapping[str, Json]]:
    """The nodes from the root to ``current_node``."""
    mapping = _object(record["mapping"], f"{where}, mapping")
    path: dict[str, Mapping[str, Json]] = {}
    at = record.get("current_node")
    while at is not None or len(path) < min(1, len(mapping)):
        if not isinstance(at, str) or at not in mapping or at in path:
            raise _wrong(
                where, "current_node must lead to the root of mapping through known parents"
            )
        path[at] = _object(mapping[at], f"{where}, mapping node")
        at = path[at].get("parent")
    return list(reversed(path.values()))


def _chatgpt_message(message: Mapping[str, Json], session: str, where: str) -> Iterator[Turn]:
    author = _object(message.get("author"), f"{where}, author")
    role = _ROLES.get(_string(author, "role", where))
    content = _chatgpt_text(_object(message.get("content"), f"{where}, content"), role, where)
    metadata = message.get("metadata")
    hidden = isinstance(metadata, dict) and metadata.get("is_visually_hidden_from_conversation")
    if role in (None, "system") or hidden or not content.strip():
        return
    yield Turn(
        role=role,
        content=content,
        time=_time(message.get("create_time"), where, "create_time"),
        name=_name(author, "name", where),
        session=session,
        id=_name(message, "id", where),
    )


def _chatgpt_text(content: Mapping[str, Json], role: str | None, where: str) -> str:
    """The parts that are strings; images and the like are objects. Tools answer in ``text``."""
    parts = _list(content, "parts", where) if "parts" in content else []
    if not parts and role == "tool":
        parts = [content.get("text")]
    texts = [_clean(part, where, "parts") for part in parts if isinstance(part, str)]
    return "\n".join(text for text in texts if text)


def _locomo(record: Mapping[str, Json], where: str) -> Iterator[Turn]:
    sample = _name(record, "sample_id", where)
    conversation = _object(record["conversation"], f"{where}, conversation")
    numbers = [key[8:] for key in conversation if re.fullmatch(r"session_[0-9]{1,6}", key)]
    for key in (f"session_{number}" for number in sorted(numbers, key=int)):
        time = _time(conversation.get(f"{key}_date_time"), where, f"{key}_date_time")
        for number, entry in enumerate(_list(conversation, key, where), 1):
            place = f"{where}, {key}, turn {number}"
            said = _object(entry, place)
            yield Turn(
                role="user",
                content=_string(said, "text", place),
                time=time,
                name=_name(said, "speaker", place),
                session=f"{sample}/{key}" if sample else key,
                id=_name(said, "dia_id", place),
            )


_FORMS: dict[str, Callable[[Mapping[str, Json], str], Iterator[Turn]]] = {
    "role": _message,
    "messages": _messages,
    "mapping": _chatgpt,
    "conversation": _locomo,
}
"""The key that gives a form away, and what reads it."""


def _time(value: Json, where: str, key: str) -> datetime | None:
    """ISO 8601, seconds or milliseconds since 1970, or "1:56 pm on 8 May, 2023". Naive is UTC."""
    try:
        if value is None:
            return None
        if isinstance(value, str):
            return _written_time(value.strip())
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _counted_time(value)
        raise TypeError
    except (TypeError, ValueError, OverflowError):
        what = "must be ISO 8601, or seconds or milliseconds since 1970, in the years 1 to 9999"
        raise _wrong(where, f"{key} {what}") from None


def _written_time(text: str) -> datetime:
    if " on " in text:
        return datetime.strptime(text, "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC)
    when = datetime.fromisoformat(text)
    return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)


def _counted_time(number: float) -> datetime:
    if not math.isfinite(number):
        raise ValueError
    seconds = number / 1000 if abs(number) >= _FIRST_MILLISECONDS else number
    return _EPOCH + timedelta(seconds=seconds)


def _name(record: Mapping[str, Json], key: str, where: str) -> str | None:
    """A name or id; numbers are taken as they are written, ``null`` and ``""`` as none."""
    value = record.get(key)
    if value is None or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    try:
        return clean_name(value, key)
    except InvalidInput as error:
        raise _wrong(where, str(error)) from None


def _string(record: Mapping[str, Json], key: str, where: str) -> str:
    value = record.get(key)
    if not isinstance(value, str):
        raise _wrong(where, f"{key} must be text, not {type(value).__name__}")
    return _clean(value, where, key)


def _clean(text: str, where: str, key: str) -> str:
    """``text`` if every engine can hold it: no NUL, no half of a surrogate pair."""
    if "\0" in text or _HALF_PAIR.search(text):
        raise _wrong(where, f"{key} holds a NUL or a lone surrogate, which is not text")
    return text


def _list(record: Mapping[str, Json], key: str, where: str) -> list[Json]:
    value = record.get(key)
    if not isinstance(value, list):
        raise _wrong(where, f"{key} must be a list, not {type(value).__name__}")
    return value


def _object(value: Json, where: str) -> Mapping[str, Json]:
    if not isinstance(value, dict):
        raise _wrong(where, f"expected an object, not {type(value).__name__}")
    return value


def _wrong(where: str, what: str) -> InvalidInput:
    return InvalidInput(f"{where}: {what}")
