"""Dates that lean on another date: ``the week before 3 July``, ``since May``, ``Friday at 5 pm``.

Called with the dates already found, in order; looks only at the few words around each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta

from memos_integrations.cube.facts import Grain, TimeSpan
from memos_integrations.operation.reading.dates_absolute import WEEKDAYS
from memos_integrations.operation.reading.dates_relative import moved, unit_of
from memos_integrations.operation.reading.numbers import AMOUNT, amount
from memos_integrations.operation.reading.said import Said
from memos_integrations.operation.reading.timeline import (
    DAY,
    HOUR,
    Stretch,
    day_of,
    days,
    micros,
    month,
    shifted,
    week,
    weekday,
    weekend,
    year,
)

_ROOM = 48
_BEFORE = re.compile(
    r"\b(?:(?P<n>"
    + AMOUNT
    + r")\s|the\s)?(?P<unit>days?|nights?|weeks?|weekend|months?|years?|"
    + "|".join(WEEKDAYS)
    + r")\s(?P<side>before|prior\sto|after|following|from|of)\s(?:the\s|on\s)?$"
)
_SINCE = re.compile(r"\b(?:ever\s)?since\s(?:the\s|about\s|early\s|late\s)?$")
_SINCE_ZH = re.compile(r"\s?(?:以来|起|开始|至今)")
_CLOCK = (
    r"(?:(?P<hour>[0-2]?[0-9])(?::(?P<minute>[0-5][0-9]))?\s?(?P<half>[ap])?(?:\.?m\b)?"
    r"|noon|midnight)"
)
_CLOCK_AFTER = re.compile(r",?\s(?:at|around|about|by|@)\s?" + _CLOCK + r"(?![\w/%])")
_CLOCK_BEFORE = re.compile(r"\b(?:at\s|around\s|about\s|by\s)" + _CLOCK + r"\s(?:on\s|the\s)?$")
_RANGE = re.compile(r"\s?(?:to|until|till|through|and|-)\s?")
_RANGE_BEGUN = re.compile(r"\b(?:from|between)\s(?:the\s)?$")


def joined(spans: Sequence[TimeSpan], said: Said) -> list[TimeSpan]:
    """The spans, each widened or moved by the words it leans on."""
    whole = list(_ranges(spans, said))
    return [_leaning(span, said) for span in whole]


def _ranges(spans: Sequence[TimeSpan], said: Said) -> Iterator[TimeSpan]:
    """``between May and July`` as one span."""
    before: TimeSpan | None = None
    for span in spans:
        if before is not None and _ranged(before, span, said):
            yield replace(before, end=span.end, to=span.to)
            before = None
            continue
        if before is not None:
            yield before
        before = span
    if before is not None:
        yield before


def _ranged(first: TimeSpan, last: TimeSpan, said: Said) -> bool:
    if last.at - first.to > 12 or first.end > last.start:
        return False
    between = said.folded[first.to : last.at]
    if between.strip() == "-":
        return True
    words = said.folded[max(0, first.at - 12) : first.at]
    begun = said.folded[first.at : first.at + 8].startswith(("from ", "between "))
    return bool(_RANGE.fullmatch(between)) and (begun or bool(_RANGE_BEGUN.search(words)))


def _leaning(span: TimeSpan, said: Said) -> TimeSpan:
    try:
        for step in (_clock, _offset, _since):
            span = step(span, said)
    except (ValueError, OverflowError):
        return span  # it would leave the calendar
    return span


def _clock(span: TimeSpan, said: Said) -> TimeSpan:
    """A day with an hour: ``tomorrow at 5 pm``, ``at 17:30 on Friday``."""
    if span.grain not in {"day", "hour"} or span.end - span.start > DAY:
        return span
    after = _CLOCK_AFTER.match(said.folded, span.to, span.to + _ROOM)
    if after is not None:
        return _at_clock(replace(span, to=after.end()), after)
    head = max(0, span.at - _ROOM)
    before = _CLOCK_BEFORE.search(said.folded[head : span.at])
    return span if before is None else _at_clock(replace(span, at=head + before.start()), before)


def _at_clock(span: TimeSpan, match: re.Match[str]) -> TimeSpan:
    day = span.start // DAY * DAY
    if match["hour"] is None:
        hour = 12 if "noon" in match[0] else 24
    else:
        hour = int(match["hour"])
        late = match["half"] == "p" or (match["half"] is None and span.start - day >= 12 * HOUR)
        hour = hour % 12 + (12 if late else 0) if match["half"] or (late and hour < 12) else hour
    if hour > 24:
        return span
    start = day + hour * HOUR + int(match["minute"] or 0) * (HOUR // 60)
    if match["minute"]:
        return replace(span, start=start, end=start + HOUR // 60, grain="minute")
    return replace(span, start=start, end=start + HOUR, grain="hour")


def _offset(span: TimeSpan, said: Said) -> TimeSpan:
    """``the Friday before 15 July``, ``two weeks after Christmas``, ``the week of 3 July``."""
    head = max(0, span.at - _ROOM)
    before = _BEFORE.search(said.folded[head : span.at])
    if before is None:
        begun = re.match(r"(?:before|after)\s", said.folded[span.at : span.to])
        if begun is None:
            return span
        before = _BEFORE.search(said.folded[head : span.at + begun.end()])
        if before is None:
            return span
    made = _offset_from(span, before, said)
    return span if made is None else TimeSpan(*made, at=head + before.start(), to=span.to)


def _offset_from(span: TimeSpan, match: re.Match[str], said: Said) -> Stretch | None:
    unit, side = unit_of(match["unit"]), match["side"].split()[0]
    if side == "of":
        return week(day_of(span.start)) if unit == "week" and not match["n"] else None
    sign = -1 if side in {"before", "prior"} else 1
    edge = day_of(span.start) if sign < 0 else day_of(span.end - 1)
    if match["n"]:
        anchor = replace(said, at=span.start, day=edge)
        return moved(anchor, amount(match["n"]), unit, sign)
    return None if side == "from" else _beside(unit, edge, sign)


def _beside(unit: str, edge: date, sign: int) -> Stretch:
    """The day, week, weekend, weekday, month or year right before or after a day."""
    if unit in WEEKDAYS:
        here = weekday(edge, WEEKDAYS.index(unit))
        return days(here + timedelta(7 * sign * ((here - edge).days * sign <= 0)))
    if unit == "day":
        return days(edge + timedelta(sign))
    if unit == "week":
        return days(edge - timedelta(7) if sign < 0 else edge + timedelta(1), 7, "week")
    if unit == "weekend":
        inside = weekend(edge).start <= micros(edge)
        return weekend(edge + timedelta(7 * sign * (inside or sign < 0)))
    if unit == "month":
        first = shifted(edge, sign)
        return month(first.year, first.month)
    return year(edge.year + sign)


def _since(span: TimeSpan, said: Said) -> TimeSpan:
    """``since 2019``: from then until the message."""
    head = max(0, span.at - 20)
    before = _SINCE.search(said.folded[head : span.at])
    inside = said.folded.startswith("since", span.at)
    after = _SINCE_ZH.match(said.folded, span.to)
    if not (before or inside or after) or span.start >= said.at:
        return span
    end = max(span.end, micros(said.day) + DAY)
    grain: Grain = "years" if end - span.start > 366 * DAY else span.grain
    return replace(
        span,
        end=end,
        grain=grain,
        at=head + before.start() if before else span.at,
        to=after.end() if after else span.to,
    )
