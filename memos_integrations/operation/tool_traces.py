"""Calls of tools as memories: their canonical form, their words, and how near two calls are. Pure.

Called by the reader of messages and by the verbs of tools.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memos_integrations.infrastructure.governance.detection import SECRET
from memos_integrations.infrastructure.governance.redaction import mask, scan
from memos_integrations.infrastructure.vault.rows import masked
from memos_integrations.operation.likeness import bag, overlap, words_in

MAX_RESULT_CHARS = 32_000
"""Of a result as JSON in the memory itself; what is longer goes into a blob."""
_MAX_WORDS_CHARS = 2_000
_MAX_ARGUMENTS_CHARS = 2_000
_DIGITS = re.compile(r"\w*\d\w*")
_MASK = re.compile(r"\[[a-z][a-z0-9_]*:[a-z][a-z0-9_]*\]")
_DENIALS = frozenset("no not never without except non t 不 没 无 非".split())
"""``t`` is what is left of ``isn't`` when it is cut into words."""
Embed = Callable[[Sequence[str]], Sequence[Sequence[float]]]


@dataclass(frozen=True, slots=True)
class ToolTrace:
    """One call of a tool and what came of it."""

    name: str
    arguments: Mapping[str, Any]
    result: Any = None
    ok: bool = True
    error: str | None = None
    seconds: float | None = None
    at: str | None = None
    """When, as ISO 8601; tells apart two calls that gave the same."""

    @property
    def call(self) -> tuple[str, str]:
        """Tool and canonical arguments: equal for calls that ask the same."""
        return self.name, canonical(self.arguments)

    def without_secrets(self, keep: frozenset[str]) -> ToolTrace:
        """The same, masked, as it may be stored."""
        return ToolTrace(
            self.name,
            masked_named(dict(self.arguments), keep=keep),
            masked_named(self.result, keep=keep),
            self.ok,
            None if self.error is None else str(masked(self.error, keep=keep)),
            self.seconds,
            self.at,
        )

    def payload(self) -> dict[str, Any]:
        """What stands in ``data["tool"]``; a long result is cut, and said to be."""
        told: dict[str, Any] = {
            "name": self.name,
            "arguments": dict(self.arguments),
            "result": self.result,
            "ok": self.ok,
        }
        more = {"error": self.error, "seconds": self.seconds, "at": self.at}
        told |= {name: value for name, value in more.items() if value is not None}
        written = canonical(self.result)
        if len(written) > MAX_RESULT_CHARS:
            head = self.result if isinstance(self.result, str) else written
            told |= {"result": head[:MAX_RESULT_CHARS], "result_chars": len(written)}
            told["result_cut"] = True
        return told

    def words(self) -> str:
        """A line that people and searches can read."""
        shown = f"{self.name}({_listed(self.arguments)})"
        if not self.ok:
            return _cut(f"{shown} failed: {self.error or _told(self.result)}")
        return _cut(f"{shown} -> {_told(self.result)}")


def canonical(value: Any) -> str:
    """JSON with sorted keys: one text for one value. A whole float is the integer it equals."""
    return json.dumps(
        _canonical(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str
    )


def _canonical(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, Mapping):
        return {str(key): _canonical(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(each) for each in value]
    return value


def masked_named(value: Any, *, keep: frozenset[str]) -> Any:
    """As ``masked``, looking at each text beside its name too: ``{"password": "hunter2"}``."""
    if isinstance(value, Mapping):
        shown = {key: masked_named(each, keep=keep) for key, each in value.items()}
        named = {key: _beside(str(key), each, keep) for key, each in shown.items()}
        return {masked(key, keep=keep): each for key, each in named.items()}
    if isinstance(value, list | tuple):
        return [masked_named(each, keep=keep) for each in value]
    return masked(value, keep=keep)


def _beside(name: str, value: Any, keep: frozenset[str]) -> Any:
    if not isinstance(value, str) or SECRET in keep:
        return value
    front = f"{name}="
    found = [s for s in scan(front + value) if s.label == SECRET and s.end > len(front)]
    shown = mask(front + value, found, keep=frozenset())
    return shown.removeprefix(front) if shown.startswith(front) else "[secret:named]"


def similarity(asked: Mapping[str, Any], stored: Mapping[str, Any], embed: Embed | None) -> float:
    """How near two calls' arguments are, from 0 to 1: as near as the two values furthest apart.

    Numbers and switches must be equal, and so must words with digits in them (a date, a flight):
    a call for another day is another call, however alike it sounds. A masked value equals none.
    """
    one, other = dict(leaves(asked)), dict(leaves(stored))
    if one.keys() != other.keys():
        return 0.0
    return min((_alike(one[path], other[path], embed) for path in one), default=1.0)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every single value with its path."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from leaves(each, f"{path}/{key}")
    elif isinstance(value, list | tuple):
        for place, each in enumerate(value):
            yield from leaves(each, f"{path}/{place}")
    else:
        yield path, value


def likeness(one: str, other: str, embed: Embed | None) -> float:
    """How near two texts are in meaning, or in words where there is no embedder."""
    if embed is None:
        return overlap(bag(one), bag(other))
    a, b = embed([one, other])
    return float(sum(x * y for x, y in zip(a, b, strict=True)))


def _alike(one: Any, other: Any, embed: Embed | None) -> float:
    if not isinstance(one, str) or not isinstance(other, str):
        return 1.0 if canonical(one) == canonical(other) else 0.0
    if _MASK.search(one) or _MASK.search(other):
        return 0.0
    folded, wanted = _folded(one), _folded(other)
    if folded == wanted:
        return 1.0
    if sorted(_DIGITS.findall(folded)) != sorted(_DIGITS.findall(wanted)):
        return 0.0
    return max(0.0, min(likeness(folded, wanted, embed), _exchanged(folded, wanted, embed)))


def _exchanged(one: str, other: str, embed: Embed | None) -> float:
    """How near the words are that stand in the place of others: 1 where none do.

    A whole question stays near when Osaka becomes Tokyo; it is another question all the same. So
    is one that is denied, and one that turns round (``USD to EUR``, ``EUR to USD``).
    """
    here, there = words_in(one), words_in(other)
    mine = [word for word in here if word not in there]
    theirs = [word for word in there if word not in here]
    if _DENIALS.intersection(mine) or _DENIALS.intersection(theirs):
        return 0.0
    if [word for word in here if word in there] != [word for word in there if word in here]:
        return 0.0
    if not mine or not theirs:
        return 1.0
    # Names of one kind (two cities, two months) are near each other for any embedder, so what
    # stands in the place of something else must be nearer than a whole question must.
    return max(0.0, likeness(" ".join(mine), " ".join(theirs), embed)) ** 2


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _listed(arguments: Mapping[str, Any]) -> str:
    told = ", ".join(f"{name}={_told(value, quoted=True)}" for name, value in arguments.items())
    return told[:_MAX_ARGUMENTS_CHARS] + ("..." if len(told) > _MAX_ARGUMENTS_CHARS else "")


def _told(value: Any, *, quoted: bool = False) -> str:
    if isinstance(value, str) and not quoted:
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _cut(text: str) -> str:
    if len(text) <= _MAX_WORDS_CHARS + _MAX_ARGUMENTS_CHARS:
        return text
    return f"{text[: _MAX_WORDS_CHARS + _MAX_ARGUMENTS_CHARS]} ... ({len(text)} characters)"
