"""Corrections of what was just said: ``Actually it's Tuesday, not Monday``.

What was said before is read again with the right word in the place of the wrong one; only the
facts that change by it are given, resting on the words of the correction.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from memos_integrations.cube.facts import Fact, TurnText
from memos_integrations.operation.reading.answers import turned
from memos_integrations.operation.reading.dates import spoken_times
from memos_integrations.operation.reading.said import fold
from memos_integrations.operation.reading.segments import Segment

_CUE = r"(?:actually|no|sorry|oops|correction|wait|my mistake|i was wrong|ah|oh|well|,|\.|!|-|:|\s)"
_NOT = re.compile(
    rf"{_CUE}*(?:i meant?(?: to say)?|it(?:'s| is| was)|that(?:'s| is| was)|make (?:it|that)|that should"
    r" be|he(?:'s| is)|she(?:'s| is)|they(?:'re| are))\s(?:actually |on |in |at |called |named )?"
    r"(?P<new>[^,.!?;]{1,40}?),?\s(?:and )?(?:not|instead of|rather than) (?:on |in |at )?"
    r"(?P<old>[^,.!?;]{1,40})[.!]*$".replace(" ", r"\s")
)
_NOT_FIRST = re.compile(
    rf"{_CUE}*not (?:on |in |at )?(?P<old>[^,.!?;]{{1,40}}?),?\s(?:but|i meant?|it's)\s(?:on |in |at )?"
    r"(?P<new>[^,.!?;]{1,40})[.!]*$".replace(" ", r"\s")
)
_MEANT = re.compile(
    r"(?:(?:actually|no|sorry|oops|correction|wait|my mistake)[\s,.!:-]{1,4}){1,3}(?:i meant?(?: to say)?"
    r"|it(?:'s| is)|make (?:it|that)) (?:on |in |at )?(?P<new>[^,.!?;]{1,40})[.!]*$".replace(
        " ", r"\s"
    )
)
_ZH = re.compile(
    r"(?:不对|不是|更正|说错了|其实)?[,，]?(?:其实)?是(?P<new>[^,，。！？]{1,16}?)[,，]?(?:而)?不是(?P<old>[^,，。！？]{1,16})[。！]?$"
)
_MOST_BEFORE, _MOST = 2_000, 16
_THEIRS = re.compile(r"\b(?:i|my|me)\b|我", re.IGNORECASE)
_YOU = re.compile(r"\byour?\b|你", re.IGNORECASE)


Read: TypeAlias = Callable[[TurnText], list[Fact]]


@dataclass(slots=True)
class Corrected:
    """What corrections in a turn say, and what of the same turn they take back."""

    facts: list[Fact] = field(default_factory=list)
    withdrawn: set[str] = field(default_factory=set)
    """The sentences (``Fact.text``) that hold no longer."""


def corrected(turn: TurnText, segments: Sequence[Segment], read: Read) -> Corrected:
    """The facts that corrections in the turn change; ``read`` reads plain statements."""
    done = Corrected()
    for place, segment in enumerate(segments):
        shown = turn.text[segment.at : segment.to]
        if len(shown) > 160 or len(done.facts) >= _MOST:
            continue
        replaced = _replacing(fold(shown), shown)
        source = _source(turn, segments, place) if replaced is not None else None
        if replaced is not None and source is not None:
            _apply(done, source, *replaced, segment, read)
    return done


def _source(turn: TurnText, segments: Sequence[Segment], place: int) -> TurnText | None:
    """What may be corrected: the same speaker's words before it, else the turn before."""
    if place:
        return replace(turn, text=turn.text[: segments[place].at][-_MOST_BEFORE:], before=None)
    if turn.before is None:
        return None
    text = turn.before[-_MOST_BEFORE:]
    if turn.before_speaker not in {None, turn.speaker}:
        if _THEIRS.search(text) or not _YOU.search(text):
            return None  # what others say of themselves is theirs to correct
        text = turned(text).replace("?", ".")
    return replace(turn, text=text, before=None)


def _replacing(folded: str, shown: str) -> tuple[str | None, str] | None:
    """The wrong words (``None`` where they are not named) and the right ones."""
    found = _NOT.match(folded) or _NOT_FIRST.match(folded) or _ZH.search(folded)
    if found is not None:
        return found["old"].strip(), shown[found.start("new") : found.end("new")].strip()
    meant = _MEANT.match(folded)
    if meant is None:
        return None
    return None, shown[meant.start("new") : meant.end("new")].strip()


def _apply(
    done: Corrected, source: TurnText, wrong: str | None, right: str, where: Segment, read: Read
) -> None:
    wrong = wrong or _only_date(source, right)
    at = fold(source.text).rfind(wrong) if wrong else -1
    if not wrong or at < 0:
        return
    text = source.text[:at] + right + source.text[at + len(wrong) :]
    before = {fact.text for fact in read(source)}
    after = read(replace(source, text=text))
    done.withdrawn |= before - {fact.text for fact in after}
    done.facts += [
        replace(fact, at=where.at, to=where.to, confidence=0.9)
        for fact in after
        if fact.text not in before
    ]


def _only_date(source: TurnText, right: str) -> str | None:
    """The one date of what was said, where the right word is a date too."""
    times = spoken_times(source.text, at=source.time)
    if len(times) != 1 or not spoken_times(f"on {right}", at=source.time):
        return None
    words = fold(source.text)[times[0].at : times[0].to]
    for lead in ("on ", "in ", "by ", "next ", "last ", "this "):
        if words.startswith(lead) and not right.lower().startswith(lead):
            words = words.removeprefix(lead)
    return words
