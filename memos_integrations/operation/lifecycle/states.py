"""The state machine of a memory, as a table (MemOS, section 5.4: MemLifecycle).

Pure: takes a state and an event, returns the next state or raises. Frozen is a lock: only
``thaw`` leaves it, back to where the item stood before.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from memos_integrations.cube.errors import IllegalTransition, ItemFrozen
from memos_integrations.cube.header import State


class Event(StrEnum):
    ACTIVATE = "activate"
    REVISE = "revise"
    MERGE = "merge"
    SPLIT = "split"
    ARCHIVE = "archive"
    FREEZE = "freeze"
    THAW = "thaw"
    EXPIRE = "expire"
    DELETE = "delete"
    RESTORE = "restore"


_G, _A, _M, _R = State.GENERATED, State.ACTIVATED, State.MERGED, State.ARCHIVED
_F, _X, _D = State.FROZEN, State.EXPIRED, State.DELETED

TRANSITIONS: Mapping[tuple[State, Event], State | None] = MappingProxyType(
    {
        (_G, Event.ACTIVATE): _A,
        (_A, Event.ACTIVATE): _A,
        (_R, Event.ACTIVATE): _A,
        (_G, Event.REVISE): _G,
        (_A, Event.REVISE): _A,
        (_R, Event.REVISE): _R,
        (_G, Event.MERGE): _M,
        (_A, Event.MERGE): _M,
        (_M, Event.SPLIT): _A,
        (_G, Event.ARCHIVE): _R,
        (_A, Event.ARCHIVE): _R,
        (_M, Event.ARCHIVE): _R,
        (_G, Event.FREEZE): _F,
        (_A, Event.FREEZE): _F,
        (_M, Event.FREEZE): _F,
        (_R, Event.FREEZE): _F,
        (_F, Event.THAW): None,
        (_G, Event.EXPIRE): _X,
        (_A, Event.EXPIRE): _X,
        (_M, Event.EXPIRE): _X,
        (_R, Event.EXPIRE): _X,
        (_G, Event.DELETE): _D,
        (_A, Event.DELETE): _D,
        (_M, Event.DELETE): _D,
        (_R, Event.DELETE): _D,
        (_X, Event.DELETE): _D,
        (_G, Event.RESTORE): None,
        (_A, Event.RESTORE): None,
        (_M, Event.RESTORE): None,
        (_R, Event.RESTORE): None,
        (_X, Event.RESTORE): None,
        (_D, Event.RESTORE): None,
    }
)
"""(state, event) -> next state. ``None`` means: the state the caller names (the one before a
freeze, or that of the version restored)."""


def next_state(state: State, event: Event, *, item: str, named: State | None = None) -> State:
    """The state after ``event``.

    Raises ``ItemFrozen`` for anything but ``thaw`` on a frozen item, ``IllegalTransition`` for
    every other step the table does not have. ``named`` is the state to go back to where the
    table leaves it open.
    """
    if (state, event) not in TRANSITIONS:
        if state is State.FROZEN:
            raise ItemFrozen(event.value, item)
        raise IllegalTransition(event.value, state.value, item)
    after = TRANSITIONS[state, event]
    if after is None:
        if named is None or named is State.FROZEN:
            raise IllegalTransition(event.value, state.value, item)
        return named
    return after
