"""Dates as words of a sentence that stands alone: ``on Monday 12 May 2025``, ``in May 2023``."""

from __future__ import annotations

from datetime import date

from memos_integrations.cube.facts import TimeSpan
from memos_integrations.operation.reading.timeline import DAY, HOUR, SEASONS, day_of

_PARTS = {(5, 7): "morning", (12, 6): "afternoon", (18, 6): "evening", (18, 12): "night"}
_SEASONS = {number: name for name, number in SEASONS.items() if name != "fall"}


def in_words(span: TimeSpan) -> str:
    """The span in English, with the preposition it needs."""
    first, last = day_of(span.start), day_of(span.end - 1)
    if span.grain in {"hour", "minute"}:
        return _clock(span, first)
    if span.grain == "day":
        return f"on {_day(first)}" if first == last else f"from {_plain(first)} to {_plain(last)}"
    if span.grain == "week":
        week = (span.end - span.start) // DAY <= 7
        return f"in the week of {_plain(first)}" if week else f"from {_plain(first)} on"
    if span.grain == "month":
        same = (first.year, first.month) == (last.year, last.month)
        return f"in {first:%B %Y}" if same else f"from {first:%B %Y} to {last:%B %Y}"
    if span.grain == "season":
        return f"in {_SEASONS[first.month]} {first.year}"
    return f"in {first.year}" if first.year == last.year else f"from {first.year} to {last.year}"


def birthday_of(span: TimeSpan) -> str:
    """The day of the year: ``12 June``."""
    day = day_of(span.start)
    return f"{day.day} {day:%B}"


def _clock(span: TimeSpan, day: date) -> str:
    begun = span.start % DAY // (HOUR // 60)
    part = _PARTS.get((begun // 60, (span.end - span.start) // HOUR))
    if part is not None:
        return (
            f"in the {part} of {_day(day)}" if part != "night" else f"on the night of {_day(day)}"
        )
    return f"on {_day(day)} at {begun // 60:02}:{begun % 60:02} UTC"


def _day(day: date) -> str:
    return f"{day:%A} {_plain(day)}"


def _plain(day: date) -> str:
    return f"{day.day} {day:%B} {day.year}"


def in_words_zh(span: TimeSpan) -> str:
    """The span in Chinese."""
    first, last = day_of(span.start), day_of(span.end - 1)
    if span.grain in {"day", "hour", "minute"}:
        return _day_zh(first) if first == last else f"{_day_zh(first)}至{_day_zh(last)}"
    if span.grain == "week":
        return f"{_day_zh(first)}那一周"
    if span.grain == "month":
        return f"{first.year}年{first.month}月"
    if span.grain == "season":
        return f"{first.year}年{'春夏秋冬'[(first.month // 3 - 1) % 4]}天"
    return f"{first.year}年" if first.year == last.year else f"{first.year}年至{last.year}年"


def _day_zh(day: date) -> str:
    return f"{day.year}年{day.month}月{day.day}日"
