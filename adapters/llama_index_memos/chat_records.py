"""Conversations as governed records: exact messages in order, active or archived.

Called by both chat stores and by the memory. A message's place is the time it was put at, made
later than every place before it; a tail tells apart what was put at once by several.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias
from urllib.parse import quote, unquote

from llama_index.core.base.llms.types import ChatMessage

from llama_index_memos.asker import Asker, checked, in_a_cube
from llama_index_memos.messages import from_bytes, to_bytes
from memos_integrations.cube.errors import InvalidInput
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


def chat_records(
    mos: MOS, *, user: str | None, agent: str | None, cube: str | None, name: str
) -> Records:
    """The records of the conversations called ``name`` in the asker's home, or in ``cube``."""
    asker = Asker(user, agent)
    checked(mos)
    if cube is not None:
        asker = in_a_cube(mos, "records", user=user, agent=agent, cube=cube)
    return mos.records(f"llama_index.chat/{quote(name, safe='')}", **asker.of())


class ChatRecords:
    """The messages of conversations, by conversation."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def messages(self, chat: str, status: Status | None = "active") -> list[Put]:
        """The messages in the order in which they were put; archived ones too for ``None``."""
        wanted = STATUSES if status is None else (status,)
        found = [
            Put(key, from_bytes(raw))
            for each in wanted
            for key, raw in self._records.items(_prefix(chat, each))
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

    def keep(self, puts: Sequence[Put]) -> None:
        """Put these, all of them or none."""
        self._records.put({put.key: to_bytes(put.message) for put in puts})

    def replace(self, chat: str, puts: Sequence[Put], *, gone: Iterable[Status] = STATUSES) -> None:
        """Put these in place of what is there, in one transaction."""
        old = [key for each in gone for key in self._records.keys(_prefix(chat, each))]
        new = {put.key: to_bytes(put.message) for put in puts}
        self._records.write(put=new, delete=old)

    def delete(self, puts: Sequence[Put]) -> None:
        """Remove these for good."""
        self._records.delete([put.key for put in puts])

    def archive(self, chat: str, count: int) -> list[Put]:
        """Move the oldest active messages into the archive, in one transaction."""
        oldest = self.messages(chat)[: max(count, 0)]
        moved = {f"{_prefix(chat, 'archived')}{p.tail}": to_bytes(p.message) for p in oldest}
        self._records.write(put=moved, delete=[put.key for put in oldest])
        return oldest

    def clear(self, chat: str, status: Status | None = None) -> int:
        """Remove a conversation, or what of it has this status; how many messages that were."""
        return self._records.clear(_prefix(chat, status) if status else f"{_name(chat)}/")

    def chats(self) -> list[str]:
        """The conversations that hold messages; one look-up each, however long they are."""
        found: list[str] = []
        after: str | None = None
        while keys := self._records.keys(after=after, limit=1):
            name = keys[0].partition("/")[0]
            found.append(unquote(name))
            after = f"{name}/{_AFTER}"
        return found

    def _last(self, chat: str) -> int:
        """The latest place of the conversation."""
        newest = [
            self._records.keys(_prefix(chat, each), limit=1, reverse=True) for each in STATUSES
        ]
        return max((nanos_of(keys[0]) for keys in newest if keys), default=0)


def _name(chat: str) -> str:
    if not isinstance(chat, str):
        raise InvalidInput(f"a conversation is named by text, not {type(chat).__name__}")
    try:
        return quote(chat, safe="")
    except UnicodeEncodeError as error:
        raise InvalidInput("the name of a conversation holds lone surrogates") from error


def _prefix(chat: str, status: Status) -> str:
    return f"{_name(chat)}/{status}/"
