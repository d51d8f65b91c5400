"""The words of a value: what a search of an entry looks at, field by field.

Pure. Fields are written as LangGraph writes them: ``a.b``, ``list[0]``, ``list[-1]``,
``list[*].a``, ``*`` for every key, ``{a,b.c}`` for several, ``$`` for the whole value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from memos_integrations.cube.entries import WHOLE_VALUE
from memos_integrations.cube.filters import canonical_json
from memos_integrations.infrastructure.vault.rows import masked

MAX_PARTS: Final = 256
"""Texts of one entry that are searched; further ones of an endless list are not."""
_STEP = re.compile(r"\[[^\]]*\]|\{[^}]*\}|[^.\[\]{}]+")


def field_texts(value: Mapping[str, Any], fields: Sequence[str]) -> list[str]:
    """The texts that these fields hold, each once, in their order; missing fields hold none."""
    found = (text for field in fields for text in _field(value, field))
    return list(dict.fromkeys(text for text in found if text.strip()))[:MAX_PARTS]


def searched_texts(data: str | None, fields: Sequence[str]) -> list[str]:
    """The texts of a stored value that are searched, with everything sensitive masked."""
    return field_texts(masked(json.loads(data or "{}"), keep=frozenset()), fields)


def whole_text(value: Mapping[str, Any]) -> str:
    """All of a value as words, for who reads a list of memories."""
    return "\n".join(field_texts(value, WHOLE_VALUE)) or canonical_json(value)


def _field(value: Mapping[str, Any], field: str) -> Iterator[str]:
    if field == "$":
        yield "\n".join(_lines(value, ""))
        return
    for found in _walk(value, _STEP.findall(field)):
        yield from _leaf(found)


def _lines(value: Any, name: str) -> Iterator[str]:
    """``name: words`` for every leaf, so that the words stand without the signs of JSON."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _lines(each, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for each in value:
            yield from _lines(each, name)
    else:
        yield from (f"{name}: {text}" for text in _leaf(value))


def _leaf(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping | list):
        yield canonical_json(value)
    elif value is not None:
        yield str(value)


def _walk(value: Any, steps: Sequence[str]) -> list[Any]:
    """What the steps lead to. Each part is gone on from once: ``{a,a}.{a,a}`` doubles nothing."""
    reached = [value]
    for step in steps:
        parts = (part for each in reached for part in _children(each, step))
        reached = list({id(part): part for part in parts}.values())
    return reached


def _children(value: Any, step: str) -> Iterator[Any]:
    if step.startswith("["):
        yield from _elements(value, step[1:-1].strip())
    elif step.startswith("{"):
        for field in dict.fromkeys(each.strip() for each in step[1:-1].split(",")):
            yield from _walk(value, _STEP.findall(field))
    elif step == "*":
        yield from value.values() if isinstance(value, Mapping) else _elements(value, "*")
    elif isinstance(value, Mapping) and step in value:
        yield value[step]


def _elements(value: Any, which: str) -> Iterator[Any]:
    if not isinstance(value, list):
        return
    if which == "*":
        yield from value
    elif re.fullmatch(r"-?\d{1,9}", which) and -len(value) <= int(which) < len(value):
        yield value[int(which)]
