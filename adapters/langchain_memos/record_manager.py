"""LangChain's record manager over governed records: what an index holds, and since when.

Used by ``langchain_core.indexing.index`` and ``aindex``; calls ``MOS.records``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from langchain_core.indexing import RecordManager
from langchain_core.runnables.config import run_in_executor

from memos_integrations.cube.errors import VaultDamaged
from memos_integrations.interface.mos import MOS


@dataclass(frozen=True, slots=True)
class _Known:
    group: str | None
    at: float


class MemOSRecordManager(RecordManager):
    """Which documents of ``namespace`` were indexed, when, and from which source.

    Lies in the home of ``user`` (or ``agent``), or in ``cube``: best in the cube of the documents
    (``MemOSVectorStore(...).cube``), so that both are shared and dumped together. Listing reads
    every record of the namespace, about 100,000 a second.
    """

    def __init__(
        self,
        namespace: str,
        *,
        mos: MOS,
        user: str | None = None,
        agent: str | None = None,
        cube: str | None = None,
    ) -> None:
        super().__init__(namespace)
        space = f"langchain.indexed/{namespace}"
        self._records = mos.records(space, user=user, agent=agent, cube=cube)

    def create_schema(self) -> None:
        """Nothing to do: the vault has its schema."""

    async def acreate_schema(self) -> None:
        """Nothing to do."""

    def get_time(self) -> float:
        """Seconds since 1970 by this machine's clock, which is the vault's too."""
        return time.time()

    async def aget_time(self) -> float:
        return self.get_time()

    def update(
        self,
        keys: Sequence[str],
        *,
        group_ids: Sequence[str | None] | None = None,
        time_at_least: float | None = None,
    ) -> None:
        """Note these keys as indexed now, all in one transaction.

        Raises ``ValueError`` where the clock is behind ``time_at_least``.
        """
        groups = [None] * len(keys) if group_ids is None else list(group_ids)
        if len(groups) != len(keys):
            raise ValueError(f"{len(groups)} group_ids for {len(keys)} keys: give one for each")
        now = self.get_time()
        if time_at_least is not None and time_at_least > now:
            raise ValueError("time_at_least lies in the future: the clock has gone back")
        told = zip(keys, groups, strict=True)
        self._records.put({key: _dumped(_Known(group, now)) for key, group in told})

    async def aupdate(
        self,
        keys: Sequence[str],
        *,
        group_ids: Sequence[str | None] | None = None,
        time_at_least: float | None = None,
    ) -> None:
        await run_in_executor(
            None, self.update, keys, group_ids=group_ids, time_at_least=time_at_least
        )

    def exists(self, keys: Sequence[str]) -> list[bool]:
        """Whether each key was indexed."""
        found = self._records.get(keys)
        return [key in found for key in keys]

    async def aexists(self, keys: Sequence[str]) -> list[bool]:
        return await run_in_executor(None, self.exists, keys)

    def list_keys(
        self,
        *,
        before: float | None = None,
        after: float | None = None,
        group_ids: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[str]:
        """The keys indexed before one time and after another, in these groups; both exclusive."""
        groups = None if group_ids is None else frozenset(group_ids)
        known = ((key, _loaded(value)) for key, value in self._records.items())
        found = [key for key, each in known if _fits(each, before, after, groups)]
        return found if limit is None else found[:limit]

    async def alist_keys(
        self,
        *,
        before: float | None = None,
        after: float | None = None,
        group_ids: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[str]:
        return await run_in_executor(
            None, self.list_keys, before=before, after=after, group_ids=group_ids, limit=limit
        )

    def delete_keys(self, keys: Sequence[str]) -> None:
        """Forget that these were indexed."""
        self._records.delete(keys)

    async def adelete_keys(self, keys: Sequence[str]) -> None:
        await run_in_executor(None, self.delete_keys, keys)


def _fits(
    known: _Known, before: float | None, after: float | None, groups: Collection[str | None] | None
) -> bool:
    early = before is None or known.at < before
    late = after is None or known.at > after
    return early and late and (groups is None or known.group in groups)


def _dumped(known: _Known) -> bytes:
    return json.dumps([known.at, known.group]).encode()


def _loaded(value: bytes) -> _Known:
    try:
        at, group = json.loads(value)
        return _Known(None if group is None else str(group), float(at))
    except (ValueError, TypeError) as error:
        raise VaultDamaged("a record of what was indexed is not readable") from error
