"""Which adapter answers a question, which memories stand before it as text, and why. Pure.

Called with what a governed search found. An adapter is active only where what was found above the
bar is among its sources, at most one for a question; a question about anything else gets the base
as it is. Text always wins: what the adapter does not hold is put into the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """A memory that was found, as far as the choice depends on it."""

    row: int
    """Its item row."""
    text: str
    score: float
    near: float | None
    """Closeness in meaning from -1 to 1; ``None`` where there is no embedder."""
    words: float
    """Share of the question's words that it holds, weighed by how rare they are, from 0 to 1."""
    restates: int | None = None
    """The item row whose words it restates."""
    called: str = ""
    """Who said it."""
    own: bool = True
    """Whether it was said by the one who asks."""


@dataclass(frozen=True, slots=True)
class Bar:
    """What a memory must reach to count as an answer.

    An embedder takes rare names for each other, so closeness alone does not tell a question about
    somebody unknown from one about somebody known: a name must stand in the memory, and where
    none is seen, a word that tells memories apart.
    """

    near: float = 0.4
    """Closeness in meaning where the memory holds what the question names."""
    near_unnamed: float = 0.5
    """The same where the question names nobody."""
    words: float = 0.1
    """Share of words that must then be there too."""
    near_alone: float = 0.8
    """Closeness that needs no word in common."""


@dataclass(frozen=True, slots=True)
class Route:
    """What one question gets."""

    adapter: str | None
    text: tuple[int, ...]
    """Item rows that stand in the prompt as text, the best first."""
    covered: tuple[int, ...]
    """Item rows that the adapter answers for."""
    why: str


def choose(
    question: str,
    found: Sequence[Candidate],
    adapters: Mapping[str, Collection[int]],
    *,
    bar: Bar | None = None,
    names: Collection[str] | None = None,
    outside: Collection[str] = (),
) -> Route:
    """The route of a question. ``adapters`` are those that may be used, with their sources.

    ``names`` are what the question names, where that is known; by default the words that begin
    with a capital, but for those that open a sentence. ``outside`` are adapters that hold more
    than was asked about. A question about "me" is whoever's that asks it: weights, which tell
    nobody from another, answer it only with what the asker said.
    """
    asked = names_in(question) if names is None else set(names)
    answers = [each for each in found if passes(each, asked, bar or Bar())]
    if not answers:
        best = f"; the best of {len(found)} scored {found[0].score:.2f}" if found else ""
        told = f" of {', '.join(sorted(asked))}" if asked else ""
        return Route(None, (), (), f"no memory{told} reaches the bar{best}: the base answers")
    refused = _refused(answers, adapters, outside, personal=asks_of_asker(question))
    chosen = _heaviest(answers, {n: rows for n, rows in adapters.items() if n not in refused})
    if chosen is None:
        told = next(iter(refused.values()), "no adapter that may be used holds them")
        why = f"{len(answers)} memories found, and {told}: they stand in the prompt as text"
        return Route(None, tuple(each.row for each in answers), (), why)
    covered = tuple(each.row for each in _held(answers, adapters[chosen]))
    text = tuple(each.row for each in answers if each.row not in covered)
    return Route(chosen, text, covered, _why(answers, covered, text))


def passes(found: Candidate, names: Collection[str], bar: Bar) -> bool:
    """Whether a memory is an answer at all: near enough, and about whom the question names."""
    said = set(_words(f"{found.text} {found.called}"))
    held = sum(1 for name in names if set(_words(name)) <= said)
    if 2 * held < len(names):
        return False
    if found.near is None:
        return found.words >= bar.words or held > 0
    if names:
        return found.near >= bar.near
    shares = found.near >= bar.near_unnamed and found.words >= bar.words
    return shares or found.near >= bar.near_alone


def names_in(question: str) -> set[str]:
    """The words of a question that are names: capitalised, and not for opening a sentence."""
    found: set[str] = set()
    opens = True
    for word in re.findall(r"[^\W_]+(?:['\u2019-][^\W_]+)*|[.?!:]", question):
        if not opens and word[0].isupper() and word.casefold() not in _NO_NAMES:
            found.add(re.sub(r"['\u2019]s$", "", word))
        opens = word in ".?!:"
    return found


def asks_of_asker(question: str) -> bool:
    """Whether it asks about the one who asks it: "Where do I live?"."""
    words = (word for word in re.findall(r"[^\W_]+", question) if word != "US")
    return any(w.casefold() in _FIRST_PERSON or _CHINESE_I.search(w) for w in words)


def _refused(
    answers: Sequence[Candidate],
    adapters: Mapping[str, Collection[int]],
    outside: Collection[str],
    *,
    personal: bool,
) -> dict[str, str]:
    """Adapters that hold answers and still do not serve, by name, and why."""
    found: dict[str, str] = {}
    for name, sources in sorted(adapters.items()):
        held = _held(answers, sources)
        if held and name in outside:
            found[name] = "an adapter of them holds what the session, agent or filter leaves out"
        elif personal and not all(each.own for each in held):
            found[name] = "an adapter of them holds what others than the asker say of themselves"
    return found


def _held(answers: Sequence[Candidate], sources: Collection[int]) -> list[Candidate]:
    return [each for each in answers if each.row in sources or each.restates in sources]


def _heaviest(answers: Sequence[Candidate], adapters: Mapping[str, Collection[int]]) -> str | None:
    """The adapter that most of what was found speaks for; of equal ones the first by name."""
    weight = {
        name: sum(each.score for each in _held(answers, sources))
        for name, sources in adapters.items()
    }
    best = max(sorted(weight), key=lambda name: weight[name], default=None)
    return best if best is not None and weight[best] > 0 else None


def _why(answers: Sequence[Candidate], covered: Sequence[int], text: Sequence[int]) -> str:
    told = f"{len(covered)} of {len(answers)} memories found are learnt by this adapter"
    return f"{told}; {len(text)} stand in the prompt as text" if text else told


def _words(text: str) -> list[str]:
    return [word.casefold() for word in re.findall(r"[^\W_]+", text)]


_FIRST_PERSON = frozenset(
    ("i", "me", "my", "mine", "myself", "we", "us", "our", "ours", "ourselves")
)
_CHINESE_I = re.compile("[我俺咱]")
_NO_NAMES = frozenset(("i", "i'm", "i've", "i'd", "i'll", "i\u2019m"))
