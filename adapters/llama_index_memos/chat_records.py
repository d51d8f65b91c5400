"""Conversations as governed records: exact messages in order, active or archived.

Called by both chat stores and by the memory. A message's place is the time it was put at, made
later than every place before it; a tail tells apart what was put at once by several.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias
from urllib.parse import quote, unquote

from llama_index.core.base.llms.types import ChatMessage

from llama_index_memos.asker import Room, checked, in_a_cube
from llama_index_memos.messages import from_bytes, to_bytes
from memos_integrations.cube.errors import InvalidInput
from memos_integrations.cube.ids import clean_name
from memos_integrations.interface.mos import MOS
from memos_integrations.interface.record_verbs import Records

Status: TypeAlias = Literal["active", "archived"]
STATUSES: Final[tuple[Status, ...]] = ("active", "archived")
_AFTER: Final = "\U0010ffff"
_APART: Final = 1_000
"""Nanoseconds between places: a memory tells times apart to the microsecond."""


@dataclass(frozen=True, slots=True)
class Put:
    """One message and the place it has."""

    key: str
    message: ChatMessage

    @property
    def nanos(self) -> int:
        """When it was put, in nanoseconds since 1970."""
        return nanos_of(self.key)

    @property
    def tail(self) -> str:
        """The place without conversation and status."""
        return self.key.rpartition("/")[2]


def nanos_of(key: str) -> int:
    """The time within a place; 0 for what is none."""
    digits = key.rpartition("/")[2].partition("-")[0]
    return int(digits) if digits.isdecimal() else 0


class ChatRecords:
    """The messages of the conversations called ``name``, by conversation, in the asker's home or
    in ``cube``.

    Each conversation is a session of its own: ``mos.erase(source="session:<conversation>")``
    takes its records along, and what that could not take is not read either.
    """

    def __init__(
        self,
        mos: MOS,
        *,
        user: str | None = None,
        agent: str | None = None,
        cube: str | None = None,
        name: str,
    ) -> None:
        self._mos = checked(mos)
        self._asker = Room(user, agent)
        if cube is not None:
            self._asker = in_a_cube(mos, "records", user=user, agent=agent, cube=cube)
        self._space = f"llama_index.chat/{quote(name, safe='')}"
        self._all = mos.records(self._space, **self._asker.of())

    def messages(self, chat: str, status: Status | None = "active") -> list[Put]:
        """The messages in the order in which they were put; archived ones too for ``None``."""
        wanted = STATUSES if status is None else (status,)
        found = [
            Put(key, from_bytes(raw))
            for each in wanted
            for key, raw in self._of(chat).items(_prefix(chat, each))
        ]
        return sorted(found, key=lambda put: put.tail)

    def placed(
        self, chat: str, messages: Sequence[ChatMessage], status: Status = "active"
    ) -> list[Put]:
        """These messages with places after everything that is there; nothing is kept yet."""
        start = max(time.time_ns(), self._last(chat) + _APART)
        prefix = _prefix(chat, status)
        return [
            Put(f"{prefix}{start + _APART * n:020d}-{secrets.token_hex(4)}", message)
            for n, message in enumerate(messages)
        ]

    def keep(self, chat: str, puts: Sequence[Put]) -> None:
        """Put these, all of them or none."""
        self._of(chat).put({put.key: to_bytes(put.message) for put in puts})

    def replace(self, chat: str, puts: Sequence[Put], *, gone: Iterable[Status] = STATUSES) -> None:
        """Put these in place of what is there, in one transaction."""
        records = self._of(chat)
        old = [key for each in gone for key in records.keys(_prefix(chat, each))]
        new = {put.key: to_bytes(put.message) for put in puts}
        records.write(put=new, delete=old)

    def delete(self, chat: str, puts: Sequence[Put]) -> None:
        """Remove these for good."""
        self._of(chat).delete([put.key for put in puts])

    def archive(self, chat: str, count: int) -> list[Put]:
        """Move the oldest active messages into the archive, in one transaction."""
        oldest = self.messages(chat)[: max(count, 0)]
        moved = {f"{_prefix(chat, 'archived')}{p.tail}": to_bytes(p.message) for p in oldest}
        self._of(chat).write(put=moved, delete=[put.key for put in oldest])
        return oldest

    def clear(self, chat: str, status: Status | None = None) -> int:
        """Remove a conversation, or what of it has this status; how many messages that were."""
        return self._of(chat).clear(_prefix(chat, status) if status else f"{_name(chat)}/")

    def chats(self) -> list[str]:
        """The conversations that hold messages; one look-up each, however long they are."""
        found: list[str] = []
        after: str | None = None
        while keys := self._all.keys(after=after, limit=1):
            name = keys[0].partition("/")[0]
            found.append(unquote(name))
            after = f"{name}/{_AFTER}"
        return found

    def _of(self, chat: str) -> Records:
        """The records of one conversation, which go when it is erased."""
        return self._mos.records(self._space, **self._asker.of(session=session_of(chat)))

    def _last(self, chat: str) -> int:
        """The latest place of the conversation."""
        records = self._of(chat)
        newest = [records.keys(_prefix(chat, each), limit=1, reverse=True) for each in STATUSES]
        return max((nanos_of(keys[0]) for keys in newest if keys), default=0)


def session_of(chat: str) -> str:
    """The session a conversation is erased by: its name, or a digest of what names nothing."""
    name = _name(chat)
    try:
        return clean_name(chat, "conversation")
    except InvalidInput:
        return f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"


def _name(chat: str) -> str:
    if not isinstance(chat, str):
        raise InvalidInput(f"a conversation is named by text, not {type(chat).__name__}")
    try:
        return quote(chat, safe="")
    except UnicodeEncodeError as error:
        raise InvalidInput("the name of a conversation holds lone surrogates") from error


def _prefix(chat: str, status: Status) -> str:
    return f"{_name(chat)}/{status}/"
