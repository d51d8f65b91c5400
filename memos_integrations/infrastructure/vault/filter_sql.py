"""Filters as SQL over the vault's tables, with every value and every JSON key bound.

Called by the vault's reads. The SQL text is put together from the constants below alone, so no
filter can change what a statement does. Aliases: ``v`` version, ``i`` item, ``t`` content (left
joined on ``v.tid``), ``u`` usage (left joined on ``iid``). Written for SQLite 3.35 and later.

``info`` and ``data`` are walked key by key with ``json_each``, because a JSON path cannot name
every key (quotes, backslashes) and finds different ones in different releases of SQLite.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from typing import Final, assert_never

from memos_integrations.cube.errors import UnsupportedFilter
from memos_integrations.cube.filters import (
    NEGATIONS,
    And,
    Comparison,
    FieldType,
    Filter,
    Not,
    Or,
    Value,
    field_of,
    info_path,
    parse,
)
from memos_integrations.cube.ids import to_micros


@dataclass(frozen=True, slots=True)
class Condition:
    """A boolean SQL expression in parentheses, never NULL, and what to bind to its ``?``."""

    sql: str
    parameters: tuple[object, ...]


_COLUMNS: Final[Mapping[str, str]] = {
    "id": "i.id",
    "kind": "v.kind",
    "memory_type": "v.memory_type",
    "state": "v.state",
    "role": "v.role",
    "speaker": "v.speaker",
    "conversation": "v.conversation",
    "agent": "v.agent",
    "origin": "v.origin",
    "source": "v.source",
    "model": "v.model",
    "owner": "i.owner",
    "trust": "i.trust",
    "visibility": "i.visibility",
    "storage_mode": "v.storage_mode",
    "created": "i.created",
    "updated": "v.recorded",
    "time": "v.time",
    "valid_from": "v.valid_from",
    "valid_to": "v.valid_to",
    "expires": "i.expires",
    "last_used": "u.last",
    "priority": "v.priority",
    "confidence": "v.confidence",
    "usage_count": "COALESCE(u.count, 0)",
    "version": "v.version",
    "stale": "v.stale",
    "legal_hold": "i.legal_hold",
    "quarantined": "i.quarantined",
    "tags": "v.tags",
    "labels": "i.labels",
    "text": "COALESCE(t.text, '')",
}
_NULLABLE: Final = frozenset(
    {
        "role",
        "speaker",
        "conversation",
        "agent",
        "source",
        "model",
        "valid_to",
        "expires",
        "last_used",
    }
)

_SCALAR: Final[Mapping[str, str]] = {
    "=": "({x} = ?)",
    "gt": "({x} > ?)",
    "gte": "({x} >= ?)",
    "lt": "({x} < ?)",
    "lte": "({x} <= ?)",
    "in": "({x} IN (SELECT value FROM json_each(?)))",
    "contains": "(instr({x}, ?) > 0)",
    "like": "({x} LIKE ? ESCAPE '\\')",
    "exists": "({x} IS NOT NULL)",
}
_LIST: Final[Mapping[str, str]] = {
    "=": "EXISTS (SELECT 1 FROM json_each({x}) AS e WHERE e.value = ?)",
    "contains": "EXISTS (SELECT 1 FROM json_each({x}) AS e WHERE e.value = ?)",
    "in": "EXISTS (SELECT 1 FROM json_each({x}) AS e"
    " WHERE e.value IN (SELECT value FROM json_each(?)))",
    "exists": "EXISTS (SELECT 1 FROM json_each({x}))",
}

_KIND: Final = (
    "CASE {a}.type WHEN 'integer' THEN 'number' WHEN 'real' THEN 'number'"
    " WHEN 'true' THEN 'boolean' WHEN 'false' THEN 'boolean' ELSE {a}.type END"
)
_Z, _E = _KIND.format(a="z"), _KIND.format(a="e")
_ELEMENTS: Final = "SELECT 1 FROM json_each(z.value) AS e"
# Both sides of a number go through SQLite's own JSON reader, so they round alike.
_JSON: Final[Mapping[str, str]] = {
    "=": f"{_Z} = ? AND z.value = json_extract(?, '$')",
    "gt": f"{_Z} = ? AND z.value > json_extract(?, '$')",
    "gte": f"{_Z} = ? AND z.value >= json_extract(?, '$')",
    "lt": f"{_Z} = ? AND z.value < json_extract(?, '$')",
    "lte": f"{_Z} = ? AND z.value <= json_extract(?, '$')",
    "in": f"({_Z}, z.value) IN (SELECT {_E}, e.value FROM json_each(?) AS e)",  # noqa: S608 - constants
    "contains": "CASE z.type WHEN 'text' THEN ? = 'text' AND instr(z.value, json_extract(?, '$'))"
    f" WHEN 'array' THEN EXISTS ({_ELEMENTS} WHERE {_E} = ? AND e.value = json_extract(?, '$'))"
    " END",
    "like": "z.type = 'text' AND z.value LIKE ? ESCAPE '\\'",
    "same": "z.type IN ('array', 'object') AND z.value = ?",
    "exists": "z.type <> 'null'",
}

_MAX_SQL_CHARS: Final = 1_000_000
_CHUNK: Final = 64


def compile_filter(filter: Filter | None) -> Condition:  # noqa: A002 - the field's word
    """The condition that holds for exactly the rows ``matches`` accepts.

    Raises ``InvalidFilter`` for a tree that ``parse`` would refuse, and ``UnsupportedFilter`` for
    one whose SQL would be longer than SQLite reads.
    """
    checked = parse(filter)
    return Condition("(1)", ()) if checked is None else compile_checked(checked)


def compile_checked(filter: Filter) -> Condition:  # noqa: A002
    """As ``compile_filter``, of a tree that ``parse`` gave: it is not checked again."""
    piece = _build(filter, negated=False)
    if len(piece.sql) > _MAX_SQL_CHARS:
        raise UnsupportedFilter(
            "the filter is too long for SQLite: use fewer 'info.' and 'data.' conditions"
        )
    return Condition(piece.sql, piece.parameters)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A parenthesised expression; ``need`` estimates the parser stack it takes to read it."""

    sql: str
    parameters: tuple[object, ...]
    need: int


def _build(node: Filter, *, negated: bool) -> _Piece:
    """The SQL of ``node``, with ``not`` pushed down to the comparisons to save nesting."""
    match node:
        case Not(part):
            return _build(part, negated=not negated)
        case And(parts):
            return _join([_build(p, negated=negated) for p in parts], all_of=not negated)
        case Or(parts):
            return _join([_build(p, negated=negated) for p in parts], all_of=negated)
        case Comparison():
            return _leaf(node, negated=negated)
        case _:
            assert_never(node)


def _join(pieces: Sequence[_Piece], *, all_of: bool) -> _Piece:
    """One expression of many, shaped for SQLite's limits: 100 parser entries, 1,000 levels.

    A left operand costs the parser one entry and a right one three, so the neediest comes first;
    a chain is one level per operand, so long ones are cut into chunks.
    """
    if len(pieces) == 1:
        return pieces[0]
    ordered = sorted(pieces, key=lambda piece: -piece.need)
    if len(ordered) > _CHUNK:
        chunks = [ordered[n : n + _CHUNK] for n in range(0, len(ordered), _CHUNK)]
        return _join([_join(chunk, all_of=all_of) for chunk in chunks], all_of=all_of)
    sql = (" AND " if all_of else " OR ").join(piece.sql for piece in ordered)
    parameters = tuple(value for piece in ordered for value in piece.parameters)
    return _Piece(f"({sql})", parameters, max(ordered[0].need + 1, ordered[1].need + 3))


def _leaf(node: Comparison, *, negated: bool) -> _Piece:
    op, value = NEGATIONS.get(node.op, node.op), node.value
    turned = negated != (node.op in NEGATIONS or (node.op == "exists" and value is False))
    sql, need = _written(node.field, op, turned)
    return _Piece(sql, _parameters(node.field, op, value), need)


@lru_cache(maxsize=512)
def _written(field: str, op: str, turned: bool) -> tuple[str, int]:
    """The words of a comparison, which are the same for every value, and their need."""
    sql, need = _WRITERS.get(field_of(field).type, _scalar)(field, op)
    return (f"(NOT {sql})", need + 2) if turned else (sql, need)


def _parameters(field: str, op: str, value: Value) -> tuple[object, ...]:
    if field_of(field).type is FieldType.JSON:
        return (*info_path(field), *_bound_json(op, value))
    return _bound(op, value)


def _scalar(field: str, op: str) -> tuple[str, int]:
    sql = _SCALAR[op].format(x=_COLUMNS[field])
    return (f"({sql} IS TRUE)" if field in _NULLABLE else sql), 8


def _list(field: str, op: str) -> tuple[str, int]:
    return f"({_LIST[op].format(x=_COLUMNS[field])})", 16


def _json_value(field: str, op: str) -> tuple[str, int]:
    keys = info_path(field)
    column = "t.data" if field.startswith("data.") else "v.info"
    names = [*(f"j{n}" for n in range(len(keys) - 1)), "z"]
    tables = [f"json_each({column}) AS {names[0]}"] + [
        f"json_each(CASE {outer}.type WHEN 'object' THEN {outer}.value END) AS {inner}"
        for outer, inner in pairwise(names)
    ]
    wanted = "".join(f"{name}.key = ? AND " for name in names)
    sql = f"(EXISTS (SELECT 1 FROM {', '.join(tables)} WHERE {wanted}{_JSON[op]}))"  # noqa: S608 - constants only
    return sql, 24


_WRITERS: Final[Mapping[FieldType, Callable[[str, str], tuple[str, int]]]] = {
    FieldType.LIST: _list,
    FieldType.JSON: _json_value,
}


def _bound(op: str, value: Value) -> tuple[object, ...]:
    if op == "exists":
        return ()
    if isinstance(value, tuple):
        return (_json([_stored(each) for each in value]),)
    return (_stored(value),)


def _stored(value: object) -> object:
    """``value`` as its column keeps it: instants in microseconds, flags as 0 and 1."""
    if isinstance(value, datetime):
        return to_micros(value)
    return int(value) if isinstance(value, bool) else value


def _bound_json(op: str, value: Value) -> tuple[object, ...]:
    if op == "exists":
        return ()
    if op in ("like", "same"):
        return (value,)
    if op == "in":
        return (_json(value),)
    kind = "boolean" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"
    return (kind, _json(value)) * (2 if op == "contains" else 1)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
