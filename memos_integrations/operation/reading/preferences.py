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
    ]
)  # fmt: skip

_CANNOT = re.compile(r"(?:stand|bear|tolerate)\s+" + _NOT.replace(" ", r"\s"))
_PREFER = re.compile(r"prefers?\s+(?:to\s+)?(?!(?:that|it|this|if|not)\b)")
_RATHER = re.compile(r"rather\s(?!not\b|be\b|have\b)")
_OVER = re.compile(r"\s(?:over|to|rather than|instead of|than)\s")


def facts(clause: Clause) -> Iterator[Fact]:
    """The preferences a clause with a subject states."""
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
        for value in values.several(clause, stand.end()):
            yield attributed(clause, "likes", value.text, negated=True)


def _preferred(clause: Clause, at: int) -> Iterator[Fact]:
    over = _OVER.search(clause.folded, at, clause.to)
    better = values.phrase(clause, at, to=over.start() if over else None)
    if better is None:
        return
    worse = values.phrase(clause, over.end()) if over else None
    value = better.text if worse is None or over is None else f"{better.text} over {worse.text}"
    yield attributed(clause, "prefers", value)
