"""LlamaIndex nodes as memories and back: data only, and nothing that is not a node comes out.

The words of a node are the memory's words, so they are masked for whoever may not read them; the
rest of it is the payload. Its metadata lies where filters reach it.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageDocument,
    ImageNode,
    IndexNode,
    MediaResource,
    MetadataMode,
    Node,
    TextNode,
)
from pydantic import ValidationError

from llama_index_memos.links import REMEDY, barred_in_node
from memos_integrations.cube.embedded import Embedded
from memos_integrations.cube.errors import InvalidInput, VaultDamaged
from memos_integrations.cube.item import MemoryItem

_log = logging.getLogger(__name__)
PartT = TypeVar("PartT")
PREFIX: Final = "node:"
KIND: Final = "llama_index.node"
_CLASSES: Final[Mapping[str, type[BaseNode]]] = {
    kind.class_name(): kind
    for kind in (TextNode, ImageNode, IndexNode, Node, Document, ImageDocument)
}
BLANK: Final = "(no words)"
_MAX_NAME_CHARS: Final = 400
_UNCLEAN: Final = re.compile("[\x00-\x1f\ud800-\udfff]")


def key_of(prefix: str, name: str, *, digest: bool = False) -> str:
    """What something of this name is kept under: the name, or its digest where it is no key."""
    if digest or len(name) > _MAX_NAME_CHARS or not name.strip() or _UNCLEAN.search(name):
        return f"{prefix}sha256:{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()}"
    return f"{prefix}{name}"


def source_of(document_id: str | None) -> str | None:
    """What ``erase(source=...)`` knows a document by: its id, or a digest of what names nothing."""
    return key_of("", document_id) if document_id else None


def embedded(node: BaseNode, *, tags: Sequence[str] = ()) -> Embedded:
    """The node as a text with its vector. Raises ``InvalidInput`` for what JSON cannot carry, and
    for media that every reader would have to read from its own disk or network."""
    payload = _dumped(node)
    words = node.get_content(metadata_mode=MetadataMode.NONE)
    told = bool(words.strip())
    if told:
        _take_words(payload)
    return Embedded(
        key=key_of(PREFIX, node.node_id),
        text=words if told else BLANK,
        vector=node.embedding,
        data={"type": node.class_name(), "node": payload, "told": told},
        info={"kind": KIND, "meta": filterable(metadata_of(node))},
        source=source_of(node.ref_doc_id),
        tags=tuple(tags),
    )


def _dumped(node: BaseNode) -> dict[str, Any]:
    if node.class_name() not in _CLASSES:
        known = ", ".join(_CLASSES)
        raise InvalidInput(f"a {type(node).__name__} cannot be kept; known are {known}")
    try:
        payload = node.model_dump(mode="json")
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"node {node.node_id!r} holds what JSON cannot carry: {error}"
        ) from error
    payload.pop("embedding", None)
    if barred := barred_in_node(node.class_name(), payload):
        raise InvalidInput(f"node {node.node_id!r} points at {barred}: {REMEDY}")
    _add_media(node, payload)
    return payload


def _add_media(node: BaseNode, payload: dict[str, Any]) -> None:
    """The bytes of pictures and recordings, which LlamaIndex leaves out where it dumps a node."""
    for name, dumped in payload.items():
        resource = getattr(node, name, None)
        if isinstance(resource, MediaResource) and resource.data is not None:
            dumped["data"] = resource.data.decode("ascii")


def metadata_of(node: BaseNode) -> dict[str, Any]:
    """What filters may ask about, with the document's id under the names LlamaIndex uses."""
    document = node.ref_doc_id or "None"
    names = dict.fromkeys(("document_id", "doc_id", "ref_doc_id"), document)
    return {**node.metadata, **names}


def filterable(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata without what LlamaIndex's filters find missing. An empty list is empty, but
    there: it holds all of nothing."""
    return {k: v for k, v in metadata.items() if v is not None and v != {}}


def readable(items: Iterable[MemoryItem], read: Callable[[MemoryItem], PartT]) -> dict[str, PartT]:
    """Memory id -> what ``read`` makes of it; what only says it is a node is left out and counted.

    Whoever may write the cube may write such a thing, and must not end every read by it.
    """
    found: dict[str, PartT] = {}
    strange = 0
    for item in items:
        try:
            found[item.id] = read(item)
        except VaultDamaged:
            strange += 1
    if strange:
        _log.warning("left out %d memories that say they are nodes and do not read as one", strange)
    return found


def node_of(item: MemoryItem) -> BaseNode:
    """The node a memory keeps. Raises ``VaultDamaged`` where its payload is not one, or is one
    that points at the reader's disk or network."""
    payload = item.data or {}
    kind = _CLASSES.get(str(payload.get("type")))
    stored = payload.get("node")
    if kind is None or not isinstance(stored, Mapping):
        raise VaultDamaged(f"memory {item.id} does not hold a LlamaIndex node")
    if barred := barred_in_node(kind.class_name(), stored):
        raise VaultDamaged(f"memory {item.id} points at {barred}; it is not read")
    try:
        data = dict(stored)
        if payload.get("told", True):
            _give_words(data, item.text)
        return kind.from_dict(data)
    except (ValidationError, TypeError, ValueError, AttributeError, KeyError) as error:
        raise VaultDamaged(f"memory {item.id} holds a node that does not read") from error


def _take_words(payload: dict[str, Any]) -> None:
    """The words out of the payload: they are the memory's text."""
    if "text" in payload:
        payload["text"] = ""
    resource = payload.get("text_resource")
    if isinstance(resource, dict):
        resource["text"] = None


def _give_words(data: dict[str, Any], words: str) -> None:
    resource = data.get("text_resource")
    if isinstance(resource, Mapping):
        data["text_resource"] = {**resource, "text": words}
    elif "text" in data:
        data["text"] = words
