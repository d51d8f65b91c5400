"""The words the arms index: who said it, when, and what, with everything sensitive masked.

Speaker and date in front of the words are worth more than any ranking algorithm (measured:
recall@10 of plain cosine on LoCoMo 31 -> 52). Masked, so that no search can find by a secret
or a personal datum that the searcher may not read.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from memos_integrations.cube.ids import from_micros
from memos_integrations.infrastructure.governance.redaction import mask, spans_from_json

_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
"""In English whatever the locale, so that one file is indexed alike everywhere."""
_DAY: Final = 86_400_000_000
"""Microseconds."""


def indexed_text(*, text: str, spans: str | None, speaker: str | None, time: int) -> str:
    """``"Maya (8 May 2026): ..."``; the date alone where the speaker is unknown."""
    shown = bare_text(text=text, spans=spans)
    date = _date(time // _DAY)
    return f"{speaker} ({date}): {shown}" if speaker else f"({date}): {shown}"


@lru_cache(maxsize=1 << 12)
def _date(day: int) -> str:
    said = from_micros(day * _DAY)
    return f"{said.day} {_MONTHS[said.month - 1]} {said.year}"


def bare_text(*, text: str, spans: str | None) -> str:
    """The words alone, with everything sensitive masked."""
    return text if spans is None else mask(text, spans_from_json(spans), keep=frozenset())
