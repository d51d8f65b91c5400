"""How a thread lies in records: what stands under which key, and long lists in pieces.

Called by the saver. A checkpoint names the versions of its channels; each version of a channel is
stored once, as in LangGraph's Postgres saver. There a growing list (the messages of a chat) is
stored anew with each version, which over a thread comes to the square of its length. Here a list
is cut into runs of eight; a run has the hash of its bytes for a key, so it is stored once however
many versions share it, and a version is the names of its runs and the few values after them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast

from langgraph.checkpoint.base import ChannelVersions
from langgraph.checkpoint.serde.base import SerializerProtocol

from langgraph_memos.strict import UnreadableBytes

_RUN: Final = 8
_CUT_ABOVE: Final = 2 * _RUN
_PLAIN, _CUT = b"=", b"/"


@dataclass(frozen=True, slots=True)
class ThreadKeys:
    """The keys of one thread. Parts never hold a slash, so no part can pass for two."""

    thread: str

    @property
    def everything(self) -> str:
        return f"{part_of_key(self.thread)}/"

    @property
    def head(self) -> str:
        """What changes with every checkpoint: whoever thins a thread holds on to it."""
        return f"{self.everything}h"

    @property
    def pieces(self) -> str:
        return f"{self.everything}p/"

    def checkpoints(self, namespace: str | None = None) -> str:
        return f"{self.everything}c/" + ("" if namespace is None else f"{part_of_key(namespace)}/")

    def checkpoint(self, namespace: str, checkpoint: str) -> str:
        return self.checkpoints(namespace) + part_of_key(checkpoint)

    def blob(self, namespace: str, channel: str, version: str | float) -> str:
        parts = (namespace, channel, f"{type(version).__name__[0]}{version}")
        return f"{self.everything}b/" + "/".join(map(part_of_key, parts))

    def blobs(self, namespace: str, versions: ChannelVersions) -> dict[str, str]:
        """Key -> channel."""
        return {self.blob(namespace, name, each): name for name, each in versions.items()}

    def writes(self, namespace: str, checkpoint: str) -> str:
        return f"{self.everything}w/{part_of_key(namespace)}/{part_of_key(checkpoint)}/"

    def write(self, namespace: str, checkpoint: str, task: str, index: int) -> str:
        return f"{self.writes(namespace, checkpoint)}{part_of_key(task)}/{index}"

    def piece(self, data: bytes) -> str:
        return self.pieces + hashlib.sha256(data).hexdigest()

    def to(self, other: ThreadKeys, key: str) -> str:
        """The key under which another thread has the same."""
        return other.everything + key[len(self.everything) :]


class Place(NamedTuple):
    """Where a checkpoint stands; in the order of checkpoints."""

    checkpoint: str
    namespace: str
    thread: str


def place_of(key: str) -> Place:
    """Where the checkpoint with this key stands."""
    thread, _, namespace, checkpoint = map(_whole, key.split("/"))
    return Place(checkpoint, namespace, thread)


def thread_of(key: str) -> str:
    return _whole(key.split("/", 1)[0])


def behind(thread: str) -> str:
    """A key behind all keys of the thread and before those of the next one."""
    return part_of_key(thread) + "0"  # the character after the slash


def part_of_key(text: str) -> str:
    """``text`` without a slash, and another one for every text."""
    return text.replace("%", "%25").replace("/", "%2F")


def _whole(part: str) -> str:
    return part.replace("%2F", "/").replace("%25", "%")


# -- bytes ------------------------------------------------------------------------------------


def encoded(serde: SerializerProtocol, value: Any) -> bytes:
    """A value as the bytes of a record."""
    kind, data = serde.dumps_typed(value)
    return kind.encode() + b"\x00" + data


def decoded(serde: SerializerProtocol, raw: bytes) -> Any:
    """The value again. Raises ``UnreadableBytes``."""
    kind, mark, data = raw.partition(b"\x00")
    if not mark:
        raise UnreadableBytes("a record of a thread is damaged; restore a copy or load a dump")
    return serde.loads_typed((kind.decode("utf-8", "replace"), data))


def decoded_dict(serde: SerializerProtocol, raw: bytes, fields: Iterable[str]) -> dict[str, Any]:
    """As ``decoded``, for what must be a mapping with these fields."""
    found = decoded(serde, raw)
    if not isinstance(found, dict) or not set(fields) <= found.keys():
        raise UnreadableBytes("a record of a thread holds something else than it should")
    return cast("dict[str, Any]", found)


# -- lists in pieces --------------------------------------------------------------------------


def cut(
    serde: SerializerProtocol, keys: ThreadKeys, value: Any, *, pieces: dict[str, bytes]
) -> bytes:
    """The bytes of a channel's value; the runs of a long list go to ``pieces``."""
    if type(value) is not list:
        return _PLAIN + encoded(serde, value)
    values: list[Any] = value
    if len(values) <= _CUT_ABOVE:
        return _PLAIN + encoded(serde, values)
    full = len(values) - len(values) % _RUN
    names: list[str] = []
    for start in range(0, full, _RUN):
        run = encoded(serde, values[start : start + _RUN])
        key = keys.piece(run)
        pieces[key] = run
        names.append(key[len(keys.pieces) :])
    digests = b"".join(bytes.fromhex(name) for name in names)
    return _CUT + encoded(serde, {"runs": digests, "rest": values[full:]})


def needed(serde: SerializerProtocol, keys: ThreadKeys, raw: bytes) -> list[str]:
    """The keys of the runs that a channel's value is cut into, in order."""
    if not raw.startswith(_CUT):
        return []
    digests = decoded_dict(serde, raw[1:], ("runs", "rest"))["runs"]
    if not isinstance(digests, bytes) or len(digests) % 32:
        raise UnreadableBytes("a list of a thread has lost the names of its runs")
    return [keys.pieces + digests[n : n + 32].hex() for n in range(0, len(digests), 32)]


def joined(
    serde: SerializerProtocol, keys: ThreadKeys, raw: bytes, pieces: Mapping[str, bytes]
) -> Any:
    """A channel's value from its bytes and the runs it needs. Raises ``UnreadableBytes``."""
    if raw.startswith(_PLAIN):
        return decoded(serde, raw[1:])
    if not raw.startswith(_CUT):
        raise UnreadableBytes("a channel's bytes are not as this package writes them")
    rest = decoded_dict(serde, raw[1:], ("runs", "rest"))["rest"]
    return [*_runs(serde, needed(serde, keys, raw), pieces), *rest]


def _runs(
    serde: SerializerProtocol, names: Iterable[str], pieces: Mapping[str, bytes]
) -> Iterator[Any]:
    for name in names:
        if name not in pieces:
            raise UnreadableBytes("a list of a thread has lost one of its runs")
        run = decoded(serde, pieces[name])
        if not isinstance(run, list):
            raise UnreadableBytes("a run of a list is none")
        values: list[Any] = run
        yield from values
