"""Rows of the forms that cubes are kept in: how often they are asked, what was decided, what is.

Called by the scheduler and by what carries its placements out. Numbers, names of models and hashes
only. What there is in a form is read off the artifacts, never written here: what withdraws one
takes the cube out of that form in the same transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from memos_integrations.cube.usage import Form, heated
from memos_integrations.infrastructure.activation.identity import Digest
from memos_integrations.infrastructure.vault.sql import queries
from memos_integrations.infrastructure.vault.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Decided:
    """What was last decided of a cube's form for a model."""

    cid: int
    model: str
    form: Form
    promoted: bool
    moved: int
    failures: int
    key: Digest | None
    """Of the cache that was built, if it is one."""


@dataclass(frozen=True, slots=True)
class Made:
    """A part of what a cube is kept in: a cache, or the adapter of a shard."""

    cid: int
    model: str
    form: Form
    identity: Digest
    """Of the model it was made for and serves."""
    part: int
    bytes: int
    built: int
    items: frozenset[int]


@dataclass(frozen=True, slots=True)
class Costs:
    """What was measured of a form's builds for a model, in sum."""

    builds: int
    seconds: float
    bytes: float
    """In sum for caches; of one for adapters."""
    size: float
    """Tokens of the memories (bytes / 4) for caches, facts for adapters."""


def asks(connection: sqlite3.Connection) -> dict[int, tuple[float, int]]:
    """Cube row -> (calls that read from it, decayed; since when)."""
    return {
        cid: (score, at) for cid, score, at in connection.execute(queries("cube_forms")["asks"])
    }


def warm_cube(tx: Transaction, cid: int, *, calls: int, at: int, half_life_seconds: float) -> None:
    """Add calls to a cube's heat; a cube that is gone stays gone."""
    sql = queries("cube_forms")
    before, since = tx.execute(sql["heat_of"], {"cid": cid}).fetchone() or (0.0, at)
    score, when = heated(
        before, since=since, reads=calls, at=at, half_life_seconds=half_life_seconds
    )
    tx.execute(sql["warm"], {"cid": cid, "score": score, "at": when})


def decided(connection: sqlite3.Connection, models: Sequence[str]) -> list[Decided]:
    """Everything that was decided for these models, by cube, model and form."""
    rows = connection.execute(queries("cube_forms")["decided"], _models(models))
    return [
        Decided(cid, model, form, bool(promoted), moved, failures, key)
        for cid, model, form, promoted, moved, failures, key in rows
    ]


def decide(tx: Transaction, *, cid: int, model: str, form: Form, promoted: bool) -> None:
    """Note what is decided now."""
    told = {"cid": cid, "model": model, "form": form, "decided": promoted, "moved": tx.at}
    tx.execute(queries("cube_forms")["decide"], told)


def built(
    tx: Transaction, *, cid: int, model: str, form: Form, kept: bool, key: Digest | None = None
) -> None:
    """Note whether a build came to something, and the key of a cache."""
    told = {"cid": cid, "model": model, "form": form, "kept": kept, "key": key, "now": tx.at}
    tx.execute(queries("cube_forms")["built"], told)


def key_of(connection: sqlite3.Connection, *, cid: int, model: str) -> Digest | None:
    """Of the cache that was last built for this cube and model."""
    row = connection.execute(
        queries("cube_forms")["key_of"], {"cid": cid, "model": model}
    ).fetchone()
    return None if row is None else cast("Digest | None", row[0])


def waiting(connection: sqlite3.Connection, kinds: Iterable[str]) -> set[tuple[int, str]]:
    """(cube row, kind) of the tasks of these kinds that are queued or at work."""
    bound = {"kinds": json.dumps(sorted(kinds))}
    return set(connection.execute(queries("cube_forms")["waiting"], bound).fetchall())


def made(connection: sqlite3.Connection, models: Sequence[str]) -> list[Made]:
    """What there is for these models and still serves."""
    sql, bound = queries("cube_forms"), _models(models)
    parts: dict[tuple[int, str, Form, Digest, int, int, int], set[int]] = {}
    for cid, model, identity, size, created, iid in connection.execute(sql["caches"], bound):
        parts.setdefault((cid, model, "activation", identity, 0, size, created), set()).add(iid)
    for cid, model, *which, iid in connection.execute(sql["adapters"], bound):
        identity, shard, size, created = which
        head: tuple[int, str, Form, Digest, int, int, int]
        head = (cid, model, "parametric", identity, shard, size, created)
        parts.setdefault(head, set()).add(iid)
    return [Made(*head, frozenset(items)) for head, items in sorted(parts.items())]


def discarded(
    connection: sqlite3.Connection, models: Sequence[str]
) -> dict[tuple[int, str], tuple[int, int]]:
    """(cube row, model) -> (trainings in a row that passed no gates, when the last was queued)."""
    rows = connection.execute(queries("cube_forms")["discarded"], _models(models))
    return {(cid, model): (times, when) for cid, model, times, when in rows}


def cache_costs(connection: sqlite3.Connection, identity: Digest) -> Costs:
    """What the newest caches of a model took."""
    row = connection.execute(queries("cube_forms")["cache_costs"], {"identity": identity})
    return Costs(*row.fetchone())


def adapter_costs(connection: sqlite3.Connection, model: str) -> Costs:
    """What the newest trainings of a model took, published or not."""
    builds, seconds, facts, size = connection.execute(
        queries("cube_forms")["adapter_costs"], {"model": model}
    ).fetchone()
    return Costs(builds, seconds, size, facts)


def bytes_by_form(
    connection: sqlite3.Connection, cids: Iterable[int]
) -> Mapping[str, tuple[int, int]]:
    """Form -> (artifacts, their bytes), of those made of memories of these cubes alone."""
    bound = {"cids": json.dumps(sorted(set(cids)))}
    rows = connection.execute(queries("cube_forms")["bytes_by_form"], bound)
    return {kind: (count, size) for kind, count, size in rows}


def _models(models: Sequence[str]) -> dict[str, str]:
    return {"models": json.dumps(list(models))}
