"""The terms a text is found by: folded, stemmed words without stop words.

Called by the text indexes, for items and questions alike, so both sides always agree.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import chain

_MAX_WORD_CHARS = 64
_MAX_MARKS_IN_A_ROW = 32

# Scripts written without spaces between words, and Korean, whose particles cling to the word.
_UNSPACED = (
    "\u0e01-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17d3\u3005\u3007\u3041-\u3096\u309d-\u309f"
    "\u30a1-\u30fa\u30fc-\u30ff\u3105-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\ua960-\ua97f\uac00-\ud7ff\U00020000-\U0003fffd"
)
# Vowel signs and joiners inside words; `\w` does not match them, so words would fall apart.
_SIGNS = (
    "\u0730-\u074a\u07a6-\u07b0\u07eb-\u07f3\u0900-\u0963\u0971-\u0dff\u0f71-\u0f84\u0f90-\u0fbc"
)
# A flag is two letters; skin tones are left out, so a gesture is found in any of them.
_EMOJI = (
    "[\U0001f1e6-\U0001f1ff]{2}"
    "|[\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001f3fa\U0001f400-\U0001faff]"
)
_TAIL = r"(?:'(?:s|t|re|ve|ll|d|m)\b)?"
_LETTER = rf"(?:[^\W_{_UNSPACED}]|[{_SIGNS}])"
_NUMBER = r"\d{1,3}(?:,\d{3}){1,6}(?!\w)"

# Only the group is kept: what follows it in an over-long word is dropped.
_ASCII_WORD = re.compile(rf"({_NUMBER}|[a-z0-9]{{1,{_MAX_WORD_CHARS}}}{_TAIL})[a-z0-9]*")
_WORD = re.compile(
    rf"([{_UNSPACED}]+|{_EMOJI}|{_NUMBER}|{_LETTER}{{1,{_MAX_WORD_CHARS}}}{_TAIL})"
    rf"(?:(?<=[\w{_SIGNS}])(?<![{_UNSPACED}]){_LETTER}+)?"
)
_JOINED_DIGITS = re.compile(r"\d,\d")
_SPACED = {n: " " for n in range(128) if not chr(n).isalnum()}
_UNSPACED_RUN = re.compile(rf"[{_UNSPACED}]")
_LONG_MARKS = re.compile(rf"([^\w\s\x00-\x7f]{{{_MAX_MARKS_IN_A_ROW}}})[^\w\s\x00-\x7f]+")

_FOLDED = "ıøłđħŧæœþðŋ"
_FOLD: dict[int, str | None] = dict(
    zip(map(ord, _FOLDED), ("i", "o", "l", "d", "h", "t", "ae", "oe", "th", "d", "n"), strict=True)
)
_FOLD.update(dict.fromkeys(map(ord, "\u2018\u2019\u02bc"), "'"))
# Typographic signs of English prose, so that it takes the faster path.
_FOLD.update(dict.fromkeys(map(ord, "\u201c\u201d\u2013\u2014\u2022"), " "))
# Accents, Hebrew points, Arabic vowels, variation selectors, joiners, soft hyphens.
for _low, _high in (
    (0x300, 0x36F), (0x483, 0x487), (0x591, 0x5BD), (0x5BF, 0x5BF), (0x5C1, 0x5C2),
    (0x5C4, 0x5C5), (0x5C7, 0x5C7), (0x610, 0x61A), (0x640, 0x640), (0x64B, 0x65F),
    (0x670, 0x670), (0x6D6, 0x6DC), (0x6DF, 0x6E4), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF),
    (0x20D0, 0x20FF), (0xFE00, 0xFE0F), (0xFE20, 0xFE2F), (0x200C, 0x200F), (0xAD, 0xAD),
    (0x2060, 0x2060), (0xFEFF, 0xFEFF),
):  # fmt: skip
    _FOLD.update(dict.fromkeys(range(_low, _high + 1)))


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Left out, because they are also names, months or answers: will, may, us, no, not, never, id.
_STOP = _listed(
    """a about above after again all also am an and any are as at be because been before being
    below between both but by can could did do does doing down during each few for from further
    get got had has have having he her here hers herself him himself his how i if in into is it
    its itself just let me more most my myself of off on once only or other our ours ourselves out
    over own same she should so some such than that the their theirs them themselves then there
    these they this those through to too under until up very was we were what when where which
    while who whom why with would you your yours yourself yourselves
    im ive youre youve theyre thats whats theres hes shes lets"""
)
_NOT = _listed(
    "cannot cant dont didnt doesnt isnt arent wasnt werent couldnt wouldnt shouldnt wont"
)


def tokens(text: str) -> list[str]:
    """The terms of ``text`` in order, repeats kept.

    Case, accents and width are folded (NFKC and more), English is stemmed and loses its stop
    words, "n't" becomes ``not``, ``10,000`` becomes ``10000``. Letters and digits joined by other
    signs come apart, so ``PROJ-123`` is found by either half. Chinese, Japanese, Korean, Thai,
    Lao, Khmer and Burmese give pairs of characters, an emoji is a term of its own, and a word
    ends after 64 characters. Linear in the length of the text, whatever it holds.
    """
    plain = text.lower() if text.isascii() else _fold(text)
    words = _split(plain)
    if not plain.isascii() and _UNSPACED_RUN.search(plain):
        words = list(chain.from_iterable(map(_pairs, words)))
    return list(filter(None, map(_term, words)))


def _split(plain: str) -> list[str]:
    """The matches of the pattern for words. Most prose in ASCII is split at once instead, which
    takes a third of the time and, without the signs that join, comes to the same."""
    if not plain.isascii():
        return _WORD.findall(plain)
    if "'" not in plain and not ("," in plain and _JOINED_DIGITS.search(plain)):
        words = plain.translate(_SPACED).split()
        if max(map(len, words), default=0) <= _MAX_WORD_CHARS:
            return words
    return _ASCII_WORD.findall(plain)


def _fold(text: str) -> str:
    # Sorting a long row of combining marks into canonical order takes quadratic time.
    short = _LONG_MARKS.sub(r"\1 ", text)
    plain = unicodedata.normalize("NFKD", short).casefold().translate(_FOLD)
    return unicodedata.normalize("NFC", plain)


def _pairs(word: str) -> list[str]:
    """The pairs of neighbours in an unspaced run; any other word as it is."""
    if len(word) == 1 or not _UNSPACED_RUN.match(word):
        return [word]
    return [word[i : i + 2] for i in range(len(word) - 1)]


@lru_cache(maxsize=1 << 16)
def _term(word: str) -> str:
    """The term of one matched word; empty for a stop word."""
    head, _, tail = word.partition("'")
    if (tail == "t" and head.endswith("n")) or head in _NOT:
        return "not"
    if head in _STOP:
        return ""
    if head.isascii() and head.isalpha():
        return stem(head)
    return head.replace(",", "")


# English stemming: "Porter2", https://snowballstem.org/algorithms/english/stemmer.html
# (M. F. Porter, 2001, as revised in Snowball 3). A "y" that is a consonant is written "Y".

_CONSONANT_Y = re.compile("^y|(?<=[aeiou])y")
_VOWEL = re.compile("[aeiouy]")
_REGION = re.compile("[aeiouy]+[^aeiouy]")
_FIXED_REGION = re.compile("gener|commun|arsen|past|univers|later|emerg|organ|inter")
_SHORT_SYLLABLE = re.compile("(?:[^aeiouy][aeiouy][^aeiouywxY]|^[aeiouy][^aeiouy]|past)$")
_PAST_OR_GERUND = re.compile("(eed|eedly)$|(?:ed|edly|ing|ingly)$")
_DOUBLE = re.compile("(bb|dd|ff|gg|mm|nn|pp|rr|tt)$")

_IRREGULAR = {
    "skis": "ski", "skies": "sky", "idly": "idl", "gently": "gentl", "ugly": "ugli",
    "early": "earli", "only": "onli", "singly": "singl", "sky": "sky", "news": "news",
    "howe": "howe", "atlas": "atlas", "cosmos": "cosmos", "bias": "bias", "andes": "andes",
}  # fmt: skip
_STEP_2 = {
    "tional": "tion", "enci": "ence", "anci": "ance", "abli": "able", "entli": "ent",
    "izer": "ize", "ization": "ize", "ational": "ate", "ation": "ate", "ator": "ate",
    "alism": "al", "aliti": "al", "alli": "al", "fulness": "ful", "ousli": "ous",
    "ousness": "ous", "iveness": "ive", "iviti": "ive", "biliti": "ble", "bli": "ble",
    "ogi": "og", "ogist": "og", "fulli": "ful", "lessli": "less", "li": "",
}  # fmt: skip
_STEP_3 = {
    "tional": "tion", "ational": "ate", "alize": "al", "icate": "ic", "iciti": "ic",
    "ical": "ic", "ful": "", "ness": "", "ative": "",
}  # fmt: skip
_STEP_4 = dict.fromkeys(
    _listed("al ance ence er ic able ible ant ement ment ent ism ate iti ous ive ize ion"), ""
)
# What must stand before a suffix for it to go.
_BEFORE = {"ogi": "l", "li": "cdeghkmnrt", "ion": "st"}


def stem(word: str) -> str:
    """The Porter2 stem of a lower-case English word of the letters a to z."""
    if len(word) < 3:
        return word
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    word = _CONSONANT_Y.sub("Y", word)
    fixed = _FIXED_REGION.match(word)
    r1 = fixed.end() if fixed else _after_region(word, 0)
    r2 = _after_region(word, r1)
    word = _step_1b(_step_1a(word), r1)
    if word[-1] in "yY" and len(word) > 2 and word[-2] not in "aeiouy":
        word = word[:-1] + "i"
    word = _swap(word, _STEP_2, r1)
    word = _swap(word, _STEP_3, r2 if word.endswith("ative") else r1)
    return _step_5(_swap(word, _STEP_4, r2), r1, r2).lower()


def _after_region(word: str, start: int) -> int:
    found = _REGION.search(word, start)
    return found.end() if found else len(word)


def _step_1a(word: str) -> str:
    if word.endswith("sses"):
        return word[:-2]
    if word.endswith(("ied", "ies")):
        return word[:-2] if len(word) > 4 else word[:-1]
    if word.endswith("s") and not word.endswith(("us", "ss")) and _VOWEL.search(word[:-2]):
        return word[:-1]
    return word


def _step_1b(word: str, r1: int) -> str:
    found = _PAST_OR_GERUND.search(word)
    if not found:
        return word
    base = word[: found.start()]
    if found[1]:
        keep = base in ("proc", "exc", "succ") or found.start() < r1
        return word if keep else base + "ee"
    if found[0] == "ing":
        if len(base) == 2 and base[1] == "y" and base[0] not in "aeiouy":
            return base[0] + "ie"
        if base in ("inn", "out", "cann", "herr", "earr", "even"):
            return word
    return _mend(base, r1) if _VOWEL.search(base) else word


def _mend(base: str, r1: int) -> str:
    if base.endswith(("at", "bl", "iz")):
        return base + "e"
    if _DOUBLE.search(base):
        return base if len(base) == 3 and base[0] in "aeo" else base[:-1]
    return base + "e" if len(base) == r1 and _SHORT_SYLLABLE.search(base) else base


def _swap(word: str, table: dict[str, str], region: int) -> str:
    """``word`` with the longest suffix of ``table`` replaced, if all of it lies in the region."""
    for size in range(min(7, len(word)), 1, -1):
        suffix = word[-size:]
        if suffix in table:
            cut = len(word) - size
            fits = cut >= region and word[cut - 1] in _BEFORE.get(suffix, word)
            return word[:cut] + table[suffix] if fits else word
    return word


def _step_5(word: str, r1: int, r2: int) -> str:
    cut = len(word) - 1
    if word.endswith("e"):
        drop = cut >= r2 or (cut >= r1 and not _SHORT_SYLLABLE.search(word[:-1]))
    else:
        drop = word.endswith("ll") and cut >= r2
    return word[:-1] if drop else word
