"""What is to be stored of a document: its own memory and one for each chunk, as drafts.

Called by the verbs of documents with a document that was opened; calls the chunker and the reader.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from memos_integrations.cube.acl import Trust
from memos_integrations.cube.errors import InvalidInput
from memos_integrations.cube.ops import Replayable
from memos_integrations.cube.ports import VisionModel
from memos_integrations.interface.base import Rooms
from memos_integrations.interface.document_source import Opened, Worded
from memos_integrations.interface.reader import About, Turn
from memos_integrations.interface.scope import Scope
from memos_integrations.operation.documents.chunking import Chunk, Part, chunk_document
from memos_integrations.operation.documents.storing import Given, Ingestion
from memos_integrations.operation.image_stage import unread

_CHUNKER = 1
"""Version of the rules of chunking: another one cuts the same bytes anew."""
_MAX_CHUNKS = 20_000
_OUTLINE_HEADINGS = 30


class Drafting:
    """Makes what is to be stored of a document that was opened."""

    def __init__(
        self, rooms: Rooms, scope: Scope, document: Opened, about: About, given: Given
    ) -> None:
        self._rooms = rooms
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

    def _drafts(self, texts: Sequence[str]) -> list[Replayable]:
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


def trust_of(given: Trust | str | None, document: Opened, sees: VisionModel | None) -> Trust | str:
    if given is not None:
        return given
    return Trust.INFERENCE if document.is_image and sees is not None else Trust.IMPORT
