"""Phrases that name an attribute: ``my employer``, ``Ben's job``, ``the city I live in``.

A table of nouns and one of relative clauses, each row with the attribute it names and the shape
of value that can be one. ``frames`` and ``echoes`` put them together with a value, whichever of
the two comes first. What names a former, future or dreamt thing (``my old job``) names nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from memos_integrations.operation.reading import shapes
from memos_integrations.operation.reading.clauses import Clause
from memos_integrations.operation.reading.stating import Values
from memos_integrations.operation.reading.vocabulary import NO_NAMES, RELATIONS, favourite


def spaced(words: str) -> re.Pattern[str]:
    """A pattern; a blank stands for any white space."""
    return re.compile(words.replace(" ", r"\s"))


class Naming(NamedTuple):
    """Whose attribute a phrase names, and what its value may look like."""

    subject: str
    attribute: str
    shape: Values
    denies: bool = False
    """Whether it names what is not so: ``what I can't stand``."""


class Noun(NamedTuple):
    """An attribute and the shape of its value."""

    attribute: str
    shape: Values
    bare: bool = True
    """Whether the noun alone (``Job: nurse``) means the speaker's."""


def _nouns(*rows: tuple[str, str, Values, bool]) -> dict[str, Noun]:
    return {name: Noun(attribute, shape, bare) for names, attribute, shape, bare in rows
            for name in names.split("|")}  # fmt: skip


NOUNS = _nouns(
    ("home|home base|place of residence|residence|current residence|city|town|location"
     "|city of residence|country of residence|current address", "lives_in", shapes.home, True),
    ("place|base|house|flat|apartment|village", "lives_in", shapes.home, False),
    ("employer|workplace|place of work|place of employment|work place", "works_at",
     shapes.company, True),
    ("company|firm", "works_at", shapes.company, False),
    ("profession|occupation|job title|line of work|day job|trade|vocation|calling", "works_as",
     shapes.occupation, True),
    ("job|role|position|career|work|post", "works_as", shapes.occupation, True),
    ("hometown|home town|home country|country of origin|native country|homeland|native city"
     "|home state", "from", shapes.home, True),
    ("birthplace|place of birth|city of birth|town of birth", "born_in", shapes.home, True),
    ("age", "age", shapes.age, True),
    ("birthday|date of birth|birth date|birthdate|dob|bday", "birthday", shapes.birthday, True),
    ("nationality|citizenship", "nationality", shapes.nationality, True),
    ("name|full name|first name|real name", "name", shapes.person, True),
    ("nickname|nick", "nickname", shapes.person, True),
    ("relationship status|marital status|civil status|family status", "relationship_status",
     shapes.status, True),
    ("diet|eating habits", "diet", shapes.diet, True),
    ("allergy|allergies|food allergies|food allergy|known allergies", "allergic_to",
     shapes.listed, True),
    ("native language|mother tongue|first language|native tongue|languages|spoken languages",
     "speaks", shapes.language, True),
    ("major|field of study|course of study|degree subject|subject of study", "studies",
     shapes.listed, True),
    ("university|college|uni|school", "studies_at", shapes.company, False),
    ("alma mater", "graduated_from", shapes.company, True),
    ("car|vehicle|ride|current car", "drives", shapes.vehicle, True),
    ("instrument|sport", "plays", shapes.listed, False),
    ("hobby|hobbies|passion|passions|pastime|pastimes|interests|great love|big passion", "likes",
     shapes.listed, True),
    ("thing|cup of tea|jam", "likes", shapes.never, False),
    ("phone|phone number|mobile number|mobile|number|cell|cell phone|telephone", "phone",
     shapes.masked, True),
    ("email|email address|e-mail|e-mail address|mail address|mail", "email", shapes.masked, True),
    ("address|home address|postal address", "address", shapes.masked, True),
)  # fmt: skip

RELATION = "|".join(sorted(RELATIONS, key=len, reverse=True))
DEAR = (r"(?:(?:older|younger|elder|little|big|twin|best|oldest|eldest|youngest|new|own|dear|lovely"
         r"|current|beloved|wonderful|sweet|only|first|adorable|amazing|direct|line|baby|late|step"
         r"|family|brand-new|middle)[\s-])")  # fmt: skip
_MODIFIER = (r"(?:(?:new|current|present|actual|main|full|own|chosen|real|official|permanent|regular"
             r"|primary|adopted|latest|brand new|day-to-day|beloved|biggest|greatest|only|true|main"
             r"|usual|everyday|proper|exact|full-time|part-time|known|severe|personal|private|work"
             r"|mobile|cell) )")  # fmt: skip
_FAVOURITE = (r"(?:(?:most|all-time|absolute|very|current|new|personal|overall|one|big|own) ){0,3}"
              r"(?:favou?rite|fave?)")  # fmt: skip
_THING = r"[a-z][\w-]*(?: (?:of|[\w-]+)(?: [\w-]+)?)??"
_KNOWN = "|".join(sorted(NOUNS, key=len, reverse=True))
_WHOSE = (
    rf"(?:(?P<my>my|our)(?: {DEAR}{{0,2}}(?P<kin>{RELATION})'s)?|(?P<named>[a-z][\w-]{{1,24}})'s"
    r"|(?P<none>(?:the|a|an)?))"
)
POSSESSED = (
    rf"{_WHOSE} ?(?:(?P<favourite>{_FAVOURITE}) (?P<thing>{_THING})"
    rf"|{_MODIFIER}{{0,2}}(?P<noun>{_KNOWN})"
    rf"|(?P<chosen>[a-z][\w-]+) of choice"
    rf"|{DEAR}{{0,2}}(?P<relation>{RELATION})(?P<called>'s (?:first |full )?name)?"
    rf"|name of (?P<of>my|our) {DEAR}{{0,2}}(?P<relation_of>{RELATION}))"
)
"""A noun phrase with its owner, as a pattern over folded words; ``possessed`` reads the match."""


def possessed(
    clause: Clause, found: re.Match[str], *, bare: bool = False, new: bool = False
) -> Naming | None:
    """What a match of ``POSSESSED`` names. ``bare``: whether an owner may be missing; ``new``:
    because ``I have a new`` stood before."""
    groups = found.groupdict()
    who = clause.me if groups["of"] else _owner(clause, found)
    if (groups["none"] and not groups["of"]) or (
        who is None and not _alone(groups, bare=bare, new=new)
    ):
        return None
    who = who or clause.me
    if groups["relation"] or groups["relation_of"]:
        return _related(who, groups, best="best" in found[0])
    thing = groups["thing"] or groups["chosen"]
    if thing is None:
        noun = NOUNS[groups["noun"]]
        return Naming(who, noun.attribute, noun.shape)
    if {thing.split()[0], thing.split()[-1]} & _NO_THING:
        return None
    return Naming(who, favourite(thing), shapes.favoured)


def _related(who: str, groups: dict[str, str | None], *, best: bool) -> Naming | None:
    relation = groups["relation"] or groups["relation_of"] or ""
    if groups["called"] is None and groups["relation"] in _ANY:
        return None
    name = "best_friend" if best and relation == "friend" else RELATIONS[relation]
    return Naming(who, name, shapes.person)


_ANY = frozenset("kid kids child children parent parents grandparents baby pet".split())
_NO_THING = frozenset(
    "thing things one ones part parts bit is are was were of and to in has have for i when because "
    "these at right now used isn't would changed became".split()
)


def _alone(groups: dict[str, str | None], *, bare: bool, new: bool) -> bool:
    """Whether a noun without an owner may be the speaker's: ``home``, or a label."""
    if groups["relation"]:
        return new
    noun = groups["noun"]
    if noun is None:
        return bare or new
    return noun == "home" or (bare and NOUNS[noun].bare) or new


def _owner(clause: Clause, found: re.Match[str]) -> str | None:
    if found["kin"]:
        return f"{clause.me}'s {found['kin']}"
    if found["my"]:
        return clause.me
    if found["named"] is None:
        return None
    name = clause.turn.text[found.start("named") : found.end("named")]
    return name if name[0].isupper() and name.lower() not in NO_NAMES else None


_PLACES = "city town place village country area neighbourhood neighborhood state region island"
_FIRMS = (
    "company firm organisation organization business place hospital school bank employer startup "
    "agency shop restaurant corporation outfit practice office studio charity"
)
_PEOPLE = "who woman man person one girl guy lady individual partner"
_WHAT = "what thing"
_BUSY = r"(?:'m|'re|'s|\sam|\sare|\sis|\swas|\swere|m\b)?"
_ADVERB = (r"(?:\s(?:now|currently|actually|mostly|really|truly|absolutely|personally|originally"
           r"|still|presently|normally|simply|just|always|do))?")  # fmt: skip


class _Relative(NamedTuple):
    heads: frozenset[str]
    verb: re.Pattern[str]
    attribute: str
    shape: Values
    denies: bool
    cleft: bool
    """Whether ``it's X I ...`` may stand before it."""


def _relative(
    heads: str, verb: str, attribute: str, shape: Values, *, denies: bool = False,
    cleft: bool = False,
) -> _Relative:  # fmt: skip
    spaced = re.compile((rf"{_ADVERB} (?:{verb})\b{_ADVERB}" if verb else "").replace(" ", r"\s"))
    return _Relative(frozenset(heads.split()), spaced, attribute, shape, denies, cleft)


_BEST = r"(?:likes?|loves?|enjoys?|prefers?|adores?) (?:the )?(?:best|most)(?: of all)?"
_LOVE = r"(?:likes?|loves?|enjoys?|adores?)(?: doing)?(?: (?:the )?(?:most|best))?"
_HATE = r"(?:hates?|can't stand|cannot stand|can't bear|dislikes?|detests?|despises?|loathes?)(?: (?:the )?most)?"
RELATIVES = (
    _relative(f"where {_PLACES}", r"(?:lives?|living|resides?|residing|based|settled|at home)"
              r"(?: in| at)?", "lives_in", shapes.home, cleft=True),
    _relative(f"what {_PLACES}", r"calls? (?:my |our |their )?home", "lives_in", shapes.home),
    _relative(f"where who {_FIRMS}", r"(?:works?|working|employed|earns? (?:my|our) living)"
              r"(?: at| for| with| by)?", "works_at", shapes.company, cleft=True),
    _relative(_PEOPLE, r"(?:married|engaged) to|dating|going out with|(?:lives?|living) with as a "
              r"couple", "partner", shapes.person, cleft=True),
    _relative(f"{_PEOPLE} boss manager", r"reports? to|answers? to", "boss", shapes.person,
              cleft=True),
    _relative("", _BEST, "favourite_", shapes.favoured),
    _relative("what job work", r"do(?:es)? (?:for (?:a living|work|money|my living|my job)|as a job"
              r"|professionally)|do(?:es)?", "works_as", shapes.occupation),
    _relative("what", "", "works_as", shapes.occupation),
    _relative(f"where {_PLACES}", r"from|comes? from|hails? from|originates? from", "from",
              shapes.home, cleft=True),
    _relative(f"where {_PLACES}", r"(?:grew up|raised|spent (?:my|our) childhood)(?: in)?",
              "grew_up_in", shapes.home),
    _relative(f"where {_PLACES}", r"born(?: in)?", "born_in", shapes.home),
    _relative(f"{_WHAT} food", r"allergic to", "allergic_to", shapes.listed, cleft=True),
    _relative("what language languages", r"speaks?(?: fluently| at home)?", "speaks",
              shapes.language),
    _relative("what subject", r"stud(?:y|ies|ying)|majors? in|majoring in", "studies",
              shapes.listed),
    _relative("where university school college uni", r"(?:stud(?:y|ies|ying)|enrolled)(?: at)?"
              r"|goes? to|attends?|attending|go to", "studies_at", shapes.company),
    _relative("what car vehicle", r"drives?|driving", "drives", shapes.vehicle),
    _relative("what instrument instruments sport sports", r"plays?", "plays", shapes.listed),
    _relative("what language thing", r"learning", "learns", shapes.listed),
    _relative(f"{_WHAT} something hobby food drink", _LOVE, "likes", shapes.listed),
    _relative(f"{_WHAT} something food drink", _HATE, "likes", shapes.listed, denies=True),
)  # fmt: skip
_RELATIVE_HEAD = re.compile(
    (
        r"(?:(?:the|my|one|a|an|some)(?: (?:only|one|very|current|new|main))? (?P<head>[a-z]+)"
        r"(?: (?:that|which|who|whom|where|in which|for whom))?|(?P<wh>where|what|who)(?: it is(?: that)?)?) "
    ).replace(" ", r"\s")
)
_SUBJECT = re.compile(
    (
        rf"(?:(?P<i>i|we)(?=['\sm])|my {DEAR}{{0,2}}(?P<kin>{RELATION})(?=['\s])"
        rf"|(?P<named>[a-z][\w-]{{1,24}})(?=['\s])){_BUSY}"
    ).replace(" ", r"\s")
)
_EMPLOYING = re.compile(
    rf"the\s(?:{'|'.join(_FIRMS.split())})\s(?:that|which|who)\s(?:employs|pays|hired)\s(?P<who>me|us)\b"
)


def relative(clause: Clause, at: int) -> Iterator[tuple[Naming, int]]:
    """What a relative clause at this place names, with where it ends."""
    employing = _EMPLOYING.match(clause.folded, at, clause.to)
    if employing is not None:
        yield Naming(clause.me, "works_at", shapes.company), employing.end()
        return
    head = _RELATIVE_HEAD.match(clause.folded, at, clause.to)
    if head is not None:
        yield from done_by(clause, head.end(), head["wh"] or head["head"])


def done_by(clause: Clause, at: int, head: str | None) -> Iterator[tuple[Naming, int]]:
    """What ``I live in``, ``my parents live`` names after this head; ``None`` is that of a cleft."""
    subject = _SUBJECT.match(clause.folded, at, clause.to)
    who = _doer(clause, subject) if subject is not None else None
    if subject is None or who is None:
        return
    for row in RELATIVES:
        fits = row.cleft if head is None else head in row.heads or not row.heads
        verb = row.verb.match(clause.folded, subject.end(), clause.to) if fits else None
        if verb is None or (not verb[0] and not subject[0].endswith(("am", "'m"))):
            continue
        attribute = row.attribute
        if attribute == "favourite_":
            if head in _UNFAVOURED or head is None:
                continue
            attribute = favourite(head)
        if _past_of(subject[0]) and attribute != "born_in":
            continue
        yield Naming(who, attribute, row.shape, row.denies), verb.end()


_UNFAVOURED = frozenset("what where who thing something one".split())


def _past_of(words: str) -> bool:
    return words.endswith(("was", "were"))


def _doer(clause: Clause, found: re.Match[str]) -> str | None:
    if found["i"]:
        return clause.me
    if found["kin"]:
        return f"{clause.me}'s {found['kin']}"
    name = clause.turn.text[found.start("named") : found.end("named")]
    return name if name[0].isupper() and name.lower() not in NO_NAMES else None
