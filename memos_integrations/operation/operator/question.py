"""What a question asks for, read off its words once, before any memory is looked at.

Pure. Called by the operator; the signals read the result.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from memos_integrations.cube.facts import TimeSpan
from memos_integrations.cube.ports import Vector

_WHEN = re.compile(
    r"^\s*(?:(?:and|so|but)\s+)?(?:when\b|(?:what|which)\s+(?:date|day|month|year|time|week)\b"
    r"|since when\b|how long\b)|什么时候|何时|哪天|几号|几点|哪一?年",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"\bhow\s+(?:many|much|often|old|long|far|tall|big|big|high)\b|多少|几(?:个|次|岁|天)",
    re.IGNORECASE,
)
_ADVICE = re.compile(
    r"\b(?:recommend\w*|suggest\w*|advi[cs]e|should\s+i|ideas?\s+for|tips"
    r"|help\s+me\s+(?:find|choose|plan|pick|decide)|what\s+are\s+some|what\s+would\s+be\s+a\s+good"
    r"|where\s+can\s+i|how\s+(?:can|do|should)\s+i"
    r"|what\s+(?:kind|type|sort)s?\s+of\s.{1,60}?\s(?:should|would|can|could)"
    r"|(?:can|could|would)\s+you|i(?:'m|\s+am)\s+(?:looking|planning|thinking)"
    r"|i\s+want|i\s+need|i'd\s+like)\b|推荐|建议|怎么办|应该",
    re.IGNORECASE,
)
_ASSISTANT = re.compile(
    r"\b(?:you|assistant|chatbot)\b.{0,40}\b(?:said|say|tell|told|recommend\w*|suggest\w*|"
    r"mention\w*|explain\w*|answer\w*|wrote|write|gave|give|list\w*)\b"
    r"|\byour\s+(?:answer|advice|suggestions?|recommendations?|last|previous)\b|你(?:说|推荐|建议)过",
    re.IGNORECASE,
)
_ASKED_BEFORE = re.compile(r"\b(?:did|have|had|were|was|earlier|before|last\s+time)\b|过", re.I)
_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")


@dataclass(frozen=True, slots=True)
class Query:
    """A question as the arms and signals see it; ``vector`` is ``None`` without an embedder."""

    text: str
    vector: Vector | None = None
    times: tuple[TimeSpan, ...] = ()
    """The dates it speaks of."""

    @property
    def wants_time(self) -> bool:
        # In ASCII it is the beginning that asks.
        ask = _WHEN.match if self.text.isascii() else _WHEN.search
        return ask(self.text) is not None

    @property
    def wants_number(self) -> bool:
        return _may_hold(self.text, _NUMBER_SIGNS) and _NUMBER.search(self.text) is not None

    @property
    def wants_advice(self) -> bool:
        """Whether it asks for a recommendation: memories that bear on it rarely share its words."""
        return _may_hold(self.text, _ADVICE_SIGNS) and _ADVICE.search(self.text) is not None

    @property
    def wants_assistant(self) -> bool:
        """Whether it asks what an assistant said, not what a person told."""
        asked = _ASSISTANT.search(self.text)
        return asked is not None and _ASKED_BEFORE.search(self.text) is not None


_NUMBER_SIGNS = ("how",)
_ADVICE_SIGNS = (
    "recommend", "suggest", "advi", "should", "idea", "tips", "help", "what", "where", "how",
    " you", "i'm", " am", " want", " need", "i'd",
)  # fmt: skip
"""Every match of the pattern holds one of these, but for blanks of another kind."""


def _may_hold(text: str, signs: tuple[str, ...]) -> bool:
    """Whether to look for a pattern at all: its alternatives cost more than these few words."""
    if not text.isascii() or not text.isprintable():
        return True
    lower = text.lower()
    return any(sign in lower for sign in signs)


def names_in(text: str, speakers: Mapping[str, int]) -> list[int]:
    """The speakers (casefolded name -> number) whose name the words hold, in order of the words.

    A speaker of several names is found by all of them together or by the first alone.
    """
    words = [word.casefold().removesuffix("'s").removesuffix("\u2019s") for word in _words(text)]
    found: dict[int, None] = {}
    for at, word in enumerate(words):
        number = speakers.get(word)
        for size in (3, 2):
            longer = " ".join(words[at : at + size])
            number = speakers.get(longer, number)
        if number is not None:
            found[number] = None
    return list(found)


def called(speakers: Sequence[str]) -> dict[str, int]:
    """Every name that calls exactly one of these (casefolded) speakers -> its number."""
    names: dict[str, int] = {}
    firsts: dict[str, list[int]] = {}
    for number, speaker in enumerate(speakers):
        names[speaker] = number
        firsts.setdefault(speaker.split(" ", 1)[0], []).append(number)
    for first, numbers in firsts.items():
        if len(numbers) == 1:
            names.setdefault(first, numbers[0])
    return names


class Names:
    """What calls the speakers of a cube, for one question after another."""

    def __init__(self, speakers: Sequence[str]) -> None:
        self._called = called(speakers)
        self._firsts = {name.split(" ", 1)[0] for name in self._called}

    def within(self, text: str) -> list[int]:
        """The speakers that the words name, in order of the words."""
        folded = text.casefold()
        if len(self._firsts) < _MANY_NAMES and not any(each in folded for each in self._firsts):
            return []
        return names_in(text, self._called)


_MANY_NAMES = 100
"""With more of them, to take the question apart is quicker than to look for each."""


def in_first_person(text: str, speaker: str) -> str:
    """The question as the speaker would put it of themselves: nearer to what they said."""
    for name in dict.fromkeys((speaker, speaker.split(" ", 1)[0])):
        whole = re.escape(name)
        text = re.sub(rf"\b{whole}['\u2019]s\b", "my", text, flags=re.IGNORECASE)
        text = re.sub(rf"\b{whole}\b", "I", text, flags=re.IGNORECASE)
    return text


def _words(text: str) -> list[str]:
    return _WORD.findall(text[:2000])
