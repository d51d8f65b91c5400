"""The verbs of documents: taking them in, version by version, listing and forgetting them."""

from __future__ import annotations

import builtins
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from memos_integrations.cube.acl import Permission, Trust, Visibility
from memos_integrations.cube.documents import Document, Ingested
from memos_integrations.cube.errors import InvalidInput, MemosError, NotFound, UsageError
from memos_integrations.cube.header import MemoryType, Origin
from memos_integrations.cube.ids import clean_name
from memos_integrations.cube.item import BlobRef
from memos_integrations.cube.outcomes import Changed, Outcome
from memos_integrations.cube.ports import VisionModel
from memos_integrations.infrastructure.backends.converters import ConversionLimits
from memos_integrations.infrastructure.backends.llm.as_llm import as_vision
from memos_integrations.infrastructure.vault import blob_claims
from memos_integrations.infrastructure.vault.rows import Stored, dumps, to_item
from memos_integrations.infrastructure.vault.transaction import Transaction
from memos_integrations.interface.arguments import clean_reason
from memos_integrations.interface.document_drafts import Drafting, trust_of
from memos_integrations.interface.document_source import (
    Opened,
    SourceOfDocument,
    clean_document_name,
    opened,
    worded,
)
from memos_integrations.interface.folders import files_of
from memos_integrations.interface.reader import About
from memos_integrations.interface.reads import Reads
from memos_integrations.interface.scope import CubeName, Scope
from memos_integrations.interface.time_verbs import require_cube
from memos_integrations.operation.documents.storing import (
    Given,
    Ingestion,
    facts_of,
    forget,
    is_live,
    rows_of,
    source_of,
    store,
    with_notes,
)
from memos_integrations.operation.image_stage import describe_later

CHUNK_TOKENS = 240
"""About what the small embedders read at once."""
Progress = Callable[[int, int, str], None]
"""Called with the files done, all files, and the name of the next."""


class DocumentReads(Reads):
    """Documents as they stand, or stood."""

    def documents(
        self,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
        limit: int = 1000,
    ) -> builtins.list[Document]:
        """The documents of the scope by name, without their chunks and without forgotten ones."""
        found = self.list(
            user=user,
            agent=agent,
            session=session,
            cube=cube,
            filter={"info.part": "document", "memory_type": "document"},
            limit=limit,
        )
        live = [item for item in found if item.header.state != "archived"]
        named = [Document(str(item.header.info["document"]), item) for item in live]
        return sorted(named, key=lambda each: each.name)

    def document(
        self,
        name: str,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
    ) -> Document:
        """A document with its chunks in order, as far as the asker may see them.

        Raises ``NotFound`` for one that is not there, or was forgotten.
        """
        scope = self._scope(user, agent, session, cube)
        clean_document_name(name)
        with self._reading(scope, action="document") as reading:
            cubes = self._cubes(reading, scope)
            whole, chunks = None, list[Stored]()
            if cubes:
                whole, chunks = rows_of(reading.governed, cubes[0].cid, name)
        if whole is None or not is_live(whole):
            raise NotFound(f"no document {name} is visible to {scope.principal.name}")
        by_id = {row.id: row for row in chunks}
        rows = [by_id[each] for each in facts_of(whole).get("chunks", ()) if each in by_id]
        self._rooms.vault.shown(scope.principal, "document", [whole, *rows])
        items = tuple(to_item(row, scope.principal) for row in rows if is_live(row))
        return Document(name, to_item(whole, scope.principal), items)


class DocumentVerbs(DocumentReads):
    """Taking documents in, and forgetting them."""

    def ingest(
        self,
        source: SourceOfDocument,
        *,
        name: str | None = None,
        media_type: str | None = None,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
        tags: Sequence[str] | None = None,
        info: Mapping[str, Any] | None = None,
        labels: Sequence[str] | None = None,
        visibility: Visibility | str | None = None,
        trust: Trust | str | None = None,
        ttl_seconds: float | None = None,
        idempotency_key: str | None = None,
        keep_original: bool = False,
        chunk_tokens: int = CHUNK_TOKENS,
        limits: ConversionLimits | None = None,
        vision: object | None = None,
    ) -> Ingested:
        """Remember a document chunk by chunk; the same name again brings its next version.

        ``source`` is a ``Path``, bytes, or the words themselves (Markdown unless ``name`` or
        ``media_type`` says otherwise). HTML, PDF and DOCX need the ``documents`` extra; a picture
        is stored as it is and read by the vision model, where there is one, in the background.
        Of an earlier version, chunks that say the same stay as they are, changed ones get a new
        version, gone ones are archived, in one transaction; what was derived from those turns
        stale. What is not said (``tags``, ``labels`` ...) stays as it was said first. Words of
        documents are untrusted (``import``) unless ``trust`` says otherwise.

        Raises ``BrokenDocument`` for one that cannot be read, ``InvalidInput`` for a malformed
        call; either leaves the version that stands.
        """
        scope = self._scope(user, agent, session, cube)
        bounds = limits or ConversionLimits()
        _check_budget(chunk_tokens)
        document = opened(source, name=name, media_type=media_type, limits=bounds)
        sees = self._rooms.images.vision if vision is None else as_vision(vision)
        about = About.of(
            memory_type=MemoryType.DOCUMENT,
            tags=tuple(tags or ()) if not isinstance(tags, str) else tags,
            info={} if info is None else info,
            labels=tuple(labels or ()) if not isinstance(labels, str) else labels,
            visibility=Visibility.INHERIT if visibility is None else visibility,
            trust=trust_of(trust, document, sees),
            origin=Origin.IMPORT,
            source=source_of(document.name),
            ttl_seconds=ttl_seconds,
        )
        given = Given(
            tags=tags is not None,
            info=info is not None,
            labels=labels is not None,
            visibility=visibility is not None,
            trust=trust is not None,
            expires=ttl_seconds is not None,
        )
        make = Drafting(self._rooms, scope, document, about, given)
        notes: tuple[str, ...] = ()
        if document.is_image:
            new = make.picture(sees)
            keep_original = True
        else:
            new, notes = make.chunked(worded(document, bounds), chunk_tokens)
        blob = self._keep(document) if keep_original else None
        if blob is not None:
            new.document.draft.blobs = (blob,)
        digest = _request(new, about, given, scope, keep_original)
        return with_notes(self._store(scope, new, blob, idempotency_key, digest, sees), notes)

    def ingest_folder(
        self,
        path: str | os.PathLike[str],
        *,
        pattern: str = "**/*",
        prefix: str = "",
        progress: Progress | None = None,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
        tags: Sequence[str] | None = None,
        info: Mapping[str, Any] | None = None,
        labels: Sequence[str] | None = None,
        visibility: Visibility | str | None = None,
        trust: Trust | str | None = None,
        ttl_seconds: float | None = None,
        keep_original: bool = False,
        chunk_tokens: int = CHUNK_TOKENS,
        limits: ConversionLimits | None = None,
        vision: object | None = None,
    ) -> builtins.list[Ingested]:
        """Ingest the files of a folder that fit ``pattern``; what became of each, by name.

        A file is named by its path in the folder, behind ``prefix``. Hidden files are passed
        over. One that cannot be read has an ``error`` and stops no other; a link that leads out
        of the folder is refused in the same way.
        """
        files = files_of(path, pattern)
        done: list[Ingested] = []
        for place, file in enumerate(files):
            if progress is not None:
                progress(place, len(files), file.name)
            try:
                file.ensure_inside()
                done.append(
                    self.ingest(
                        file.path,
                        name=prefix + file.name,
                        user=user,
                        agent=agent,
                        session=session,
                        cube=cube,
                        tags=tags,
                        info=info,
                        labels=labels,
                        visibility=visibility,
                        trust=trust,
                        ttl_seconds=ttl_seconds,
                        keep_original=keep_original,
                        chunk_tokens=chunk_tokens,
                        limits=limits,
                        vision=vision,
                    )
                )
            except (UsageError, ValueError, NotFound, ImportError) as error:
                done.append(self._refused(error, prefix + file.name, user, agent, session, cube))
        if progress is not None:
            progress(len(files), len(files), "")
        return done

    def forget_document(
        self,
        name: str,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
        reason: str = "document forgotten",
    ) -> Changed:
        """Archive a document with its chunks: out of every search, still in history.

        ``erase(source="document:<name>")`` removes it for good. Raises ``NotFound``.
        """
        scope = self._scope(user, agent, session, cube)
        clean_document_name(name)
        clean_reason(reason)

        def work(tx: Transaction) -> Changed:
            row = require_cube(tx, scope, Permission.WRITE)
            done = forget(tx, self._rooms.executor, row, name, reason=reason)
            if done is None:
                raise NotFound(f"no document {name} is visible to {scope.principal.name}")
            return done

        return self._write(scope, work, action="forget_document")

    # -- what the verbs share -----------------------------------------------------------------

    def _keep(self, document: Opened) -> BlobRef:
        return self._rooms.vault.blobs.put(document.data, media_type=document.media_type)

    def _store(
        self,
        scope: Scope,
        new: Ingestion,
        blob: BlobRef | None,
        key: str | None,
        request: bytes,
        sees: VisionModel | None,
    ) -> Ingested:
        def work(tx: Transaction) -> Ingested:
            earlier = None if key is None else tx.once(key, request)
            if earlier is not None:
                return _restored(json.loads(earlier))
            if blob is not None:
                blob_claims.claim(tx, blob)
            done = store(tx, self._rooms.executor, new)
            if sees is not None and done.id is not None:
                done = describe_later(tx, done)
            if key is not None:
                tx.remember(key, request, dumps(asdict(done)))
            return done

        if key is not None:
            clean_name(key, "idempotency_key")
        if sees is not None:
            self._rooms.images.offer(sees)
        return self._write(scope, work, action="ingest")

    def _refused(
        self,
        error: Exception,
        name: str,
        user: str | None,
        agent: str | None,
        session: str | None,
        cube: CubeName | None,
    ) -> Ingested:
        if not isinstance(error, MemosError):
            raise error
        told = str(error)
        outcome = Outcome("rejected", reason=told)
        where = self._scope(user, agent, session, cube).cube
        return Ingested(name, None, 0, where, outcomes=(outcome,), error=told)


def _check_budget(chunk_tokens: object) -> None:
    whole = isinstance(chunk_tokens, int) and not isinstance(chunk_tokens, bool)
    if not whole or not 32 <= chunk_tokens <= 8_192:  # type: ignore[operator,unused-ignore]
        raise InvalidInput("chunk_tokens must be a whole number from 32 to 8192")


def _request(
    new: Ingestion, about: About, given: Given, scope: Scope, keep_original: bool
) -> bytes:
    told = repr(("ingest", dict(new.facts), about, given, scope.where_said, keep_original))
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).digest()


def _restored(data: dict[str, Any]) -> Ingested:
    outcomes = tuple(Outcome(**each) for each in data.pop("outcomes"))
    told: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
    return Ingested(outcomes=outcomes, **told)
