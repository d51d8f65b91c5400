"""Rows of adapters: which shard of memories each was made of, its state, and who may use it.

Called by the registry of adapters. Holds figures and hashes, never words. What a source's change
or end withdraws is withdrawn by the tables themselves, in that transaction; whether a principal may
use an adapter is decided inside the query, source by source.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from memos_integrations.infrastructure.activation.identity import Digest, tagged_digest
from memos_integrations.infrastructure.vault import artifacts
from memos_integrations.infrastructure.vault.artifacts import Source
from memos_integrations.infrastructure.vault.governed import Asking
from memos_integrations.infrastructure.vault.sql import queries
from memos_integrations.infrastructure.vault.transaction import Transaction

AdapterState: TypeAlias = Literal["candidate", "published", "discarded", "stale", "withdrawn"]
"""``candidate``: waits or is in training; ``stale``: a source has changed since; ``withdrawn``:
replaced, dropped, or a source is gone."""


@dataclass(frozen=True, slots=True)
class AdapterRow:
    """One version of one shard's adapter as it stands in the file."""

    id: str
    tenant: str
    cid: int
    cube: str
    model: str
    shard: int
    version: int
    state: AdapterState
    key: Digest | None
    """What it is attached under; ``None`` once its bytes are gone."""
    sha256: str | None
    base: str | None
    """Digest of the model it belongs to; empty until it is trained."""
    bytes: int
    facts: int
    rebuild: int
    task: str | None
    recipe: str
    figures: str | None
    created: int
    why: str


@dataclass(frozen=True, slots=True)
class NewAdapter:
    """A candidate: what is to be trained, of which memories."""

    id: str
    tenant: str
    cid: int
    model: str
    shard: int
    recipe: str
    sources: tuple[Source, ...]
    rebuild: bool


@dataclass(frozen=True, slots=True)
class Made:
    """What a training left."""

    base: Digest
    sha256: str
    bytes: int
    seconds: float


# -- shards ---------------------------------------------------------------------------------------


def members(connection: sqlite3.Connection, *, cid: int, model: str) -> dict[int, int]:
    """The shard of each memory of a cube that has one, by item rows."""
    rows = connection.execute(queries("adapters")["members"], {"cid": cid, "model": model})
    return dict(rows.fetchall())


def join_shards(tx: Transaction, shards: Mapping[int, int], *, cid: int, model: str) -> None:
    """Note which shard each of these item rows belongs to from now on."""
    sql = queries("adapters")["join_shard"]
    for iid, shard in sorted(shards.items()):
        tx.execute(sql, {"iid": iid, "model": model, "cid": cid, "shard": shard})


# -- writing --------------------------------------------------------------------------------------


def add(tx: Transaction, new: NewAdapter) -> bool:
    """Record a candidate, unless a source has changed since it was read; whether it was."""
    if artifacts.stale(tx.connection, new.sources, now=tx.now):
        return False
    sql = queries("adapters")
    key = tagged_digest({"adapter": new.id})
    created = {"tenant": new.tenant, "key": key, "created": tx.at}
    (aid,) = tx.execute(sql["add_artifact"], created).fetchone()
    sources = json.dumps([[each.item, each.version] for each in new.sources])
    tx.execute(queries("artifacts")["add_sources"], {"aid": aid, "sources": sources})
    place = {"cid": new.cid, "model": new.model, "shard": new.shard}
    (version,) = tx.execute(sql["next_version"], place).fetchone()
    told = {
        "id": new.id,
        "tenant": new.tenant,
        "version": version,
        "aid": aid,
        "facts": len(new.sources),
        "rebuild": int(new.rebuild),
        "recipe": new.recipe,
        "created": tx.at,
    }
    tx.execute(sql["add"], place | told)
    return True


def set_task(tx: Transaction, adapter: str, task: str) -> None:
    """Note which task trains it."""
    tx.execute(queries("adapters")["set_task"], {"id": adapter, "task": task})


def standing(connection: sqlite3.Connection, adapter: str, *, now: int) -> bool:
    """Whether it still is a candidate whose sources stand as they were read."""
    (count,) = connection.execute(queries("adapters")["standing"], {"id": adapter}).fetchone()
    return bool(count) and not artifacts.stale(connection, sources(connection, adapter), now=now)


def name_bytes(tx: Transaction, adapter: str, made: Made) -> bool:
    """Name the file of a candidate, and note it, before it is written; whether the candidate still
    stands. One that an earlier attempt has written goes."""
    if not standing(tx.connection, adapter, now=tx.now):
        return False
    for _, before in tx.execute(queries("adapters")["artifact_of"], {"id": adapter}).fetchall():
        if before and before != made.sha256:
            _note_files(tx, [before])
    _note_files(tx, [made.sha256])
    told = {"id": adapter, "base": made.base, "bytes": made.bytes}
    told |= {"seconds": made.seconds, "sha256": made.sha256}
    return tx.execute(queries("adapters")["fill"], told).rowcount > 0


def publish(tx: Transaction, adapter: str, *, figures: str, data: Digest) -> bool:
    """Let a candidate serve in place of the earlier versions of its shard, whose files are noted;
    ``False`` where a source has changed meanwhile."""
    if not standing(tx.connection, adapter, now=tx.now):
        return False
    sql = queries("adapters")
    told = {"id": adapter, "state": "published", "figures": figures, "data": data, "why": ""}
    tx.execute(sql["settle"], told)
    older = [str(each) for (each,) in tx.execute(sql["older"], {"id": adapter}).fetchall()]
    for each in older:
        end(tx, each, why="a later version serves in its place")
    return True


def discard(tx: Transaction, adapter: str, *, figures: str | None, why: str) -> None:
    """End a candidate that did not pass: its figures stay, its bytes do not."""
    told = {"id": adapter, "state": "discarded", "figures": figures, "data": None, "why": why}
    tx.execute(queries("adapters")["settle"], told)
    _without_bytes(tx, adapter)


def end(tx: Transaction, adapter: str, *, why: str) -> None:
    """Withdraw it and take its bytes out: its file is noted, and wiped behind the transaction."""
    tx.execute(queries("adapters")["end"], {"id": adapter, "why": why})
    _without_bytes(tx, adapter)


def _without_bytes(tx: Transaction, adapter: str) -> None:
    found = tx.execute(queries("adapters")["artifact_of"], {"id": adapter}).fetchall()
    _note_files(tx, artifacts.remove(tx, found))


def take_out_withdrawn(tx: Transaction) -> None:
    """Take the bytes of all that the tables have withdrawn out; their files are noted."""
    _note_files(tx, artifacts.remove(tx, tx.execute(queries("adapters")["withdrawn"]).fetchall()))


def discard_given_up(tx: Transaction) -> None:
    """End the candidates whose task failed for good or was cancelled; their files are noted."""
    for each, why in tx.execute(queries("adapters")["given_up"]).fetchall():
        discard(tx, each, figures=None, why=why)


def _note_files(tx: Transaction, blobs: Iterable[str]) -> None:
    """Note files that no row names any longer, in the transaction that ended the row."""
    for sha256 in blobs:
        tx.execute(queries("adapters")["note_file"], {"sha256": sha256})


def drop_note(tx: Transaction, sha256: str) -> None:
    """The file that the note names is gone."""
    tx.execute(queries("adapters")["drop_note"], {"sha256": sha256})


def spend(tx: Transaction, adapter: str, seconds: float) -> None:
    """Note the processor seconds that a training took so far, those of earlier attempts too."""
    tx.execute(queries("adapters")["spend"], {"id": adapter, "seconds": seconds})


@dataclass(frozen=True, slots=True)
class Lost:
    """A shard that is to be made anew of what is left of it."""

    adapter: str
    """Which was made of it."""
    tenant: str
    cid: int
    model: str
    shard: int
    recipe: str


def take_rebuilds(tx: Transaction, models: Sequence[str]) -> list[Lost]:
    """The shards of these models that are to be made anew, each told once."""
    sql, bound = queries("adapters"), {"models": json.dumps(list(models))}
    lost = [Lost(*row) for row in tx.execute(sql["to_rebuild"], bound).fetchall()]
    tx.execute(sql["rebuilt"], bound)
    return lost


# -- reading --------------------------------------------------------------------------------------


def usable(
    connection: sqlite3.Connection,
    asking: Asking,
    *,
    model: str | None = None,
    adapter: str | None = None,
    items: Iterable[int] | None = None,
) -> list[AdapterRow]:
    """The published adapters of which the principal may be shown every source as it was learnt.

    ``items`` asks only for those that one of these item rows is a source of: the others need not
    be looked at, source by source.
    """
    governed, sql = queries("governed"), queries("adapters")
    readable = " AND ".join((sql["readable"], governed["item_allowed"], governed["searchable"]))
    head = f"WITH {governed['rules']}, {governed['gate']} "
    listed = None if items is None else json.dumps(sorted(set(items)))
    bound = asking.bindings(None) | {"model": model, "id": adapter, "items": listed}
    rows = connection.execute(head + sql["usable"].replace("READABLE", readable), bound)
    return [AdapterRow(*row) for row in rows.fetchall()]


def get(connection: sqlite3.Connection, adapter: str) -> AdapterRow | None:
    """One adapter by its id, whoever asks."""
    row = connection.execute(queries("adapters")["row"], {"id": adapter}).fetchone()
    return None if row is None else AdapterRow(*row)


def of_cubes(
    connection: sqlite3.Connection, cids: Iterable[int], *, model: str | None
) -> list[AdapterRow]:
    """Every adapter ever made of these cubes, by cube, model, shard and version."""
    bound = {"cids": json.dumps(sorted(set(cids))), "model": model}
    rows = connection.execute(queries("adapters")["of_cubes"], bound)
    return [AdapterRow(*row) for row in rows.fetchall()]


def sources(connection: sqlite3.Connection, adapter: str) -> tuple[Source, ...]:
    """What it was made of, as far as that still exists."""
    rows = connection.execute(queries("adapters")["sources"], {"id": adapter})
    return tuple(Source(*row) for row in rows.fetchall())


def source_rows(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, set[int]]:
    """The item rows that each of these adapters was made of."""
    bound = {"ids": json.dumps(list(ids))}
    found: dict[str, set[int]] = {each: set() for each in ids}
    for adapter, iid in connection.execute(queries("adapters")["sources_of_usable"], bound):
        found[adapter].add(iid)
    return found


def candidates(connection: sqlite3.Connection) -> set[str]:
    """The ids of all that wait or are in training."""
    return {str(each) for (each,) in connection.execute(queries("adapters")["open_folders"])}


def to_tend(connection: sqlite3.Connection) -> bool:
    """Whether bytes wait to be taken out, shards to be made anew, or candidates to be ended."""
    return connection.execute(queries("adapters")["to_tend"]).fetchone() is not None


def noted_files(connection: sqlite3.Connection) -> list[str]:
    """The files that are to be wiped where no row names them: their rows are gone, name another
    one, or have named one that is being written."""
    return [str(each) for (each,) in connection.execute(queries("adapters")["noted_files"])]


def spent(connection: sqlite3.Connection, adapter: str) -> float:
    """Processor seconds that the training of a candidate took so far."""
    row = connection.execute(queries("adapters")["spent"], {"id": adapter}).fetchone()
    return 0.0 if row is None else float(row[0])


def bytes_held(connection: sqlite3.Connection) -> int:
    """Bytes of all adapters, the withdrawn ones too: their blobs are still there."""
    (total,) = connection.execute(queries("adapters")["bytes_held"]).fetchone()
    return int(total)


def learnt(
    connection: sqlite3.Connection, *, cid: int, model: str, shard: int, recipe: str
) -> set[tuple[int, int]]:
    """(item row, words) of what the newest adapter of this shard learns by this order, whoever
    gave it; nothing where it does not stand or was made by another."""
    bound = {"cid": cid, "model": model, "shard": shard, "recipe": recipe}
    return set(connection.execute(queries("adapters")["learnt"], bound).fetchall())


def published_keys(connection: sqlite3.Connection) -> set[Digest]:
    """What every adapter that serves may be attached under."""
    return {Digest(key) for (key,) in connection.execute(queries("adapters")["published_keys"])}


def drawn_from(connection: sqlite3.Connection, items: Sequence[int]) -> dict[int, int]:
    """Fact -> the memory whose words it restates, by item rows, of those among these."""
    bound = {"items": json.dumps([int(each) for each in items])}
    return dict(connection.execute(queries("adapters")["drawn_from"], bound).fetchall())
