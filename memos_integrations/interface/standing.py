"""What belongs into a prompt whether or not the question finds it: working memory and profile.

Called by ``Reads.context`` with an open governed reading; every row has passed the access
decision and holds at the instant asked.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from memos_integrations.cube.filters import And, Filter, parse
from memos_integrations.cube.ports import Vector
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.infrastructure.vault.rows import Stored

_TYPES = ("working", "user", "preference")
_MOST = 200


def standing_rows(reading: Reading, cids: Sequence[int], where: Filter | None) -> list[Stored]:
    """Working memory, preferences and facts about people that hold now, the newest first."""
    typed = parse({"memory_type": {"in": list(_TYPES)}})
    both = And(tuple(part for part in (typed, where) if part is not None))
    return reading.governed.listing(cids=cids, pick="searchable", where=both, limit=_MOST)


def nearness(
    reading: Reading, rows: Sequence[Stored], vector: Vector | None, model: str | None
) -> dict[int, float]:
    """Cosine with the question by item row, for the rows that have a vector of this model."""
    if vector is None or not rows:
        return {}
    by_tid = {row.tid: row.iid for row in rows}
    found = reading.connection.execute(
        "SELECT tid, vec FROM embedding WHERE model = ? "
        "AND tid IN (SELECT value FROM json_each(?))",
        (model, json.dumps([tid for tid in by_tid if tid is not None])),
    )
    asked = np.asarray(vector, dtype=np.float32)
    return {by_tid[tid]: float(np.frombuffer(vec, dtype="<f4") @ asked) for tid, vec in found}


def sources_of(reading: Reading, rows: Sequence[Stored]) -> dict[int, int]:
    """Fact -> the memory whose words it restates, by item rows. Numbers only, no content."""
    found = reading.connection.execute(
        "SELECT iid, drawn_from FROM item WHERE drawn_from IS NOT NULL "
        "AND iid IN (SELECT value FROM json_each(?))",
        (json.dumps([row.iid for row in rows]),),
    )
    return dict(found.fetchall())
