"""When the words of a memory or a question speak of, against the time they were said.

Called by the fine stage, by the facts' rules and by the search's time arm; calls the tables of
English (absolute, relative) and Chinese forms. All days are days in UTC. Costs a few
microseconds where no word of time stands, and time linear in the text whatever it holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from memos_integrations.cube.facts import TimeSpan
from memos_integrations.operation.reading import dates_absolute, dates_relative, dates_zh
from memos_integrations.operation.reading.joined_dates import joined
from memos_integrations.operation.reading.numbers import has_number, letters
from memos_integrations.operation.reading.said import Rule, Said, fold
from memos_integrations.operation.reading.timeline import day_of

__all__ = ["has_number", "has_time_word", "spoken_times"]

_RULES: tuple[Rule, ...] = (*dates_absolute.RULES, *dates_relative.RULES)
_TRIGGERS = frozenset().union(*(rule.triggers for rule in _RULES))
_DIGIT = re.compile(r"[0-9]")
# What every date in digits holds: a year, a sign between two numbers, or a decade.
_DATE_DIGITS = re.compile(r"[0-9](?:[0-9]{3}|[/.-][0-9]|'?s)")
# Both ends keep a month's room, so that no neighbour of the day leaves the calendar.
_FIRST, _LAST = -62_135_596_800_000_000, 253_402_300_800_000_000
_ROOM = 32 * 86_400_000_000

_TIME_WORDS = _TRIGGERS - {"0", "back", "on", "other", "now", "in"} | frozenset(
    "noon midnight midday oclock clock am pm daily weekly monthly yearly annually nightly "
    "weekday weekdays weekends mornings afternoons evenings century centuries semester birthday "
    "anniversary moment moments recently lately ago earlier later soon seconds second sundays "
    "january february march april june july august september october november december".split()
) - {"may", "mar", "sec", "second", "fourth", "jan", "dec", "sat", "sun", "fall", "spring"}
_TIME_SIGN = re.compile(
    r"(?<![0-9.])(?:1[5-9]|20)[0-9]{2}(?![0-9.])|[0-9]:[0-5][0-9]|[0-9] ?[ap]\.?m\b"
    r"|[0-9]{1,2}/[0-9]{1,2}(?:/|\b)|\b(?:in|last|next|this) (?:may|spring|fall)\b"
)


def spoken_times(text: str, *, at: int) -> tuple[TimeSpan, ...]:
    """Every date the words speak of, in the order of the words, none overlapping another.

    ``at`` is when they were said, in microseconds since 1970 UTC. A date that does not exist,
    or that falls outside the years 1 to 9999, gives nothing. Never raises.
    """
    said = _said(text, at)
    if said is None:
        return ()
    found = _apart(_english(said))
    if not text.isascii():
        found = _apart([*found, *dates_zh.spans(said)])
    return tuple(_apart(joined(found, said))) if found else ()


def has_time_word(text: str) -> bool:
    """Whether any date, weekday, time of day or length of time stands in the words."""
    folded = fold(text)
    if not _TIME_WORDS.isdisjoint(letters(folded)):
        return True
    if _DIGIT.search(folded) and _TIME_SIGN.search(folded):
        return True
    return not text.isascii() and dates_zh.TIME_SIGN.search(folded) is not None


def _said(text: str, at: int) -> Said | None:
    if not _FIRST + _ROOM <= at < _LAST - _ROOM:
        return None
    return Said(text, fold(text), at, day_of(at))


def _english(said: Said) -> list[TimeSpan]:
    words = _TRIGGERS.intersection(letters(said.folded))
    if _DATE_DIGITS.search(said.folded):
        words |= {"0"}
    if not words:
        return []
    return [
        span for rule in _RULES if not rule.triggers.isdisjoint(words) for span in _read(rule, said)
    ]


def _read(rule: Rule, said: Said) -> Iterator[TimeSpan]:
    for match in rule.pattern.finditer(said.folded):
        try:
            stretch = rule.read(match, said)
        except (ValueError, OverflowError):
            continue  # no such day, or outside the calendar
        if stretch is not None and stretch.start < stretch.end:
            yield TimeSpan(*stretch, at=match.start(), to=match.end())


def _apart(spans: Iterable[TimeSpan]) -> list[TimeSpan]:
    """The spans in order; of overlapping ones the longest, then the first."""
    kept: list[TimeSpan] = []
    for span in sorted(spans, key=lambda s: (s.at, -s.to)):
        if not kept or span.at >= kept[-1].to:
            kept.append(span)
        elif span.to - span.at > kept[-1].to - kept[-1].at:
            kept[-1] = span
    return kept
