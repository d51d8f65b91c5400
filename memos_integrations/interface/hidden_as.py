"""What stands beside or in place of a memory is seen by no more people, and for no longer.

Called by the verbs that write down something new about a memory that is there; pure.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from memos_integrations.cube.acl import Visibility
from memos_integrations.cube.ops import Replayable
from memos_integrations.infrastructure.vault.rows import Stored
from memos_integrations.interface.scope import Scope


def hide_as(olds: Sequence[Stored], new: Sequence[Replayable], scope: Scope) -> None:
    """Give the drafts the labels of all these memories, their earliest end, and, where one is
    private or lies outside the cube that is written to, private visibility."""
    elsewhere = any(old.path != scope.cube for old in olds)
    private = elsewhere or any(old.visibility == Visibility.PRIVATE for old in olds)
    labels = {label for old in olds for label in json.loads(old.labels or "[]")}
    ends = [old.expires for old in olds if old.expires is not None]
    for each in new:
        if private:
            each.draft.visibility = Visibility.PRIVATE.value
        each.draft.labels = tuple(sorted({*each.draft.labels, *labels}))
        own = () if each.draft.expires is None else (each.draft.expires,)
        each.draft.expires = min((*ends, *own), default=None)
