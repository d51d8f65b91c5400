"""The vectors of a memory: one of its words with who and when, one of the bare words, and one of
each of its sentences.

Who and when make a memory findable; the bare words are what a question in the first person is
near to; a long memory is often meant for one sentence of it. Of an entry the searched fields stand
in the places of the bare words and the sentences. Called by the fine stage, outside
any transaction; ``keep`` runs inside its effect.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from memos_integrations.cube.ports import Embedder, Matrix, Vector
from memos_integrations.infrastructure.vault.indexed_text import bare_text, indexed_text
from memos_integrations.infrastructure.vault.transaction import Transaction
from memos_integrations.infrastructure.vault.vault import MemVault
from memos_integrations.operation.entry_texts import searched_texts
from memos_integrations.operation.reading.segments import sentences

WHOLE = -1
"""The vector with speaker and date."""
BARE = 0
"""The vector of the bare words; sentences count from 1."""

_BATCH = 64
_LEAST_CHARS = 16
_MOST_SENTENCES = 8
_READ_CHARS = 4_000


@dataclass(frozen=True, slots=True)
class Wording:
    """Words to embed: of which content, and which of its vectors they make."""

    tid: int
    part: int
    text: str


Made: TypeAlias = dict[tuple[int, int], Vector]
"""(content, part) -> vector."""


def wordings(vault: MemVault, items: Sequence[int], *, model: str) -> list[Wording]:
    """What is to be embedded of these items: everything that has no vector of this model yet."""
    with vault.readers.snapshot() as connection:
        rows = connection.execute(
            "SELECT t.tid, t.text, t.spans, coalesce(v.speaker, v.role), v.time, t.data, n.fields "
            "FROM version v JOIN content t ON t.tid = v.tid "
            "LEFT JOIN entry n ON n.iid = v.iid "
            "LEFT JOIN embedding e ON e.tid = t.tid AND e.model = ?1 "
            "LEFT JOIN part_vector p ON p.tid = t.tid AND p.part = 0 AND p.model = ?1 "
            "JOIN cube c ON c.cid = v.cid "
            "WHERE v.seq_to > ?2 AND (e.tid IS NULL OR p.tid IS NULL) "
            "AND coalesce(c.embedding, '') NOT GLOB 'given:*' "
            "AND v.iid IN (SELECT value FROM json_each(?3))",
            (model, 2**63 - 2, json.dumps(list(items))),
        ).fetchall()
    found: list[Wording] = []
    for tid, text, spans, who, time, data, fields in rows:
        whole = indexed_text(text=text, spans=spans, speaker=who, time=time)
        bare = bare_text(text=text, spans=spans)
        parts = _parts(bare) if fields is None else searched_texts(data, json.loads(fields))
        found.append(Wording(tid, WHOLE, whole))
        found += [Wording(tid, part, words) for part, words in enumerate(parts)]
    return found


def _parts(text: str) -> list[str]:
    """The bare words, then the sentences long enough to mean something, if there are several."""
    head = text[:_READ_CHARS]
    said = [head[each.at : each.to] for each in sentences(head) if not each.code]
    told = [words for words in said if len(words) >= _LEAST_CHARS]
    return [text, *(told[:_MOST_SENTENCES] if len(told) > 1 else ())]


def embed(
    embedder: Embedder, todo: dict[str, list[Wording]], *, progress: dict[str, float]
) -> Made:
    """The vectors of all tasks' wordings, each distinct text embedded once."""
    made: Made = {}
    every = [(task, wording) for task, each in todo.items() for wording in each]
    every.sort(key=lambda pair: len(pair[1].text))  # like lengths together: less padding
    for start in range(0, len(every), _BATCH):
        batch = every[start : start + _BATCH]
        texts = list(dict.fromkeys(wording.text for _, wording in batch))
        vectors = dict(zip(texts, embedder.embed(texts), strict=True))
        for task, wording in batch:
            made[wording.tid, wording.part] = vectors[wording.text]
            progress[task] = (start + len(batch)) / len(every)
    return made


def keep(
    tx: Transaction,
    cid: int,
    todo: Sequence[Wording],
    made: Made,
    *,
    told: Collection[int | None],
    model: str,
) -> list[int]:
    """Store the vectors of contents that are still told; the contents that got one.

    The words may have been corrected or erased since they were read.
    """
    ready = [w for w in todo if w.tid in told and (w.tid, w.part) in made]
    whole = [w.tid for w in ready if w.part == WHOLE]
    if not whole:
        return []
    matrix: Matrix = np.stack([made[tid, WHOLE] for tid in whole])
    tx.embed(cid, whole, model, matrix)
    parts = [(w.tid, w.part, made[w.tid, w.part]) for w in ready if w.part != WHOLE]
    tx.embed_parts(cid, model, parts)
    return whole
