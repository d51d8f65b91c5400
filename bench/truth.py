"""Truth maintenance: what is corrected, never told or forgotten, in generated cases.

In the style of MEME's three questions: *cascade* (a corrected source updates or withdraws what
rests on it, directly and over steps), *absence* (what was not told is answered as not known),
*deletion* (what was deleted or erased is gone wherever one may look). Seeded, without a language
model and without an embedder. Wordings come in three sets (``truth_topics``): ``plain``, and two
that the rules were not written for. A case is right only if everything it looks at is right.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal

from bench.truth_topics import SECOND, THIRD, TOPICS, Topic
from memos_integrations import MOS, Settings
from memos_integrations.interface.answers import Answer
from memos_integrations.testing.fakes import ManualClock

SEED = 20_260_101
Wording = Literal["plain", "held_out_1", "held_out_2", "held_out_3"]
WORDINGS: tuple[Wording, ...] = ("plain", "held_out_1", "held_out_2", "held_out_3")
_DAY = 86_400.0


_OTHERS = ("Tom", "Priya", "Sofia", "Marcus", "Elena", "Yuki")
_SMALL_TALK = (
    "The weather was awful today.",
    "I watched a long film about whales yesterday.",
    "The tram was late again this morning.",
    "We had pancakes for breakfast.",
)
_NEVER_TOLD = (
    "What did the doctor say about my knee?",
    "Which hotel did I book in Rome?",
    "What did Priya give me for my birthday?",
    "How much did the new boiler cost?",
    "What is the code of the garage?",
    "Who repaired my bicycle?",
    "What was the title of the book I borrowed?",
    "When is the meeting with the landlord?",
    "What is the name of my cat?",
    "How old is my grandmother?",
)


@dataclass
class Case:
    """One situation and whether memory behaves in it."""

    category: str
    kind: str
    wording: Wording
    run: Callable[[Person], list[str]]
    """What was wrong; empty when nothing was."""


class Person:
    """One user of the benchmark's memory, with a home cube of their own."""

    def __init__(self, mos: MOS, clock: ManualClock, name: str) -> None:
        self.mos, self.clock, self.name = mos, clock, name

    def tell(self, text: str, **given: object) -> str:
        """Say it a day later; the memory's id."""
        self.clock.advance(seconds=_DAY)
        done = self.mos.add(text, user=self.name, **given)  # type: ignore[arg-type]
        self.mos.wait()
        return done.id

    def ask(self, question: str) -> Answer:
        return self.mos.ask(question, user=self.name)

    def expect(self, question: str, value: str, *, never: str | None = None) -> list[str]:
        """Complaints unless the answer is ``value``."""
        got = self.ask(question)
        said = f"{got.value} {got.text}".casefold()
        wrong = [] if got.known and value.casefold() in said else [f"{question} -> {got}"]
        if never is not None and got.known and never.casefold() in said:
            wrong.append(f"{question} still says {never}")
        return wrong

    def expect_nothing(self, question: str) -> list[str]:
        """Complaints unless it is answered as not known."""
        got = self.ask(question)
        return [f"{question} -> {got}"] if got.known else []

    def found(self, words: str, query: str) -> list[str]:
        """Where a present read still shows these words."""
        wrong: list[str] = []
        low = words.casefold()
        if any(low in hit.text.casefold() for hit in self.mos.search(query, user=self.name)):
            wrong.append("search")
        if any(low in fact.text.casefold() for fact in self.mos.facts(user=self.name)):
            wrong.append("facts")
        if low in str(self.ask(query)).casefold():
            wrong.append("ask")
        if low in self.mos.context(query, user=self.name).text.casefold():
            wrong.append("context")
        everything = {"state": {"in": ["generated", "activated", "archived", "merged"]}}
        rows = self.mos.list(user=self.name, filter=everything, limit=1000)
        if any(low in m.text.casefold() and m.header.state != "archived" for m in rows):
            wrong.append("list")
        return wrong


def cases(seed: int = SEED) -> list[Case]:
    """Every case of the benchmark, in a fixed order."""
    rng = random.Random(seed)
    first = [*_cascades(rng), *_absences(rng), *_deletions(rng)]
    second = _unseen(SECOND, "held_out_2", random.Random(seed + 2))
    return [*first, *second, *_unseen(THIRD, "held_out_3", random.Random(seed + 3))]


def _unseen(topics: tuple[Topic, ...], wording: Wording, rng: random.Random) -> Iterator[Case]:
    """Every wording of these topics in every category."""
    for topic in topics:
        changes = topic.change_held_out
        kinds = _BY_SOURCE if topic.single else {k: _BY_SOURCE[k] for k in _OF_MANY}
        others = [each for each in topics if _apart(each, topic)]
        for n, words in enumerate(topic.held_out):
            old, new = rng.sample(topic.values, 2)
            ask = rng.choice(topic.questions)
            if changes:
                run = _told_anew(words, changes[n % len(changes)], old, new, ask)
                yield Case("cascade", "new message", wording, run)
            for kind, make in kinds.items():
                yield Case("cascade", kind, wording, make(words, old, new, ask))
            yield Case("absence", "withdrawn", wording, _withdrawn(words, new, ask))
            other = rng.choice(others)
            told = rng.choice(other.held_out)
            run = _never(told, rng.choice(other.values), ask, rng)
            yield Case("absence", "never told", wording, run)
            forget, kind = ((_deleted, "delete"), (_erased, "erase"))[n % 2]
            yield Case("deletion", kind, wording, forget(words, _numbered(wording, topic, n), ask))


_OF_MANY = ("update", "over three steps")


def _wordings(topic: Topic) -> Iterator[tuple[str, Wording]]:
    yield from ((words, "plain") for words in topic.plain)
    yield from ((words, "held_out_1") for words in topic.held_out)


def _cascades(rng: random.Random) -> Iterator[Case]:
    for topic in TOPICS:
        changes: list[tuple[str, Wording]] = [(w, "plain") for w in topic.change]
        changes += [(w, "held_out_1") for w in topic.change_held_out]
        for (words, one), (change, two) in product(_wordings(topic), changes):
            old, new = rng.sample(topic.values, 2)
            ask = rng.choice(topic.questions)
            yield Case(
                "cascade",
                "new message",
                one if one != "plain" else two,
                _told_anew(words, change, old, new, ask),
            )
        for words, held_out in _wordings(topic):
            old, new = rng.sample(topic.values, 2)
            for kind, make in _BY_SOURCE.items():
                ask = rng.choice(topic.questions)
                yield Case("cascade", kind, held_out, make(words, old, new, ask))


def _told_anew(
    words: str, change: str, old: str, new: str, ask: str
) -> Callable[[Person], list[str]]:
    def run(person: Person) -> list[str]:
        person.tell(words.format(v=old))
        person.tell(change.format(v=new))
        return person.expect(ask, new, never=old)

    return run


def _updated(words: str, old: str, new: str, ask: str) -> Callable[[Person], list[str]]:
    def run(person: Person) -> list[str]:
        turn = person.tell(words.format(v=old))
        person.mos.update(turn, words.format(v=new), user=person.name)
        person.mos.wait()
        return person.expect(ask, new, never=old)

    return run


def _corrected(words: str, old: str, new: str, ask: str) -> Callable[[Person], list[str]]:
    def run(person: Person) -> list[str]:
        person.tell(words.format(v=old))
        person.tell(f"Sorry, that was wrong. {words.format(v=new)}")
        return person.expect(ask, new, never=old)

    return run


def _taken_back(words: str, old: str, new: str, ask: str) -> Callable[[Person], list[str]]:
    def run(person: Person) -> list[str]:
        person.tell(words.format(v=old))
        turn = person.tell(words.format(v=new))
        wrong = person.expect(ask, new)
        person.mos.delete(turn, user=person.name)
        person.mos.wait()
        return wrong + person.expect(ask, old, never=new)

    return run


def _chained(words: str, old: str, new: str, ask: str) -> Callable[[Person], list[str]]:
    def run(person: Person) -> list[str]:
        source = person.tell(words.format(v=old))
        chain = []
        for step in range(3):
            note = f"Note {step} on this person, resting on {old}"
            source = person.mos.add(note, user=person.name, derived_from=[source]).id
            chain.append(source)
        person.mos.wait()
        turn = person.mos.provenance(chain[0], user=person.name).sources[0].id
        person.mos.update(turn, words.format(v=new), user=person.name)
        hits = {hit.id for hit in person.mos.search(f"note resting on {old}", user=person.name)}
        wrong = [f"step {n} still found" for n, item in enumerate(chain) if item in hits]
        person.mos.wait()
        stale = [person.mos.get(item, user=person.name).header.stale for item in chain]
        wrong += [f"step {n} not stale" for n, flag in enumerate(stale) if not flag]
        return wrong + person.expect(ask, new, never=old)

    return run


_BY_SOURCE = {
    "update": _updated,
    "correction": _corrected,
    "taken back": _taken_back,
    "over three steps": _chained,
}


def _absences(rng: random.Random) -> Iterator[Case]:
    for topic in TOPICS:
        others = [each for each in TOPICS if each is not topic and _apart(each, topic)]
        for words, held_out in _wordings(topic):
            value, ask = rng.choice(topic.values), rng.choice(topic.questions)
            yield Case("absence", "withdrawn", held_out, _withdrawn(words, value, ask))
            other = rng.choice(others)
            told, unlike = rng.choice(list(_wordings(other)))
            yield Case(
                "absence", "never told", unlike, _never(told, rng.choice(other.values), ask, rng)
            )
    for name, (verb, question) in product(_OTHERS, _OF_OTHERS.items()):
        other = rng.choice([each for each in _OTHERS if each != name])
        yield Case("absence", "another subject", "plain", _of_another(verb, question, name, other))
    for question in _NEVER_TOLD * 2:
        told = rng.sample(_SMALL_TALK, 3)
        yield Case("absence", "open question", "held_out_1", _open(told, question))


def _apart(one: Topic, other: Topic) -> bool:
    """Whether telling one says nothing of the other; a job is told with its employer."""
    names = {one.name.partition(",")[0], other.name.partition(",")[0]}
    told_together = ({"employer", "profession"}, {"university", "profession"})
    return len(names) > 1 and names not in told_together


_OF_OTHERS = {
    "{n} lives in Lisbon.": ("Where do I live?", "Where does {o} live?"),
    "{n} works at Adobe.": ("Where do I work?", "Where does {o} work?"),
    "My friend {n} is allergic to peanuts.": ("What am I allergic to?", "What is {o} allergic to?"),
    "{n} loves jazz.": ("Do I like jazz?", "Does {o} like jazz?"),
}


def _withdrawn(words: str, value: str, ask: str) -> Callable[[Person], list[str]]:
    def run(person: Person) -> list[str]:
        turn = person.tell(words.format(v=value))
        wrong = person.expect(ask, value)
        person.mos.delete(turn, user=person.name)
        person.mos.wait()
        return wrong + person.expect_nothing(ask)

    return run


def _never(words: str, value: str, ask: str, rng: random.Random) -> Callable[[Person], list[str]]:
    talk = rng.choice(_SMALL_TALK)

    def run(person: Person) -> list[str]:
        person.tell(words.format(v=value))
        person.tell(talk)
        return person.expect_nothing(ask)

    return run


def _of_another(
    verb: str, questions: tuple[str, str], name: str, other: str
) -> Callable[[Person], list[str]]:
    def run(person: Person) -> list[str]:
        person.tell(verb.format(n=name))
        return [
            complaint
            for question in questions
            for complaint in person.expect_nothing(question.format(o=other))
        ]

    return run


def _open(told: list[str], question: str) -> Callable[[Person], list[str]]:
    def run(person: Person) -> list[str]:
        for words in told:
            person.tell(words)
        return person.expect_nothing(question)

    return run


def _deletions(rng: random.Random) -> Iterator[Case]:
    for topic in TOPICS:
        for (words, held_out), kind in product(_wordings(topic), ("delete", "erase") * 3):
            value, ask = _made_up(rng), rng.choice(topic.questions)
            run = _deleted(words, value, ask) if kind == "delete" else _erased(words, value, ask)
            yield Case("deletion", kind, held_out, run)


def _numbered(wording: Wording, topic: Topic, place: int) -> str:
    """A name that no other case has: what one deletes must not be what another keeps."""
    letters = f"{wording[-1]}{place:02}{len(topic.name):02}{ord(topic.name[0]) % 10}"
    return "Q" + "".join("abcdefghij"[int(digit)] for digit in letters) + topic.name[-1]


def _made_up(rng: random.Random) -> str:
    """A name that stands nowhere else, so that a scan of the files can look for it."""
    parts = ("bra", "kel", "vor", "sil", "tam", "nub", "rix", "dol", "mep", "zan")
    return "".join(rng.sample(parts, 5)).capitalize()


def _deleted(words: str, value: str, ask: str) -> Callable[[Person], list[str]]:
    def run(person: Person) -> list[str]:
        turn = person.tell(words.format(v=value))
        note = person.mos.add("A note that rests on it", user=person.name, derived_from=[turn]).id
        person.mos.wait()
        person.mos.delete(turn, user=person.name)
        person.mos.wait()
        return person.found(value, ask) + _traces(person, note, value)

    return run


def _erased(words: str, value: str, ask: str) -> Callable[[Person], list[str]]:
    def run(person: Person) -> list[str]:
        bystander = person.tell("The tram was late again this morning.")
        turn = person.tell(words.format(v=value))
        person.mos.link(bystander, "relates_to", turn, user=person.name)
        then = person.clock.now()
        person.clock.advance(seconds=60)
        receipt = person.mos.erase(turn, user=person.name)
        person.mos.wait()
        wrong = person.found(value, ask) + _traces(person, bystander, value)
        view = person.mos.as_of(then)
        past = [*view.list(user=person.name), *(f.item for f in view.facts(user=person.name))]
        past += [hit.item for hit in view.search(ask, user=person.name)]
        wrong += ["the past"] if any(value in item.text for item in past) else []
        if person.mos.facts(user=person.name, history=True, attribute=None, subject=person.name):
            wrong.append("history of facts")
        files = [Path(person.mos.path), Path(person.mos.path + "-wal")]
        if any(value.encode() in f.read_bytes() for f in files if f.exists()):
            wrong.append("raw bytes")
        return wrong + (["receipt"] if receipt.scan.found else [])

    return run


def _traces(person: Person, other: str, value: str) -> list[str]:
    """Where what is left behind still tells of it: links and provenance of another memory."""
    wrong = []
    if person.mos.links(other, user=person.name) and any(
        value in item.text
        for link in person.mos.links(other, user=person.name)
        for item in _told(person, link.target)
    ):
        wrong.append("links")
    seen = person.mos.provenance(other, user=person.name)
    if any(value in item.text for item in (*seen.sources, *seen.derived)):
        wrong.append("provenance")
    return wrong


def _told(person: Person, item: str) -> list[object]:
    rows = person.mos.list(user=person.name, limit=1000)
    return [row for row in rows if row.id == item]


Key = tuple[str, str, Wording]


@dataclass(frozen=True)
class Score:
    """How the cases went."""

    right: Counter[Key]
    total: Counter[Key]
    misses: tuple[str, ...]

    def share(self, category: str, *, wording: Wording | None = None) -> tuple[int, int]:
        """Right and all cases of a category."""
        keys = [k for k in self.total if k[0] == category and wording in (None, k[2])]
        return sum(self.right[k] for k in keys), sum(self.total[k] for k in keys)


def score(chosen: list[Case], path: str | None = None) -> Score:
    """Run the cases in one memory, each with a user of its own."""
    clock = ManualClock()
    right: Counter[Key] = Counter()
    total: Counter[Key] = Counter()
    misses: list[str] = []
    with MOS(path, embedder=None, clock=clock, settings=Settings(worker=False)) as mos:
        for number, case in enumerate(chosen):
            key = (case.category, case.kind, case.wording)
            wrong = case.run(Person(mos, clock, f"person{number}"))
            total[key] += 1
            right[key] += not wrong
            misses += [f"{case.wording}/{case.category}/{case.kind}: {wrong[0]}"] if wrong else []
        report = mos.check()
        misses += [f"check: {finding.text}" for finding in report.findings]
    return Score(right, total, tuple(misses))


def main(*, quick: bool) -> None:
    """Print the accuracy of each category and every miss."""
    every = cases()
    begun = time.monotonic()
    done = score(every[::5] if quick else every)
    print(f"truth maintenance: {sum(done.total.values())} cases, seed {SEED}")
    for category in ("cascade", "absence", "deletion"):
        right, total = done.share(category)
        sets = [(each, *done.share(category, wording=each)) for each in WORDINGS]
        shown = ", ".join(f"{each} {a}/{b}" for each, a, b in sets if b)
        print(f"  {category:9} {right / total:6.1%}  ({right}/{total}; {shown})")
        for key in sorted(k for k in done.total if k[0] == category):
            print(f"      {key[1]:18} {key[2]:12} {done.right[key]}/{done.total[key]}")
    for miss in done.misses:
        print(f"  missed  {miss}")
    print(f"  {time.monotonic() - begun:.1f} s")
