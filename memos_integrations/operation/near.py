"""Near duplicates: what was said before in almost the same words.

Called by the fine stage. A message is looked up in a handful of buckets (its plain form, and bands
of a MinHash of its words; Broder 1997), and only a few of what lies in each are compared, so ten
thousand near-identical messages cost ten thousand small look-ups.

Two messages say the same (and the later one is folded) only if one speaker said both in one
session in the same words in the same order, but for case, white space, emoji, sounds such as "um"
and "haha", an opening "well", and punctuation other than question marks; and if the dates they
speak of, normalised, are the same. Numbers, names and negations are words, so they agree then.
Everything nearly alike is only linked.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from memos_integrations.cube.facts import TimeSpan
from memos_integrations.infrastructure.backends.words import tokens
from memos_integrations.infrastructure.vault.rows import Stored
from memos_integrations.infrastructure.vault.stored import current
from memos_integrations.infrastructure.vault.transaction import Transaction

_SOUNDS = frozenset(
    ("um", "umm", "uh", "uhh", "er", "erm", "hm", "hmm", "oh", "ah", "lol", "haha", "hahaha")
)
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*|\?")
_BANDS, _ROWS = 4, 2
_ALIKE_WORDS, _ALIKE_MEANING = 0.8, 0.9
_COMPARED = 3
_MOST_WORDS = 2_000
_OLDEST = "SELECT iid FROM sketch WHERE cid = ? AND bucket = ? AND iid < ? ORDER BY iid LIMIT ?"
_NEWEST = _OLDEST.replace("ORDER BY iid", "ORDER BY iid DESC")
_STANDS = ("generated", "activated", "frozen")


@dataclass(frozen=True, slots=True)
class Near:
    """An earlier message that is nearly the same."""

    row: Stored
    same: bool
    """Whether it says the same by the strict rule."""


def form(text: str) -> str:
    """The words in order, without what changes nothing; empty where nothing is left."""
    words = _WORD.findall(text.casefold().replace("\u2019", "'"))
    kept = [word for word in words if word not in _SOUNDS]
    if kept and kept[0] == "well" and len(kept) > 1:
        kept = kept[1:]
    return " ".join(kept) if any(word != "?" for word in kept) else ""


def buckets(speaker: str | None, text: str) -> list[bytes]:
    """Where to look for messages like this one: its form first, then the bands of its words."""
    plain = form(text[: _MOST_WORDS * 20])
    if not plain:
        return []
    who = speaker or ""
    terms = sorted(set(tokens(text[: _MOST_WORDS * 20])))[:_MOST_WORDS]
    return [_hash(f"form\x00{who}\x00{plain}"), *_bands(who, terms)]


def _bands(who: str, terms: Sequence[str]) -> list[bytes]:
    if len(terms) < _BANDS:
        return []  # a few words in common say nothing
    raw = [hashlib.blake2b(term.encode("utf-8", "surrogatepass")).digest() for term in terms]
    lanes = np.frombuffer(b"".join(raw), dtype="<u8").reshape(len(terms), -1)
    least = lanes.min(axis=0)[: _BANDS * _ROWS].reshape(_BANDS, _ROWS)
    return [_hash(f"band{n}\x00{who}\x00{row.tolist()}") for n, row in enumerate(least)]


def _hash(words: str) -> bytes:
    return hashlib.sha256(words.encode("utf-8", "surrogatepass")).digest()[:12]


def sketch(tx: Transaction, row: Stored) -> list[bytes]:
    """Keep the buckets of a message, in place of those of its earlier words."""
    found = buckets(row.speaker or row.role, row.text or "")
    tx.execute("DELETE FROM sketch WHERE iid = ?", (row.iid,))
    for bucket in found:
        tx.execute(
            "INSERT OR IGNORE INTO sketch (cid, bucket, iid) VALUES (?, ?, ?)",
            (row.cid, bucket, row.iid),
        )
    return found


def nearest(
    tx: Transaction, row: Stored, found: Sequence[bytes], times: Sequence[TimeSpan]
) -> Near | None:
    """The earlier message that is most like this one, if one is nearly the same."""
    plain, bands = found[:1], found[1:]
    same_form = [old for old in _candidates(tx, row, plain) if _comparable(old, row)]
    for old in same_form:
        if _says_the_same(tx, old, row, times):
            return Near(old, same=True)
    if same_form:
        return Near(same_form[0], same=False)
    for old in _candidates(tx, row, bands):
        if _comparable(old, row) and _alike(tx, old, row):
            return Near(old, same=False)
    return None


def _candidates(tx: Transaction, row: Stored, found: Sequence[bytes]) -> list[Stored]:
    """The oldest and the newest few of each bucket."""
    items: list[int] = []
    for bucket in found:
        for order in (_OLDEST, _NEWEST):
            rows = tx.execute(order, (row.cid, bucket, row.iid, _COMPARED)).fetchall()
            items += [iid for (iid,) in rows]
    return current(tx, list(dict.fromkeys(items)))


def _comparable(old: Stored, new: Stored) -> bool:
    """Whether both stand, under the same rights and of the same kind."""
    return (
        old.state in _STANDS and not (old.stale or old.quarantined) and _rights(old) == _rights(new)
    )


def _rights(row: Stored) -> tuple[object, ...]:
    kind = (row.speaker, row.role, row.memory_type, row.kind, row.data, row.valid_to)
    return (*kind, row.owner, row.visibility, row.labels, row.trust, row.expires)


def _says_the_same(tx: Transaction, old: Stored, new: Stored, times: Sequence[TimeSpan]) -> bool:
    if old.conversation != new.conversation or form(old.text or "") != form(new.text or ""):
        return False
    rows = tx.execute("SELECT starts, ends FROM spoken_time WHERE iid = ?", (old.iid,)).fetchall()
    return {(start, end) for start, end in rows} == {(span.start, span.end) for span in times}


def _alike(tx: Transaction, old: Stored, new: Stored) -> bool:
    if form(old.text or "") == form(new.text or ""):
        return True
    if old.conversation is None or old.conversation != new.conversation:
        return False
    a, b = set(tokens(old.text or "")), set(tokens(new.text or ""))
    if len(a & b) < _ALIKE_WORDS * len(a | b):
        return False
    meaning = _cosine(tx, old, new)
    return meaning is not None and meaning >= _ALIKE_MEANING


def _cosine(tx: Transaction, old: Stored, new: Stored) -> float | None:
    rows = tx.execute(
        "SELECT vec FROM embedding WHERE tid IN (SELECT value FROM json_each(?)) ",
        (json.dumps([old.tid, new.tid]),),
    ).fetchall()
    if len(rows) < 2:
        return None
    a, b = (np.frombuffer(vec, dtype="<f4") for (vec,) in rows)
    return float(a @ b) if a.shape == b.shape else None
