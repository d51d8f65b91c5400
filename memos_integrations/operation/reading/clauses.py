"""Clauses of a turn, each with its subject resolved and its verb taken apart.

Everything that is no plain statement is left out here, so that no rule has to think of it:
questions, conditions, wishes, doubts, code, what stands in quotation marks, and instructions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from memos_integrations.cube.facts import TimeSpan, TurnText
from memos_integrations.operation.reading import sentence_words
from memos_integrations.operation.reading.segments import Segment
from memos_integrations.operation.reading.vocabulary import NO_NAMES, RELATIONS

SELF = "user"
"""Who speaks where nobody says so."""
_LONGEST_CLAUSE = 400
_MOST_QUOTES = 64

_VOCATIVE = re.compile(r"(?!Home)(?<!:\s)[A-Z][a-z]{1,15}[,!]\s+")
_SUBJECT = re.compile(
    r"(?P<me>i|we|(?:both|all|the\stwo|the\sthree)\sof\sus|my\sfamily\sand\si|my\s[a-zé-]{2,12}\sand\si)(?:\b|(?=m\b|ve\b))|(?P<mine>my|our)\s+(?:(?:older|younger|elder|little|big|twin|best|own|eldest"
    r"|youngest|middle|new|old|late|dear|lovely|beautiful|sweet|baby|step|only)[\s-]+){0,2}"
    r"(?P<relation>[a-zé-]{2,12})(?!'s)(?:,)?\b|"
)
_LEFT_OUT = re.compile(
    r"(?P<adv>(?:just|recently|finally|currently|now|still|newly|happily|also)\s)?(?:(?P<be>(?:based|living|residing"
    r"|employed|working|allergic|married|engaged|studying)\s(?:in|at|as|to|for|by|with|out))"
    r"|(?P<have>been\s(?:working|living|employed|studying|dating|married)\s(?:at|in|for|as|to|with|by))"
    r"|(?P<was>(?:born|raised)\s(?:in|on|and))|(?P<did>(?:moved|relocated)\s(?:back\s|over\s)?(?:to|from|in)"
    r"|(?:live|reside)\sin|works?\s(?:at|for|as)|started\s(?:at|as|working|a\snew)|joined|(?:got|landed)\s(?:a\s(?:new\s)?(?:job|position|role)|hired|married"
    r"|engaged)|switched\s(?:jobs|to\sa)|changed\s(?:jobs|employers|careers)|became\san?|left|quit|turned\s[0-9]))\b"
)
"""Begins a statement whose ``I`` or ``I am`` is left out."""
_NAME = re.compile(
    r"(?P<name>[A-Z][\w’'-]{1,24}?(?:\s[A-Z][\w’-]{1,24}){0,2})(?=\s|'s\s|’s\s|'ll\s)"
)
_PREDICATE = re.compile(
    r"\s*(?P<adv>(?:(?:really|actually|just|also|still|currently|now|always|totally|absolutely"
    r"|simply|truly|recently|finally|usually|mostly|both|all|only|even|already|definitely"
    r"|personally|never|no longer|sometimes|often|kind of|kinda|sort of|officially|honestly"
    r"|generally|originally|previously|once|certainly|secretly|both|so)\s+){0,3})"
    r"(?:(?P<aux>'?m\b|am|'re|are|'s|is|was|were|'ve got|have got|has got|'?ve\b|have|has|had|'ll|will|'d|would|do|does|did|can"
    r"|cannot|could|should|must|may|used to|ain't|won't|can't|cant\b|'d better)(?P<no>n'?t| not| never"
    r"| no longer)?(?:\s+|$)(?P<more>(?:(?:really|actually|just|also|still|currently|now|always"
    r"|totally|absolutely|simply|truly|recently|finally|usually|mostly|both|all|only|even|already"
    r"|definitely|never|no longer|not|quite|very|so|super|pretty|officially|thinking of|kind of"
    r"|kinda|severely|highly|deathly|happily|originally|a huge)\s+){0,3}))?"
)
_AUX = {
    "'m": "be", "m": "be", "ve": "have", "am": "be", "'re": "be", "are": "be", "'s": "be", "is": "be", "ain't": "be",
    "was": "was", "were": "was", "'ve got": "have", "have got": "have", "has got": "have", "'ve": "have", "have": "have", "has": "have", "had": "had",
    "'ll": "will", "will": "will", "won't": "will", "do": "", "does": "", "did": "did",
    "can": "can", "cannot": "can", "can't": "can", "cant": "can", "used to": "used",
}  # fmt: skip
_ANYMORE = re.compile(r"\b(?:any ?more|any longer)\b")


class Clause(NamedTuple):
    """A plain statement. Offsets are those of the whole turn."""

    turn: TurnText
    folded: str
    me: str
    subject: str
    owner: str
    """Whose the subject is, where it was named by a relation (``my brother``); else ``""``."""
    relation: str
    at: int
    """Where the subject begins."""
    rest: int
    """Where what is said begins, after the auxiliary and adverbs."""
    to: int
    aux: str
    """``be was have had will did can used``, another auxiliary as it stands, or ``""``."""
    denied: bool
    times: tuple[TimeSpan, ...]
    cut_short: bool = False
    """Whether the subject is left out (``Living in Rome.``): then nothing may follow the value."""

    @property
    def first(self) -> bool:
        return self.subject == self.me

    @property
    def head(self) -> str:
        """The first word of what is said, in lower case."""
        word = _HEAD.match(self.folded, self.rest, self.to)
        return word[0] if word else ""

    @property
    def agrees(self) -> bool:
        """Whether subject and verb agree: ``Ann likes``, not ``Sounds like`` or ``True love is``."""
        if self.first or self.owner or self.aux or self.head not in _BASE:
            return True
        return _DOES.search(self.folded, self.at, self.rest) is not None

    @property
    def quote(self) -> str:
        return self.turn.text[self.at : self.to]

    @property
    def lower(self) -> bool:
        """Whether it is written without capitals, names included."""
        return self.quote.islower()

    @property
    def given_up(self) -> bool:
        """Whether it says that something is so no more."""
        return _ANYMORE.search(self.folded, self.at, self.to) is not None


_HEAD = re.compile(r"[a-zé']+")
_DOES = re.compile(r"\bdoes")
_BASE = frozenset(
    "like love enjoy adore hate dislike live work study speak drive own play eat drink prefer have "
    "use plan intend want hope go come attend smoke major detest is are was were reside".split()
)


def undated(clause: Clause) -> Clause:
    """The clause with the date that was left out in front of it."""
    first = clause.times[0] if clause.times else None
    if first is None or first.to > clause.at or clause.folded[first.to : clause.at].strip(" ,"):
        return clause
    return clause._replace(at=first.at)


def within(clause: Clause, to: int) -> Clause:
    """The clause up to a place in it."""
    return clause._replace(to=to)


def speaker_of(turn: TurnText) -> str:
    """The name of whoever says ``I`` in a turn."""
    return turn.speaker or (turn.role if turn.role == "assistant" else None) or SELF


def plain(turn: TurnText, folded: str, segments: Sequence[Segment]) -> Iterator[tuple[int, int]]:
    """The stretches of the sentences that state something."""
    for segment in segments:
        if sentence_words.ROLE.match(folded, segment.at, segment.to):
            return  # whatever follows pretends to be somebody else's
        if segment.code or sentence_words.INSTRUCTION.search(folded, segment.at, segment.to):
            continue
        text = turn.text[segment.at : segment.to]
        if sentence_words.FICTION.match(folded, segment.at, segment.to):
            continue
        asks = sentence_words.QUESTION.search(text) or sentence_words.QUESTION_START.match(
            folded[segment.at : segment.to]
        )
        if asks and not sentence_words.ASKED_MYSELF.match(folded[segment.at : segment.to]):
            continue
        yield segment.at, segment.to


def pieces(folded: str, at: int, to: int) -> Iterator[tuple[int, int, bool]]:
    """The clauses of a sentence that are real; whether each carries on the subject before it."""
    cuts = sorted(
        [(cut.start(), cut.end(), False) for cut in sentence_words.CUT.finditer(folded, at, to)]
        + [
            (cut.start(), cut.end(), True)
            for cut in sentence_words.CARRIED.finditer(folded, at, to)
        ]
    )
    unreal = sentence_words.UNREAL.search(folded, at, to)
    begun, carried = at, False
    for start, end, carries in [*cuts, (to, to, False)]:
        if start < begun:
            continue
        if unreal is not None and unreal.start() < start:
            return
        if 1 < start - begun <= _LONGEST_CLAUSE:
            yield begun, start, carried
        begun, carried = end, carries


def quoted(text: str) -> list[tuple[int, int]]:
    """Where words of others stand, in order."""
    return [match.span() for match in sentence_words.QUOTED.finditer(text)][:_MOST_QUOTES]


def clauses(
    turn: TurnText, folded: str, segments: Sequence[Segment], times: Sequence[TimeSpan]
) -> Iterator[Clause]:
    """Every clause whose subject is known: the speaker, somebody of theirs, or a name."""
    me = speaker_of(turn)
    before: Clause | None
    foreign = quoted(turn.text)
    for at, to in plain(turn, folded, segments):
        before = None
        if any(start <= at < end for start, end in foreign):
            continue
        for start, end, carried in pieces(folded, at, to):
            inside = tuple(t for t in times if start <= t.at < end) if times else ()
            if carried and before is not None and before.subject:
                before = _carried(before, start, end, inside)
            else:
                before = _begun(turn, folded, me, start, end, inside)
            yield before


def _carried(before: Clause, at: int, to: int, times: tuple[TimeSpan, ...]) -> Clause:
    return _with_predicate(before._replace(at=at, to=to, times=times), at)


def _begun(
    turn: TurnText, folded: str, me: str, at: int, to: int, times: tuple[TimeSpan, ...]
) -> Clause:
    start = _skip(turn.text, folded, at, to, times)
    subject = _SUBJECT.match(folded, start, to)
    clause = Clause(turn, folded, me, me, "", "", start, start, to, "", False, times)
    if subject is not None and subject["me"]:
        return _with_predicate(clause, subject.end())
    if subject is not None and subject["mine"]:
        return _of_mine(clause, subject)
    left_out = _LEFT_OUT.match(folded, start, to)
    if left_out is not None:
        aux = (
            "be"
            if left_out["be"]
            else "was"
            if left_out["was"]
            else "have"
            if left_out["have"]
            else ""
        )
        rest = left_out.end("adv") if left_out["adv"] else start
        return clause._replace(aux=aux, rest=rest, cut_short=True)
    name = _NAME.match(turn.text, start, to)
    if name is None or not nameable(name["name"].split()[0]):
        return clause._replace(subject="", rest=to)
    return _with_predicate(clause._replace(subject=name["name"]), name.end())


def nameable(word: str) -> bool:
    """Whether a capitalised word that begins a clause can be a name."""
    low = re.split(r"['’]", word.lower())[0]
    return low not in NO_NAMES and not low.endswith(("ing", "ly", "n't")) and len(low) > 1


def _skip(text: str, folded: str, at: int, to: int, times: Sequence[TimeSpan]) -> int:
    """Past the openers, a name spoken to, and dates in front of the subject."""
    for _ in range(3):
        begun = at
        if not times or not any(span.at == at for span in times):
            opener = sentence_words.OPENER.match(folded, at, to)
            at = opener.end() if opener else at
        spoken = _VOCATIVE.match(text, at, to)
        at = spoken.end() if spoken else at
        for span in times:
            if span.at == at or folded[at : span.at] in {"on ", "in ", "at "}:
                at = span.to
                while at < to and text[at] in ", ":
                    at += 1
        if at == begun:
            break
    return at


def _of_mine(clause: Clause, subject: re.Match[str]) -> Clause:
    """``my brother lives``, ``my brother Tom lives``: the subject is the brother."""
    word = subject["relation"]
    if word not in RELATIONS:
        return clause._replace(subject="", rest=clause.to)
    relation = "best_friend" if "best " in subject[0] and word == "friend" else RELATIONS[word]
    after = subject.end()
    name = re.compile(r",?\s([A-Z][\w’-]{1,24}(?:\s[A-Z][\w’-]{1,24})?),?(?=\s)").match(
        clause.turn.text, after, clause.to
    )
    if name is not None and name[1].lower() not in NO_NAMES:
        who, after = name[1], name.end()
    else:
        who = f"{clause.me}'s {word}"
    made = clause._replace(subject=who, owner=clause.me, relation=relation)
    return _with_predicate(made, after)


def _with_predicate(clause: Clause, at: int) -> Clause:
    found = _PREDICATE.match(clause.folded, at, clause.to)
    if found is None:
        return clause._replace(rest=at)
    aux = found["aux"] or ""
    if found["no"] in {"n't", "nt"} and aux == "ca":
        aux = "can"
    words = f"{found['adv'] or ''}{found['more'] or ''}"
    denied = bool(found["no"]) or aux in {"won't", "can't", "cant", "cannot", "ain't"}
    denied = denied or any(word in words for word in ("never ", "no longer ", "not "))
    denied = denied or _ANYMORE.search(clause.folded, at, clause.to) is not None
    return clause._replace(rest=found.end(), aux=_AUX.get(aux, aux), denied=denied)
