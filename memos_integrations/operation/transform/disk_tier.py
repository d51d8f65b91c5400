"""The caches in files: found by their rows, read once and checked, written where that pays.

Called by the keeper; calls the codec, the blobs and the rows of artifacts. Needs torch (extra
``activation``). A file is named by no row until it is whole and durable, and every file that was
written is either named by a row or removed; what a kill leaves in between is found by its manifest
(``cache_files``), as writers hold the folder while they are at it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from memos_integrations.cube.errors import (
    BackendUnavailable,
    HostileArchive,
    NotFound,
    StorageFull,
    VaultDamaged,
)
from memos_integrations.infrastructure.activation import codec
from memos_integrations.infrastructure.activation.codec import Kept
from memos_integrations.infrastructure.activation.errors import CacheRefused
from memos_integrations.infrastructure.activation.identity import Digest
from memos_integrations.infrastructure.activation.transfers import Transfers
from memos_integrations.infrastructure.vault import artifacts, cache_records
from memos_integrations.infrastructure.vault.artifacts import ArtifactRow, NewArtifact
from memos_integrations.infrastructure.vault.cache_records import Resident
from memos_integrations.infrastructure.vault.transaction import Transaction
from memos_integrations.infrastructure.vault.vault import MemVault
from memos_integrations.operation.transform.cache_files import CacheFiles
from memos_integrations.operation.transform.disk_room import room_for
from memos_integrations.operation.transform.stored import Hit, Stored, Wanted

_log = logging.getLogger(__name__)


class DiskTier:
    """Caches in the blobs beside the vault, at most ``capacity_bytes`` of them."""

    def __init__(self, vault: MemVault, files: CacheFiles, *, capacity_bytes: int) -> None:
        self._vault = vault
        self._files = files
        self._capacity_bytes = capacity_bytes
        self.transfers = Transfers.unknown()

    def serves(self, key: Digest) -> bool:
        """Whether a file can be used up to this very block."""
        with self._vault.readers.snapshot() as connection:
            return artifacts.serves(connection, key)

    def find(self, wanted: Wanted, *, beyond: int) -> tuple[Hit | None, str]:
        """What covers more of the wanted blocks than the first ``beyond``, and why nothing does
        where something lies there."""
        with self._vault.readers.snapshot() as connection:
            row = artifacts.find(
                connection, wanted.blocks, identity=wanted.identity, tenant=wanted.tenant
            )
            if row is None or row.blocks <= beyond:
                return None, ""
            sources = artifacts.sources_of(connection, row.key)
            blocks = artifacts.blocks_of(connection, row.key)
        share = (row.blocks - beyond) / max(row.blocks, len(blocks))
        why = self.transfers.load_pays(row.bytes, row.build_seconds * share)
        if why is not None:
            return None, why
        kept = self._loaded(row, wanted)
        if kept is None:
            return None, "what lay on disk was not sound"
        stored = Stored(
            kept,
            blocks,
            sources,
            row.build_seconds,
            on_disk=True,
            tenant=wanted.tenant,
            architecture=row.architecture,
            pinned=row.pinned,
        )
        return Hit(stored, row.blocks), ""

    def write(self, stored: Stored, *, uses: int, always: bool = False) -> bool | None:
        """Whether it lies in a file now; ``None`` where a source went while it was written.

        It is written where that pays and something of less worth can leave for it; ``always``
        asks for the second only. A full disk or a locked vault makes it stay unwritten.
        """
        if stored.passing or not stored.tenant:
            return False
        why = self.transfers.write_pays(stored.kept.bytes, stored.build_seconds, uses)
        if why is not None and not always:
            _log.info("a cache is not written: %s", why)
            return False
        try:
            return self._written(stored, uses)
        except (StorageFull, BackendUnavailable) as error:
            _log.warning("a cache is not written: %s", type(error).__name__)
            return False

    def _loaded(self, row: ArtifactRow, wanted: Wanted) -> Kept | None:
        """Its hash is checked once, here, over the very bytes that are used."""
        began = time.perf_counter()
        try:
            data = self._vault.blobs.read_apart(row.sha256)
            kept = codec.parse(data, identity=wanted.identity)
            if len(kept.tokens) != row.tokens:
                raise CacheRefused("it holds another number of tokens than its row")
        except (CacheRefused, HostileArchive, NotFound, VaultDamaged) as refusal:
            _log.warning("a stored cache is not served: %s", type(refusal).__name__)
            self._files.discard([row.key])
            return None
        self.transfers.load.measured(row.bytes, time.perf_counter() - began)
        return kept

    def _written(self, stored: Stored, uses: int) -> bool | None:
        mine = Resident(
            stored.key,
            stored.kept.bytes,
            stored.build_seconds,
            uses,
            self._vault.now(),
            stored.pinned,
        )
        with self._vault.readers.snapshot() as connection:
            if self._room(cache_records.residents(connection), mine) is None:
                return False
        began = time.perf_counter()
        data = codec.dump(stored.kept)
        with self._files.writing():
            ref = self._vault.blobs.put(data)
            new = _new_artifact(stored, ref.sha256)
            freed = self._vault.maintain(lambda tx: self._recorded(tx, new, mine, stored.tenant))
            if freed is None:
                self._erase_unnamed(ref.sha256)
                return None
            for sha256 in freed:
                self._vault.blobs.erase(sha256)
        self.transfers.write.measured(stored.kept.bytes, time.perf_counter() - began)
        return True

    def _recorded(
        self, tx: Transaction, new: NewArtifact, mine: Resident, tenant: str
    ) -> list[str] | None:
        """The blobs to be removed, or ``None`` where it was not recorded."""
        leaving = self._room(cache_records.residents(tx.connection), mine)
        if leaving is None:
            return None
        freed = artifacts.add(tx, new, tenant=tenant)
        if freed is None:
            return None
        return freed + (artifacts.take_out(tx, leaving) if leaving else [])

    def _room(self, residents: Sequence[Resident], mine: Resident) -> list[Digest] | None:
        return room_for(mine, residents, capacity_bytes=self._capacity_bytes, now=self._vault.now())

    def _erase_unnamed(self, sha256: str) -> None:
        with self._vault.readers.snapshot() as connection:
            used = artifacts.blob_used(connection, sha256)
        if not used:
            self._vault.blobs.erase(sha256)


def _new_artifact(stored: Stored, sha256: str) -> NewArtifact:
    places = {block: place for place, block in enumerate(stored.blocks, 1)}
    return NewArtifact(
        key=stored.key,
        identity=stored.kept.identity,
        tokens=len(stored.kept.tokens),
        bytes=stored.kept.bytes,
        build_seconds=stored.build_seconds,
        sha256=sha256,
        blocks=tuple((block, places[block]) for block in stored.serving),
        sources=stored.sources,
        architecture=stored.architecture,
        pinned=stored.pinned,
    )
