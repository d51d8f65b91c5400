"""A question to tool memory, checked, and which answers it takes. Pure; called by the verbs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from memos_integrations.cube.errors import InvalidInput
from memos_integrations.infrastructure.vault.rows import Stored

_NEAR = 0.85
"""Least similarity of arguments for a result to be used again."""
_LIKE = 0.5
"""Least likeness of a call to words that describe it."""


@dataclass(frozen=True, slots=True)
class ToolQuestion:
    """A question to tool memory, checked."""

    tool: str
    arguments: dict[str, Any] | None
    like: str | None
    now: int
    max_age: int | None
    ok_only: bool
    expired: bool
    threshold: float

    def takes(self, row: Stored) -> bool:
        """Whether an answer may be used, its nearness apart."""
        payload = payload_of(row)
        if not payload or payload.get("name") != self.tool:
            return False
        if self.ok_only and not payload.get("ok", True):
            return False
        if self.max_age is not None and self.now - row.time > self.max_age:
            return False
        return self.expired or row.valid_to is None or row.valid_to > self.now

    def words(self) -> str | None:
        """What to search for; ``None`` where any call will do."""
        if self.like is not None:
            return self.like
        if self.arguments is None:
            return None
        return f"{self.tool} {words_of(self.arguments)}"[:10_000]


def payload_of(row: Stored) -> dict[str, Any]:
    """What the memory tells of the call; anything of another shape, which others may have
    stored, tells nothing."""
    return sound(json.loads(row.data or "{}"))


def sound(data: Mapping[str, Any] | None) -> dict[str, Any]:
    """The payload of a call in ``data``, if it has the shape of one."""
    found = (data or {}).get("tool")
    if not isinstance(found, dict) or not isinstance(found.get("arguments", {}), dict):
        return {}
    return found


def result_blob_of(row: Stored) -> str | None:
    """The blob with the whole result, if the memory itself has it: a hash that is only named in
    the payload may be that of somebody else's."""
    named = payload_of(row).get("result_blob")
    own = {each["sha256"] for each in json.loads(row.blobs or "[]")}
    return named if isinstance(named, str) and named in own else None


def words_of(arguments: Mapping[str, Any]) -> str:
    return " ".join(f"{name} {value}" for name, value in arguments.items())


def switch(value: object, what: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput(f"{what} must be True or False")
    return value


def likened(like: object, arguments: object) -> str | None:
    if like is None:
        return None
    if not isinstance(like, str) or not like.strip() or len(like) > 10_000:
        raise InvalidInput("like must be words of at most 10000 characters")
    if arguments is not None:
        raise InvalidInput("recall_tool takes arguments or like, not both")
    return like


def threshold_of(threshold: object, like: object) -> float:
    if threshold is None:
        return _NEAR if like is None else _LIKE
    if not isinstance(threshold, int | float) or isinstance(threshold, bool) or threshold < 0:
        raise InvalidInput("threshold must be a number from 0 upwards")
    return float(threshold)
