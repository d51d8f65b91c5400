"""Numbers in words: amounts before a unit, and whether a text holds any number at all."""

from __future__ import annotations

import re
from typing import NamedTuple

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen twenty"
).split()
_TENS = "thirty forty fifty sixty seventy eighty ninety".split()
WORDS = {word: n for n, word in enumerate(_ONES)} | {w: 30 + 10 * n for n, w in enumerate(_TENS)}
_FUZZY = {"few": (2.0, 5.0), "couple": (2.0, 2.0), "several": (3.0, 7.0), "half": (0.5, 0.5)}

AMOUNT = (
    r"(?:[0-9]{1,4}|half\ an?|an?\ couple(?:\ of)?|an?\ few|several|an?|"
    + "|".join(sorted(WORDS, key=len, reverse=True))
    + r")(?:\ and\ a\ half)?"
).replace("\\ ", r"\s")
"""An amount before a unit, in lower-case text."""

_DIGITS = {c: n for n, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2, "俩": 2}
AMOUNT_ZH = r"(?:[0-9]{1,3}|[一二两三四五六七八九十百]{1,5}|几|数|半)"

_NUMBER_WORDS = frozenset(WORDS) - {"zero", "one"} | frozenset(
    "hundred hundreds thousand thousands million millions billion billions dozen dozens couple "
    "twice thrice once half pair".split()
)
_WORD = re.compile(r"[a-z]+")
_SPACED = {n: " " for n in range(128) if not "a" <= chr(n) <= "z"}
_DIGIT = re.compile(r"[0-9]")
_ONE = re.compile(
    r"\bone\s(?!of|another|day|thing|more|that|who|which|is|was|can|should|must|and|or|to)[a-z]"
)
_SIGN = re.compile(
    r"[一二两三四五六七八九十百千万亿几](?=[个只条次岁年天周月本张位名件辆杯块元分种点号])"
)


class Amount(NamedTuple):
    """An exact amount, or the range that ``a few`` and the like mean."""

    low: float
    high: float


def amount(words: str) -> Amount:
    """What an ``AMOUNT`` means: ``two`` is 2, ``a few`` is 2 to 5, ``one and a half`` 1.5."""
    more = 0.5 if words.endswith("half") and words[:4] != "half" else 0.0
    for word in words.split():
        if word in _FUZZY:
            return Amount(*_FUZZY[word])
        if word in WORDS or word.isdigit():
            n = float(word) if word.isdigit() else float(WORDS[word])
            return Amount(n + more, n + more)
    return Amount(1.0 + more, 1.0 + more)


def number_zh(words: str) -> int:
    """A whole number below a thousand in Chinese or digits: ``二十三``, ``十``, ``23``."""
    if words.isdigit():
        return int(words)
    total, last = 0, 0
    for sign in words:
        if sign in _DIGITS:
            last = _DIGITS[sign]
        else:
            total += max(last, 1) * (100 if sign == "百" else 10)
            last = 0
    return total + last


def digits_zh(words: str) -> int:
    """A number spelled digit by digit: ``二〇二四``."""
    return int("".join(c if c.isdigit() else str(_DIGITS[c]) for c in words))


def amount_zh(words: str) -> Amount:
    """What an ``AMOUNT_ZH`` means."""
    if words in {"几", "数"}:
        return Amount(*_FUZZY["few"])
    n = 0.5 if words == "半" else float(number_zh(words))
    return Amount(n, n)


def letters(lowered: str) -> list[str]:
    """The runs of letters from a to z in a text without capitals."""
    return lowered.translate(_SPACED).split() if lowered.isascii() else _WORD.findall(lowered)


def has_number(text: str) -> bool:
    """Whether the text holds a number, in digits or in words."""
    if _DIGIT.search(text):
        return True
    words = letters(text.lower())
    if not _NUMBER_WORDS.isdisjoint(words):
        return True
    if "one" in words and _ONE.search(text.lower()):
        return True
    return not text.isascii() and _SIGN.search(text) is not None
