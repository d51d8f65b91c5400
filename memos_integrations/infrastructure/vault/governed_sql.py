"""The text of the governed queries, put together once: a search asks the same few again and again.

Called by the governed reads. Everything here is made of the constants in ``sql/governed.sql`` and
of the filter compiler's; values are bound. ``unruled`` takes the shorter form of the decision,
for a principal whom no rule names in the snapshot that is read.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import count
from typing import Any, Final, Literal, TypeAlias

from memos_integrations.cube.filters import Comparison, Filter
from memos_integrations.infrastructure.vault.filter_sql import compile_checked
from memos_integrations.infrastructure.vault.sql import queries

Pick: TypeAlias = Literal["present", "kept", "told", "searchable", "due"]
"""``present``: tombstones too; ``kept``: with words, not merged away; ``told``: of those, what was
told and not the facts drawn from it; ``searchable``: what a search may show (neither archived,
stale, quarantined nor invalid at the instant); ``due``: expired, with their words still there."""

_PLACE: Final = re.compile(r"\?")
_LONG: Final = 4_000
"""Characters of a filter above which its statement is not kept."""
_MOST_COMPILED: Final = 128
_SHORT: Final = 256


def head(*, unruled: bool) -> str:
    """What every governed query begins with: ``gate``, and the ``rules`` it looks at."""
    sql = queries("governed")
    return f"WITH {sql['gate_unruled']} " if unruled else f"WITH {sql['rules']}, {sql['gate']} "


def filtered(where: Filter | None) -> tuple[str, dict[str, Any]]:
    """A checked filter as a condition with named places, and what is bound to them."""
    if where is None:
        return "", {}
    # By identity: equal trees may mean different things, as 1 and True are equal.
    known = _compiled.get(id(where))
    if known is None:
        known = where, *_filtered(where)
        if _is_small(where):
            if len(_compiled) >= _MOST_COMPILED:
                _compiled.clear()
            _compiled[id(where)] = known
    return known[1], known[2].copy()


_compiled: Final[dict[int, tuple[Filter, str, dict[str, Any]]]] = {}
"""What was made of small filters, by the identity of the tree: kept with it, no other can have
that identity."""


def _is_small(where: Filter) -> bool:
    if not isinstance(where, Comparison):
        return False
    return not isinstance(where.value, str | tuple) or len(where.value) <= _SHORT


def _filtered(where: Filter) -> tuple[str, dict[str, Any]]:
    found = compile_checked(where)
    bound = {f"f{n}": value for n, value in enumerate(found.parameters)}
    return (_named if len(found.sql) < _LONG else _named.__wrapped__)(found.sql), bound


@lru_cache(maxsize=128)
def _named(sql: str) -> str:
    names = count()
    # The compiler's fragments are constants with ? places; ours are named.
    return "(" + _PLACE.sub(lambda _: f":f{next(names)}", sql) + ")"


def condition(pick: Pick, where: str, *, unruled: bool) -> str:
    """What an item must meet to be shown: the access decision, the pick and the filter."""
    sql = queries("governed")
    allowed = sql["item_allowed_unruled" if unruled else "item_allowed"]
    return " AND ".join((allowed, sql[pick], where) if where else (allowed, sql[pick]))


def of_items(pick: Pick, where: str, *, unruled: bool) -> str:
    """The statement that reads a few items named by the caller."""
    return (_of_items if len(where) < _LONG else _of_items.__wrapped__)(pick, where, unruled)


@lru_cache(maxsize=128)
def _of_items(pick: Pick, where: str, unruled: bool) -> str:
    sql = queries("governed")
    return (
        f"{head(unruled=unruled)}SELECT {sql['item_columns']} {sql['joined_items']} "
        f"WHERE {condition(pick, where, unruled=unruled)}"
    )
