"""Nodes and relations of a property graph as memories and back: data only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from llama_index.core.graph_stores.types import ChunkNode, EntityNode, LabelledNode, Relation
from pydantic import ValidationError

from llama_index_memos.filters import Tree, every, meta_field, one_of
from llama_index_memos.nodes import BLANK, filterable, key_of, source_of
from memos_integrations.cube.embedded import KEY_FIELD, Embedded
from memos_integrations.cube.errors import InvalidInput, VaultDamaged
from memos_integrations.cube.item import MemoryItem

NODE: Final = "llama_index.graph_node"
RELATION: Final = "llama_index.graph_relation"
OF_NODES: Final[Tree] = {"info.kind": NODE, "memory_type": "document"}
OF_RELATIONS: Final[Tree] = {"info.kind": RELATION, "memory_type": "document"}
_CLASSES: Final[Mapping[str, type[LabelledNode]]] = {"entity": EntityNode, "chunk": ChunkNode}
PartT = TypeVar("PartT", LabelledNode, Relation)
_BULKY: Final = "_node_content"


def node_key(node_id: str) -> str:
    """The key a node of the graph is kept under."""
    return key_of("graph:", node_id)


def node_text(node: LabelledNode) -> Embedded:
    """The node as a text with its vector. Raises ``InvalidInput`` for what JSON cannot carry."""
    chunk = isinstance(node, ChunkNode)
    if not chunk and not isinstance(node, EntityNode):
        raise InvalidInput(f"a {type(node).__name__} is neither an EntityNode nor a ChunkNode")
    payload = _dumped(node, exclude={"embedding", "text"})
    if chunk:
        # Without an id of its own it would have another one in every process.
        payload["id_"] = node.id
    words = node.text if isinstance(node, ChunkNode) else str(payload["name"])
    return Embedded(
        key=node_key(node.id),
        text=words if words.strip() else BLANK,
        vector=node.embedding,
        data={"type": "chunk" if chunk else "entity", "node": payload, "told": bool(words.strip())},
        info={"kind": NODE, "id": node.id, "label": node.label, "meta": _meta(node.properties)},
        source=_source(node.properties),
    )


def relation_text(relation: Relation) -> Embedded:
    """The relation as a text of its ends and its label."""
    ends = [relation.source_id, relation.label, relation.target_id]
    return Embedded(
        key=key_of("relation:", json.dumps(ends), digest=True),
        text=" ".join(ends),
        data={"relation": _dumped(relation)},
        info={
            "kind": RELATION,
            "label": relation.label,
            "from": relation.source_id,
            "to": relation.target_id,
            "meta": _meta(relation.properties),
        },
        source=_source(relation.properties),
    )


def node_of(item: MemoryItem) -> LabelledNode:
    """The node a memory keeps. Raises ``VaultDamaged`` where its payload is not one."""
    payload = item.data or {}
    kind, stored = _CLASSES.get(str(payload.get("type"))), payload.get("node")
    if kind is None or not isinstance(stored, Mapping):
        raise VaultDamaged(f"memory {item.id} does not hold a node of a graph")
    given = dict(stored)
    if kind is ChunkNode:
        given["text"] = item.text if payload.get("told", True) else ""
    return _read(kind, given, item)


def relation_of(item: MemoryItem) -> Relation:
    """The relation a memory keeps. Raises ``VaultDamaged`` where its payload is not one."""
    stored = (item.data or {}).get("relation")
    if not isinstance(stored, Mapping):
        raise VaultDamaged(f"memory {item.id} does not hold a relation of a graph")
    return _read(Relation, dict(stored), item)


def any_property(properties: Mapping[str, Any]) -> Tree:
    """Whether at least one of these properties has that value; ``None`` is a missing one."""
    parts: list[Tree] = []
    for key, value in properties.items():
        field = meta_field(key, "info.meta")
        parts.append({field: {"exists": False}} if value is None else {field: {"=": value}})
    return {"or": parts}


def nodes_where(properties: dict[str, Any] | None, ids: Sequence[str] | None) -> Tree | None:
    """The nodes of these ids with at least one of these properties."""
    keys = None if ids is None else one_of(KEY_FIELD, [node_key(each) for each in ids])
    return every(OF_NODES, keys, any_property(properties) if properties else None)


def touching(ids: Sequence[str]) -> Tree:
    """The relations that begin or end at one of these."""
    return {"or": [one_of("info.from", ids), one_of("info.to", ids)]}


def is_node(item: MemoryItem) -> bool:
    """Whether the memory keeps a node, not a relation."""
    return item.header.info.get("kind") == NODE


def id_of(item: MemoryItem) -> str:
    """The id of the node a memory keeps."""
    return str(item.header.info.get("id"))


def labels_of(items: Sequence[MemoryItem]) -> list[str]:
    """The distinct labels of nodes or relations, sorted."""
    return sorted({str(item.header.info.get("label")) for item in items})


def _read(kind: type[PartT], given: dict[str, Any], item: MemoryItem) -> PartT:
    try:
        return kind.model_validate(given)
    except (ValidationError, TypeError) as error:
        raise VaultDamaged(
            f"memory {item.id} holds a part of a graph that does not read"
        ) from error


def _dumped(part: LabelledNode | Relation, *, exclude: set[str] | None = None) -> dict[str, Any]:
    try:
        return part.model_dump(mode="json", exclude=exclude)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{part.id!r} holds what JSON cannot carry: {error}") from error


def _meta(properties: Mapping[str, Any]) -> dict[str, Any]:
    return filterable({k: v for k, v in properties.items() if k != _BULKY})


def _source(properties: Mapping[str, Any]) -> str | None:
    """The document it was read from, so that erasing by source takes it along."""
    source = properties.get("ref_doc_id")
    return source_of(source) if isinstance(source, str) and source != "None" else None
