"""Facts that rest on another memory than the one they were drawn from: the question before it.

"Are you allergic to ...?" "Yes.": the fact is drawn from the answer, and its value is a word of
the question alone. "Where do you live?" "Lisbon.": its value is all the answer says, and what it
is a value of stands in the question. What happens to the question must reach both. What a turn
says by itself is not among these: it is read again from its own words.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from memos_integrations.infrastructure.vault.transaction import Transaction

_PRESENT = 2**63 - 2
_ASKS = "substr(rtrim({}.text, char(9, 10, 13, 32)), -1) IN ('?', '\uff1f')"
_SPOKEN = "('generated', 'activated', 'frozen')"
_BARE = 80
"""How far into an answer its first sentence, which is all that is read with the question, goes."""

# An answer is looked for as far ahead as its question is looked for behind when it is read.
_BORROWING = f"""
SELECT DISTINCT f.iid FROM json_each(:items) w
CROSS JOIN version q ON q.iid = w.value
CROSS JOIN content a ON a.tid = q.tid
CROSS JOIN item f INDEXED BY item_drawn
  ON f.drawn_from IS NOT NULL AND f.drawn_from > q.iid AND f.drawn_from <= q.iid + 4096
CROSS JOIN version t ON t.iid = f.drawn_from
CROSS JOIN content b ON b.tid = t.tid
CROSS JOIN version v ON v.iid = f.iid
CROSS JOIN content c ON c.tid = v.tid
WHERE q.conversation IS NOT NULL AND {_ASKS.format("a")}
  AND t.cid = q.cid AND t.conversation = q.conversation
  AND CASE WHEN instr(lower(b.text), lower(json_extract(c.data, '$.fact.value')))
    THEN length(json_extract(c.data, '$.fact.quote'))
        <= length(json_extract(c.data, '$.fact.value'))
      AND instr(b.text, json_extract(c.data, '$.fact.quote')) BETWEEN 1 AND {_BARE}
      AND NOT EXISTS (
        SELECT 1 FROM version m INDEXED BY version_item CROSS JOIN item n ON n.iid = m.iid
        WHERE m.iid > q.iid AND m.iid < t.iid AND m.seq_to > :present AND m.cid = q.cid
          AND m.conversation = q.conversation AND n.drawn_from IS NULL AND m.state IN {_SPOKEN})
    ELSE instr(lower(a.text), lower(json_extract(c.data, '$.fact.value'))) END
"""  # noqa: S608  -- constants

_ANSWERING = f"""
SELECT DISTINCT q.cid, (
  SELECT m.iid FROM version m INDEXED BY version_item CROSS JOIN item n ON n.iid = m.iid
  WHERE m.iid > q.iid AND m.iid <= q.iid + 4096 AND m.seq_to > :present AND m.cid = q.cid
    AND m.conversation = q.conversation AND n.drawn_from IS NULL AND m.state IN {_SPOKEN}
  ORDER BY m.iid LIMIT 1) answer
FROM json_each(:items) w
CROSS JOIN version q ON q.iid = w.value
CROSS JOIN content a ON a.tid = q.tid
WHERE q.conversation IS NOT NULL AND {_ASKS.format("a")} AND answer IS NOT NULL
"""  # noqa: S608  -- constants


def borrowing(tx: Transaction, items: Iterable[int]) -> list[int]:
    """The rows of facts, in any version, that rest on these item rows in this way."""
    rows = tx.execute(_BORROWING, _asked(items)).fetchall()
    return [int(iid) for (iid,) in rows]


def answering(tx: Transaction, items: Iterable[int]) -> list[tuple[int, int]]:
    """(cube, item row) of what stands right after those of these rows that ever asked: it is
    read together with the question."""
    return tx.execute(_ANSWERING, _asked(items)).fetchall()


def _asked(items: Iterable[int]) -> dict[str, object]:
    return {"items": json.dumps([int(n) for n in items]), "present": _PRESENT}
