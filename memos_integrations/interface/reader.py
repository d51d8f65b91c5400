"""MemReader, first form: what people hand in becomes drafts, message by message.

Called by the facade before any transaction is open. Accepts text, mappings, LangChain-style
message objects and lists of them; keeps the words verbatim with speaker, time and provenance.
A message that cannot be stored gets an outcome that says why; a call that is malformed raises.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from enum import StrEnum
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any, TypeAlias, TypeVar

from memos_integrations.cube.acl import Principal, Trust, Visibility
from memos_integrations.cube.draft import Draft
from memos_integrations.cube.errors import InvalidInput
from memos_integrations.cube.header import MemoryType, Origin
from memos_integrations.cube.ids import clean_name, from_micros, to_micros
from memos_integrations.cube.item import BlobRef
from memos_integrations.cube.ops import Replayable
from memos_integrations.cube.outcomes import Outcome
from memos_integrations.infrastructure.governance.detection import PERSONAL, SECRET
from memos_integrations.infrastructure.governance.redaction import (
    RedactionPolicy,
    Written,
    apply_on_write,
    spans_to_json,
)
from memos_integrations.infrastructure.vault.rows import masked
from memos_integrations.interface.arguments import span_micros
from memos_integrations.interface.json_values import clean_json, clean_labels
from memos_integrations.operation.tool_traces import ToolTrace

Message: TypeAlias = str | Mapping[str, Any] | object
Messages: TypeAlias = Message | Sequence[Message]

_ROLES = {"human": "user", "ai": "assistant", "function": "tool", "developer": "system"}
_USUAL_ROLES = ("user", "assistant", "tool", "system")
_TRUST_OF_ROLE = {"assistant": Trust.INFERENCE, "tool": Trust.TOOL}
_ORIGIN_OF_ROLE = {"assistant": Origin.INFERENCE, "tool": Origin.RETRIEVAL}
_BAD = re.compile("[\x00\ud800-\udfff]")
CALL_KEYS = frozenset({"tool_calls", "tool_call_id"})
"""Keys of messages in OpenAI's form that tell of calls; ``read_messages`` reads them."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One message, read: its words and what its source says about it."""

    text: str
    role: str = "user"
    name: str | None = None
    time: datetime | None = None
    session: str | None = None
    id: str | None = None
    trace: ToolTrace | None = None
    """The call of a tool that it answers."""


@dataclass(frozen=True, slots=True)
class About:
    """What the caller says of everything in one call."""

    memory_type: MemoryType | None = None
    tags: tuple[str, ...] = ()
    info: Mapping[str, Any] = field(default_factory=dict[str, Any])
    data: Mapping[str, Any] | None = None
    labels: tuple[str, ...] = ()
    visibility: Visibility = Visibility.INHERIT
    trust: Trust | None = None
    origin: Origin | None = None
    source: str | None = None
    model: str | None = None
    priority: float = 0.0
    confidence: float = 1.0
    time: datetime | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    ttl_seconds: float | None = None
    blobs: tuple[BlobRef, ...] = ()

    @classmethod
    def of(cls, **given: Any) -> About:
        """What a caller gave, with names as enums and lists as tuples. Raises ``InvalidInput``."""
        unknown = sorted(given.keys() - _ABOUT)
        if unknown:
            raise InvalidInput(f"add does not know {unknown[0]!r}; extra facts go into info=...")
        told = {name: value for name, value in given.items() if value is not None}
        for name, kind in _ENUMS.items():
            if name in told:
                told[name] = as_enum(kind, told[name], name)
        for name in ("tags", "labels"):
            if told.get(name, ()) != ():
                told[name] = clean_labels(told[name], name)
        for name in ("info", "data"):
            if told.get(name, {}) != {}:
                told[name] = clean_json(told[name], name)
        return cls(**told)


_ABOUT = frozenset(each.name for each in fields(About))
_ENUMS: dict[str, type[StrEnum]] = {
    "memory_type": MemoryType,
    "visibility": Visibility,
    "trust": Trust,
    "origin": Origin,
}
E = TypeVar("E", bound=StrEnum)


def as_enum(kind: type[E], value: E | str, what: str) -> E:
    """``value`` as a member of ``kind``. Raises ``InvalidInput`` naming the legal ones."""
    try:
        return kind(value)
    except ValueError as error:
        legal = ", ".join(each.value for each in kind)
        raise InvalidInput(f"{what} must be one of {legal}") from error


class MemReader:
    """Reads messages into drafts. Holds no state but its limits and its redaction policy."""

    def __init__(
        self,
        *,
        redaction: RedactionPolicy,
        max_text_chars: int,
        retention_seconds: Mapping[MemoryType, float],
    ) -> None:
        self._retention_seconds = retention_seconds
        self._redaction = redaction
        self._max_text_chars = max_text_chars

    def read(
        self, turns: Sequence[Turn], about: About, principal: Principal, *, now: int
    ) -> tuple[list[Replayable], dict[int, Outcome]]:
        """Drafts by place, and the outcome of each message that cannot be stored.

        Raises ``InvalidInput`` for a malformed call, or when no message at all can be stored.
        """
        if not turns:
            raise InvalidInput("there is no message to add")
        shared = _Shared.of(about, principal, self._redaction)
        drafts: list[Replayable] = []
        refused: dict[int, Outcome] = {}
        for place, turn in enumerate(turns):
            reason = self._refusal(turn.text)
            if reason is None:
                drafts.append(self._draft(turn, place, shared, now))
            else:
                refused[place] = Outcome("rejected", reason=reason)
        if not drafts:
            raise InvalidInput(f"nothing was stored: {refused[0].reason}")
        return drafts, refused

    def _expires(self, about: About, kind: MemoryType, now: int) -> int | None:
        """When the memory's time runs out: by the call, or by the retention of its type."""
        seconds = about.ttl_seconds
        if seconds is None:
            seconds = self._retention_seconds.get(kind)
        return None if seconds is None else now + int(seconds * 1e6)

    @property
    def keep(self) -> frozenset[str]:
        """The labels that may be stored as they are in ``info``, ``data`` and ``tags``."""
        return frozenset({"personal"}) - self._redaction.on_write

    def written(self, text: str) -> Written:
        """The words as they may be stored, and how much of what was taken out."""
        return apply_on_write(text, self._redaction)

    def require_text(self, text: object) -> None:
        """Raise ``InvalidInput`` for words that cannot be stored."""
        if not isinstance(text, str):
            raise InvalidInput(f"text must be a string, not {type(text).__name__}")
        reason = self._refusal(text)
        if reason is not None:
            raise InvalidInput(reason)

    def _refusal(self, text: str) -> str | None:
        if not text.strip():
            return "the message is empty"
        if len(text) > self._max_text_chars:
            return f"the message is longer than {self._max_text_chars} characters; split it"
        if _BAD.search(text):
            return "the message holds NUL or lone surrogates; send valid text"
        return None

    def _draft(self, turn: Turn, place: int, shared: _Shared, now: int) -> Replayable:
        about, principal = shared.about, shared.principal
        written = apply_on_write(turn.text, self._redaction)
        said = turn.time or about.time
        time = now if said is None else micros_of(said, "time")
        session = turn.session or principal.session
        speaker = turn.name or (principal.user if turn.role == "user" else None)
        trust = about.trust or _TRUST_OF_ROLE.get(turn.role, Trust.USER)
        origin = about.origin or _ORIGIN_OF_ROLE.get(turn.role, Origin.USER_INPUT)
        kind = about.memory_type or (
            MemoryType.TOOL if turn.role == "tool" else MemoryType.LONG_TERM
        )
        source = about.source or (f"session:{session}" if session else None)
        told = None if turn.trace is None else turn.trace.without_secrets(self.keep).payload()
        draft = Draft(
            text=written.text,
            time=time,
            role=turn.role,
            speaker=speaker,
            conversation=session,
            agent=principal.agent,
            source=source,
            memory_type=kind.value,
            origin=origin.value,
            trust=trust.value,
            visibility=about.visibility.value,
            labels=about.labels,
            tags=shared.tags,
            info=shared.info,
            data=shared.data if told is None else {**(shared.data or {}), "tool": told},
            call=None if turn.trace is None else turn.trace.call,
            blobs=about.blobs,
            model=about.model,
            priority=about.priority,
            confidence=about.confidence,
            valid_from=shared.valid_from,
            valid_to=shared.valid_to,
            expires=self._expires(about, kind, now),
            spans=spans_to_json(written.spans),
            provenance=shared.provenance(turn, written.text, time, source, now),
        )
        replayable = turn.time is not None or turn.id is not None
        return Replayable(draft, place, replayable, dict(written.removed) or None)


@dataclass(frozen=True, slots=True)
class _Shared:
    """What all drafts of a call have in common, checked once."""

    about: About
    principal: Principal
    tags: tuple[str, ...]
    info: dict[str, Any] | None
    data: dict[str, Any] | None
    valid_from: int | None
    valid_to: int | None

    @classmethod
    def of(cls, about: About, principal: Principal, redaction: RedactionPolicy) -> _Shared:
        keep = frozenset({PERSONAL, SECRET}) - redaction.on_write
        for names, what in ((about.tags, "tags"), (about.labels, "labels")):
            if names != ():
                clean_labels(names, what)
        if about.source is not None:
            clean_name(about.source, "source")
        if about.ttl_seconds is not None:
            span_micros(about.ttl_seconds, "ttl_seconds")
        if about.model is not None:
            clean_name(about.model, "model")
        for name, value in (("priority", about.priority), ("confidence", about.confidence)):
            if not (isinstance(value, int | float) and -1e9 < value < 1e9):
                raise InvalidInput(f"{name} must be a finite number")
        start = None if about.valid_from is None else micros_of(about.valid_from, "valid_from")
        end = None if about.valid_to is None else micros_of(about.valid_to, "valid_to")
        if start is not None and end is not None and end <= start:
            raise InvalidInput("valid_to must lie after valid_from")
        return cls(
            about,
            principal,
            tuple(masked(list(about.tags), keep=keep)),
            None if about.info == {} else masked(dict(about.info), keep=keep),
            None if about.data is None else masked(dict(about.data), keep=keep),
            start,
            end,
        )

    def provenance(self, turn: Turn, text: str, time: int, source: str | None, now: int) -> str:
        """The one step of a message, as ``dumps`` writes it, at a fifth of its cost."""
        return (
            f'[{{"action":"{"added" if time == now else "said"}",'
            f'"actor":{encode_basestring(_actor(turn, self.principal))},'
            f'"at":"{_iso(time)}",'
            f'"content_hash":"{hashlib.sha256(text.encode()).hexdigest()}",'
            f'"source":{encode_basestring(turn.id or source or "message")},'
            f'"source_kind":"{"tool" if turn.role == "tool" else "message"}"}}]'
        )


@lru_cache(maxsize=64)
def _iso(micros: int) -> str:
    return from_micros(micros).isoformat()


def _actor(turn: Turn, principal: Principal) -> str:
    """Who said it: by name, as the asker's own words, or by role (an assistant, a tool)."""
    if turn.name:
        return turn.name
    return principal.name if turn.role == "user" else turn.role


def as_list(messages: Messages) -> list[Message]:
    """One message or many, as a list."""
    if isinstance(messages, str | Mapping) or not isinstance(messages, Iterable):
        return [messages]
    if isinstance(messages, bytes | bytearray):
        raise InvalidInput("messages must be text, not bytes; decode them first")
    return list(messages)


def read_turn(message: Message, place: int) -> Turn:
    """One message as a turn. Raises ``InvalidInput`` naming the message that is malformed."""
    if isinstance(message, str):
        return Turn(message)
    if isinstance(message, Mapping):
        return _from_mapping(message, place)
    if hasattr(message, "content"):
        return _from_object(message, place)
    raise InvalidInput(
        f"message {place} is a {type(message).__name__}; give text, a mapping with 'role' and "
        "'content', or a chat message object"
    )


def _from_mapping(message: Mapping[str, Any], place: int) -> Turn:
    known = {"role", "content", "time", "name", "session", "id", "chat_time", "conversation"}
    unknown = sorted(str(k) for k in message.keys() - known - CALL_KEYS)
    if unknown:
        raise InvalidInput(
            f"message {place} has unknown keys {unknown[:5]}; put extra facts into info={{...}}"
        )
    if "content" not in message:
        raise InvalidInput(f"message {place} has no 'content'")
    return Turn(
        text=_text(message["content"], place),
        role=_role(message.get("role", "user"), place),
        name=_optional_name(message.get("name"), f"name of message {place}"),
        time=as_datetime(message.get("time", message.get("chat_time")), f"message {place}"),
        session=_optional_name(
            message.get("session", message.get("conversation")), f"session of message {place}"
        ),
        id=_optional_name(message.get("id"), f"id of message {place}"),
    )


def _from_object(message: object, place: int) -> Turn:
    role = getattr(message, "role", None) or getattr(message, "type", None) or "user"
    return Turn(
        text=_text(getattr(message, "content", None), place),
        role=_role(getattr(role, "value", role), place),
        name=_optional_name(getattr(message, "name", None), f"name of message {place}"),
        time=as_datetime(getattr(message, "time", None), f"message {place}"),
        session=_optional_name(getattr(message, "session", None), f"session of message {place}"),
        id=_optional_name(getattr(message, "id", None), f"id of message {place}"),
    )


def _text(content: object, place: int) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence) and not isinstance(content, bytes | bytearray):
        parts = [_part(part, place) for part in content]
        return "\n".join(part for part in parts if part)
    raise InvalidInput(
        f"the content of message {place} is a {type(content).__name__}; it must be text or a "
        "list of text parts"
    )


def _part(part: object, place: int) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping) and isinstance(part.get("text"), str):
        return str(part["text"])
    if isinstance(part, Mapping) and "type" in part:
        return ""  # an image or a tool call: its words, if any, come in other parts
    raise InvalidInput(f"a content part of message {place} is neither text nor typed")


def _role(role: object, place: int) -> str:
    if role in _USUAL_ROLES:
        return str(role)
    name = clean_name(role, f"role of message {place}").lower()
    return _ROLES.get(name, name)


def _optional_name(value: object, what: str) -> str | None:
    return None if value is None or value == "" else clean_name(value, what)


def as_datetime(value: object, what: str) -> datetime | None:
    """``value`` as an instant: a datetime, a date, ISO 8601 text or seconds since 1970."""
    if value is None or isinstance(value, datetime):
        return value
    try:
        if isinstance(value, date):
            return datetime(value.year, value.month, value.day)  # noqa: DTZ001 - read as UTC
        if isinstance(value, str):
            return datetime.fromisoformat(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return from_micros(int(value * 1e6))
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"the time of {what} is not a date that exists") from error
    raise InvalidInput(f"the time of {what} must be a datetime, ISO 8601 text or epoch seconds")


def micros_of(value: datetime | str | float, what: str) -> int:
    """Microseconds since 1970 UTC of anything ``as_datetime`` reads."""
    when = as_datetime(value, what)
    if when is None:
        raise InvalidInput(f"{what} must be a point in time")
    try:
        micros = to_micros(when)
        from_micros(micros)  # an offset may carry it out of the years that can be told again
        return micros
    except OverflowError as error:
        raise InvalidInput(f"{what} lies outside the years 1 to 9999") from error
