"""LangChain's documents as memories that come with a vector, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.documents import Document

from langchain_memos.metadata_filters import METADATA
from memos_integrations.cube.embedded import Embedded
from memos_integrations.cube.errors import InvalidInput
from memos_integrations.cube.ids import clean_name
from memos_integrations.cube.item import MemoryItem
from memos_integrations.infrastructure.governance.redaction import RedactionPolicy, apply_on_write


def embedded(key: str, text: str, vector: Sequence[float], metadata: Mapping[str, Any]) -> Embedded:
    """A document under its id. Raises ``InvalidInput`` for metadata that is no mapping."""
    if not isinstance(metadata, Mapping):
        raise InvalidInput(f"metadata is a mapping, not {type(metadata).__name__}")
    return Embedded(key, text, vector, info={METADATA: metadata}, source=_source(metadata))


def _source(metadata: Mapping[str, Any]) -> str | None:
    """What LangChain's loaders call the source, where it can name one to erase by."""
    try:
        source = clean_name(metadata.get("source"), "source")
    except InvalidInput:
        return None
    # A source is kept as it is, so one with a key in its address stays in the metadata, masked.
    return source if apply_on_write(source, RedactionPolicy()).text == source else None


def key_of(item: MemoryItem) -> str:
    """The id that the document was put under."""
    return str(item.header.info.get("embedded"))


def document_of(item: MemoryItem) -> Document:
    """The document with its id and its metadata, as the asker may see them."""
    known: dict[str, Any] = item.header.info.get(METADATA) or {}
    return Document(id=key_of(item), page_content=item.text, metadata=known)
