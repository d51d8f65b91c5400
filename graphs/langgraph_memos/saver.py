"""``MemOSSaver``: checkpoints in the vault, under the rights and the erase of memory.

Called by LangGraph's loop and by whoever looks into a thread; calls the records of the facade.
Whose threads they are comes from the run (``user_id`` in ``config["configurable"]``): each user's
lie in that user's cube, as records of the conversation that the thread is.
"""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final, NamedTuple

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    get_checkpoint_id,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from langgraph_memos.asking import Asker
from langgraph_memos.offloaded_saver import OffloadedSaver
from langgraph_memos.owned_thread import owner_of
from langgraph_memos.stored_threads import StoredThreads
from langgraph_memos.strict import AllowedType, StrictSerializer
from langgraph_memos.thinning import Choose, idle_since, latest, thin, without_runs
from langgraph_memos.thread_records import Place, ThreadKeys, cut, encoded
from memos_integrations.cube.errors import Conflict, InvalidInput
from memos_integrations.cube.ids import clean_name
from memos_integrations.interface.arguments import texts, whole
from memos_integrations.interface.mos import MOS
from memos_integrations.interface.reader import micros_of
from memos_integrations.interface.scope import CubeName

SPACE: Final = "langgraph.threads"
"""The records that checkpoints are."""


class _At(NamedTuple):
    """Where a config points."""

    keys: ThreadKeys
    namespace: str
    checkpoint: str | None


class MemOSSaver(OffloadedSaver):
    """A checkpointer whose threads are governed, audited and erased as memories are.

    A thread belongs to the user that the run names (``user_id``), else to ``user``; nobody else
    reads it but whom that user's cube is shared with. ``mos.erase(subject=...)`` and
    ``mos.erase(source="session:THREAD")`` remove it with the memories of that user or
    conversation, from every byte of the file. ``cube`` keeps the threads in another cube than the
    user's home, as its rights allow. Calls without a config (``delete_thread`` and the like) are
    made by ``user`` and ``agent``; ``asking(user=...)`` is the same saver for another one, and a
    ``thread_id`` out of a config of this saver knows whose it is.

    Only plain data and the types of LangGraph and LangChain come back from storage; name your own
    in ``allow``. A state that holds another type raises ``InvalidInput`` when it is saved, bytes
    that do not decode raise ``UnreadableBytes``. Every call is one durable transaction; long lists
    are stored in pieces that their versions share. Safe in threads and with several processes.
    """

    def __init__(
        self,
        mos: MOS,
        *,
        user: str | None = None,
        agent: str | None = None,
        cube: CubeName | None = None,
        allow: Iterable[AllowedType] = (),
        serde: SerializerProtocol | None = None,
    ) -> None:
        if not isinstance(mos, MOS):
            raise InvalidInput(f"a saver is made of a MOS, not of {type(mos).__name__}")
        if getattr(serde, "pickle_fallback", False):
            raise InvalidInput("a serde with pickle_fallback runs code from stored bytes; drop it")
        super().__init__(serde=serde or StrictSerializer(allow))
        self._mos, self._cube = mos, cube
        self._asker = Asker(user, agent, None)

    def asking(self, *, user: str | None = None, agent: str | None = None) -> MemOSSaver:
        """The same saver, with another one asking where a call has no config that says who."""
        twin = copy.copy(self)
        twin._asker = Asker(user, agent, None)
        return twin

    # -- writing ------------------------------------------------------------------------------

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Keep a checkpoint with the channels that changed; the config that points to it."""
        at = _at(config)
        threads = self._threads(config, at.keys.thread)
        values, pieces = checkpoint["channel_values"], dict[str, bytes]()
        blobs = at.keys.blobs(at.namespace, new_versions)
        put = {
            key: cut(self.serde, at.keys, values[channel], pieces=pieces)
            for key, channel in blobs.items()
            if channel in values
        }
        emptied = sorted(blobs.keys() - put.keys())
        row = {
            "checkpoint": {k: v for k, v in checkpoint.items() if k != "channel_values"},
            "metadata": get_checkpoint_metadata(config, metadata),
            "parent": at.checkpoint,
        }
        put[at.keys.checkpoint(at.namespace, checkpoint["id"])] = encoded(self.serde, row)
        put[at.keys.head] = checkpoint["id"].encode()
        threads.records.write(put=put, put_new=pieces, delete=emptied)
        return threads.config(Place(checkpoint["id"], at.namespace, at.keys.thread))

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Keep what a task wrote, once: the same write again changes nothing, but for errors,
        interrupts and resumes, of which the last one counts."""
        at = _at(config)
        if at.checkpoint is None:
            raise InvalidInput("writes belong to a checkpoint; the config names none")
        first, last = dict[str, bytes](), dict[str, bytes]()
        for place, (channel, value) in enumerate(writes):
            index = WRITES_IDX_MAP.get(channel, place)
            key = at.keys.write(at.namespace, at.checkpoint, task_id, index)
            row = {"task": task_id, "channel": channel, "value": value}
            row |= {"path": task_path, "index": index}
            (first if index >= 0 else last)[key] = encoded(self.serde, row)
        self._threads(config, at.keys.thread).records.write(put=last, put_new=first)

    # -- reading ------------------------------------------------------------------------------

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that the config names, or the thread's latest; ``None`` without one."""
        at = _at(config)
        return self._threads(config, at.keys.thread).one(*at)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002  -- LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """The checkpoints of a thread, or without a config all of the asker's, newest first.

        ``filter`` is compared with the metadata, value by value; ``before`` leaves out its own
        checkpoint and what is newer.
        """
        if filter is not None and not isinstance(filter, Mapping):
            raise InvalidInput("filter is a mapping of metadata keys to values")
        if limit is not None:
            whole(limit, "limit", least=0)
        end = None if before is None else get_checkpoint_id(before)
        if before is not None and end is None:
            raise InvalidInput("before names no checkpoint_id")
        return islice(self._listed(config, end, filter or {}), limit)

    def _listed(
        self, config: RunnableConfig | None, end: str | None, wanted: Mapping[str, Any]
    ) -> Iterator[CheckpointTuple]:
        if config is None:
            threads = self._threads(None)
            keys = map(ThreadKeys, threads.threads())
            places = sorted((p for each in keys for p in threads.places(each, end)), reverse=True)
            yield from threads.listed(places, wanted)
            return
        at, named = _at(config), config.get("configurable", {})
        threads = self._threads(config, at.keys.thread)
        if named.get("checkpoint_ns") is None:
            found: Iterable[Place] = sorted(threads.places(at.keys, end), reverse=True)
        else:
            found = threads.newest_first(at.keys, at.namespace, end)
        only = at.checkpoint
        yield from threads.listed((p for p in found if only in (None, p.checkpoint)), wanted)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """For each channel the writes since its nearest stored value, and that value."""
        at = _at(config)
        return self._threads(config, at.keys.thread).history(*at, channels)

    # -- threads as a whole -------------------------------------------------------------------

    def delete_thread(self, thread_id: str) -> None:
        """Remove a thread of the asker's, in one transaction."""
        threads, keys = self._of(thread_id)
        threads.records.clear(keys.everything)

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Remove the checkpoints that these runs made, in all threads of the asker's.

        Looks at every checkpoint of theirs. A ``DeltaChannel`` whose changes go is not rebuilt.
        """
        runs = texts(run_ids, "run_ids")
        if runs:
            self._thin(self._threads(None).threads(), lambda _: without_runs(runs))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Thin out threads: ``"keep_latest"`` keeps the newest checkpoint of each namespace (and
        what a ``DeltaChannel`` of it needs), ``"delete"`` nothing."""
        ids = texts(thread_ids, "thread_ids")
        if strategy == "keep_latest":
            self._thin(ids, latest)
        elif strategy == "delete":
            for thread in ids:
                self.delete_thread(thread)
        else:
            raise InvalidInput("strategy is 'keep_latest' or 'delete'")

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Give a new thread all that another one holds. Raises ``Conflict`` where it is one."""
        threads, source = self._of(source_thread_id)
        found = threads.records.items(source.everything)
        if not found:
            return
        target = ThreadKeys(clean_name(str(target_thread_id), "target_thread_id"))
        records = self._threads(_named(source_thread_id), target.thread).records
        try:
            records.write(
                put={source.to(target, key): value for key, value in found},
                expect={target.head: None},
            )
        except Conflict as error:
            raise Conflict(f"thread {target.thread} exists; delete it or name another") from error

    def retire(self, *, before: datetime) -> Sequence[str]:
        """Remove the threads of the asker's that saved nothing since ``before``; which they were.

        A run that begins meanwhile keeps its thread.
        """
        end = micros_of(before, "before")
        ids = self._threads(None).threads()
        return [each for each in ids if self._thin([each], lambda t: idle_since(t, end))]

    async def aretire(self, *, before: datetime) -> Sequence[str]:
        """``retire``, in a thread."""
        return await asyncio.to_thread(self.retire, before=before)

    def _thin(self, ids: Iterable[str], choosing: Callable[[StoredThreads], Choose]) -> int:
        total = 0
        for thread in ids:
            threads, keys = self._of(thread)
            total += thin(threads, keys, choosing(threads))
        return total

    # -- what the calls share -----------------------------------------------------------------

    def get_next_version(self, current: str | None, channel: None) -> str:
        """A later version. Its random end keeps the branches of a fork apart, so that a version
        names one value in a thread."""
        number = 0 if current is None else int(str(current).partition(".")[0])
        return f"{number + 1:032}.{random.random():016}"  # noqa: S311  -- no secret

    def _of(self, thread: str) -> tuple[StoredThreads, ThreadKeys]:
        """A thread named without a config: the asker's, or whose it says it is."""
        keys = ThreadKeys(clean_name(str(thread), "thread_id"))
        return self._threads(_named(thread), keys.thread), keys

    def _threads(self, config: RunnableConfig | None, thread: str | None = None) -> StoredThreads:
        told = self._asker if config is None else owner_of(config)
        records = self._mos.records(
            SPACE,
            user=told.user or self._asker.user,
            agent=told.agent or self._asker.agent,
            session=thread,
            cube=self._cube,
        )
        known = {"user_id": told.user, "agent_id": told.agent} if config is not None else {}
        return StoredThreads(records, self.serde, {k: v for k, v in known.items() if v is not None})


def _named(thread: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread}}


def _at(config: RunnableConfig) -> _At:
    named = config.get("configurable", {})
    thread = named.get("thread_id")
    if thread is None:
        raise InvalidInput("config['configurable'] names no thread_id; give the thread a name")
    checkpoint = named.get("checkpoint_id")
    keys = ThreadKeys(clean_name(str(thread), "thread_id"))
    return _At(keys, named.get("checkpoint_ns") or "", checkpoint or None)
