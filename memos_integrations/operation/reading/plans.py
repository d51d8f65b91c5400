"""What somebody means to do, and what is due when: ``I plan to ...``, ``the launch is Monday``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from memos_integrations.cube.facts import Fact, FactKind, TimeSpan
from memos_integrations.operation.reading.clauses import Clause
from memos_integrations.operation.reading.stating import dated
from memos_integrations.operation.reading.values import deed, phrase
from memos_integrations.operation.reading.vocabulary import statement

_MEAN = re.compile(
    r"(?:(?:plan|plans|planning|intend|intends|intending|going|about(?=\sto\s)|set|scheduled|due"
    r"|hoping|hope|hopes|aiming|want|wants|determined|preparing|arranged|thinking\sof"
    r"|thinking\sabout|looking\sforward)\s(?:to\s|on\s)?|gonna\s|planning\s)"
)
_DESIRE = re.compile(r"(?:hop|want|thinking|looking|determined|aiming)")
_TO_PLACE = re.compile(
    r"going\sto\s(?:the\s)?(?=[A-Z])|going\s(?:on|camping|hiking|skiing|to\sthe)\b"
)
_JUNK = re.compile(
    r"(?:be\b(?!\s(?:in|at|a|an|moving|visiting|staying))|have\sto|need|try\sto\sbe|let\b|say\b|ask\b"
    r"|tell\b|miss\b|love\b|like\b|know\b|think\b|admit|keep\s(?:you|that|it|trying|going|pushing)"
    r"|never\b|get\s(?:better|there|it|through)|support\byou|happen|remember|check\s(?:it|that|them)"
    r"|do\s(?:it|that|this|my\sbest|great|so|well)\b|see\b(?!\sthe\s)|start\swith\b|bed\b|sleep\b"
    r"|work\sout\b|hear\b|go\snow\b|it\b|that\b|you\b|lie\b|help\syou|give\s(?:it|this|that)|make\s(?:a\s)?(?:change|difference|sure)|give\syou|send\syou)"
)
_ALONE_ING = frozenset("returning leaving moving retiring graduating flying".split())
_COMING = re.compile(r"(?P<verb>[a-z]{2,14}ing)\b")
_STATIVE = re.compile(
    r"(?:feeling|being|having|getting(?!\smarried|\sengaged|\sa\s)|wondering|thinking|trying|looking|doing|loving"
                      r"|enjoying|wanting|hoping|living|missing|making\ssure|talking|saying)\b")  # fmt: skip
_THING = re.compile(
    r"(?:the|my|our|his|her)\s(?P<what>[a-z][\w'&-]*(?:\s[\w'&-]+){0,4}?)\s(?:is|are|'s|will\sbe"
    r"|takes\splace|happens|starts|begins|launches|opens)\s(?:now\s|still\s|actually\s)?(?:due|scheduled"
    r"|set|planned|happening|coming\sup|starting|moved|on\sfor)?\s?(?:on|for|to|in|at|by)?\s?(?:the\s)?$"
)
_NO_THING = frozenset(
    "birthday weather day time thing best way plan only point problem forecast news".split()
)


def facts(clause: Clause) -> Iterator[Fact]:
    """The plans of a clause's subject."""
    ahead = _ahead(clause)
    if not clause.subject:
        return
    meant = _MEAN.match(clause.folded, clause.rest, clause.to)
    if meant is not None and clause.aux in {"be", "", "have"}:
        yield from _meant(clause, meant, ahead)
    elif clause.aux in {"have", ""} and ahead is not None:
        yield from _appointed(clause, ahead)
    elif clause.aux == "will" and ahead is not None:
        yield from _planned(clause, clause.rest, ahead)
    elif clause.aux == "be" and ahead is not None:
        yield from _coming(clause, ahead)


def _ahead(clause: Clause) -> TimeSpan | None:
    """The first date of the clause that is not over."""
    return next((t for t in clause.times if t.end > clause.turn.time), None)


def _meant(clause: Clause, meant: re.Match[str], ahead: TimeSpan | None) -> Iterator[Fact]:
    if ahead is None and (_DESIRE.match(meant[0]) or clause.times):
        return
    named = meant[0] == "planning "
    if not meant[0].endswith(("to ", "on ", "of ", "about ", "gonna ")) and not named:
        return
    if clause.aux == "" and meant[0].startswith(("going", "about", "set", "due", "thinking")):
        return
    if meant[0].startswith("going"):
        if (
            not meant[0].endswith("to ")
            or clause.turn.text[meant.end() : meant.end() + 1].isupper()
        ):
            yield from _planned(clause, clause.rest, ahead, going=True)
            return
        if re.compile(r"(?:the|a|my)\s").match(clause.folded, meant.end()):
            yield from _planned(clause, clause.rest, ahead, going=True)
            return
    yield from _planned(clause, meant.end(), ahead)


def _planned(
    clause: Clause, at: int, ahead: TimeSpan | None, *, going: bool = False
) -> Iterator[Fact]:
    if _JUNK.match(clause.folded, at, clause.to):
        return
    value = deed(clause, at)
    alone = value is not None and " " not in value.text and value.text.lower() not in _ALONE
    if value is None or alone or (going and ahead is None):
        return
    if clause.folded[clause.rest : at].endswith("planning ") and not _infinitive_of(value.text):
        yield _plan(clause, value.text, ahead, says="is planning")
    else:
        yield _plan(clause, _infinitive(value.text), ahead)


_ALONE = frozenset("return leave move retire graduate fly quit resign".split())
_NOUNS = re.compile(r"(?:an?|the|my|our|some|another|this|\w+'s)\s")


def _infinitive_of(words: str) -> bool:
    return _NOUNS.match(words.lower()) is None


def _plan(clause: Clause, what: str, ahead: TimeSpan | None, *, says: str = "") -> Fact:
    text = statement(clause.subject, "plans", what, negated=clause.denied)
    if says and not clause.denied:
        text = f"{clause.subject} {says} {what}"
    made = dated(clause, FactKind.PLAN, "plans", what, text, ahead)
    return replace(made, negated=clause.denied)


_APPOINTED = re.compile(
    r"(?:have |has |got )?(?=(?:an? |my |our |the )(?:[\w'-]+ ){0,3}?(?:appointment|meeting|interview|exam"
    r"|test|flight|call|presentation|date|deadline|concert|game|match|class|surgery|operation|check-?up"
    r"|conference|wedding|party|reservation|booking|visit|trip|workshop|lesson|session|show|gig|dinner)\b)".replace(
        " ", r"\s"
    )
)


def _appointed(clause: Clause, ahead: TimeSpan) -> Iterator[Fact]:
    """``I have a dentist appointment tomorrow``."""
    found = _APPOINTED.match(clause.folded, clause.rest, clause.to)
    has = clause.aux == "have" or clause.folded.startswith(("have", "has"), clause.rest)
    if found is None or not has or ahead.start <= clause.turn.time:
        return
    value = phrase(clause, found.end(), to=ahead.at)
    if value is not None and not clause.denied:
        text = f"{clause.subject} has {clause.turn.text[found.end() : value.to]}"
        yield dated(clause, FactKind.PLAN, "plans", value.text, text, ahead)


def _coming(clause: Clause, ahead: TimeSpan) -> Iterator[Fact]:
    """``I'm visiting Rome next week``."""
    verb = _COMING.match(clause.folded, clause.rest, clause.to)
    if verb is None or _STATIVE.match(clause.folded, clause.rest, clause.to):
        return
    if ahead.start <= clause.turn.time:
        return
    value = deed(clause, clause.rest)
    if value is not None and (" " in value.text or value.text.lower() in _ALONE_ING):
        yield _plan(clause, _infinitive(value.text), ahead)


def of_things(clause: Clause) -> Iterator[Fact]:
    """``The product launch is next Monday``: a plan of the speaker's, about a thing."""
    ahead = next((t for t in clause.times if t.start > clause.turn.time), None)
    if ahead is None:
        return
    said = _THING.match(clause.folded, clause.at, ahead.at)
    if said is None or said["what"].split()[-1] in _NO_THING or clause.denied:
        return
    what = clause.turn.text[said.start("what") : said.end("what")]
    owner = "The" if said[0].startswith("the") else f"{clause.me}'s"
    if said[0].startswith(("his", "her")):
        return
    made = dated(clause, FactKind.PLAN, "plans", what, f"{owner} {what} is", ahead)
    yield replace(made, subject=clause.me)


_ING = {
    "visiting": "visit", "going": "go", "moving": "move", "having": "have", "taking": "take",
    "leaving": "leave", "giving": "give", "making": "make", "driving": "drive", "hiking": "hike",
    "getting": "get", "running": "run", "swimming": "swim", "starting": "start", "writing": "write",
    "hosting": "host", "launching": "launch", "arriving": "arrive", "celebrating": "celebrate",
    "releasing": "release", "closing": "close", "graduating": "graduate", "performing": "perform",
    "competing": "compete", "joining": "join", "organizing": "organize", "organising": "organise",
    "planning": "plan", "beginning": "begin", "setting": "set", "shopping": "shop",
}  # fmt: skip


def _infinitive(words: str) -> str:
    """``visiting Rome`` -> ``visit Rome``."""
    first, _, rest = words.partition(" ")
    if not first.endswith("ing") or len(first) < 5:
        return words
    stem = _ING.get(first.lower()) or _stem(first[:-3])
    return f"{stem} {rest}".strip()


def _stem(stem: str) -> str:
    if len(stem) > 2 and stem[-1] == stem[-2] and stem[-1] not in "lsz":
        return stem[:-1]
    return stem + "e" if re.search(r"(?:[aiou][cgvz]|at|it|nc|rg|rs|ut|ur)$", stem) and stem not in {
        "visit", "wait", "edit", "meet", "eat", "treat", "fit", "sit", "exhibit", "audit", "put",
    } else stem  # fmt: skip
