"""The entity graph: which memories name whom, and what typed links join them.

Called by the graph arm (which hands what it proposes to truth and governance) and by the verbs
``related`` and ``entities`` (which ask governance at every step). Names are kept as hashes; the
words of a name are read off memories that the asker is shown, so they are masked and governed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from memos_integrations.cube.header import Relation
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.operation.facts.keys import entity_key

_MOST_NEIGHBOURS = 500
"""Bounds one step from a hub; the walk stays the same for the same memory."""
_LONGEST_NAME = 5
_LONGEST_CHINESE_NAME = 8
_WORD = re.compile(r"[^\W_]+(?:['\u2019.&-][^\W_]+)*")
_CHINESE = re.compile(r"[\u3400-\u9fff\u00b7]{2,}")

_MENTIONED = """
SELECT m.iid, count(*) AS shared FROM mention m
WHERE m.cid = ? AND m.entity IN ({places})
GROUP BY m.iid ORDER BY shared DESC, m.iid DESC LIMIT ?
"""
_EDGES = """
SELECT e.source, e.relation, e.target FROM json_each(:items) f CROSS JOIN edge e
  ON e.source = f.value
WHERE e.seq_from <= :at AND :at < e.seq_to
  AND (:wanted IS NULL OR e.relation IN (SELECT value FROM json_each(:wanted)))
UNION
SELECT e.target, e.relation, e.source FROM json_each(:items) f CROSS JOIN edge e
  ON e.target = f.value
WHERE e.seq_from <= :at AND :at < e.seq_to
  AND (:wanted IS NULL OR e.relation IN (SELECT value FROM json_each(:wanted)))
ORDER BY 1, 2, 3 LIMIT :most
"""
_SHARED_NAMES = """
SELECT DISTINCT a.iid, b.iid FROM json_each(:items) f
CROSS JOIN mention a ON a.iid = f.value
CROSS JOIN mention b ON b.cid = a.cid AND b.entity = a.entity AND b.iid <> a.iid
ORDER BY 1, 2 DESC LIMIT :most
"""


_NAMING = "SELECT iid FROM mention WHERE cid = ? AND entity = ? ORDER BY iid DESC LIMIT ?"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the graph, as item rows."""

    start: int
    relation: Relation
    end: int


def mentioned(reading: Reading, cid: int, names: Sequence[str], limit: int) -> list[int]:
    """The item rows of a cube that name any of these, those that name most of them first.

    Proposals only: truth and governance decide what of it is shown.
    """
    keys = list({entity_key(name) for name in names})
    if not keys:
        return []
    sql = _MENTIONED.format(places=",".join("?" * len(keys)))
    return [row[0] for row in reading.connection.execute(sql, (cid, *keys, limit))]


def names_anything(reading: Reading, cid: int) -> bool:
    """Whether any memory of the cube names anybody."""
    sql = "SELECT 1 FROM mention WHERE cid = ? LIMIT 1"
    run = reading.connection.execute
    return reading.unless_changed(("names", cid), lambda: run(sql, (cid,)).fetchone() is not None)


def naming(reading: Reading, cid: int, names: Sequence[str], *, most: int) -> dict[str, list[int]]:
    """The item rows of a cube that hold each of these names, the newest first; names that nothing
    holds, or more than ``most`` item rows do, are left out."""
    found: dict[str, list[int]] = {}
    for name in names:
        rows = reading.connection.execute(_NAMING, (cid, entity_key(name), most + 1)).fetchall()
        if 0 < len(rows) <= most:
            found[name] = [item for (item,) in rows]
    return found


def neighbours(
    reading: Reading,
    items: Sequence[int],
    *,
    relations: Sequence[Relation] | None = None,
    most: int = _MOST_NEIGHBOURS,
) -> list[Step]:
    """What typed links join these item rows to, both ways, at the reading's instant."""
    wanted = None if relations is None else json.dumps([each.value for each in relations])
    bound = {
        "items": json.dumps([int(n) for n in items]),
        "at": int(reading.asking.instant.seq),
        "wanted": wanted,
        "most": most,
    }
    rows = reading.connection.execute(_EDGES, bound)
    return [Step(start, Relation(relation), end) for start, relation, end in rows]


def sharing_names(
    reading: Reading, items: Sequence[int], *, most: int = _MOST_NEIGHBOURS
) -> list[Step]:
    """The item rows that name somebody or something that these name, the newest first."""
    bound = {"items": json.dumps([int(n) for n in items]), "most": most}
    rows = reading.connection.execute(_SHARED_NAMES, bound)
    return [Step(start, Relation.MENTIONS, end) for start, end in rows]


@dataclass(frozen=True, slots=True)
class Way:
    """How an item row was reached: by which relations, one per step."""

    item: int
    relations: tuple[Relation, ...]


def walk(
    start: Iterable[Way],
    *,
    depth: int,
    limit: int,
    steps: Callable[[Sequence[int]], Sequence[Step]],
    visible: Callable[[Sequence[int]], set[int]],
) -> list[Way]:
    """The nearest ``limit`` item rows, never by way of one that ``visible`` leaves out."""
    found = list(start)
    seen = {way.item for way in found}
    level = {way.item: way for way in found}
    for _ in range(depth):
        taken = [s for s in steps(sorted(level)) if s.end not in seen]
        open_ = visible(list(dict.fromkeys(step.end for step in taken)))
        following: dict[int, Way] = {}
        for step in taken:
            if step.end in open_ and step.end not in following:
                way = (*level[step.start].relations, step.relation)
                following[step.end] = Way(step.end, way)
        found += following.values()
        seen |= following.keys()
        level = following
        if not level or len(found) >= limit:
            break
    return found[:limit]


# -- the words of names ---------------------------------------------------------------------------


def keys_of(reading: Reading, items: Sequence[int]) -> dict[int, set[bytes]]:
    """The hashes of what each of these item rows names."""
    rows = reading.connection.execute(
        "SELECT iid, entity FROM mention WHERE iid IN (SELECT value FROM json_each(?))",
        (json.dumps([int(n) for n in items]),),
    )
    found: dict[int, set[bytes]] = {}
    for item, entity in rows:
        found.setdefault(item, set()).add(entity)
    return found


def spelled(text: str, keys: set[bytes]) -> dict[bytes, str]:
    """How the names behind ``keys`` are written in ``text``; those not in it are left out."""
    left = set(keys)
    found: dict[bytes, str] = {}
    for candidate in _candidates(text):
        key = entity_key(candidate)
        if key in left:
            found[key] = candidate
            left.discard(key)
            if not left:
                break
    return found


def _candidates(text: str) -> Iterable[str]:
    """Every run of words that can be a name, the long ones first at each place."""
    words = list(_WORD.finditer(text))
    for place, first in enumerate(words):
        for size in range(min(_LONGEST_NAME, len(words) - place), 0, -1):
            name = text[first.start() : words[place + size - 1].end()]
            yield name
            if name.endswith(("'s", "\u2019s")):
                yield name[:-2]
    yield from runs_of_chinese(text)


def words_of(text: str) -> list[str]:
    """The words that names are made of."""
    return _WORD.findall(text)


def runs_of_chinese(text: str) -> Iterable[str]:
    """Every run of Chinese signs that can be a name."""
    for run in _CHINESE.finditer(text):
        whole = run[0]
        for place in range(len(whole)):
            for size in range(min(_LONGEST_CHINESE_NAME, len(whole) - place), 1, -1):
                yield whole[place : place + size]
