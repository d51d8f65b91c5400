"""The verbs of documents: taking them in, version by version, listing and forgetting them."""

from __future__ import annotations

import builtins
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from memos_integrations.cube.acl import Permission, Trust, Visibility
from memos_integrations.cube.documents import Document, Ingested
from memos_integrations.cube.errors import InvalidInput, MemosError, NotFound, UsageError
from memos_integrations.cube.header import MemoryType, Origin
from memos_integrations.cube.ids import clean_name
from memos_integrations.cube.item import BlobRef
from memos_integrations.cube.ops import Replayable
from memos_integrations.cube.outcomes import Changed, Outcome
from memos_integrations.cube.ports import VisionModel
from memos_integrations.infrastructure.backends.converters import ConversionLimits
from memos_integrations.infrastructure.backends.llm.as_llm import as_vision
from memos_integrations.infrastructure.vault import blob_claims
from memos_integrations.infrastructure.vault.rows import Stored, dumps, to_item
from memos_integrations.infrastructure.vault.transaction import Transaction
from memos_integrations.interface.arguments import clean_reason
from memos_integrations.interface.document_source import (
    Opened,
    SourceOfDocument,
    Worded,
    clean_document_name,
    opened,
    worded,
)
from memos_integrations.interface.folders import files_of
from memos_integrations.interface.reader import About, Turn
from memos_integrations.interface.reads import Reads
from memos_integrations.interface.scope import CubeName, Scope
from memos_integrations.interface.time_verbs import require_cube
from memos_integrations.operation.documents.chunking import Chunk, Part, chunk_document
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
from memos_integrations.operation.image_stage import describe_later, unread

CHUNK_TOKENS = 240
"""About what the small embedders read at once."""
_CHUNKER = 1
"""Version of the rules of chunking: another one cuts the same bytes anew."""
_MAX_CHUNKS = 20_000
_OUTLINE_HEADINGS = 30
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
            trust=_trust(trust, document, sees),
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
        make = _Make(self, scope, document, about, given)
        if document.is_image:
            new, notes = make.picture(sees), ()
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


class _Make:
    """Makes what is to be stored of a document that was opened."""

    def __init__(
        self, verbs: Reads, scope: Scope, document: Opened, about: About, given: Given
    ) -> None:
        self._rooms = verbs._rooms  # pyright: ignore[reportPrivateUsage]
        self._scope = scope
        self._document = document
        self._about = about
        self._given = given

    def chunked(self, words: Worded, budget: int) -> tuple[Ingestion, tuple[str, ...]]:
        """The document with its chunks, and remarks on it."""
        written = [self._rooms.reader.written(part.text) for part in words.parts]
        parts = [
            Part(each.text, part.page) for each, part in zip(written, words.parts, strict=True)
        ]
        chunks = chunk_document(
            parts, markdown=words.markdown, tokens=self._rooms.tokens, budget_tokens=budget
        )
        if not chunks:
            raise InvalidInput(f"document {self._document.name} holds headings and no words")
        if len(chunks) > _MAX_CHUNKS:
            raise InvalidInput(
                f"document {self._document.name} makes {len(chunks)} chunks, more than "
                f"{_MAX_CHUNKS}; split it, or give a larger chunk_tokens"
            )
        title = None if words.title is None else self._rooms.reader.written(words.title).text
        facts = self._facts(
            title=title,
            characters=sum(len(part.text) for part in parts),
            pages=words.pages,
            budget=budget,
        )
        removed = sum(sum(each.removed.values()) for each in written)
        masked = (f"{removed} secrets were taken out before storing",) if removed else ()
        whole = _outline(self._document.name, title, self._document.media_type, chunks)
        return self._ingestion(facts, whole, chunks), (*words.notes, *masked)

    def picture(self, sees: VisionModel | None) -> Ingestion:
        """A picture as it is stored before anything was read from it."""
        document = self._document
        said = unread(
            document.name, document.media_type, len(document.data), waiting=sees is not None
        )
        return self._ingestion(self._facts(title=None, budget=0), said, [])

    def _facts(self, **more: Any) -> dict[str, Any]:
        document = self._document
        facts = {
            "name": document.name,
            "media_type": document.media_type,
            "sha256": document.sha256,
            "bytes": len(document.data),
            "chunker": _CHUNKER,
        }
        return facts | {key: value for key, value in more.items() if value is not None}

    def _ingestion(
        self, facts: Mapping[str, Any], whole: str, chunks: Sequence[Chunk]
    ) -> Ingestion:
        document, *drafts = self._drafts([whole, *(chunk.text for chunk in chunks)])
        name = self._document.name
        _mark(document, {"document": name, "part": "document"}, {"document": dict(facts)})
        seen: dict[tuple[str, str], int] = {}
        for draft, chunk in zip(drafts, chunks, strict=True):
            key = chunk.heading, chunk.digest
            seen[key] = seen.get(key, -1) + 1
            _mark(draft, _chunk_info(name, chunk), {"chunk": _chunk_facts(name, chunk, seen[key])})
        return Ingestion(
            name=name,
            cube=self._scope.cube,
            facts=facts,
            document=document,
            chunks=tuple(chunks),
            drafts=tuple(drafts),
            given=self._given,
        )

    def _drafts(self, texts: Sequence[str]) -> builtins.list[Replayable]:
        turns = [Turn(text, role="document") for text in texts]
        drafts, refused = self._rooms.reader.read(
            turns, self._about, self._scope.principal, now=self._rooms.vault.now()
        )
        if refused:
            raise InvalidInput(
                f"a part of document {self._document.name} cannot be stored: "
                f"{next(iter(refused.values())).reason}"
            )
        return drafts


def _mark(made: Replayable, info: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    made.draft.info = {**(made.draft.info or {}), **info}
    made.draft.data = dict(data)


def _chunk_info(name: str, chunk: Chunk) -> dict[str, Any]:
    info: dict[str, Any] = {"document": name, "part": "chunk"}
    if chunk.headings:
        info["heading"] = chunk.heading
    if chunk.page is not None:
        info["page"] = chunk.page
    return info


def _chunk_facts(name: str, chunk: Chunk, repeat: int) -> dict[str, Any]:
    """``repeat`` tells apart what the document says twice, so that neither counts as a copy."""
    facts = {"document": name, "heading": chunk.heading, "digest": chunk.digest}
    return facts | ({"repeat": repeat} if repeat else {})


def _outline(name: str, title: str | None, media_type: str, chunks: Sequence[Chunk]) -> str:
    """The words of the document as a whole: what it is called and what it is about."""
    first = f"Document {name}" + (f": {title}" if title else "") + f" ({media_type})"
    headings = dict.fromkeys(chunk.headings[-1] for chunk in chunks if chunk.headings)
    listed = [f"- {heading}" for heading in list(headings)[:_OUTLINE_HEADINGS]]
    return "\n".join([first, *listed])


def _trust(given: Trust | str | None, document: Opened, sees: VisionModel | None) -> Trust | str:
    if given is not None:
        return given
    return Trust.INFERENCE if document.is_image and sees is not None else Trust.IMPORT


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
    told = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
    return replace(Ingested(**told), outcomes=outcomes)
