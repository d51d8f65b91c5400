"""Chinese dates: ``昨天``, ``下周一``, ``三天后``, ``2024年5月8日``, ``去年夏天``.

Weeks begin on Monday: ``下周日`` is the Sunday of the next calendar week.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date, timedelta

from memos_integrations.cube.facts import TimeSpan
from memos_integrations.operation.reading.dates_relative import moved, reach
from memos_integrations.operation.reading.numbers import (
    AMOUNT_ZH,
    amount_zh,
    digits_zh,
    number_zh,
)
from memos_integrations.operation.reading.said import Said
from memos_integrations.operation.reading.timeline import (
    Stretch,
    days,
    fitting,
    month,
    part,
    season,
    shifted,
    third,
    week,
    weekday,
    weekend,
    year,
    yearly,
)

_NUMBER = r"(?:[0-9]{1,2}|[一二三四五六七八九十]{1,3})"
_PART = r"(?P<part>早上|早晨|清晨|上午|中午|下午|傍晚|晚上|夜里|夜间)?"
_PARTS = {"中午": "noon", "下午": "afternoon", "傍晚": "evening", "晚上": "evening",
          "晚": "evening",          "夜里": "night", "夜间": "night"}  # fmt: skip
_DAYS = {"大前": -3, "前": -2, "昨": -1, "今": 0, "明": 1, "后": 2, "大后": 3}
_YEARS = {"前年": -2, "去年": -1, "今年": 0, "明年": 1, "后年": 2}
_SEASONS = {"春": "spring", "夏": "summer", "秋": "autumn", "冬": "winter"}
_STEPS = {"上上": -2, "上": -1, "这": 0, "本": 0, "这一": 0, "下": 1, "下下": 2}
_UNITS = {"天": "day", "日": "day", "周": "week", "星期": "week", "礼拜": "week", "月": "month",
          "年": "year", "小时": "hour", "分钟": "minute", "周末": "weekend"}  # fmt: skip
_HOLIDAYS = {
    "元旦": (1, 1),
    "情人节": (2, 14),
    "劳动节": (5, 1),
    "国庆节": (10, 1),
    "国庆": (10, 1),
    "平安夜": (12, 24),
    "圣诞节": (12, 25),
}
_UNIT = r"(?P<unit>天|周末|周|年|小时|分钟|个(?:星期|礼拜|月|小时|周末|周)|星期|礼拜)"

TIME_SIGN = re.compile(
    r"[今昨明前后]天|[今去明后前]年|[年月]底|周末|(?:周|星期|礼拜)[一二三四五六日天末]|[上下这本]个?(?:周|月|星期)"
    r"|[0-9一二三四五六七八九十两几半](?:个?月|年|天|周|个?星期|个?小时|分钟|点|号|日)"
    r"|早上|上午|中午|下午|傍晚|晚上|今晚|明早|昨晚|春天|夏天|秋天|冬天|" + "|".join(_HOLIDAYS)
)

_Reader = Callable[["re.Match[str]", Said], "Stretch | None"]


def spans(said: Said) -> Iterator[TimeSpan]:
    """The Chinese dates of a text, in no order and as they overlap."""
    if _ANY.search(said.folded) is None:
        return
    for pattern, read in _RULES:
        for match in pattern.finditer(said.folded):
            try:
                stretch = read(match, said)
            except (ValueError, OverflowError, KeyError):
                continue  # no such day, or outside the calendar
            if stretch is not None and stretch.start < stretch.end:
                yield TimeSpan(*stretch, at=match.start(), to=match.end())


def _in_part(whole: Stretch, name: str | None) -> Stretch:
    return part(whole, _PARTS.get(name, "morning")) if name else whole


def _date(match: re.Match[str], said: Said) -> Stretch | None:
    """``2024年5月8日``, ``明年三月``, ``5月8号``, ``五月``."""
    number = number_zh(match["month"])
    day = number_zh(match["day"]) if match["day"] else None

    def make(y: int) -> Stretch:
        return days(date(y, number, day)) if day else month(y, number)

    if match["year"]:
        words = match["year"]
        whole = make(
            said.day.year + _YEARS[words] if words in _YEARS else digits_zh(words.rstrip("年"))
        )
    else:
        found = fitting(yearly(make, said.day), said.at, said.tense(match))
        if found is None:
            return None
        whole = found
    if match["place"]:
        return third(whole, {"初": "early", "底": "late"}.get(match["place"], "mid"))
    return _in_part(whole, match["part"])


def _year(match: re.Match[str], said: Said) -> Stretch | None:
    whole_year = digits_zh(match["year"])
    if match["season"]:
        return season(whole_year, _SEASONS[match["season"][0]])
    whole = year(whole_year)
    return third(whole, {"初": "early", "底": "late"}[match["place"]]) if match["place"] else whole


def _near_year(match: re.Match[str], said: Said) -> Stretch | None:
    number = said.day.year + _YEARS[match["year"]]
    if match["season"]:
        return season(number, _SEASONS[match["season"][0]])
    whole = year(number)
    return third(whole, {"初": "early", "底": "late"}[match["place"]]) if match["place"] else whole


def _season(match: re.Match[str], said: Said) -> Stretch | None:
    name = _SEASONS[match["season"]]
    return fitting(yearly(lambda y: season(y, name), said.day), said.at, said.tense(match))


def _day(match: re.Match[str], said: Said) -> Stretch | None:
    whole = days(said.day + timedelta(_DAYS[match["day"]]))
    return _in_part(whole, match["part"] or match["short"])


def _week(match: re.Match[str], said: Said) -> Stretch | None:
    """``下周一``, ``上个周末``, ``这周``; a weekday alone goes by the tense."""
    step, name = match["step"], match["name"]
    near = said.day + timedelta(7 * _STEPS[step]) if step else said.day
    if name is None:
        return week(near) if step else None
    if name == "末":
        here = weekend(near)
        past = not step and here.start > said.at and said.tense(match) == "past"
        return weekend(near - timedelta(7)) if past else here
    day = weekday(near, 6 if name in "日天" else "一二三四五六".index(name))
    if not step:
        past = said.tense(match) == "past"
        day += timedelta(-7 if past and day > said.day else 7 if not past and day < said.day else 0)
    return _in_part(days(day), match["part"])


def _month(match: re.Match[str], said: Said) -> Stretch | None:
    first = shifted(said.day, _STEPS[match["step"]])
    whole = month(first.year, first.month)
    place = {"初": "early", "底": "late", "中": "mid"}
    return third(whole, place[match["place"]]) if match["place"] else whole


def _away(match: re.Match[str], said: Said) -> Stretch | None:
    """``三天后``, ``两周前``, ``几个月以前``."""
    unit = _UNITS[match["unit"].removeprefix("个")]
    sign = -1 if "前" in match["side"] else 1
    return moved(said, amount_zh(match["n"]), unit, sign)


def _until_now(match: re.Match[str], said: Said) -> Stretch | None:
    """``过去三年``, ``两年来``."""
    return reach(said, amount_zh(match["n"]), _UNITS[match["unit"].removeprefix("个")], -1)


def _decade(match: re.Match[str], said: Said) -> Stretch | None:
    tens = number_zh(match["tens"])
    century = 19 if match["century"] == "上" or said.day.year % 100 < tens else 20
    first = (int(match["century"]) - 1 if (match["century"] or "").isdigit() else century) * 100
    return year(first + tens, 10) if tens % 10 == 0 else None


def _holiday(match: re.Match[str], said: Said) -> Stretch | None:
    number, day = _HOLIDAYS[match["name"]]
    if match["year"]:
        return days(date(said.day.year + _YEARS[match["year"]], number, day))
    found = yearly(lambda y: days(date(y, number, day)), said.day)
    return fitting(found, said.at, said.tense(match))


_ANY = re.compile(r"[年月日号天周晚早春夏秋冬节]|星期|礼拜|小时|分钟|元旦|国庆|平安夜")
_RULES: tuple[tuple[re.Pattern[str], _Reader], ...] = tuple(
    (re.compile(pattern), read)
    for pattern, read in (
        (
            r"(?P<year>(?:[0-9]{4}|[〇零一二三四五六七八九]{4})年|[今去明后前]年)?的?(?<![0-9一二三四五六七八九十每])"
            rf"(?P<month>{_NUMBER})月(?!份?[的]?(?:子|饼))份?(?:(?P<day>{_NUMBER})[日号])?"
            rf"(?P<place>初|中旬|底)?{_PART}",
            _date,
        ),
        (
            r"(?<![0-9〇零一二三四五六七八九])(?P<year>[0-9]{4}|[〇零一二三四五六七八九]{4})年(?!前|后|以[前后]|代)的?"
            r"(?P<season>[春夏秋冬][天季]?)?(?P<place>[初底])?",
            _year,
        ),
        (
            r"(?<!以)(?P<year>[今去明后前]年)的?(?P<season>[春夏秋冬][天季]?)?(?P<place>[初底])?",
            _near_year,
        ),
        (r"(?<!年)(?P<season>[春夏秋冬])[天季]", _season),
        (
            rf"(?P<day>大前|大后|前|昨|今|明|后)(?:[天日]{_PART}|(?P<short>[晚早]))",
            _day,
        ),
        (
            r"(?P<step>上上|下下|上|下|这一|这|本)?(?<![每一两三四五六几])个?(?:周|星期|礼拜)"
            rf"(?P<name>[一二三四五六日天末])?(?![前后年来]|以[前后]){_PART}",
            _week,
        ),
        (r"(?P<step>上上|下下|上|下|这|本)个?月(?P<place>[初底中])?", _month),
        (rf"(?<![第0-9]){'(?P<n>' + AMOUNT_ZH + ')'}{_UNIT}(?P<side>[之以]?[前后])", _away),
        (rf"(?:过去|最近|近)的?{'(?P<n>' + AMOUNT_ZH + ')'}{_UNIT}", _until_now),
        (rf"(?<![第0-9]){'(?P<n>' + AMOUNT_ZH + ')'}{_UNIT}以?来(?!说|自|到)", _until_now),
        (
            r"(?:(?P<century>上|[0-9]{2})(?:个)?世纪)?(?P<tens>[0-9]{2}|[一二三四五六七八九]十)年代",
            _decade,
        ),
        (r"(?P<year>[今去明]年)?(?P<name>" + "|".join(_HOLIDAYS) + ")", _holiday),
    )
)
