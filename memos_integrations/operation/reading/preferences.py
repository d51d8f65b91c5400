"""Likes and dislikes. A dislike is ``likes`` denied, so that either ends the other."""

from __future__ import annotations

import re
from collections.abc import Iterator

from memos_integrations.cube.facts import Fact
from memos_integrations.operation.reading import values
from memos_integrations.operation.reading.clauses import Clause
from memos_integrations.operation.reading.stating import attributed, by_head, pattern, stated

_NOT = r"(?!(?:to (?:know|hear|see you|meet you|think|say|talk|share)|you\b|how\b|when\b|that\b|it\b" \
       r"|this\b|the (?:way|idea|fact|sound|one|photo|pic|look)|what\b|your\b|if\b|so\b|hearing\b"\
       r"|seeing you|talking (?:to|with) you|to be (?:a|in)\b))"  # fmt: skip

_LOVING = r"(?:like|love|enjoy|adore|appreciate)"
TABLE = by_head(
    [
        ("like likes love loves enjoy enjoys adore adores",
         pattern("- do does", r"(?:likes?|loves?|enjoys?|adores?) " + _NOT, "likes", "several")),
        ("been", pattern("have", r"been (?:really )?(?:into|loving|enjoying) " + _NOT, "likes",
                         "several")),
        ("fond", pattern("be", r"fond of " + _NOT, "likes", "several")),
        ("into", pattern("be", r"into " + _NOT, "likes", "several")),
        ("a an big huge", pattern("be", r"(?:an? )?(?:really |very )?(?:big |huge |great |massive "
                                  r"|avid |lifelong )?(?:fan|lover) of " + _NOT, "likes",
                                  "several")),
        ("passionate crazy obsessed keen mad hooked",
         pattern("be", r"(?:(?:passionate|crazy|mad) about|obsessed with|keen on|hooked on) " + _NOT,
                 "likes", "several")),
        ("dislike dislikes hate hates detest detests despise loathe loathes",
         pattern("- do", r"(?:dislikes?|hates?|detests?|despises?|loathes?) " + _NOT, "likes",
                 "several", denies=True)),
        ("tired sick", pattern("be", r"(?:sick (?:and tired )?|tired )of (?!you|it|this|that)", "likes",
                               "several", denies=True)),
        ("like love enjoy be", pattern("used", r"(?:like|love|enjoy|be into) ", "likes",
                                       "several", denies=True)),
        ("stopped", pattern("- have", r"stopped (?:liking|enjoying|loving) ", "likes", "several",
                            denies=True, begins=True)),
        ("a an", pattern("- have be", r"an? (?:(?:real|deep|great|huge|big|burning|lifelong|strong|secret) ){0,2}"
                         r"(?:passion|soft spot|weakness|fondness|liking|love) for " + _NOT, "likes",
                         "several")),
        ("have has", pattern("-", r"ha(?:ve|s) an? (?:(?:real|deep|great|huge|big|burning|lifelong|strong|secret)"
                             r" ){0,2}(?:passion|soft spot|weakness|fondness|liking|love) for " + _NOT, "likes",
                             "several")),
        ("come grown learned learnt", pattern("have -", r"(?:come|grown|learned|learnt) to " + _LOVING
                                              + " " + _NOT, "likes", "several")),
        ("loved liked enjoyed adored", pattern("have", r"(?<=always\s)(?:loved|liked|enjoyed|adored) " + _NOT,
                                               "likes", "several")),
        ("been", pattern("have", r"been (?:an? )(?:\w+ )?(?:fan|lover) of " + _NOT, "likes", "several")),
        ("taken", pattern("have", r"taken (?:quite )?a liking to " + _NOT, "likes", "several")),
        ("gone went", pattern("have", r"gone off (?!to\b|on\b|and\b|the\b)" + _NOT, "likes", "several",
                              denies=True, begins=True)),
        ("lost", pattern("- have", r"lost (?:all )?interest in " + _NOT, "likes", "several", denies=True,
                         begins=True)),
        ("partial", pattern("be", r"partial to " + _NOT, "likes", "several")),
    ]
)  # fmt: skip

_CARE = re.compile(r"care\s(?:much\s|all\sthat\smuch\s|a\slot\s)?for\s" + _NOT.replace(" ", r"\s"))
_FAN = re.compile(
    r"(?:an?\s)?(?:(?:huge|big|massive|real|true|total|avid|lifelong|passionate|keen|great|absolute|bit\sof\sa|die-hard)"
    r"\s){0,2}(?P<v>[a-z][\w-]*(?:\s[a-z][\w-]*)?)\s(?:fan|lover|enthusiast|aficionado|addict|nerd|geek|(?<=cat\s)person|(?<=dog\s)person|(?<=tea\s)person|(?<=coffee\s)person)"
    r"(?=[\s.,!;]|$)"
)
_NO_FAN = frozenset(
    "a an the big huge number no one your his her their my super new good nice people".split()
)
_NOTHING_MORE = re.compile(
    r"(?:there(?:'s|\sis)\s)?nothing\s(?:that\s)?(?:i|we)\s(?P<verb>like|love|enjoy|adore|hate|dislike|detest)\s"
    r"(?:more|better)\sthan\s" + _NOT.replace(" ", r"\s")
)
_CANNOT = re.compile(r"(?:stand|bear|tolerate)\s+" + _NOT.replace(" ", r"\s"))
_PREFER = re.compile(r"prefers?\s+(?:to\s+)?(?!(?:that|it|this|if|not)\b)")
_RATHER = re.compile(r"rather\s(?!not\b|be\b|have\b)")
_OVER = re.compile(r"\s(?:over|to|rather than|instead of|than)\s")


def facts(clause: Clause) -> Iterator[Fact]:
    """The preferences a clause with a subject states."""
    if clause.denied and clause.aux in {"", "do"}:
        care = _CARE.match(clause.folded, clause.rest, clause.to)
        yield from _each(clause, care.end(), negated=True) if care else ()
    if clause.aux == "be":
        yield from _fan(clause)
    rather = _RATHER.match(clause.folded, clause.rest, clause.to)
    if clause.aux in {"'d", "would"} and rather is not None and not clause.denied:
        yield from _preferred(clause, rather.end())
        return
    if clause.aux == "can":
        yield from _cannot(clause)
        return
    preferred = _PREFER.match(clause.folded, clause.rest, clause.to)
    if preferred is not None and clause.aux == "" and not clause.denied:
        yield from _preferred(clause, preferred.end())
        return
    yield from stated(clause, TABLE)


def _cannot(clause: Clause) -> Iterator[Fact]:
    stand = _CANNOT.match(clause.folded, clause.rest, clause.to) if clause.denied else None
    if stand is not None:
        yield from _each(clause, stand.end(), negated=True)


def _each(clause: Clause, at: int, *, negated: bool) -> Iterator[Fact]:
    for value in values.several(clause, at):
        yield attributed(clause, "likes", value.text, negated=negated)


def _fan(clause: Clause) -> Iterator[Fact]:
    """``I'm a huge jazz fan``."""
    found = _FAN.match(clause.folded, clause.rest, clause.to)
    if found is not None and not set(found["v"].split()) & _NO_FAN:
        value = clause.turn.text[found.start("v") : found.end("v")]
        yield attributed(clause, "likes", value, negated=clause.denied)


def nothing_more(clause: Clause) -> Iterator[Fact]:
    """``There's nothing I like more than sailing``."""
    found = _NOTHING_MORE.match(clause.folded, clause.at, clause.to)
    if found is not None:
        hated = found["verb"] in {"hate", "dislike", "detest"}
        for value in values.several(clause, found.end()):
            yield attributed(clause, "likes", value.text, subject=clause.me, negated=hated)


def _preferred(clause: Clause, at: int) -> Iterator[Fact]:
    over = _OVER.search(clause.folded, at, clause.to)
    better = values.phrase(clause, at, to=over.start() if over else None)
    if better is None:
        return
    worse = values.phrase(clause, over.end()) if over else None
    value = better.text if worse is None or over is None else f"{better.text} over {worse.text}"
    yield attributed(clause, "prefers", value)
