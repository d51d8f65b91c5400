"""The names the MemOS SDK uses, for those who come from there. Thin aliases, no logic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from memos_integrations.cube.item import Hit, MemoryItem
from memos_integrations.cube.outcomes import AddResult, Changed
from memos_integrations.infrastructure.queue.sqlite import TaskStatus
from memos_integrations.interface.reader import Messages
from memos_integrations.interface.reads import Reads
from memos_integrations.interface.scope import Where
from memos_integrations.interface.task_verbs import TaskVerbs
from memos_integrations.interface.writes import Writes


class FamiliarNames(Writes, Reads, TaskVerbs):
    """``add_message``, ``search_memory`` and their kin."""

    def add_message(
        self,
        messages: Messages,
        user_id: str | None = None,
        conversation_id: str | None = None,
        *,
        tags: Sequence[str] = (),
        info: Mapping[str, Any] | None = None,
    ) -> AddResult:
        """``add``: remember the messages of a conversation."""
        return self.add(messages, user=user_id, session=conversation_id, tags=tags, info=info)

    def search_memory(
        self,
        query: str,
        user_id: str | None = None,
        conversation_id: str | None = None,
        *,
        filter: Where = None,  # noqa: A002
        memory_limit_number: int = 10,
    ) -> list[Hit]:
        """``search`` over all of the user's conversations.

        As in the SDK, ``conversation_id`` says where the question comes from and does not narrow
        the search; use ``search(session=...)`` or a filter for that.
        """
        del conversation_id
        return self.search(query, user=user_id, filter=filter, limit=memory_limit_number)

    def get_task_status(self, task_id: str, user_id: str | None = None) -> TaskStatus:
        """``task_status``."""
        return self.task_status(task_id, user=user_id)

    def get_memory(self, memory_id: str, user_id: str | None = None) -> MemoryItem:
        """``get``."""
        return self.get(memory_id, user=user_id)

    def get_all_memories(self, user_id: str | None = None, *, limit: int = 100) -> list[MemoryItem]:
        """``list``."""
        return self.list(user=user_id, limit=limit)

    def update_memory(self, memory_id: str, text: str, user_id: str | None = None) -> Changed:
        """``update``."""
        return self.update(memory_id, text, user=user_id)

    def delete_memory(self, memory_id: str, user_id: str | None = None) -> Changed:
        """``delete``: leaves a tombstone; ``erase`` removes for good."""
        return self.delete(memory_id, user=user_id)
