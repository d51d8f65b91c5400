"""The verbs about the files of adapters: whether one is sound, and a copy for another server."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from memos_integrations.cube.errors import InvalidInput, MemosError, UsageError
from memos_integrations.infrastructure.vault import adapters
from memos_integrations.infrastructure.vault.adapters import AdapterRow
from memos_integrations.infrastructure.vault.transaction import Transaction
from memos_integrations.interface.base import Rooms
from memos_integrations.interface.parametric_verbs import ParametricVerbs


@dataclass(frozen=True, slots=True)
class AdapterCheck:
    """What was looked at of an adapter's file, and what is wrong."""

    adapter: str
    bytes: int
    findings: tuple[str, ...]

    @property
    def sound(self) -> bool:
        return not self.findings


@dataclass(frozen=True, slots=True)
class ExportedAdapter:
    """A copy outside: it is not withdrawn with its sources."""

    adapter: str
    folder: str
    files: tuple[str, ...]
    bytes: int


class AdapterFileVerbs(ParametricVerbs):
    """Looking after the bytes of adapters."""

    def verify_adapter(
        self,
        adapter: str,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
    ) -> AdapterCheck:
        """Whether the file of an adapter is as it was written and says what its row says. Raises
        as ``export_adapter``."""
        row = self._readable(adapter, user, agent, session, action="verify_adapter")
        return AdapterCheck(row.id, row.bytes, tuple(_wrong(self._rooms, row)))

    def export_adapter(
        self,
        adapter: str,
        folder: str | os.PathLike[str],
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
    ) -> ExportedAdapter:
        """Copy a published adapter into a new folder, as peft and vLLM load it:
        ``adapter_model.safetensors`` and ``adapter_config.json``.

        The copy is out of reach: no correction and no erase gets to it, and the audit log says who
        made it. Raises ``NotFound``, ``AccessDenied`` where the asker may not read every memory it
        was made of, ``UsageError`` for a folder that is there already, ``MissingExtra`` without
        torch and peft.
        """
        target = Path(folder)
        row = self._readable(adapter, user, agent, session, action="export_adapter")
        if target.exists():
            raise UsageError(f"{target} exists already; name a new folder")
        findings = _wrong(self._rooms, row)
        if findings:
            raise InvalidInput(f"adapter {adapter} is not exported: {'; '.join(findings)}")
        from memos_integrations.infrastructure.parametric import adapter_file  # noqa: PLC0415

        assert row.sha256 is not None  # noqa: S101  -- a published one has its bytes

        def work(tx: Transaction) -> None:
            tx.audit("export_adapter", cube=row.cube, extra={"adapter": row.id})

        # In the log before there is a copy: one that fails half-way is told of all the same.
        self._write(self._scope(user, agent, session), work, action="export_adapter")
        adapter_file.export(self._rooms.vault.blobs.path(row.sha256), target)
        files = sorted(path for path in target.iterdir() if path.is_file())
        size = sum(path.stat().st_size for path in files)
        return ExportedAdapter(row.id, str(target), tuple(path.name for path in files), size)

    def _readable(
        self, adapter: str, user: str | None, agent: str | None, session: str | None, *, action: str
    ) -> AdapterRow:
        scope = self._scope(user, agent, session)
        with self._reading(scope, action=action) as reading:
            row = self._usable_adapter(reading, scope, adapter)
            items = sorted(adapters.source_rows(reading.connection, [row.id])[row.id])
            rows = reading.governed.items(items, cids=[row.cid])
        self._rooms.vault.shown(scope.principal, action, rows, cubes=[row.cube], used=False)
        return row


def _wrong(rooms: Rooms, row: AdapterRow) -> list[str]:
    """What is wrong with the file of a published adapter."""
    from memos_integrations.infrastructure.parametric import adapter_file  # noqa: PLC0415

    assert row.sha256 is not None  # noqa: S101  -- a published one has its bytes
    blobs = rooms.vault.blobs
    if not blobs.exists(row.sha256):
        return ["its file is missing"]
    findings = [] if blobs.verify(row.sha256) else ["its bytes changed on disk"]
    try:
        told = adapter_file.read_manifest(blobs.path(row.sha256))
    except MemosError as refusal:
        return [*findings, str(refusal)]
    if told.base != row.base:
        findings.append("it says another model than its row")
    return findings
