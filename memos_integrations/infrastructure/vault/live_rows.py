"""The truth's rows of live items, turned into what a projection is fed with.

Called by the feed only. Words leave here masked, so that no index holds a secret.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from memos_integrations.cube.ports import Vector
from memos_integrations.infrastructure.backends.column_entry import ColumnEntry, Known
from memos_integrations.infrastructure.governance.redaction import mask, spans_from_json
from memos_integrations.infrastructure.vault.indexed_text import indexed_text

LIVE: Final = """
SELECT v.iid, v.version, v.tid, t.text, t.spans, e.vec,
       v.time, v.valid_from, v.valid_to, v.conversation, v.speaker, v.role, i.drawn_from,
       i.expires, i.created, v.recorded, i.legal_hold, i.quarantined,
       v.kind, v.memory_type, v.state, v.role, v.speaker, v.conversation, v.agent, v.origin,
       v.source, v.model, i.owner, i.trust, i.visibility, v.storage_mode, v.priority,
       v.confidence, v.tags, i.labels, v.info
FROM version v JOIN content t ON t.tid = v.tid JOIN item i ON i.iid = v.iid
LEFT JOIN embedding e ON e.tid = v.tid AND e.model = ?
"""
"""Bound: the model whose vectors are wanted."""
IS_LIVE: Final = "v.state IN ('generated', 'activated', 'frozen') AND v.stale = 0"


def entry(row: tuple[Any, ...], spans: tuple[tuple[int, int], ...]) -> ColumnEntry:
    """What is known of an item besides its words."""
    time, valid_from, valid_to, session, speaker, role, drawn_from = row[6:13]
    return ColumnEntry(
        item=row[0],
        version=row[1],
        time=time,
        valid_from=valid_from,
        valid_to=valid_to,
        session=session,
        speaker=speaker,
        role=role,
        drawn_from=drawn_from,
        spans=spans,
        known=Known(
            times=row[13:16],
            flags=(bool(row[16]), bool(row[17])),
            named=row[18:34],
            tags=row[34],
            labels=row[35],
            info=row[36],
        ),
    )


def words(row: tuple[Any, ...]) -> tuple[str, str]:
    """The words to index, with who said them when, and the masked words alone."""
    text, spans, time, speaker, role = row[3], row[4], row[6], row[10], row[11]
    shown = text if spans is None else mask(text, spans_from_json(spans), keep=frozenset())
    who = role if speaker is None else speaker
    return indexed_text(text=shown, spans=None, speaker=who, time=time), shown


def vector(row: tuple[Any, ...]) -> Vector | None:
    """The vector of the words, where it was made already."""
    return None if row[5] is None else np.frombuffer(row[5], dtype="<f4")
