"""English dates that count from the day of the message: ``yesterday``, ``two weeks ago``.

``last Friday`` is the latest Friday before today, ``next Friday`` the Friday of the next
calendar week, ``this Friday`` that of the present one. ``Two weeks ago`` is the seven days
around that day, ``three months ago`` that calendar month, ``since 2019`` reaches to today.
"""

from __future__ import annotations

import re
from datetime import date, timedelta

from memos_integrations.cube.facts import Grain
from memos_integrations.operation.reading.dates_absolute import WEEKDAYS
from memos_integrations.operation.reading.numbers import AMOUNT, Amount, amount
from memos_integrations.operation.reading.said import Rule, Said, rule
from memos_integrations.operation.reading.timeline import (
    DAY,
    HOUR,
    Stretch,
    Tense,
    days,
    month,
    part,
    shifted,
    third,
    week,
    weekday,
    weekend,
    year,
)

_SHORT = {"mon": 0, "tue": 1, "tues": 1, "wed": 2, "thu": 3, "thur": 3, "thurs": 3, "fri": 4}
_WEEKDAY = r"(?P<weekday>" + "|".join(WEEKDAYS) + r"|mon|tues?|wed|thu(?:rs?)?|fri)(?P<many>s)?\b"
_UNITS = {
    "min": "minute", "mins": "minute", "hr": "hour", "hrs": "hour", "yr": "year", "yrs": "year",
    "night": "day", "nights": "day",
}  # fmt: skip
_UNIT = (
    r"(?P<unit>minutes?|mins?|hours?|hrs?|days?|nights?|weeks?|weekends?|fortnights?|months?"
    r"|quarters?|years?|yrs?|decades?|" + "|".join(f"{name}s?" for name in WEEKDAYS) + r")\b"
)
_DAYS = {
    "today": 0,
    "yesterday": -1,
    "tomorrow": 1,
    "the day before yesterday": -2,
    "day before yesterday": -2,
    "the day after tomorrow": 2,
    "day after tomorrow": 2,
}
_PART = r"(?P<part>morning|afternoon|evening|night)"
_PERFECT = re.compile(r"\b(?:have|has|haven't|hasn't|been)\b|'ve\b")


def moved(said: Said, count: Amount, unit: str, sign: int) -> Stretch | None:
    """The time that lies ``count`` units before (-1) or after (1) the message."""
    if count.low != count.high:
        ends = [moved(said, Amount(n, n), unit, sign) for n in (count.low, count.high)]
        known = [end for end in ends if end is not None]
        return Stretch(min(e.start for e in known), max(e.end for e in known), known[0].grain)
    n = count.low * sign
    if unit in {"minute", "hour"}:
        size = HOUR if unit == "hour" else HOUR // 60
        start = (said.at + int(n * size)) // size * size
        return Stretch(start, start + size, "hour" if unit == "hour" else "minute")
    if unit == "day" or unit in WEEKDAYS:
        return _moved_days(said, n, unit)
    if unit in {"week", "fortnight", "weekend"}:
        return _moved_weeks(said, n * (2 if unit == "fortnight" else 1), unit)
    return _moved_months(said, n, unit)


def _moved_days(said: Said, n: float, unit: str) -> Stretch:
    if unit == "day":
        return days(said.day + timedelta(int(n)))
    near = weekday(said.day, WEEKDAYS.index(unit))
    if n < 0:
        near += timedelta(7 * (int(n) + (1 if near < said.day else 0)))
    else:
        near += timedelta(7 * (int(n) - (1 if near > said.day else 0)))
    return days(near)


def _moved_weeks(said: Said, n: float, unit: str) -> Stretch:
    day = said.day + timedelta(int(7 * n))
    return weekend(day) if unit == "weekend" else days(day - timedelta(3), 7, "week")


def _moved_months(said: Said, n: float, unit: str) -> Stretch:
    if unit == "decade":
        return year(said.day.year + int(10 * n) - 1, 3)
    if unit == "year" and n == int(n):
        return year(said.day.year + int(n))
    first = shifted(said.day, round(n * {"year": 12, "quarter": 3}.get(unit, 1)))
    return month(first.year, first.month)


def unit_of(words: str) -> str:
    """The singular of a unit of time."""
    return _UNITS.get(words) or words.rstrip("s")


def reach(said: Said, count: Amount, unit: str, sign: int) -> Stretch | None:
    """From the message back (-1) or ahead (1) over ``count`` units."""
    far = moved(said, count, unit, sign)
    if far is None:
        return None
    today = days(said.day)
    grain: Grain = "years" if far.grain == "year" else far.grain
    if sign < 0:
        return Stretch(far.start, max(today.end, far.start + DAY), grain)
    return Stretch(today.start, max(far.end, today.end), grain)


def _word(match: re.Match[str], said: Said) -> Stretch | None:
    name = " ".join(match["word"].split())
    day = days(said.day + timedelta(_DAYS[name]))
    return part(day, match["part"]) if match["part"] else day


def _this_part(match: re.Match[str], said: Said) -> Stretch | None:
    """``tonight``, ``last night``, ``this morning``."""
    name = " ".join(match["when"].split())
    if name == "last night":
        return part(days(said.day - timedelta(1)), "night")
    return part(days(said.day), "night" if name == "tonight" else name.split()[-1])


def _other_day(match: re.Match[str], said: Said) -> Stretch | None:
    return days(said.day - timedelta(7), 7, "week")


def _weekday(match: re.Match[str], said: Said) -> Stretch | None:
    """``on Friday``, ``last Friday``, ``Friday evening``, ``Friday of next week``."""
    how = (match["how"] or "").split()
    word = how[-1] if how else ""
    if match["many"] or word in {"every", "each"}:
        return None
    name = match["weekday"]
    number = WEEKDAYS.index(name) if name in WEEKDAYS else _SHORT[name]
    if name in _SHORT and not (word and said.capital(match, "weekday")):
        return None
    if match["which"]:
        step = {"last": -7, "next": 7, "this": 0}[match["which"]]
        day = weekday(said.day + timedelta(step), number)
    else:
        cue = "past" if word == "since" else said.tense(match)
        day = _picked(said, number, word, cue)
    whole = days(day)
    return part(whole, match["part"]) if match["part"] else whole


def _picked(said: Said, number: int, word: str, tense: Tense) -> date:
    """The day of that weekday which a word such as ``last`` or the tense points at."""
    here = weekday(said.day, number)
    if word in {"last", "past"}:
        return here - timedelta(7 if here >= said.day else 0)
    if word == "next":
        return here + timedelta(7)
    if word == "coming":
        return here + timedelta(7 if here <= said.day else 0)
    if word == "this":
        return here if tense == "past" or here >= said.day else here + timedelta(7)
    if tense == "past":
        return here - timedelta(7 if here > said.day else 0)
    return here + timedelta(7 if here < said.day else 0)


def _unit(match: re.Match[str], said: Said) -> Stretch | None:
    """``last week``, ``next month``, ``this year``, ``the end of the month``."""
    step = {"last": -1, "past": -1, "previous": -1, "this": 0, "the": 0}.get(
        match["how"].split()[-1], 1
    )
    whole = _stepped(said, match["unit"], step)
    if match["place"]:
        return third(whole, match["place"])
    return None if match["how"] == "the" else whole


def _stepped(said: Said, unit: str, step: int) -> Stretch:
    if unit == "week":
        return week(said.day + timedelta(7 * step))
    if unit == "weekend":
        return weekend(said.day + timedelta(7 * step))
    if unit == "month":
        first = shifted(said.day, step)
        return month(first.year, first.month)
    if unit == "quarter":
        first = shifted(said.day, 3 * step - (said.day.month - 1) % 3)
        return month(first.year, first.month, 3)
    if unit == "decade":
        return year(said.day.year // 10 * 10 + 10 * step, 10)
    return year(said.day.year + step)


def _the_weekend(match: re.Match[str], said: Said) -> Stretch | None:
    here = weekend(said.day)
    if said.tense(match) == "past" and here.start > said.at:
        return weekend(said.day - timedelta(7))
    return here


def _ago(match: re.Match[str], said: Said) -> Stretch | None:
    count = amount(match["n"])
    if match["more"]:
        count = Amount(count.low + 0.5, count.high + 0.5)
    return moved(said, count, unit_of(match["unit"]), -1)


def _ahead(match: re.Match[str], said: Said) -> Stretch | None:
    """``in three days``, unless it says how long something took."""
    if said.tense(match) == "past":
        return None
    short = match["n"] in {"a", "an"} and match["unit"] in {"day", "minute", "hour", "night"}
    if short and said.tense(match) != "future":
        return None
    return moved(said, amount(match["n"]), unit_of(match["unit"]), 1)


def _from_now(match: re.Match[str], said: Said) -> Stretch | None:
    return moved(said, amount(match["n"]), unit_of(match["unit"]), 1)


def _over(match: re.Match[str], said: Said) -> Stretch | None:
    """``in the last two weeks``, ``over the next few months``."""
    sign = -1 if match["how"] in {"last", "past", "previous"} else 1
    return reach(said, amount(match["n"] or "one"), unit_of(match["unit"]), sign)


def _for(match: re.Match[str], said: Said) -> Stretch | None:
    """``I have lived here for two years``: from then until now."""
    sentence = said.folded[max(0, match.start() - 60) : match.start()]
    if match["now"] is None and not _PERFECT.search(re.split(r"[.!?\n]", sentence)[-1]):
        return None
    return reach(said, amount(match["n"]), unit_of(match["unit"]), -1)


_ABOUT = r"(?:(?:just |only )?(?:over|about|around|almost|nearly|more than|less than|at least) )?"
_OF_UNIT = (
    "minute min hour hr day night week weekend fortnight month quarter year yr decade minutes mins "
    "hours hrs days nights weeks weekends fortnights months quarters years yrs decades"
)
_OF_WEEKDAY = " ".join((*WEEKDAYS, *_SHORT, *(f"{name}s" for name in WEEKDAYS)))

RULES: tuple[Rule, ...] = (
    rule(
        "today yesterday tomorrow",
        r"\b(?P<word>(?:the )?day (?:before yesterday|after tomorrow)|today|yesterday|tomorrow)"
        r"(?: " + _PART + r")?\b",
        _word,
    ),
    rule(
        "tonight night morning afternoon evening",
        r"\b(?P<when>tonight|last night|this (?:very )?(?:morning|afternoon|evening))\b",
        _this_part,
    ),
    rule("other", r"\b(?:the|just the) other (?:day|night|evening|week)\b", _other_day),
    rule(
        _OF_WEEKDAY,
        r"\b(?<!black\s)(?<!good\s)(?:(?P<how>this past|this coming|the coming|last|next|this|past"
        r"|coming|on|by|until|since|before|after|every|each) )?"
        + _WEEKDAY
        + r"(?:(?: of|,)? (?P<which>last|next|this) week\b)?(?: "
        + _PART
        + r"\b)?(?!')",
        _weekday,
    ),
    rule(
        "week weekend month quarter year decade",
        r"\b(?:(?P<place>beginning|start|middle|end) of )?(?P<how>this past|this coming"
        r"|the coming|last|past|previous|next|this|coming|the) (?P<unit>week|weekend|month"
        r"|quarter|year|decade)\b(?! (?:of|before|after)\b)",
        _unit,
    ),
    rule("weekend", r"\b(?:on|at|over|during|for|by) the weekend\b", _the_weekend),
    rule(
        "ago back",
        r"\b"
        + _ABOUT
        + r"(?P<n>"
        + AMOUNT
        + r") "
        + _UNIT
        + r"(?P<more> and a half)?(?: or (?:so|two))? (?:ago|back)\b",
        _ago,
    ),
    rule(
        _OF_UNIT,
        r"\b(?:in|within) "
        + _ABOUT
        + r"(?P<n>"
        + AMOUNT
        + r") "
        + _UNIT
        + r"(?:'s?)?(?: time\b)?(?! ago)",
        _ahead,
    ),
    rule(
        "now today hence",
        r"\b(?P<n>" + AMOUNT + r") " + _UNIT + r" (?:from (?:now|today)|hence)\b",
        _from_now,
    ),
    rule(
        _OF_UNIT,
        r"\b(?:(?:in|over|during|for|within|throughout) )?the (?P<how>last|past|previous|next"
        r"|coming) (?P<n>(?:" + AMOUNT + r"|couple of|few) )?" + _UNIT + r"(?! of\b)",
        _over,
    ),
    rule(
        _OF_UNIT,
        r"\bfor " + _ABOUT + r"(?P<n>" + AMOUNT + r") " + _UNIT + r"(?P<now> now\b)?",
        _for,
    ),
)
