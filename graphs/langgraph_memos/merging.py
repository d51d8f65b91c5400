"""Bringing a fork's memory back: what was tried out becomes what is known.

Called by applications, when a fork turns out to be the way to go on (a message was edited, say);
calls the facade.
"""

from __future__ import annotations

from typing import Any

from langgraph_memos.version import Mark, changed
from memos_integrations.cube.errors import UsageError
from memos_integrations.interface.mos import MOS
from memos_integrations.operation.lifecycle.time_machine import OnConflict


def merge_fork(
    mos: MOS,
    mark: Mark,
    *,
    on_conflict: OnConflict = "error",
    user: str | None = None,
    agent: str | None = None,
) -> Mark:
    """Merge the branches of a fork into the cubes they were made of; the mark to go on with.

    ``mark`` is the fork's ``state["memory_version"]``. Then
    ``graph.update_state(config, {"memory_version": merge_fork(...)})`` lets the thread read and
    write those cubes from now on, as its main line does. Raises ``MergeConflict`` as
    ``mos.merge_branch`` does, and ``UsageError`` for a thread that is on no fork or on a fork of a
    fork, whose branches have no cube of the main line under them.
    """
    if mark["known"] is None:
        raise UsageError("this thread is on no fork: it writes to its cubes already")
    who: dict[str, Any] = {"user": user, "agent": agent}
    branches = [each["cube"] for each in mark["branches"].values() if each["upto"] is None]
    bases = {each.path: each.forked_from for each in mos.cubes(**who)}
    for branch in branches:
        if "/branches/" in (bases.get(branch) or ""):
            raise UsageError(
                f"{branch} is a branch of a branch: merge it with mos.merge_branch, one by one"
            )
    for branch in branches:
        if bases.get(branch) is not None:  # else its cube was not founded when it was made
            mos.merge_branch(branch, on_conflict=on_conflict, **who)
    return changed(mark, tick=mark["tick"] + 1, known=None, branches={})
