"""Names in words: people, places, organisations and things, with their places.

Precision before recall. A capital at the beginning of a sentence proves nothing, so a word there
is a name only if it is one elsewhere in the words, or is followed by another capital.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from memos_integrations.cube.facts import Mention, MentionKind, TurnText
from memos_integrations.operation.reading import entities_zh
from memos_integrations.operation.reading.segments import Segment
from memos_integrations.operation.reading.vocabulary import (
    JOBS,
    LANGUAGES,
    NATIONALITIES,
    NO_NAMES,
    RELATIONS,
)

_WORD = r"[A-Z][a-zà-ÿ]{1,24}(?:[-'’][A-Z]?[a-zà-ÿ]{2,20})?|[A-Z]{2,12}[0-9]{0,3}|[A-Z][a-z]{1,12}[A-Z]\w{1,12}"
_NAME = re.compile(
    rf"(?<![\w@#/.])(?:{_WORD})(?:\s(?:(?:of|the|de|van|von|da|del|la)\s)?(?:{_WORD}))"
    r"{0,4}(?![\w@])"
)
_TITLE = re.compile(
    r"(?:Mr|Mrs|Ms|Dr|Prof|Professor|Doctor|Sir|Lady|Aunt|Uncle|Grandma|Grandpa|Captain)\.?\s$"
)
_WORK = re.compile(r"[\"“](?P<name>[A-Z][^\"”\n]{1,60})[\"”]")
_PERSON_BEFORE = re.compile(
    r"\b(?:named|called|by|meet|met|with|thanks|hey|hi|dear|told|ask|asked|for|and)\s$"
)
_PLACE_BEFORE = re.compile(
    r"\b(?:lives? in|living in|lived in|moved to|moving to|trip to|went to|visit(?:ed|ing)?|travel(?:l?ed"
    r"|l?ing)? to|flew to|flying to|born in|based in|grew up in|vacation in|holiday in|drove to|from|near"
    r"|hometown of|city of|beach in|hiking in|weekend in|arrived in|stay(?:ed|ing)? in)\s(?:the\s)?$"
)
_ORG_BEFORE = re.compile(
    r"\b(?:works? (?:at|for)|working (?:at|for)|job at|joined|employed by|intern(?:ing|ship)? at|study at|studies at|graduated from)\s(?:the\s)?$"
)
_ORG = re.compile(
    r"\b(?:Inc|Ltd|LLC|GmbH|Corp|Corporation|Company|University|College|School|Institute|Academy|Bank"
    r"|Hospital|Museum|Foundation|Association|Club|Church|Group|Labs|Agency|Center|Centre)\b"
)
_PLACE = re.compile(
    r"\b(?:Park|Street|Avenue|Road|Lake|River|Mountains?|Mount|Beach|Island|Islands|Valley|Bay|City"
    r"|County|Bridge|Square|Forest|Canyon|Falls|Coast|Hills|Desert|Sea|Ocean)\b"
)
PLACES = frozenset(
    "paris london berlin rome madrid vienna lisbon dublin prague warsaw budapest athens amsterdam "
    "brussels copenhagen stockholm oslo helsinki zurich geneva munich hamburg milan venice florence "
    "barcelona tokyo kyoto osaka beijing shanghai seoul bangkok singapore delhi mumbai dubai cairo "
    "nairobi lagos sydney melbourne auckland toronto vancouver montreal chicago boston seattle "
    "portland austin dallas houston miami denver atlanta philadelphia germany france italy spain "
    "portugal england scotland ireland wales poland sweden norway denmark finland iceland austria "
    "switzerland greece turkey russia ukraine china japan korea india thailand vietnam indonesia "
    "australia canada mexico brazil argentina chile peru colombia egypt kenya nigeria morocco "
    "europe asia africa america california texas florida hawaii".split()
)
_NO_MENTION = NO_NAMES | LANGUAGES | NATIONALITIES | JOBS | frozenset(
    "i'm i've i'll i'd can could would should will do does did is are was were has have had been "
    "am let just really very such good great nice new happy congrats congratulations welcome sure "
    "in at on to for of by as up out off down one two three absolutely definitely sounds looks hope keep stay take have check well done never always maybe "
    "actually speaking finally recently lately since because although though while during after "
    "before until with without about from into over under both each every another other same mr "
    "mrs ms dr prof lol omg btw fyi diy tv asap etc usa uk us id ok pm am".split()
)  # fmt: skip


def mentions(text: str, segments: Sequence[Segment], turn: TurnText) -> list[Mention]:
    """The names of a text in order of their places."""
    found = _of_works(text)
    speakers = {n for n in (turn.speaker, turn.before_speaker) if n}
    candidates = list(_candidates(text, segments))
    inside = {name for name, _, _, starts in candidates if not starts}
    taken = [(m.at, m.to) for m in found]
    for name, at, to, starts in candidates:
        if any(a < to and at < b for a, b in taken[-4:]):
            continue
        known = name in speakers or name in inside or " " in name or name.lower() in PLACES
        if starts and not known:
            continue
        found.append(Mention(name, _kind(text, name, at, to, speakers), at, to))
    if not text.isascii():
        found += entities_zh.mentions(text)
    return sorted(found, key=lambda m: (m.at, m.to))


def _of_works(text: str) -> list[Mention]:
    """Quoted titles: more capitals than other words."""
    found: list[Mention] = []
    for match in _WORK.finditer(text):
        words = match["name"].split()
        capitals = sum(word[0].isupper() for word in words)
        if len(words) <= 8 and capitals * 2 > len(words) and match["name"][-1] not in ".!?,":
            found.append(Mention(match["name"], "thing", match.start("name"), match.end("name")))
    return found


def _candidates(text: str, segments: Sequence[Segment]) -> Iterator[tuple[str, int, int, bool]]:
    """Runs of capitals: name, place, and whether it begins a sentence."""
    for segment in segments:
        if segment.code:
            continue
        for match in _NAME.finditer(text, segment.at, segment.to):
            yield from _cleaned(text, match, segment)


def _cleaned(
    text: str, match: re.Match[str], segment: Segment
) -> Iterator[tuple[str, int, int, bool]]:
    at, words = match.start(), match[0].split()
    starts = not any(c.isalnum() for c in text[segment.at : at][-12:])
    while words and words[0].lower() in _NO_MENTION:
        at += len(words[0])
        at += len(text[at : match.end()]) - len(text[at : match.end()].lstrip())
        words, starts = words[1:], False
    while words and (words[-1].lower() in _NO_MENTION or words[-1].islower()):
        words = words[:-1]
    if not words or words[0].islower() or (match[0].isupper() and len(match[0]) > 12):
        return
    to = at
    for word in words:
        to = text.index(word, to) + len(word)
    name = text[at:to]
    for ending in ("'s", "’s"):
        name = name.removesuffix(ending)
    yield name, at, at + len(name), starts


def _kind(text: str, name: str, at: int, to: int, speakers: set[str]) -> MentionKind:
    before = text[max(0, at - 28) : at]
    if name in speakers or _TITLE.search(before):
        return "person"
    last = re.findall(r"[a-z-]+", before[-16:].lower())[-1:]
    if last and last[0] in RELATIONS and before.rstrip().endswith(last[0]):
        return "person"
    if _ORG.search(name) or _ORG_BEFORE.search(before):
        return "organisation"
    if name.lower() in PLACES or _PLACE.search(name) or _PLACE_BEFORE.search(before):
        return "place"
    if re.match(
        r"\s(?:said|says|told|asked|loves|likes|thinks|lives|works|is my|was my)\b",
        text[to : to + 12],
    ):
        return "person"
    return "unknown"
