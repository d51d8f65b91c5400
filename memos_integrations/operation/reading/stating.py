"""Facts out of clauses: what every table of patterns uses to make one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeAlias

from memos_integrations.cube.facts import Fact, FactKind, TimeSpan
from memos_integrations.operation.reading import values
from memos_integrations.operation.reading.clauses import Clause
from memos_integrations.operation.reading.phrasing import in_words
from memos_integrations.operation.reading.values import Value
from memos_integrations.operation.reading.vocabulary import known, statement

Values: TypeAlias = Callable[[Clause, int], "Value | Iterable[Value] | None"]

_SHAPES: dict[str, Values] = {
    "place": values.place,
    "name": values.name,
    "organisation": values.organisation,
    "job": values.job,
    "trade": values.trade,
    "language": values.language,
    "phrase": values.phrase,
    "several": values.several,
}


class Pattern(NamedTuple):
    """Says an attribute: under which auxiliaries, after which words, with what value."""

    aux: frozenset[str]
    words: re.Pattern[str]
    attribute: str
    shape: Values
    denies: bool = False
    begins: bool = False
    """Whether it tells of a change, which holds from the date in the clause on."""


def pattern(
    aux: str, words: str, attribute: str, shape: str, *, denies: bool = False, begins: bool = False
) -> Pattern:
    """A row of a table; ``-`` in ``aux`` stands for none; the value follows the words."""
    allowed = frozenset("" if one == "-" else one for one in aux.split())
    spaced = re.compile(words.replace(" ", r"\s{1,3}"))
    return Pattern(allowed, spaced, attribute, _SHAPES[shape], denies, begins)


def by_head(patterns: Iterable[tuple[str, Pattern]]) -> dict[str, list[Pattern]]:
    """The patterns under the first word each may begin with."""
    found: dict[str, list[Pattern]] = {}
    for heads, each in patterns:
        for head in heads.split():
            found.setdefault(head, []).append(each)
    return found


def stated(clause: Clause, table: dict[str, list[Pattern]]) -> Iterator[Fact]:
    """What the patterns of a table find in a clause."""
    told: set[str] = set()
    for each in table.get(clause.head, ()):
        if clause.aux not in each.aux or each.attribute in told:
            continue
        match = each.words.match(clause.folded, clause.rest, clause.to)
        if match is None:
            continue
        found = each.shape(clause, match.end())
        made = [found] if isinstance(found, Value) else list(found or ())
        if clause.cut_short and made and not _finished(clause, made[-1]):
            continue
        for value in made:
            yield attributed(
                clause,
                each.attribute,
                value.text,
                negated=each.denies != clause.denied,
                begins=each.begins,
            )
        if made:
            told.add(each.attribute)


_FINISHED = re.compile(
    r"[\s.!)]*(?:,.*)?(?:(?:now|currently|these days|at the moment|right now|since .{1,30}|for .{1,30}|and (?:love|loving)"
    r" it)[\s.!]*)?$".replace(" ", r"\s")
)


def _finished(clause: Clause, last: Value) -> bool:
    """Whether the clause ends with its value: ``Living in Rome.``, not ``Living in Rome is fun``."""
    dated = any(0 <= span.at - last.to <= GAP for span in clause.times)
    return dated or _FINISHED.match(clause.folded, last.to, clause.to) is not None


GAP = 4
"""Characters of a blank and a preposition before a date."""


def attributed(
    clause: Clause,
    attribute: str,
    value: str,
    *,
    subject: str | None = None,
    negated: bool = False,
    begins: bool = False,
    when: TimeSpan | None = None,
) -> Fact:
    """A fact about the clause's subject, phrased to stand alone."""
    who = subject or clause.subject
    reads = known(attribute)
    value = retold(value, clause)
    when = when or _since(clause, begins=begins)
    text = statement(who, attribute, value, negated=negated)
    if when is not None:
        text += f" since {in_words(when).split(' ', 1)[1]}" if not negated else ""
    at, to = _quote(clause)
    return Fact(
        reads.kind, who, attribute, value, text, at, to,
        single=reads.single, negated=negated, when=when,
    )  # fmt: skip


def dated(
    clause: Clause, kind: FactKind, attribute: str, value: str, text: str, when: TimeSpan | None
) -> Fact:
    """A plan or an event."""
    told = retold(text, clause)
    whole = told if when is None else f"{told} {in_words(when)}"
    at, to = _quote(clause)
    return Fact(kind, clause.subject, attribute, retold(value, clause), whole, at, to, when=when)


_OWN = {"my": "their", "our": "their", "me": "them", "us": "them", "myself": "themselves"}
_OWN_WORD = re.compile(r"\b(?:" + "|".join(_OWN) + r")\b")


def retold(words: str, clause: Clause) -> str:
    """Words of the speaker as another would say them: ``my job`` -> ``their job``.

    Where the subject is somebody else, ``me`` is named, so that ``them`` is not taken for others.
    """
    if clause.first:
        return _OWN_WORD.sub(lambda match: _OWN[match[0]], words)
    named = {"my": f"{clause.me}'s", "me": clause.me}
    return _OWN_WORD.sub(lambda match: named.get(match[0], match[0]), words)


def _since(clause: Clause, *, begins: bool) -> TimeSpan | None:
    """From when on it holds: the date of a change, or a stretch that reaches to the message."""
    for span in clause.times:
        if span.start <= clause.turn.time and (begins or span.end >= clause.turn.time):
            long = span.end - span.start > 2 * 86_400_000_000
            if begins or (long and span.grain in {"years", "month", "week", "year"}):
                since = clause.folded[max(0, span.at - 6) : span.at + 5]
                if begins or "since" in since or "for" in since:
                    return span
    return None


def _quote(clause: Clause) -> tuple[int, int]:
    text = clause.turn.text[clause.at : clause.to]
    body = text.rstrip(" \t\n.!。！,;")
    return clause.at, clause.at + max(len(body), 1)
