"""Stretches of the calendar: days, weeks, months, seasons and years as intervals in UTC.

Arithmetic only, no words. The readers of dates turn words into these; a date that does not
exist, or lies outside the years 1 to 9999, raises ``ValueError`` or ``OverflowError``.
Weeks begin on Monday, a weekend is Saturday and Sunday, seasons are those of the northern
hemisphere by whole months (the winter of 2021 begins in December 2021).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, timedelta
from typing import Literal, NamedTuple, TypeAlias

from memos_integrations.cube.facts import Grain

Tense: TypeAlias = Literal["past", "future", "open"]

HOUR = 3_600_000_000
DAY = 24 * HOUR
_EPOCH = date(1970, 1, 1).toordinal()

SEASONS = {"spring": 3, "summer": 6, "autumn": 9, "fall": 9, "winter": 12}
PARTS = {"morning": (5, 12), "noon": (12, 13), "afternoon": (12, 18), "evening": (18, 24)}
"""Hours of the parts of a day; a night reaches from 18 to 6 of the next day."""
_NIGHT = (18, 30)


class Stretch(NamedTuple):
    """A half-open interval in microseconds UTC and the fineness it was named with."""

    start: int
    end: int
    grain: Grain


def micros(day: date) -> int:
    """The beginning of a day."""
    return (day.toordinal() - _EPOCH) * DAY


def day_of(at: int) -> date:
    """The day an instant lies in."""
    return date.fromordinal(_EPOCH + at // DAY)


def days(first: date, count: int = 1, grain: Grain = "day") -> Stretch:
    """``count`` days from ``first`` on."""
    start = micros(first)
    return Stretch(start, start + count * DAY, grain)


def between(first: date, end: date, grain: Grain) -> Stretch:
    """From the beginning of ``first`` to the beginning of ``end``."""
    return Stretch(micros(first), micros(end), grain)


def week(day: date) -> Stretch:
    """The week, Monday to Sunday, that holds ``day``."""
    return days(day - timedelta(day.weekday()), 7, "week")


def weekend(day: date) -> Stretch:
    """Saturday and Sunday of the week that holds ``day``."""
    return days(day + timedelta(5 - day.weekday()), 2)


def shifted(day: date, months: int) -> date:
    """The first of the month that lies ``months`` after that of ``day``."""
    index = day.year * 12 + day.month - 1 + months
    return date(index // 12, index % 12 + 1, 1)


def month(year: int, number: int, count: int = 1) -> Stretch:
    """``count`` months from this one on."""
    first = date(year, number, 1)
    return between(first, shifted(first, count), "month")


def year(number: int, count: int = 1) -> Stretch:
    """``count`` years from this one on."""
    return between(
        date(number, 1, 1), date(number + count, 1, 1), "year" if count == 1 else "years"
    )


def season(number: int, name: str) -> Stretch:
    """A season; a winter is counted to the year it begins in."""
    first = date(number, SEASONS[name], 1)
    return between(first, shifted(first, 3), "season")


def part(day: Stretch, name: str) -> Stretch:
    """The morning, afternoon, evening or night of a day."""
    first, last = PARTS.get(name, _NIGHT)
    return Stretch(day.start + first * HOUR, day.start + last * HOUR, "hour")


def weekday(day: date, number: int) -> date:
    """The ``number``-th day (0 is Monday) of the week that holds ``day``."""
    return day + timedelta(number - day.weekday())


def third(whole: Stretch, place: str) -> Stretch:
    """The first, middle or last third of a stretch, cut at whole days."""
    step = (whole.end - whole.start) // DAY // 3 * DAY
    if place in {"early", "beginning", "start"}:
        return whole._replace(end=whole.start + step)
    if place in {"late", "end"}:
        return whole._replace(start=whole.end - step)
    return whole._replace(start=whole.start + step, end=whole.end - step)


def fitting(candidates: Iterable[Stretch], at: int, tense: Tense) -> Stretch | None:
    """The occurrence that fits the tense best: the last begun, the first not over, the nearest."""
    found = list(candidates)
    if tense == "past":
        return max((c for c in found if c.start <= at), default=None)
    if tense == "future":
        return min((c for c in found if c.end > at), default=None)
    return min(found, key=lambda c: abs(c.start + c.end - 2 * at), default=None)


def yearly(make: Callable[[int], Stretch], day: date, reach: int = 1) -> list[Stretch]:
    """What ``make`` gives for the years around ``day``, without those that do not have it."""
    found: list[Stretch] = []
    for number in range(day.year - reach, day.year + reach + 1):
        try:
            found.append(make(number))
        except (ValueError, OverflowError):
            continue
    return found


def relative(candidates: Iterable[Stretch], at: int, word: str) -> Stretch | None:
    """What ``last`` (the last one over), ``next`` (the first to begin) or ``this`` picks."""
    found = list(candidates)
    if word == "last":
        return max((c for c in found if c.end <= at), default=None)
    if word == "next":
        return min((c for c in found if c.start > at), default=None)
    return min(found, key=lambda c: abs(c.start + c.end - 2 * at), default=None)
