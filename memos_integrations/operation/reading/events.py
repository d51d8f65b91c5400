"""What happened: dated deeds, and turns of a life with or without a date."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from memos_integrations.cube.facts import Fact, FactKind, TimeSpan
from memos_integrations.operation.reading.clauses import Clause
from memos_integrations.operation.reading.stating import attributed, dated
from memos_integrations.operation.reading.values import deed

_IRREGULAR = frozenset(
    "went saw met got took made came gave bought ate ran won lost began left flew drove found told "
    "taught became broke built caught chose drank fell fought heard held led paid read rode sang "
    "sold sent slept spent spoke swam threw wore wrote cut hit quit set hurt did had put hosted "
    "forgot grew hid drew stole woke bit blew cooked sewed split".split()
)
_STATE = frozenset(
    "wanted needed loved liked hated enjoyed felt thought knew believed seemed looked hoped tried "
    "wished wondered decided planned used realized realised agreed noticed missed appreciated "
    "forgot heard remembered guessed mentioned asked said told need feed indeed agreed".split()
)
_LIFE = re.compile(
    r"(?:adopted|got\s(?:married|engaged|divorced|promoted|fired|a\s(?:new\s)?(?:dog|cat|puppy|kitten"
    r"|job|car|house|promotion)|my\s(?:degree|license|licence|diploma))|graduated|married|broke\sup"
    r"|gave\sbirth|bought\s(?:an?|my|our)\s(?:new\s|first\s|used\s)*(?:car|house|home|flat|apartment"
    r"|bike|boat|guitar|piano)|moved|retired|quit|passed|lost\s(?:my|our)\s(?:job|dog|cat|father|mother"
    r"|dad|mom|mum|grand\w+|house)|won|finished|published|started\s(?:an?|my|our)\s(?:new\s|own\s)*(?:job|business"
    r"|company|course|family|podcast|blog|band|school|degree|program|youtube)|launched\s(?:an?|my|our)|opened\s(?:an?|my|our)\b"
    r"|became|broke\smy|sold\smy|sold\sour|divorced|signed\sup)"
)
_DEED = re.compile(r"(?P<verb>[a-z]{3,16})\b")
_POINTING = re.compile(r"(?:it|this|that|these|those|them|you|your|him|her|so|a lot|much)\b")
_BROKE_UP = re.compile(r"(?:broke|split)\sup\b(?!\swith)|(?:got\s)?divorced|separated")
_GOT_MARRIED = re.compile(r"got(?:ten)?\s(?P<how>married|engaged)")


def facts(clause: Clause) -> Iterator[Fact]:
    """The events of a clause's subject. Denied ones did not happen and give nothing."""
    if not clause.subject or clause.denied or clause.aux not in {"", "have", "did"}:
        return
    verb = _DEED.match(clause.folded, clause.rest, clause.to)
    if verb is None or not _past(verb["verb"], clause):
        return
    past = _behind(clause)
    life = _LIFE.match(clause.folded, clause.rest, clause.to) is not None
    if past is None and not life:
        return
    value = deed(clause, clause.rest)
    if value is None or (past is None and _moved_nowhere(value.text)):
        return
    what, _, rest = value.text.partition(" ")
    if _POINTING.match(rest.lower()) or (not rest and what not in {"graduated", "retired"}):
        return
    text = f"{clause.subject} {value.text}"
    if rest and not rest.lower().startswith(("to ", "up", "out", "with ", "in ", "on ", "at ")):
        yield dated(clause, FactKind.EVENT, what.lower(), rest, text, past)
    else:
        yield dated(clause, FactKind.EVENT, "did", value.text, text, past)
    yield from _changes(clause, past)


def _moved_nowhere(words: str) -> bool:
    """``moved to the sofa`` is no turn of a life; ``moved to Rome`` is."""
    return words.lower().startswith("moved") and words.lower() == words


def _past(verb: str, clause: Clause) -> bool:
    if verb in _STATE:
        return False
    done = verb in _IRREGULAR or (verb.endswith("ed") and verb[-3] != "e" and len(verb) > 4)
    return done and (clause.aux != "have" or verb not in {"had"})


def _behind(clause: Clause) -> TimeSpan | None:
    """The first date of the clause that has begun."""
    return next((t for t in clause.times if t.start <= clause.turn.time), None)


def _changes(clause: Clause, past: TimeSpan | None) -> Iterator[Fact]:
    """What an event makes of somebody: married, engaged, separated."""
    married = _GOT_MARRIED.match(clause.folded, clause.rest, clause.to)
    if married is not None:
        made = attributed(clause, "relationship_status", married["how"], when=past)
        yield replace(made, when=past)
    elif _BROKE_UP.match(clause.folded, clause.rest, clause.to):
        yield attributed(clause, "relationship_status", "separated", when=past)
