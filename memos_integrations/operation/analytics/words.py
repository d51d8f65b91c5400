"""What can be told from a memory's words alone: junk, and secrets that slipped in. Pure.

Gives kinds, never content.
"""

from __future__ import annotations

import re

from memos_integrations.infrastructure.governance.detectors import DEFAULT, SECRET
from memos_integrations.infrastructure.governance.redaction import scan, spans_from_json

_WORD = re.compile(r"[^\W_]")
_BLOB = re.compile(r"[A-Za-z0-9+/_-]{200,}={0,2}")
_HEX_BLOB = re.compile(r"(?:[0-9a-fA-F]{2}\s?){100,}")
_ERROR_PAGE = re.compile(
    r"^\s*(?:access denied|page not found|404 not found|please enable (?:javascript|cookies)"
    r"|\[?object object\]?|undefined|null|nan|none)\W*$",
    re.IGNORECASE,
)
_LONG_RUN = re.compile(r"(\w)\1{30,}")
_PIECE = 15
"""Half of the shortest run that counts."""
_SAME_SHARE = 0.6
_LEAST_FOR_SHARE = 40
_REPEATED_LINES = 5
_BLOB_SHARE = 0.5
_SECRETS = tuple(detector for detector in DEFAULT if detector.label == SECRET)


def junk(text: str, *, longest: int) -> str | None:
    """Why these words say nothing to anybody, or ``None``. A short answer ("yes") is none."""
    if len(text) > longest:
        return f"longer than {longest} characters"
    if not _WORD.search(text):
        return "no word in it"
    if _ERROR_PAGE.match(text):
        return "an error page or an empty value"
    if "lorem ipsum" in text.casefold():
        return "filler text"
    return _repetition(text) or _blob(text)


def _repetition(text: str) -> str | None:
    letters = "".join(text.split())
    if len(letters) >= _LEAST_FOR_SHARE:
        most = sorted(letters)[len(letters) // 2]  # who has more than half stands in the middle
        if letters.count(most) > _SAME_SHARE * len(letters):
            return "one character over and over"
    if _holds_run(text) and _LONG_RUN.search(text):
        return "one character over and over"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) >= _REPEATED_LINES and len(set(lines)) == 1:
        return "one line over and over"
    words = text.split()
    if len(words) >= _LEAST_FOR_SHARE and len(set(words)) <= len(words) // 20:
        return "a few words over and over"
    return None


def _holds_run(text: str) -> bool:
    """Whether a long run is possible: it would fill one of the short pieces (and this is quick)."""
    starts = range(0, len(text) - _PIECE + 1, _PIECE)
    return any(text[n : n + _PIECE] == text[n] * _PIECE for n in starts)


def _blob(text: str) -> str | None:
    for pattern in (_BLOB, _HEX_BLOB):
        held = sum(len(found.group()) for found in pattern.finditer(text) if _varied(found.group()))
        if held > _BLOB_SHARE * len(text):
            return "encoded bytes, not words"
    return None


def _varied(run: str) -> bool:
    return len(set(run)) > 8  # fewer are a ruler or a drawing


def secrets_in(text: str, spans: str | None) -> tuple[tuple[str, ...], bool]:
    """(kinds of secrets in stored words, whether any of them is read unmasked)."""
    known = [s for s in spans_from_json(spans) if s.label == SECRET] if spans else []
    found = scan(text, _SECRETS)
    bare = any(
        not any(mark.start <= span.start and span.end <= mark.end for mark in known)
        for span in found
    )
    kinds = sorted({span.what for span in (*found, *known)})
    return tuple(kinds), bare
