"""Facts that hold words of another memory than the one they were drawn from.

"Are you allergic to ...?" "Yes.": the fact is drawn from the answer, and its value is a word of
the question alone. What happens to the question must reach it. What a turn says by itself is not
among these: it is read again from its own words.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from memos_integrations.infrastructure.vault.transaction import Transaction

# An answer is looked for as far ahead as its question is looked for behind when it is read.
_BORROWING = """
SELECT DISTINCT f.iid FROM json_each(?) w
CROSS JOIN version q ON q.iid = w.value
CROSS JOIN content a ON a.tid = q.tid
CROSS JOIN item f INDEXED BY item_drawn
  ON f.drawn_from IS NOT NULL AND f.drawn_from > q.iid AND f.drawn_from <= q.iid + 4096
CROSS JOIN version t ON t.iid = f.drawn_from
CROSS JOIN content b ON b.tid = t.tid
CROSS JOIN version v ON v.iid = f.iid
CROSS JOIN content c ON c.tid = v.tid
WHERE q.conversation IS NOT NULL
  AND substr(rtrim(a.text, char(9, 10, 13, 32)), -1) IN ('?', '\uff1f')
  AND t.cid = q.cid AND t.conversation = q.conversation
  AND instr(lower(a.text), lower(json_extract(c.data, '$.fact.value')))
  AND NOT instr(lower(b.text), lower(json_extract(c.data, '$.fact.value')))
"""


def borrowing(tx: Transaction, items: Iterable[int]) -> list[int]:
    """The rows of facts, in any version, that hold words of these item rows in this way."""
    rows = tx.execute(_BORROWING, (json.dumps([int(n) for n in items]),)).fetchall()
    return [int(iid) for (iid,) in rows]
