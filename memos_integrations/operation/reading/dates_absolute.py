"""English dates that name their day, month, season or year: ``8 May 2023``, ``in the 90s``.

``05/08/2023`` is read month first, as the most writers of such dates do, unless that is no
date (``25/08/2023``); with dots (``05.08.2023``) the day comes first. A two-digit year lies
at most twenty years ahead. A date without a year is the occurrence its sentence speaks of.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date

from memos_integrations.operation.reading.said import Rule, Said, rule
from memos_integrations.operation.reading.timeline import (
    DAY,
    HOUR,
    SEASONS,
    Stretch,
    days,
    fitting,
    month,
    relative,
    season,
    third,
    weekday,
    year,
    yearly,
)

MONTHS = {
    name: n
    for n, names in enumerate(
        "january jan|february feb|march mar|april apr|may|june jun|july jul|august aug|"
        "september sept sep|october oct|november nov|december dec".split("|"),
        start=1,
    )
    for name in names.split()
}
_AMBIGUOUS = {"may", "march", "mar"}
WEEKDAYS: Sequence[str] = "monday tuesday wednesday thursday friday saturday sunday".split()

MONTH = "(?P<month>" + "|".join(sorted(MONTHS, key=len, reverse=True)) + r")\b\.?"
_YEAR = r"(?P<year>(?:1[0-9]|20|21)[0-9]{2}|'[0-9]{2})(?![\w/])"
_PLACE = (
    r"(?:(?:the )?(?P<place>early|mid|late|beginning|start|middle|end)(?: of(?: the)? |[\s-]))?"
)
_NAMED = r"(?:(?:mon|tues?|wed|thu(?:rs?)?|fri|sat|sun)[a-z]{0,6}\b\.?,? (?:the )?)?"
_DECADES: Sequence[str] = (
    "twenties thirties forties fifties sixties seventies eighties nineties".split()
)
_HOLIDAYS = {
    "new year's day": (1, 1),
    "new year's eve": (12, 31),
    "valentine's day": (2, 14),
    "fourth of july": (7, 4),
    "halloween": (10, 31),
    "christmas eve": (12, 24),
    "christmas day": (12, 25),
    "christmas": (12, 25),
    "thanksgiving": (11, 0),
}


def full_year(words: str, said: Said) -> int:
    """A year of four or two digits."""
    if len(words) > 3:
        return int(words)
    near = said.day.year // 100 * 100 + int(words[-2:])
    return near if near <= said.day.year + 20 else near - 100


def _day(match: re.Match[str], said: Said) -> Stretch | None:
    """``8 May``, ``May 8th, 2023``, ``3-5 May``."""
    number, first = MONTHS[match["month"]], int(match["day"])
    if match["month"] in _AMBIGUOUS and not (
        said.capital(match, "month") or match["year"] or match["th"]
    ):
        return None
    last = int(match["last"] or first)
    if last < first:
        return None

    def make(y: int) -> Stretch:
        date(y, number, last)
        return days(date(y, number, first), last - first + 1)

    if match["year"]:
        return make(full_year(match["year"], said))
    reach = 8 if (number, last) == (2, 29) else 1
    return fitting(yearly(make, said.day, reach), said.at, said.tense(match))


def _month_year(match: re.Match[str], said: Said) -> Stretch | None:
    whole = month(full_year(match["year"], said), MONTHS[match["month"]])
    return third(whole, match["place"]) if match["place"] else whole


def _month(match: re.Match[str], said: Said) -> Stretch | None:
    """``in May``, ``last May``, ``early June``, ``by the end of July``."""
    if match["month"] in _AMBIGUOUS and not said.capital(match, "month"):
        return None
    found = yearly(lambda y: month(y, MONTHS[match["month"]]), said.day)
    how = (match["how"].split() or [""])[-1]
    if not how and not match["place"]:
        return None
    if how in {"last", "past", "next", "coming"}:
        word = "last" if how in {"last", "past"} else "next"
        whole = relative(found, said.at, word)
    elif how == "this":
        whole = month(said.day.year, MONTHS[match["month"]])
    else:
        whole = fitting(found, said.at, said.tense(match))
    place = match["place"]
    return third(whole, place) if place and whole else whole


def _bare_month(match: re.Match[str], said: Said) -> Stretch | None:
    if not said.capital(match, "month"):
        return None
    found = yearly(lambda y: month(y, MONTHS[match["month"]]), said.day)
    return fitting(found, said.at, said.tense(match))


def _iso(match: re.Match[str], said: Said) -> Stretch | None:
    day = days(date(int(match["y"]), int(match["m"]), int(match["d"])))
    if match["hour"] is None:
        return day
    start = day.start + int(match["hour"]) * HOUR + int(match["minute"]) * (HOUR // 60)
    return Stretch(start, start + HOUR // 60, "minute") if start < day.start + DAY else day


def _slashed(match: re.Match[str], said: Said) -> Stretch | None:
    first, second = int(match["a"]), int(match["b"])
    day_first = match["sep"] == "." or first > 12
    number, day = (second, first) if day_first and second <= 12 else (first, second)
    return days(date(full_year(match["y"], said), number, day))


def _year_month(match: re.Match[str], said: Said) -> Stretch | None:
    return month(int(match["y"]), int(match["m"]))


def _short(match: re.Match[str], said: Said) -> Stretch | None:
    """``on 5/8``: month first where it can be."""
    a, b = int(match["a"]), int(match["b"])
    number, day = (a, b) if a <= 12 else (b, a)
    found = yearly(lambda y: days(date(y, number, day)), said.day)
    return fitting(found, said.at, said.tense(match))


def _year(match: re.Match[str], said: Said) -> Stretch | None:
    whole = year(int(match["year"]))
    return third(whole, match["place"]) if match["place"] else whole


def _years(match: re.Match[str], said: Said) -> Stretch | None:
    """``2019-2021``, ``from 2019 to 21``."""
    first, last = int(match["year"]), int(match["until"])
    last += first // 100 * 100 if last < 100 else 0
    return year(first, last - first + 1) if first < last <= first + 120 else None


def _decade(match: re.Match[str], said: Said) -> Stretch | None:
    words = match["tens"]
    if len(words) != 4 and not match["the"]:
        return None
    if words.isalpha():
        first = 1920 + 10 * _DECADES.index(words)
    elif len(words) == 4:
        first = int(words)
    else:
        first = said.day.year // 100 * 100 + int(words)
        first -= 100 if first > said.day.year else 0
    if len(words) == 4 and words.endswith("00") and first < 2000:
        return year(first, 100)
    whole = year(first, 10)
    return third(whole, match["place"]) if match["place"] else whole


def _season(match: re.Match[str], said: Said) -> Stretch | None:
    name = match["season"]
    if not (match["year"] or match["how"]):
        return None
    if match["year"]:
        return season(full_year(match["year"], said), name)
    found = yearly(lambda y: season(y, name), said.day)
    how = (match["how"] or "").split()
    word = how[-1] if how else ""
    if word in {"last", "past", "next", "coming"}:
        return relative(found, said.at, "last" if word in {"last", "past"} else "next")
    if word == "this":
        return relative(found, said.at, word)
    return fitting(found, said.at, said.tense(match))


def _holiday(match: re.Match[str], said: Said) -> Stretch | None:
    number, day = _HOLIDAYS[match["name"]]

    def make(y: int) -> Stretch:
        if day:
            return days(date(y, number, day))
        first = date(y, number, 1)
        return days(weekday(date(y, number, 22 if first.weekday() <= 3 else 29), 3))

    if match["year"]:
        return make(int(match["year"]))
    found = yearly(make, said.day)
    if match["how"] in {"last", "next"}:
        return relative(found, said.at, match["how"])
    return fitting(found, said.at, said.tense(match))


_OF_MONTH = " ".join(MONTHS)
_TO = r" ?(?:-|to|and|until) ?"
_FULL = r"(?:1[0-9]|20|21)[0-9]{2}"
_NO_DAY = r"(?<![0-9]\s)(?<![0-9](?:st|nd|rd|th)\s)"
_NO_COUNT = (
    r"(?! ?(?:%|people|words?|miles|dollars|euros|pounds|steps|calories|km|meters|metres|square"
    r"|others?|times|years?|days|hours|points|votes|percent|copies|of them|units|users)\b)"
    r"(?![\w/%:-]|[.,][0-9])"
)

RULES: tuple[Rule, ...] = (
    rule(
        _OF_MONTH,
        rf"(?<![\w/.]){_NAMED}(?P<day>[0-3]?[0-9])(?:st|nd|rd|th)?(?:{_TO}(?P<last>[0-3]?[0-9]))?"
        rf"(?P<th>st|nd|rd|th)?,? (?:of )?{MONTH}(?:,? (?:of )?{_YEAR})?(?!\w)",
        _day,
    ),
    rule(
        _OF_MONTH,
        rf"\b{_NAMED}{MONTH} (?:the )?(?P<day>[0-3]?[0-9])(?P<th>st|nd|rd|th)?"
        rf"(?:{_TO}(?P<last>[0-3]?[0-9])(?:st|nd|rd|th)?(?! ?(?:am|pm|:)|\w))?"
        rf"(?:,? (?:of )?{_YEAR})?(?![\w:]| ?%)",
        _day,
    ),
    rule(_OF_MONTH, rf"\b{_NO_DAY}{_PLACE}{MONTH},?(?: of(?: the year)?)? ?{_YEAR}", _month_year),
    rule(
        _OF_MONTH,
        r"\b(?P<how>last |next |this (?:past |coming )?|(?:back )?in |since |by |until |till "
        r"|during |before |after |around |through |between "
        r"|from (?=[a-z]{3,9} (?:to|until|till|through)\b)|)"
        + _PLACE
        + MONTH
        + r"(?![\w'-]|,? ?(?:of )?(?:the )?'?[0-9])",
        _month,
    ),
    rule(
        "january february july september october november december",
        _NO_DAY + r"\b(?P<month>january|february|july|september|october|november|december)\b(?!')",
        _bare_month,
    ),
    rule(
        "0",
        r"(?<![\w./-])(?P<y>[12][0-9]{3})(?P<sep>[-/.])(?P<m>[01]?[0-9])(?P=sep)(?P<d>[0-3]?[0-9])"
        r"(?:(?:t| )(?P<hour>[0-2][0-9]):(?P<minute>[0-5][0-9])(?::[0-9]{2}(?:\.[0-9]{1,9})?)?z?)?"
        r"(?![\w/]|[-.][0-9])",
        _iso,
    ),
    rule(
        "0",
        r"(?<![\w./-])(?P<a>[0-3]?[0-9])(?P<sep>[/.-])(?P<b>[0-3]?[0-9])(?P=sep)"
        r"(?P<y>(?:19|20)[0-9]{2}|(?<=/)[0-9]{2})(?![\w/]|[-.][0-9])",
        _slashed,
    ),
    rule("0", r"(?<![\w/-])(?P<y>(?:19|20)[0-9]{2})-(?P<m>0[1-9]|1[0-2])(?![\w/-])", _year_month),
    rule("on", r"\bon (?P<a>[0-3]?[0-9])/(?P<b>[0-3]?[0-9])(?![\w/.-])", _short),
    rule(
        "0",
        r"(?:\b(?:in|since|by|during|until|till|before|after|around|circa|from|through|of)"
        r" (?:the year )?(?:the )?(?:(?P<place>early|mid|late|beginning|start|middle|end)"
        r"(?: of |[\s-]))?|\()(?P<year>" + _FULL + ")" + _NO_COUNT,
        _year,
    ),
    rule(
        "0",
        r"(?<![\w/.,-])(?:(?:from|between) )?(?P<year>"
        + _FULL
        + r")"
        + _TO
        + r"(?P<until>"
        + _FULL
        + r"|(?<=-)[0-9]{2})"
        + _NO_COUNT,
        _years,
    ),
    rule(
        "0 " + " ".join(_DECADES),
        r"(?<!\w)(?P<the>(?:the )?(?P<place>early|mid|late)[\s-](?:the )?'?|the '?)?"
        r"(?P<tens>(?:(?:1[5-9]|20)?[0-9]0)(?='?s\b)|" + "|".join(_DECADES) + r")(?:'?s)?\b",
        _decade,
    ),
    rule(
        " ".join(SEASONS),
        r"\b(?P<how>last |next |this (?:past |coming )?|in |during |since |by |over )?(?:the )?"
        r"(?P<season>spring|summer|autumn|fall|winter)(?:(?: of|,)? " + _YEAR + r")?\b",
        _season,
    ),
    rule(
        "year valentine fourth halloween christmas thanksgiving",
        r"\b(?:(?P<how>last|next|this) )?(?P<name>" + "|".join(_HOLIDAYS) + r")"
        r"(?:,? (?:of )?(?P<year>(?:19|20)[0-9]{2}))?\b",
        _holiday,
    ),
)
