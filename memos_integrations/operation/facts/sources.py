"""Turns as an extractor may read them: masked words, with the turn before in the same session.

Called by the fine stage outside any transaction; reads through a snapshot of the vault.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from memos_integrations.cube.errors import BackendUnavailable
from memos_integrations.cube.facts import (
    Extraction,
    Extractor,
    FactKind,
    SupportsFallback,
    TurnText,
)
from memos_integrations.infrastructure.governance.redaction import mask, spans_from_json

_PRESENT = 2**63 - 2
_LOOK_BACK = 4_096
"""How far back in the log the turn before is looked for."""
_SPOKEN_TYPES = frozenset({"working", "long_term", "user", "preference", "event"})
_SILENT_ROLES = frozenset({"tool", "system", "developer", "function"})
_OF_OTHERS = (FactKind.EVENT, FactKind.ATTRIBUTE)
"""What an assistant may be believed to state; the wishes of people are theirs to tell."""

_TURNS = """
SELECT v.iid, v.tid, t.text, t.spans, v.time, v.speaker, v.role, v.conversation, v.cid
FROM json_each(?) w
CROSS JOIN version v ON v.iid = w.value AND v.seq_to > ?
CROSS JOIN item i ON i.iid = v.iid
CROSS JOIN content t ON t.tid = v.tid
WHERE i.drawn_from IS NULL AND v.kind = 'plaintext'
  AND NOT EXISTS (SELECT 1 FROM entry n WHERE n.iid = v.iid)
  AND v.state IN ('generated', 'activated', 'frozen')
  AND v.memory_type IN (SELECT value FROM json_each(?))
  AND (v.origin IN ('user_input', 'import') OR (v.origin = 'inference' AND v.model IS NULL))
  AND coalesce(v.role, 'user') NOT IN (SELECT value FROM json_each(?))
"""
_BEFORE = """
SELECT t.text, t.spans, coalesce(v.speaker, v.role), v.iid
FROM version v INDEXED BY version_item
CROSS JOIN item i ON i.iid = v.iid CROSS JOIN content t ON t.tid = v.tid
WHERE v.iid < ? AND v.iid >= ? AND v.seq_to > ? AND v.cid = ? AND v.conversation = ?
  AND i.drawn_from IS NULL AND v.state IN ('generated', 'activated', 'frozen')
ORDER BY v.iid DESC LIMIT 1
"""
# A fact has the rights of its turn alone, so words of the turn before may only go into it where
# whoever sees the one sees the other, for as long.
_OPEN = """
SELECT 1 FROM item b JOIN item t ON t.iid = ?2
JOIN version v ON v.iid = b.iid AND v.seq_to > ?3
WHERE b.iid = ?1 AND v.stale = 0 AND b.quarantined = 0 AND b.owner = t.owner
  AND b.visibility = t.visibility AND b.labels IS t.labels AND b.expires IS t.expires
  AND NOT EXISTS (SELECT 1 FROM access a WHERE a.iid = b.iid AND a.effect = 'deny')
"""


@dataclass(frozen=True, slots=True)
class Read:
    """What was found in one turn, and the words it was found in."""

    tid: int
    words: str
    found: Extraction


def turn_texts(
    connection: sqlite3.Connection, items: Sequence[int]
) -> dict[int, tuple[int, TurnText]]:
    """Those of these item rows that people (or an assistant) said: row -> (words' number, turn)."""
    types, silent = json.dumps(sorted(_SPOKEN_TYPES)), json.dumps(sorted(_SILENT_ROLES))
    rows = connection.execute(_TURNS, (json.dumps(list(items)), _PRESENT, types, silent)).fetchall()
    return {
        iid: (tid, _turn(connection, iid, text, spans, time, speaker, role, session, cid))
        for iid, tid, text, spans, time, speaker, role, session, cid in rows
    }


def _turn(
    connection: sqlite3.Connection,
    iid: int,
    text: str,
    spans: str | None,
    time: int,
    speaker: str | None,
    role: str | None,
    session: str | None,
    cid: int,
) -> TurnText:
    turn = TurnText(_masked(text, spans), time, speaker, role)
    if session is None:
        return turn
    row = connection.execute(_BEFORE, (iid, iid - _LOOK_BACK, _PRESENT, cid, session)).fetchone()
    if row is None or connection.execute(_OPEN, (row[3], iid, _PRESENT)).fetchone() is None:
        return turn
    return replace(turn, before=_masked(row[0], row[1]), before_speaker=row[2])


def _masked(text: str, spans: str | None) -> str:
    return text if spans is None else mask(text, spans_from_json(spans), keep=frozenset())


def read_turns(
    extractor: Extractor, turns: Mapping[int, tuple[int, TurnText]], *, last_try: bool = False
) -> dict[int, Read]:
    """What the extractor finds in each turn, by item row.

    At the ``last_try`` one that cannot reach what it needs does without, if it can.
    """
    given = [turn for _, turn in turns.values()]
    found = _extract(extractor, given, last_try=last_try) if given else []
    return {
        iid: Read(tid, turn.text, _believed(turn, each))
        for (iid, (tid, turn)), each in zip(turns.items(), found, strict=True)
    }


def _extract(
    extractor: Extractor, turns: Sequence[TurnText], *, last_try: bool
) -> list[Extraction]:
    try:
        return extractor.extract(turns)
    except BackendUnavailable as error:
        if not last_try or not isinstance(extractor, SupportsFallback):
            raise
        return extractor.fall_back(turns, f"{type(error).__name__}: {error}"[:200])


def _believed(turn: TurnText, found: Extraction) -> Extraction:
    """What of it may be kept: spans must lie inside the words, an assistant states no wishes."""
    length = len(turn.text)
    facts = [f for f in found.facts if 0 <= f.at < f.to <= length and f.text.strip() and f.value]
    if turn.role == "assistant":
        facts = [f for f in facts if f.kind in _OF_OTHERS]
    return replace(found, facts=tuple(facts))
