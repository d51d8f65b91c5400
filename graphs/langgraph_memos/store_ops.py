"""LangGraph's store operations as operations on entries, and the results back.

Called by the store; pure. Everything is checked here or by the core before anything is written;
names that cannot be raise LangGraph's own ``InvalidNamespaceError``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
)

from langgraph_memos.store_filters import value_filter
from memos_integrations.cube.acl import Trust
from memos_integrations.cube.entries import (
    DeleteEntry,
    Entry,
    EntryOp,
    EntryResult,
    FindEntries,
    GetEntry,
    ListNamespaces,
    Namespace,
    PutEntry,
    clean_namespace,
)
from memos_integrations.cube.errors import InvalidInput
from memos_integrations.cube.ids import CubePath

CubeOf: TypeAlias = Callable[[Namespace], CubePath | None]
_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Translator:
    """Translates operations; ``fields`` are searched where a put does not say."""

    fields: Sequence[str] | None
    cube_of: CubeOf
    trust: Trust = Trust.USER

    def entry_op(self, op: Op) -> EntryOp | None:
        """The operation on entries; ``None`` for one that can find nothing."""
        match op:
            case GetOp():
                space = _namespace(op.namespace)
                cube = self.cube_of(space)
                return GetEntry(space, str(op.key), bool(op.refresh_ttl), cube) if space else None
            case PutOp():
                return self._put(op)
            case SearchOp():
                return self._search(op)
            case ListNamespacesOp():
                return self._listing(op)
        raise ValueError(f"{type(op).__name__} is no operation of a store")

    def _put(self, op: PutOp) -> EntryOp | None:
        space = _namespace(op.namespace)
        if op.value is None:
            return DeleteEntry(space, str(op.key), self.cube_of(space)) if space else None
        if not space:
            raise InvalidNamespaceError("Namespace cannot be empty.")
        index = self.fields if op.index is None else op.index
        ttl = None if op.ttl is None else op.ttl * _SECONDS
        return PutEntry(space, str(op.key), op.value, index, ttl, self.cube_of(space), self.trust)

    def _search(self, op: SearchOp) -> FindEntries:
        space = _namespace(op.namespace_prefix)
        return FindEntries(
            space,
            op.query,
            value_filter(op.filter),
            op.limit,
            op.offset,
            bool(op.refresh_ttl),
            self.cube_of(space),
        )

    def _listing(self, op: ListNamespacesOp) -> ListNamespaces | None:
        prefix, suffix = _ends(op.match_conditions or ())
        if prefix is None or suffix is None:
            return None
        cube = self.cube_of(prefix)
        return ListNamespaces(prefix, suffix[::-1], op.max_depth, op.limit, op.offset, cube)


def _namespace(given: object) -> Namespace:
    if given == ():
        return ()
    try:
        space = clean_namespace(given)
    except InvalidInput as error:
        raise InvalidNamespaceError(str(error)) from error
    if any("." in label for label in space):
        raise InvalidNamespaceError(f"namespace labels cannot contain periods: {space}")
    return space


def _ends(conditions: Sequence[MatchCondition]) -> tuple[Namespace | None, Namespace | None]:
    """What a namespace begins with, and what it ends with, last label first."""
    ends: dict[str, Namespace | None] = {"prefix": (), "suffix": ()}
    for condition in conditions:
        if condition.match_type not in ends:
            raise ValueError(f"no match type {condition.match_type!r}: 'prefix' or 'suffix'")
        path = _namespace(tuple(condition.path))
        path = path if condition.match_type == "prefix" else path[::-1]
        known = ends[condition.match_type]
        ends[condition.match_type] = None if known is None else _both(known, path)
    return ends["prefix"], ends["suffix"]


def _both(one: Namespace, other: Namespace) -> Namespace | None:
    """The pattern of what both patterns match; ``None`` where nothing does."""
    longer, shorter = (one, other) if len(one) >= len(other) else (other, one)
    found = list(longer)
    for place, label in enumerate(shorter):
        if "*" not in (label, found[place]) and label != found[place]:
            return None
        found[place] = label if found[place] == "*" else found[place]
    return tuple(found)


def result_of(op: Op, found: EntryResult) -> Result:
    """What LangGraph's stores give for the operation."""
    if isinstance(op, GetOp):
        return None if found is None else _item(found)
    if isinstance(op, SearchOp):
        return [_search_item(entry) for entry in found or ()]  # type: ignore[union-attr]
    return [] if found is None and isinstance(op, ListNamespacesOp) else found  # type: ignore[return-value]


def _item(entry: Any) -> Item:
    assert isinstance(entry, Entry)  # noqa: S101  -- what a get gives
    return Item(
        value=entry.value,
        key=entry.key,
        namespace=entry.namespace,
        created_at=entry.created,
        updated_at=entry.updated,
    )


def _search_item(entry: Any) -> SearchItem:
    assert isinstance(entry, Entry)  # noqa: S101  -- what a search gives
    return SearchItem(
        entry.namespace, entry.key, entry.value, entry.created, entry.updated, entry.score
    )
