"""Checkpoints read back from records: one, a page of them, what led to one.

Called by the saver with the records of whoever asks. What is spread over several records is read
in one snapshot, so that a thread that is thinned or deleted meanwhile is seen before or after.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, NamedTuple, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    PendingWrite,
    writes_sort_key,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from langgraph_memos.owned_thread import OwnedThread
from langgraph_memos.strict import UnreadableBytes
from langgraph_memos.thread_records import (
    Place,
    ThreadKeys,
    behind,
    decoded_dict,
    joined,
    needed,
    place_of,
    thread_of,
)
from memos_integrations.interface.record_verbs import Records

_PAGE: Final = 16
_KEYS: Final = 64
_WRITE: Final = ("task", "channel", "value", "path", "index")


class Saved(NamedTuple):
    """A checkpoint as it lies: without the values of its channels."""

    place: Place
    checkpoint: dict[str, Any]
    metadata: dict[str, Any]
    parent: str | None

    @property
    def versions(self) -> ChannelVersions:
        return cast(ChannelVersions, self.checkpoint["channel_versions"])


@dataclass(frozen=True, slots=True)
class StoredThreads:
    """The threads in one asker's records. ``identity`` goes into every config given out."""

    records: Records
    serde: SerializerProtocol
    identity: Mapping[str, Any] = field(default_factory=dict[str, Any])

    # -- checkpoints --------------------------------------------------------------------------

    def saved(self, keys: ThreadKeys, namespace: str, checkpoint: str | None) -> Saved | None:
        """The checkpoint of that id, or the newest of the namespace."""
        if checkpoint is None:
            found = self.records.items(keys.checkpoints(namespace), reverse=True, limit=1)
        else:
            found = list(self.records.get([keys.checkpoint(namespace, checkpoint)]).items())
        return self._decoded(*found[0]) if found else None

    def all_saved(self, keys: ThreadKeys) -> list[Saved]:
        """Every checkpoint of a thread, in all its namespaces."""
        return [self._decoded(*each) for each in self.records.items(keys.checkpoints())]

    def _decoded(self, key: str, raw: bytes) -> Saved:
        row = decoded_dict(self.serde, raw, ("checkpoint", "metadata", "parent"))
        checkpoint, metadata, parent = row["checkpoint"], row["metadata"], row["parent"]
        whole = isinstance(checkpoint, dict) and isinstance(metadata, dict)
        if not whole or not isinstance(checkpoint.get("channel_versions"), dict):
            raise UnreadableBytes("a checkpoint is not as this package writes them")
        return Saved(place_of(key), checkpoint, metadata, parent)

    def one(
        self, keys: ThreadKeys, namespace: str, checkpoint: str | None
    ) -> CheckpointTuple | None:
        """As LangGraph wants it, with values and pending writes."""
        with self.records.snapshot():
            saved = self.saved(keys, namespace, checkpoint)
            return None if saved is None else self._whole(saved)

    def listed(
        self, places: Iterable[Place], wanted: Mapping[str, Any]
    ) -> Iterator[CheckpointTuple]:
        """Those of these places whose metadata is as wanted, read as they are asked for."""
        left = iter(places)
        for size in growing(_PAGE):
            chosen = list(islice(left, size))
            if not chosen:
                return
            with self.records.snapshot():
                page = [*self._page(chosen, wanted)]
            yield from page

    def _page(
        self, places: Sequence[Place], wanted: Mapping[str, Any]
    ) -> Iterator[CheckpointTuple]:
        for place in places:
            saved = self.saved(ThreadKeys(place.thread), place.namespace, place.checkpoint)
            if saved is not None and all(saved.metadata.get(k) == v for k, v in wanted.items()):
                yield self._whole(saved)

    def _whole(self, saved: Saved) -> CheckpointTuple:
        place, parent = saved.place, saved.parent
        values = self.values(place, saved.versions)
        return CheckpointTuple(
            config=self.config(place),
            checkpoint=cast(Checkpoint, {**saved.checkpoint, "channel_values": values}),
            metadata=cast(CheckpointMetadata, saved.metadata),
            parent_config=None
            if parent is None
            else self.config(place._replace(checkpoint=parent)),
            pending_writes=self.writes(place),
        )

    def config(self, place: Place) -> RunnableConfig:
        named = {
            **self.identity,
            "thread_id": OwnedThread(place.thread, self.identity),
            "checkpoint_ns": place.namespace,
            "checkpoint_id": place.checkpoint,
        }
        return {"configurable": named}

    def values(self, place: Place, versions: ChannelVersions) -> dict[str, Any]:
        """The channels that have a value in these versions."""
        keys = ThreadKeys(place.thread)
        channels = keys.blobs(place.namespace, versions)
        blobs = self.records.get(list(channels))
        names = {name for raw in blobs.values() for name in needed(self.serde, keys, raw)}
        pieces = self.records.get(sorted(names)) if names else {}
        return {channels[k]: joined(self.serde, keys, raw, pieces) for k, raw in blobs.items()}

    def writes(self, place: Place) -> list[PendingWrite]:
        """What tasks wrote on top of a checkpoint, in the order in which it is applied."""
        prefix = ThreadKeys(place.thread).writes(place.namespace, place.checkpoint)
        rows = [decoded_dict(self.serde, raw, _WRITE) for _, raw in self.records.items(prefix)]
        rows.sort(key=lambda row: writes_sort_key(row["path"], row["task"], row["index"]))
        return [(row["task"], row["channel"], row["value"]) for row in rows]

    # -- places -------------------------------------------------------------------------------

    def threads(self) -> list[str]:
        """The threads that there are, one look-up each."""
        found: list[str] = []
        after: str | None = None
        while keys := self.records.keys(after=after, limit=1):
            found.append(thread_of(keys[0]))
            after = behind(found[-1])
        return found

    def places(self, keys: ThreadKeys, before: str | None) -> Iterator[Place]:
        """Where the checkpoints of a thread stand that are older than ``before``."""
        found = map(place_of, self.records.keys(keys.checkpoints()))
        return (each for each in found if before is None or each.checkpoint < before)

    def newest_first(self, keys: ThreadKeys, namespace: str, before: str | None) -> Iterator[Place]:
        """As ``places``, of one namespace and in order; looked up as they are asked for."""
        end = None if before is None else keys.checkpoint(namespace, before)
        prefix = keys.checkpoints(namespace)
        while found := self.records.keys(prefix, before=end, limit=_KEYS, reverse=True):
            yield from map(place_of, found)
            end = found[-1]

    # -- what led to a checkpoint -------------------------------------------------------------

    def ancestors(self, saved: Saved) -> Iterator[Saved]:
        """The checkpoints that led to this one, nearest first."""
        keys, seen = ThreadKeys(saved.place.thread), {saved.place.checkpoint}
        while saved.parent is not None and saved.parent not in seen:
            found = self.saved(keys, saved.place.namespace, saved.parent)
            if found is None:
                return
            seen.add(saved.parent)
            yield found
            saved = found

    def history(
        self, keys: ThreadKeys, namespace: str, checkpoint: str | None, channels: Sequence[str]
    ) -> dict[str, DeltaChannelHistory]:
        """For each channel what was written to it, and the nearest value before those writes."""
        writes: dict[str, list[PendingWrite]] = {channel: [] for channel in channels}
        seeds: dict[str, Any] = {}
        with self.records.snapshot():
            target = self.saved(keys, namespace, checkpoint)
            for saved in self.ancestors(target) if target is not None else ():
                open_ = [channel for channel in writes if channel not in seeds]
                if not open_:
                    break
                for write in reversed(self.writes(saved.place)):
                    if write[1] in open_:
                        writes[write[1]].append(write)
                seeds |= self.values(saved.place, _of(saved.versions, open_))
        return {channel: _entry(writes[channel], channel, seeds) for channel in channels}


def growing(most: int) -> Iterator[int]:
    """Sizes of pages, each twice the one before: most who list look at a few."""
    size = 1
    while True:
        yield size
        size = min(2 * size, most)


def _of(versions: ChannelVersions, channels: Sequence[str]) -> ChannelVersions:
    return {channel: versions[channel] for channel in channels if channel in versions}


def _entry(
    newest_first: Sequence[PendingWrite], channel: str, seeds: Mapping[str, Any]
) -> DeltaChannelHistory:
    entry: DeltaChannelHistory = {"writes": list(reversed(newest_first))}
    if channel in seeds:
        entry["seed"] = seeds[channel]
    return entry
