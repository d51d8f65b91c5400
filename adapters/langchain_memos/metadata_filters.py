"""LangChain's filters on documents as the one filter tree of the vault.

A filter names keys of a document's metadata: ``{"year": {"gte": 2020}, "lang": "en"}``. Operators,
their ``$`` spellings, ``and``, ``or`` and ``not`` are those of ``memos_integrations.cube.filters``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from memos_integrations.cube.errors import InvalidFilter
from memos_integrations.cube.filters import And, Comparison, Filter, Not, Or, parse

METADATA = "metadata"
"""The key of ``info`` that a document's metadata lies under."""
_LOGIC = frozenset(s for w in ("and", "or", "not") for s in (w, w.upper(), f"${w}"))


def metadata_filter(given: object) -> Filter | None:
    """The tree that holds for documents whose metadata passes. A tree is taken as it is.

    Raises ``InvalidFilter`` for a function, which no index can answer, and for anything that the
    filter language does not know.
    """
    if given is None:
        return None
    if isinstance(given, And | Or | Not | Comparison):
        return parse(given)
    if callable(given):
        raise InvalidFilter(
            "a filter cannot be a function: write it as data, such as {'year': {'gte': 2020}}"
        )
    return parse(_under_metadata(given))


def _under_metadata(given: object) -> Any:
    if not isinstance(given, Mapping):
        return given  # the parser says what is wrong with it
    return {
        (key if key in _LOGIC else _field(key)): (_nested(value) if key in _LOGIC else value)
        for key, value in given.items()
    }


def _nested(value: object) -> Any:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_under_metadata(each) for each in value]
    return _under_metadata(value)


def _field(key: object) -> str:
    if not isinstance(key, str) or key.startswith("$"):
        raise InvalidFilter(f"a filter names keys of the metadata, not {key!r}")
    return f"info.{METADATA}.{key}"
