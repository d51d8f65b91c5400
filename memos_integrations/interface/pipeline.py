"""Several operations as one unit: collected first, run in one transaction, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from memos_integrations.cube.errors import UsageError
from memos_integrations.cube.header import Relation
from memos_integrations.cube.ops import (
    ActivateOp,
    AddOp,
    ArchiveOp,
    DeleteOp,
    LinkOp,
    MergeOp,
    Operation,
    UpdateOp,
)
from memos_integrations.cube.outcomes import AddResult, Changed
from memos_integrations.interface.arguments import texts
from memos_integrations.interface.base import Rooms
from memos_integrations.interface.idempotency import Request
from memos_integrations.interface.portability import renewed
from memos_integrations.interface.reader import About, Messages, as_enum, as_list
from memos_integrations.interface.scope import Scope
from memos_integrations.interface.tool_messages import read_messages
from memos_integrations.interface.updates import update_columns

Execute = Callable[[Scope, Sequence[Operation], str | None, Request], list[AddResult | Changed]]


class Pipeline:
    """Collects operations; runs them when its ``with`` block ends without an error."""

    def __init__(self, rooms: Rooms, scope: Scope, execute: Execute, key: str | None) -> None:
        self._rooms = rooms
        self._scope = scope
        self._execute = execute
        self._key = key
        self._ops: list[Operation] = []
        # Drafts hold the time they were read at, so a retry is known by what was handed in.
        self._handed_in: dict[int, object] = {}
        self.results: list[AddResult | Changed] = []
        """One result per operation, once the block has ended."""

    def add(self, /, messages: Messages, *, derived_from: Sequence[str] = (), **about: Any) -> None:
        """As ``MOS.add``; a message that cannot be stored refuses the whole pipeline."""
        rooms, told = self._rooms, About.of(**about)
        renewed(rooms.vault, told.blobs)
        read, calls = read_messages(as_list(messages))
        turns = [turn for place, turn in enumerate(read) if place not in calls]
        drafts, refused = rooms.reader.read(
            turns, told, self._scope.principal, now=rooms.vault.now()
        )
        if refused:
            first = min(refused)
            raise UsageError(f"message {first} cannot be stored: {refused[first].reason}")
        sources = texts(derived_from, "derived_from")
        self._handed_in[len(self._ops)] = ("add", turns, told, sources)
        self._ops.append(AddOp(self._scope.cube, tuple(drafts), sources))

    def update(self, /, item: str, text: str | None = None, **columns: Any) -> None:
        """As ``MOS.update``."""
        reason = columns.pop("reason", "corrected")
        expected = columns.pop("expected_version", None)
        if text is not None:
            self._rooms.reader.require_text(text)
        self._ops.append(
            UpdateOp(
                item,
                text,
                update_columns(**columns, keep=self._rooms.reader.keep),
                expected,
                reason,
            )
        )

    def delete(self, item: str, *, reason: str = "deleted") -> None:
        """As ``MOS.delete``."""
        self._ops.append(DeleteOp(item, reason))

    def archive(self, item: str, *, reason: str = "archived") -> None:
        """As ``MOS.archive``."""
        self._ops.append(ArchiveOp(item, reason))

    def activate(self, item: str, *, reason: str = "activated") -> None:
        """As ``MOS.activate``."""
        self._ops.append(ActivateOp(item, reason))

    def merge(self, items: Sequence[str], text: str, *, reason: str = "merged") -> None:
        """As ``MOS.merge``."""
        self._rooms.reader.require_text(text)
        self._ops.append(MergeOp(texts(items, "items"), text, reason))

    def link(self, source: str, relation: Relation | str, target: str) -> None:
        """As ``MOS.link``."""
        self._ops.append(LinkOp(source, as_enum(Relation, relation, "relation"), target))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and self._ops:
            asked = [self._handed_in.get(n, op) for n, op in enumerate(self._ops)]
            request = Request("pipeline", *self._scope.where_said, asked)
            self.results = self._execute(self._scope, self._ops, self._key, request)
