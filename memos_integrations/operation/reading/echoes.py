"""What a clause says only together with the one before it.

``My favourite colour has changed. It's green.``, ``I no longer live in Graz but in Linz``, ``Job:
nurse``, ``Ana, my wife, ...``, ``a flat in Turin, that's where I live``. One clause opens or takes
back an attribute, the next gives its value; or the value stands first and is named afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from memos_integrations.cube.facts import Fact
from memos_integrations.operation.reading import anaphora, shapes
from memos_integrations.operation.reading.clauses import Clause, undated, within
from memos_integrations.operation.reading.forms import may_be_form
from memos_integrations.operation.reading.frames import Told, ended, fact, namings, values_of
from memos_integrations.operation.reading.naming import DEAR, RELATION, Naming, named, spaced
from memos_integrations.operation.reading.nouns import NOUNS
from memos_integrations.operation.reading.stating import Values, attributed
from memos_integrations.operation.reading.values import Value
from memos_integrations.operation.reading.vocabulary import NO_NAMES, RELATIONS

_SHAPES = {noun.attribute: noun.shape for noun in NOUNS.values() if noun.shape is not shapes.never}


@dataclass(frozen=True, slots=True)
class Heard:
    """What the clause before left to the next."""

    clause: Clause
    naming: Naming | None = None
    """The attribute it spoke of without saying what it is now."""
    taken_back: bool = False
    """Whether it said what it is no more; else it said nothing of it yet."""
    label: bool = False
    """Whether the name of the attribute stood alone, without an owner (``Job``)."""


_SPEAKING_OF = spaced(
    r"(?:as for |as to |about |regarding |concerning |speaking of |when it comes to |on the subject of )?"
)
_OPEN = spaced(
    r"(?: (?:today|now|these days|at the moment|currently|right now))?"
    r"(?: (?:has |have )?(?:just |recently )?(?:changed|switched|is different(?: now)?|is new|moved on))?"
    r"(?: lately| recently| again| since then)?[\s?.!,]*$"
)
_TOPIC = spaced(r"(?:as for|as to|about|regarding|concerning|on the subject of) (?=\S)")
_WAS = spaced(r" (?:was|were|had been|used to be|wasn't|isn't|is not|is no longer) ")
_HAVE_NEW = spaced(
    r"(?:(?:i|we)(?:'ve got| have got| have|'ve| got) )?(?:an? (?:new|different|another|brand new) )(?=\S)"
)
_CHANGED_IT = spaced(
    r"(?:i|we)(?:'ve| have)? (?:just |recently |since )?(?:changed|switched) (?=\S)"
)
_GAVE_NOTICE = spaced(
    r"(?:i|we)(?:'ve| have)?(?: just| finally)? (?:(?:handed in|gave|put in|given|handed) (?:my )?(?:two[- ]weeks'? )?notice"
    r"|resigned|quit (?:my|the) (?:old )?job|left my (?:old )?job)[\s.!,]*$"
)
_PLURALS = {"universities": "studies_at", "university": "studies_at", "unis": "studies_at", "colleges": "studies_at",
            "schools": "studies_at", "cities": "lives_in", "towns": "lives_in","job": "works_at", "jobs": "works_at", "employer": "works_at", "employers": "works_at",
            "company": "works_at", "companies": "works_at", "career": "works_as",
            "careers": "works_as", "profession": "works_as", "professions": "works_as"}  # fmt: skip
_ECHO = spaced(
    r"(?P<who>(?:it|that|this|he|she|they)(?:'s| is| was|'re| are| would be|'d be| has to be)|i(?:'m| am|m)(?: joining| starting at| moving to| going to)?|we(?:'re"
    r" | are)|am|is|are|moved)?\s?(?P<now>(?:now |currently |actually |[a-z]{3,12}ly |today |these days |called |named |instead "
    r"|rather |only )*+)(?:(?:at|in|for|with|as|to|by) )?"
)


def facts(clause: Clause, heard: Heard | None) -> Iterator[Fact]:
    """What the clause adds to the one before."""
    if heard is None:
        return
    if heard.naming is not None:
        for told in _echoed(clause, heard):
            yield fact(clause._replace(at=heard.clause.at), told)
    gap = clause.folded[heard.clause.to : clause.at].strip()
    if clause.folded.startswith(_BACKWARDS.get(gap, _THATS), clause.at):
        yield from _named_after(clause, heard.clause, gap)
    yield from anaphora.facts(clause, heard.clause)


_THATS = (
    "that",
    "this is",
    "he's",
    "she's",
    "he is",
    "she is",
    "it's",
    "it is",
    "which is",
    "and that",
)
_BACKWARDS = {",": (*_THATS, "my ", "our "), "and": (*_THATS, "i ", "we ")}


def heard(clause: Clause, found: Sequence[Fact]) -> Heard:
    """What this clause leaves to the next."""
    last = found[-1] if found else None
    if last is not None:
        shape = _shape_of(last.attribute)
        if shape is None or not last.negated or not last.single:
            return Heard(clause)
        return Heard(clause, Naming(last.subject, last.attribute, shape), taken_back=True)
    return _opened(clause)


def _shape_of(attribute: str) -> Values | None:
    if attribute.startswith("favourite_"):
        return shapes.favoured
    return shapes.person if attribute in set(RELATIONS.values()) else _SHAPES.get(attribute)


_LONGEST_OPEN = 90
_SPEAKS_OF = ("my ", "our ", "as ", "about ", "regarding ", "concerning ", "speaking ", "when ",
              "on the ", "home ")  # fmt: skip


def _opened(clause: Clause) -> Heard:
    if clause.to - clause.at > _LONGEST_OPEN:
        return Heard(clause)
    words = clause.folded[clause.at : clause.to]
    if words.startswith(_SPEAKS_OF) or "'s " in words:
        return _spoken_of(clause, words)
    if clause.folded[clause.to : clause.to + 3].lstrip()[:1] in _LABELLED or words.endswith("?"):
        phrase = named(clause, clause.at, bare=True)
        if phrase and _alone_to(clause, phrase[1]) and may_be_form(clause.turn):
            return Heard(clause, phrase[0], label=True)
    if words.startswith(_I):
        return Heard(clause, _new_one(clause, words) or _changed_it(clause, words))
    return Heard(clause)


_LABELLED = frozenset(":=-–")
_I = ("i ", "i'", "we ", "we'", "got ", "a ", "an ", "new ")


def _new_one(clause: Clause, words: str) -> Naming | None:
    """``I have a new favourite colour``."""
    if " new " not in words and "different " not in words and "another " not in words:
        return None
    begun = _HAVE_NEW.match(clause.folded, clause.at, clause.to)
    phrase = named(clause, begun.end(), bare=True, new=True) if begun else None
    return phrase[0] if phrase and _alone_to(clause, phrase[1]) else None


def _spoken_of(clause: Clause, words: str) -> Heard:
    """``As for my job``, ``my employer has changed``; ``my boss was Tom`` says who it is not."""
    lead = _SPEAKING_OF.match(clause.folded, clause.at, clause.to)
    phrase = named(clause, lead.end() if lead else clause.at)
    if phrase is None:
        return Heard(clause, _topic(clause))
    if _WAS.match(clause.folded, phrase[1], clause.to):
        return Heard(clause, phrase[0], taken_back=True)
    return Heard(clause, phrase[0] if _alone_to(clause, phrase[1]) else _topic(clause))


def _alone_to(clause: Clause, at: int) -> bool:
    """Whether the clause says no more than that something is spoken of, or has changed."""
    return _OPEN.match(clause.folded, at, clause.to) is not None


def _changed_it(clause: Clause, words: str) -> Naming | None:
    """``I changed jobs``, ``I gave notice``: the next clause may say to which."""
    if _GAVE_NOTICE.match(clause.folded, clause.at, clause.to):
        return Naming(clause.me, "works_at", shapes.company)
    if "chang" not in words and "switch" not in words:
        return None
    found = _CHANGED_IT.match(clause.folded, clause.at, clause.to)
    if found is None:
        return None
    words = clause.folded[found.end() : clause.to].strip(" .!,").removeprefix("my ")
    attribute = _PLURALS.get(words)
    if attribute is not None:
        return Naming(clause.me, attribute, _SHAPES[attribute])
    phrase = named(clause, found.end())
    return phrase[0] if phrase and _alone_to(clause, phrase[1]) else None


def _topic(clause: Clause) -> Naming | None:
    """``As for where I live``."""
    found = _TOPIC.match(clause.folded, clause.at, clause.to)
    return next(namings(clause, found.end()), None) if found is not None else None


def _echoed(clause: Clause, before: Heard) -> Iterator[Told]:
    naming = before.naming
    if naming is not None and naming.attribute == "birthday":
        clause = undated(clause)
    found = _ECHO.match(clause.folded, clause.at, clause.to)
    if naming is None or found is None:
        return
    gap = clause.folded[before.clause.to : clause.at]
    if not _joins(before, gap, found, clause.folded[clause.at : clause.to]):
        return
    own = (found["who"] or "").startswith(("i", "we", "am")) and not found["who"].startswith(
        ("it", "is")
    )
    if own and naming.subject != clause.me:
        return
    values = values_of(naming, clause, found.end())
    if values and ended(clause, values[-1].to):
        for value in values:
            yield Told(naming, value, False, begins=before.taken_back)


_NEW = re.compile(r"\b(?:now|but|instead|rather|these days|currently|since)\b")


def _joins(before: Heard, gap: str, found: re.Match[str], words: str) -> bool:
    """Whether the clause can be the value of what was heard."""
    asked = before.clause.folded[before.clause.to - 1] == "?"
    if before.label:
        return (asked or gap.lstrip()[:1] in {":", "=", "-"}) and not found["who"]
    who, said_now = found["who"] or "", bool(found["now"])
    it = who.startswith(("it", "that", "this", "they", "he", "she", "is", "are"))
    new = said_now or _NEW.search(gap) is not None or _NEW.search(words) is not None
    if before.taken_back:
        return it or new
    if who.endswith(("joining", "starting at", "moving to", "going to")):
        return True
    return it or new or (not who and (asked or gap[:1] in {":", ",", "-", ""})) or who == "am"


_THAT = spaced(
    r"(?:(?:that|this|it|he|she)(?:'s| is)|which is|and that is) (?:now |also |still |actually )*(?=\S)"
)
_MINE = spaced(rf"(?:my|our) (?P<dear>{DEAR}{{0,2}})(?P<relation>{RELATION})(?=,|[\s.!]*$)")
_JOINED = spaced(
    r"(?:i|we)(?: just| recently| finally)?(?:(?:'re|'ve been| got| are| were| have been)(?: now| happily| both)?"
    r" (?:married|engaged|dating|hitched)| tied the knot| married)\b"
)
_FRIENDS = spaced(
    r"(?:i|we)(?:'re| are|'ve been| have been) (?:now |still |both )?(?P<what>best (?:friend|mate|buddie)s|roommates|flatmates|housemates|colleagues"
    r"|coworkers|cousins|neighbou?rs)\b"
)
_TOGETHER = {"best friend": "best_friend", "best mate": "best_friend", "best buddie": "best_friend", "roommate": "roommate",
             "flatmate": "roommate", "housemate": "roommate", "colleague": "colleague", "coworker": "colleague",
             "cousin": "cousin", "neighbour": "neighbour", "neighbor": "neighbour"}  # fmt: skip
_LAST_NAME = re.compile(r"(?:^|\s)(?P<name>[A-Z][\w’-]{1,24}(?:\s[A-Z][\w’-]{1,24})?)$")
_PLACED = re.compile(r"\b(?:in|at|for|with|of|is|was|called)\s(?=[A-Z])")
_NOT_APPOSED = frozenset({"friend", "baby", "child", "pet", "kid"})


def _named_after(clause: Clause, before: Clause, gap: str) -> Iterator[Fact]:
    """The value stood before, and this clause says of what it is the value."""
    whole = clause._replace(at=before.at)
    that = _THAT.match(clause.folded, clause.at, clause.to)
    if that is not None:
        for naming in namings(clause, that.end()):
            for value in _given(naming, before):
                yield fact(whole, Told(naming, value, False))
            return
    mine = _MINE.match(clause.folded, clause.at, clause.to) if gap == "," else None
    name = _LAST_NAME.search(before.quote)
    if name is None or name["name"].split()[0].lower() in NO_NAMES:
        return
    if mine is not None and mine["relation"] not in _NOT_APPOSED:
        best = "best" in mine["dear"] and mine["relation"] == "friend"
        attribute = "best_friend" if best else RELATIONS[mine["relation"]]
        yield attributed(whole, attribute, name["name"], subject=clause.me)
    joined = gap == "and" and name.start() == 0
    friends = _FRIENDS.match(clause.folded, clause.at, clause.to) if joined else None
    if friends is not None:
        attribute = _TOGETHER[friends["what"].rstrip("s")]
        yield attributed(whole, attribute, name["name"], subject=clause.me)
    if joined and _JOINED.match(clause.folded, clause.at, clause.to):
        yield attributed(whole, "partner", name["name"], subject=clause.me)


_OBJECT = spaced(
    r"(?:nothing (?:beats|tops|compares to)|(?:i|we)(?:'m| am|'ve|'ll| have| can| could)?(?: (?:really|just|recently|always|only|finally)| been"
    r"| all)* (?:about|into|eat|drink|watch|listen to|play|live on|discovered|tried|found|love|loved|like|adore|wear|read|rewatched|watched"
    r"|chose|picked|painted|obsessed with|hooked on)|anything|everything|you can't beat|give me) (?P<v>.{2,40}?)(?= every| all| (?:make|keep)s?"
    r" me| any | over and| again| on repeat| so much| the other| last | yesterday| for | with |[\s.!]*$)"
)


def _given(naming: Naming, before: Clause) -> list[Value]:
    """The value that fills the clause before, its object, or a name in it."""
    found = values_of(naming, before, before.at)
    rest = before.folded[found[-1].to : before.to] if found else ""
    whole = not rest.strip(" .,!")
    subject = rest.startswith((" is ", " has ", "'s ")) or naming.shape is shapes.person
    if found and (whole or (subject and rest[:1] in {" ", "'"} and _is_name(found))):
        return found
    if naming.attribute.startswith("favourite_") or naming.attribute == "likes":
        eaten = _OBJECT.match(before.folded, before.at, before.to)
        return (
            []
            if eaten is None
            else values_of(naming, within(before, eaten.end("v")), eaten.start("v"))
        )
    places = [match.end() for match in _PLACED.finditer(before.turn.text, before.at, before.to)]
    for at in reversed(places[-4:]):
        found = values_of(naming, within(before, before.to), at)
        if found:
            return found
    return []


def _is_name(found: Sequence[Value]) -> bool:
    return found[0].text[:1].isupper()
