"""Redaction: find what is sensitive, replace secrets before storing, mask the rest on reading.

Called by the vault on every write and read. Pure: text in, text and spans out.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from memos_integrations.cube.errors import InvalidInput
from memos_integrations.infrastructure.governance.detectors import (
    DEFAULT,
    PERSONAL,
    SECRET,
    Detector,
    Span,
)

__all__ = [
    "DEFAULT",
    "RedactionPolicy",
    "Span",
    "Written",
    "apply_on_write",
    "mask",
    "mask_on_read",
    "scan",
    "spans_from_json",
    "spans_to_json",
]

_WORD: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_MAX_ROUNDS: Final = 4


@dataclass(frozen=True, slots=True)
class RedactionPolicy:
    """Which labels are replaced before storing, and which are masked for the uncleared."""

    on_write: frozenset[str] = frozenset({SECRET})
    on_read: frozenset[str] = frozenset({PERSONAL})
    detectors: tuple[Detector, ...] = DEFAULT


@dataclass(frozen=True, slots=True)
class Written:
    """The text to be stored, what is sensitive in it, and how much of what was taken out."""

    text: str
    spans: tuple[Span, ...]
    removed: Mapping[str, int]


def scan(text: str, detectors: Sequence[Detector] = DEFAULT) -> tuple[Span, ...]:
    """Everything sensitive in ``text``: sorted, without overlaps.

    Overlapping spans of one label become one. Between labels a secret wins, then the label first
    in the alphabet, and the other keeps what lies outside.
    """
    found: list[Span] = []
    for detector in detectors:
        found += detector.find(text)
    return _disjoint(found) if found else ()


def mask(text: str, spans: Iterable[Span], *, keep: frozenset[str]) -> str:
    """``text`` with ``[label:what]`` for each span whose label is not in ``keep``.

    Spans may overlap or come unsorted: what any of them covers is covered.
    """
    hidden = [span for span in spans if span.label not in keep]
    if not hidden:
        return text
    pieces: list[str] = []
    done = 0
    for span in _disjoint(hidden):
        pieces += (text[done : span.start], f"[{span.label}:{span.what}]")
        done = span.end
    pieces.append(text[done:])
    return "".join(pieces)


def apply_on_write(text: str, policy: RedactionPolicy) -> Written:
    """The text as it may be stored; its spans refer to that text.

    A replacement can bring words together that then match, so it is scanned until nothing is
    left to take out. What hostile text still holds after four rounds stays as a span.
    """
    spans = scan(text, policy.detectors)
    if not spans:
        return Written(text, (), {})
    removed: Counter[str] = Counter()
    for _ in range(_MAX_ROUNDS):
        taken = [span for span in spans if span.label in policy.on_write]
        if not taken:
            break
        removed.update(span.what for span in taken)
        text = mask(text, taken, keep=frozenset())
        spans = scan(text, policy.detectors)
    return Written(text, spans, dict(removed))


def mask_on_read(
    text: str, spans: Iterable[Span], policy: RedactionPolicy, *, clearances: frozenset[str]
) -> str:
    """``text`` as somebody with these clearances may read it."""
    guarded = (policy.on_read | policy.on_write) - clearances
    return mask(text, (span for span in spans if span.label in guarded), keep=frozenset())


def spans_to_json(spans: Sequence[Span]) -> str | None:
    """The spans for the column ``content.spans``; ``None`` when there are none."""
    if not spans:
        return None
    return json.dumps([[s.start, s.end, s.label, s.what] for s in spans], separators=(",", ":"))


def spans_from_json(stored: str | None, *, length: int | None = None) -> tuple[Span, ...]:
    """The spans of that column. Raises ``InvalidInput`` unless they are sorted, apart, within
    ``length`` characters (if given), and named by plain words."""
    if stored is None:
        return ()
    try:
        rows = json.loads(stored)
        spans = tuple(Span(*row) for row in rows)
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidInput("spans must be a JSON list of [start, end, label, what]") from error
    _validate(spans, length)
    return spans


def _validate(spans: Sequence[Span], length: int | None) -> None:
    done = 0
    for span in spans:
        if type(span.start) is not int or type(span.end) is not int:
            raise InvalidInput("a span's start and end must be whole numbers")
        if not done <= span.start < span.end or (length is not None and span.end > length):
            raise InvalidInput(f"span {span.start}-{span.end} overlaps another or leaves the text")
        for word in (span.label, span.what):
            if type(word) is not str or not _WORD.fullmatch(word):
                raise InvalidInput("a span's label and what must be words of a-z, 0-9 and _")
        done = span.end


def _disjoint(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The same cover without overlaps, label by label in order of precedence."""
    ranked = sorted(spans, key=lambda s: (s.label != SECRET, s.label, s.start, -s.end))
    if len(ranked) == 1:
        return tuple(ranked)
    kept: list[Span] = []
    for label in dict.fromkeys(span.label for span in ranked):
        merged = _merged(span for span in ranked if span.label == label)
        kept = sorted(kept + _outside(merged, kept))
    return tuple(kept)


def _merged(spans: Iterable[Span]) -> list[Span]:
    """Sorted spans of one label, joined where they overlap; the longer one says what."""
    merged: list[Span] = []
    for span in spans:
        last = merged[-1] if merged else None
        if last is None or span.start >= last.end:
            merged.append(span)
            continue
        longer = max(last, span, key=lambda s: s.end - s.start)
        end = max(last.end, span.end)
        merged[-1] = Span(last.start, end, last.label, longer.what)
    return merged


def _outside(spans: Sequence[Span], taken: Sequence[Span]) -> list[Span]:
    """What of ``spans`` lies outside ``taken``; both are sorted and without overlaps."""
    left: list[Span] = []
    following = 0
    for span in spans:
        start = span.start
        while following < len(taken) and taken[following].end <= start:
            following += 1
        place = following
        while place < len(taken) and taken[place].start < span.end:
            if start < taken[place].start:
                left.append(Span(start, taken[place].start, span.label, span.what))
            start = max(start, taken[place].end)
            place += 1
        if start < span.end:
            left.append(Span(start, span.end, span.label, span.what))
    return left
