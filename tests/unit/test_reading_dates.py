"""Dates in words, read against Wednesday 10 May 2023, 15:00 UTC."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos_integrations.operation.reading.dates import has_number, has_time_word, spoken_times

AT = int(datetime(2023, 5, 10, 15, tzinfo=UTC).timestamp()) * 1_000_000


def read(text: str, at: int = AT) -> list[str]:
    """``start/end`` of every span, days where they fall on midnight."""
    return [f"{_short(span.start)}/{_short(span.end)}" for span in spoken_times(text, at=at)]


def _short(micros: int) -> str:
    when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    return f"{when:%Y-%m-%d %H:%M}".removesuffix(" 00:00")


ENGLISH = [
    ("We met on 8 May 2023.", "2023-05-08/2023-05-09"),
    ("It was the 8th of May, 2021", "2021-05-08/2021-05-09"),
    ("May 8th, 2022 was warm", "2022-05-08/2022-05-09"),
    ("born 2001-02-03", "2001-02-03/2001-02-04"),
    ("at 2023-05-08T10:30:00Z", "2023-05-08 10:30/2023-05-08 10:31"),
    ("dated 05/08/2023", "2023-05-08/2023-05-09"),
    ("dated 25/08/2023", "2023-08-25/2023-08-26"),
    ("dated 05.08.2023", "2023-08-05/2023-08-06"),
    ("05/08/19 it was", "2019-05-08/2019-05-09"),
    ("I left on June 3", "2022-06-03/2022-06-04"),
    ("I will leave on April 3", "2024-04-03/2024-04-04"),
    ("the leap day, we met on 29 February", "2020-02-29/2020-03-01"),
    ("from 3 to 5 May 2023", "2023-05-03/2023-05-06"),
    ("between May and July", "2023-05-01/2023-08-01"),
    ("we went in December", "2022-12-01/2023-01-01"),
    ("we will go in March", "2024-03-01/2024-04-01"),
    ("in early June we will start", "2023-06-01/2023-06-11"),
    ("What did Ann do in May 2022?", "2022-05-01/2022-06-01"),
    ("back in 2019", "2019-01-01/2020-01-01"),
    ("the summer of 2021", "2021-06-01/2021-09-01"),
    ("last summer", "2022-06-01/2022-09-01"),
    ("next winter", "2023-12-01/2024-03-01"),
    ("music of the 90s", "1990-01-01/2000-01-01"),
    ("from 2015 to 2018", "2015-01-01/2019-01-01"),
    ("on Christmas 2021", "2021-12-25/2021-12-26"),
    ("last Thanksgiving", "2022-11-24/2022-11-25"),
    ("yesterday", "2023-05-09/2023-05-10"),
    ("the day before yesterday", "2023-05-08/2023-05-09"),
    ("tomorrow morning", "2023-05-11 05:00/2023-05-11 12:00"),
    ("tomorrow at 5pm", "2023-05-11 17:00/2023-05-11 18:00"),
    ("at 17:30 on Friday", "2023-05-12 17:30/2023-05-12 17:31"),
    ("last night", "2023-05-09 18:00/2023-05-10 06:00"),
    ("last Friday", "2023-05-05/2023-05-06"),
    ("last Wednesday", "2023-05-03/2023-05-04"),
    ("next Friday", "2023-05-19/2023-05-20"),
    ("this Friday", "2023-05-12/2023-05-13"),
    ("we went there on Monday", "2023-05-08/2023-05-09"),
    ("we will go on Monday", "2023-05-15/2023-05-16"),
    ("Friday of next week", "2023-05-19/2023-05-20"),
    ("last week", "2023-05-01/2023-05-08"),
    ("last weekend", "2023-05-06/2023-05-08"),
    ("next month", "2023-06-01/2023-07-01"),
    ("this year", "2023-01-01/2024-01-01"),
    ("two days ago", "2023-05-08/2023-05-09"),
    ("two weeks ago", "2023-04-23/2023-04-30"),
    ("a few months ago", "2022-12-01/2023-04-01"),
    ("3 years ago", "2020-01-01/2021-01-01"),
    ("two Fridays ago", "2023-04-28/2023-04-29"),
    ("in three days", "2023-05-13/2023-05-14"),
    ("two weeks from now", "2023-05-21/2023-05-28"),
    ("the week before 3 July", "2023-06-26/2023-07-03"),
    ("the Friday before 15 July 2023", "2023-07-14/2023-07-15"),
    ("the day after Christmas 2022", "2022-12-26/2022-12-27"),
    ("I have lived here since 2019", "2019-01-01/2023-05-11"),
    ("we have been married for two years", "2021-01-01/2023-05-11"),
    ("over the last two weeks", "2023-04-23/2023-05-11"),
]
CHINESE = [
    ("今天", "2023-05-10/2023-05-11"),
    ("明天下午见", "2023-05-11 12:00/2023-05-11 18:00"),
    ("大前天", "2023-05-07/2023-05-08"),
    ("后天", "2023-05-12/2023-05-13"),
    ("昨天我去了北京", "2023-05-09/2023-05-10"),
    ("上周", "2023-05-01/2023-05-08"),
    ("下周一要发布新产品", "2023-05-15/2023-05-16"),
    ("下星期三", "2023-05-17/2023-05-18"),
    ("这周末", "2023-05-13/2023-05-15"),
    ("上个月", "2023-04-01/2023-05-01"),
    ("明年", "2024-01-01/2025-01-01"),
    ("去年夏天", "2022-06-01/2022-09-01"),
    ("三天后", "2023-05-13/2023-05-14"),
    ("两周前", "2023-04-23/2023-04-30"),
    ("三个月前", "2023-02-01/2023-03-01"),
    ("2024年5月8日", "2024-05-08/2024-05-09"),
    ("二〇二四年五月八日", "2024-05-08/2024-05-09"),
    ("5月8日", "2023-05-08/2023-05-09"),
    ("从2019年开始", "2019-01-01/2023-05-11"),
    ("上世纪80年代", "1980-01-01/1990-01-01"),
    ("明年国庆节", "2024-10-01/2024-10-02"),
]
NOTHING = [
    "I may 8 go and then march 5 miles",
    "30 February 2023, 31 June, 2023-13-45, 13/13/2023",
    "every Friday, on Sundays",
    "It took us two years, for two years we built",
    "version 1.2.3 and 192.168.10.12 and 3/4 of it",
    "2000 people came, in 2000 words",
    "每周一开会，一周三次，三个月",
    "周杰伦唱歌",
    "",
]


@pytest.mark.parametrize(("text", "expected"), ENGLISH + CHINESE)
def test_a_date_in_words_is_normalised_against_its_message(text: str, expected: str) -> None:
    assert read(text) == [expected]


@pytest.mark.parametrize("text", NOTHING)
def test_what_is_no_date_gives_no_span(text: str) -> None:
    assert read(text) == []


def test_spans_quote_the_words_they_were_read_from() -> None:
    text = "İ said: we met last Friday 🎉, and 下周一 again"
    assert [text[s.at : s.to] for s in spoken_times(text, at=AT)] == ["last Friday", "下周一"]


@pytest.mark.parametrize("at", [-(2**70), 2**70, 253_402_300_799_999_999, -62_135_596_800_000_000])
def test_a_time_outside_the_calendar_gives_nothing(at: int) -> None:
    assert spoken_times("yesterday, last year, in 300 years", at=at) == ()


@given(st.text(), st.integers(-(2**63), 2**63))
def test_no_text_and_no_time_raises(text: str, at: int) -> None:
    for span in spoken_times(text, at=at):
        assert span.start < span.end
        assert 0 <= span.at < span.to <= len(text)
    has_time_word(text)
    has_number(text)


_SHREDS = [
    *"last next this since for in on at the of to and May 8 2023 Friday week weeks two days ago"
    " before after until from between year 9999 month 31 june yesterday 5pm 17:30 - , . /".split(),
    *"下 上 个 周 一 三 天 后 前 年 月 日 2024 今 昨 起 以来 末 底".split(),
]


@given(st.lists(st.sampled_from(_SHREDS), max_size=14), st.booleans())
def test_shreds_of_dates_never_raise_and_never_overlap(words: list[str], blank: bool) -> None:
    text = (" " if blank else "").join(words)
    spans = spoken_times(text, at=AT)
    assert all(a.to <= b.at for a, b in pairwise(spans))


@pytest.mark.parametrize(
    "shred", ["1", "1/", "2023-", "last ", "in ", "in the last few ", "İ", "下", "一", "一年", "a "]
)
def test_a_megabyte_of_one_shred_takes_linear_time(shred: str) -> None:
    text = shred * (1_000_000 // len(shred))
    begun = time.process_time()
    spoken_times(text, at=AT)
    assert time.process_time() - begun < 20


@pytest.mark.parametrize(
    ("text", "time_word", "number"),
    [
        ("See you on Friday", True, False),
        ("It lasted ten minutes", True, True),
        ("at 5pm", True, True),
        ("早上八点", True, True),
        ("She has three cats", False, True),
        ("我有三只猫", False, True),
        ("I like that one", False, False),
        ("one apple fell", False, True),
        ("我们一起去", False, False),
        ("She likes jazz", False, False),
    ],
)
def test_marks_of_time_and_number(text: str, time_word: bool, number: bool) -> None:
    assert (has_time_word(text), has_number(text)) == (time_word, number)
