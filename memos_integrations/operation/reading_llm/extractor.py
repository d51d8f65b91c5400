"""An ``Extractor`` that asks a language model, and keeps only what the words themselves say.

Called by the fine stage; calls ``structured``, then ``grounding``. A model that is away raises
``LLMUnavailable`` so that the durable task comes back; one that answers badly is replaced by the
rules for those turns, and the note of each says so.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from memos_integrations.cube.errors import BackendUnavailable, LLMUnavailable, UsageError
from memos_integrations.cube.facts import Extraction, Extractor, Fact, Mention, TurnText
from memos_integrations.cube.ports import LLM
from memos_integrations.operation.reading_llm.grounding import Ground, Ungrounded, fact, mention
from memos_integrations.operation.reading_llm.prompt import (
    EXTRACT_SYSTEM,
    extraction_prompt,
    new_boundary,
)
from memos_integrations.operation.reading_llm.schema import TurnsRead
from memos_integrations.operation.reading_llm.structured import Structured, structured

_MAX_FACTS_PER_TURN = 24
_CHARS_PER_TOKEN = 3
_MOST_UNFINISHED = 8_192
_Numbered = list[tuple[int, TurnText]]


@dataclass(frozen=True, slots=True)
class Budget:
    """How much is asked in one call."""

    turns: int = 12
    prompt_tokens: int = 2_000
    """Of turns, estimated at three characters a token; a longer single turn is not sent."""
    answer_tokens: int = 2_048


class LLMExtractor:
    """Facts, names and dates by a language model, checked against the turn they come from.

    ``fallback`` (the rules) reads what the model answers badly, and the dates of every turn. One
    call reads several turns, but only of one speaker, so that nobody's words can colour what is
    read from another's.
    """

    def __init__(
        self,
        llm: LLM,
        *,
        fallback: Extractor | None = None,
        budget: Budget | None = None,
        boundary: Callable[[], str] = new_boundary,
    ) -> None:
        self._llm = llm
        self._fallback = fallback
        self._budget = budget or Budget()
        self._boundary = boundary
        self._unfinished = _Unfinished()
        if self._budget.turns < 1:
            raise UsageError("a call reads at least one turn: give Budget(turns=1) or more")

    @property
    def name(self) -> str:
        return self._llm.name

    def extract(self, turns: Sequence[TurnText]) -> list[Extraction]:
        """One result per turn, in order. Raises ``LLMUnavailable``, having changed nothing."""
        found = self._unfinished.known(turns)
        left = [(place, turn) for place, turn in enumerate(turns) if place not in found]
        for batch in _batches(left, self._budget):
            read = self._read(batch)
            self._unfinished.keep({turn: read[place] for place, turn in batch})
            found |= read
        self._unfinished.forget(turns)
        return [found.get(place, Extraction()) for place in range(len(turns))]

    def fall_back(self, turns: Sequence[TurnText], why: str) -> list[Extraction]:
        """What the rules find, noted as ``unavailable``; the task's last attempt asks for it.

        Turns that the model had read before it went away keep its reading.
        """
        found = self._unfinished.known(turns)
        self._unfinished.forget(turns)
        ruled = self._by_rules(turns, f"unavailable: {why}")
        return [found.get(place, by_rules) for place, by_rules in enumerate(ruled)]

    def _read(self, batch: _Numbered) -> dict[int, Extraction]:
        turns = [turn for _, turn in batch]
        if _cost(turns[0]) > self._budget.prompt_tokens:
            return self._placed(batch, self._by_rules(turns, "too long: read by rules"))
        answer = self._asked(turns)
        if answer.value is not None:
            return self._placed(batch, self._grounded(turns, answer.value))
        if answer.why == "truncated" and len(batch) > 1:
            half = len(batch) // 2
            return self._read(batch[:half]) | self._read(batch[half:])
        return self._placed(batch, self._by_rules(turns, f"invalid: {answer.why}"))

    def _asked(self, turns: Sequence[TurnText]) -> Structured[TurnsRead]:
        try:
            return structured(
                self._llm,
                extraction_prompt(turns, self._boundary()),
                TurnsRead,
                system=EXTRACT_SYSTEM,
                max_tokens=self._budget.answer_tokens,
                check=lambda read: _in_range(read, len(turns)),
            )
        except BackendUnavailable:
            raise
        except Exception as error:
            raise LLMUnavailable(f"{self.name} failed ({type(error).__name__})") from error

    def _placed(self, batch: _Numbered, found: Sequence[Extraction]) -> dict[int, Extraction]:
        return {place: one for (place, _), one in zip(batch, found, strict=True)}

    def _by_rules(self, turns: Sequence[TurnText], note: str) -> list[Extraction]:
        if self._fallback is None:
            return [Extraction(complete=False, note=note) for _ in turns]
        found = self._fallback.extract(turns)
        by = self._fallback.name
        return [replace(one, complete=False, by=by, note=note) for one in found]

    def _grounded(self, turns: Sequence[TurnText], read: TurnsRead) -> list[Extraction]:
        # Dates are read by the rules in any case: they are exact, and need no model.
        ruled = self._fallback.extract(turns) if self._fallback else [Extraction() for _ in turns]
        return [
            _grounded(read, place, turn, by_rules)
            for place, (turn, by_rules) in enumerate(zip(turns, ruled, strict=True), 1)
        ]


class _Unfinished:
    """Readings of tasks that broke off, so that the next attempt does not pay for them again.

    Bounded, in memory only, and gone as soon as the task gets through.
    """

    def __init__(self) -> None:
        self._read: dict[TurnText, Extraction] = {}
        self._lock = threading.Lock()

    def known(self, turns: Sequence[TurnText]) -> dict[int, Extraction]:
        """What was read of these turns, by place."""
        with self._lock:
            return {p: self._read[turn] for p, turn in enumerate(turns) if turn in self._read}

    def keep(self, read: Mapping[TurnText, Extraction]) -> None:
        with self._lock:
            self._read.update(read)
            while len(self._read) > _MOST_UNFINISHED:
                del self._read[next(iter(self._read))]

    def forget(self, turns: Sequence[TurnText]) -> None:
        with self._lock:
            for turn in turns:
                self._read.pop(turn, None)


def _grounded(read: TurnsRead, place: int, turn: TurnText, ruled: Extraction) -> Extraction:
    """What holds of an answer about one turn."""
    ground = Ground.of(turn)
    facts: dict[tuple[str, str, str, bool], Fact] = {}
    refused: defaultdict[str, int] = defaultdict(int)
    for said in (said for said in read.facts if said.turn == place):
        try:
            one = fact(said, ground)
        except Ungrounded as reason:
            refused[str(reason)] += 1
            continue
        if len(facts) >= _MAX_FACTS_PER_TURN:
            refused["too many facts"] += 1
            continue
        facts.setdefault((one.subject, one.attribute, one.value.casefold(), one.negated), one)
    names = [mention(said, ground) for said in read.names if said.turn == place]
    kept = dict.fromkeys(name for name in (*names, *ruled.mentions) if name is not None)
    times = ruled.times or tuple(dict.fromkeys(one.when for one in facts.values() if one.when))
    why = ", ".join(f"{reason} ({count})" for reason, count in sorted(refused.items()))
    return Extraction(
        tuple(facts.values()),
        _apart(tuple(kept)),
        times,
        complete=False,
        note=f"rejected: {why}" if refused else None,
    )


def _apart(names: tuple[Mention, ...]) -> tuple[Mention, ...]:
    """The names without those that lie inside another one at the same place."""
    kept: list[Mention] = []
    for name in sorted(names, key=lambda name: (name.at, -name.to)):
        if not kept or name.at >= kept[-1].to:
            kept.append(name)
    return tuple(kept)


def _in_range(read: TurnsRead, turns: int) -> str | None:
    """A fact about a turn that was not asked about makes the whole answer doubtful."""
    numbers = {said.turn for said in read.facts} | {said.turn for said in read.names}
    return f"turn must be from 1 to {turns}" if any(n > turns for n in numbers) else None


def _batches(turns: _Numbered, budget: Budget) -> Iterator[_Numbered]:
    """Turns of one speaker, as many as one call may hold; empty ones are not asked about."""
    groups: defaultdict[tuple[str | None, str | None], _Numbered] = defaultdict(list)
    for place, turn in turns:
        if turn.text.strip():
            groups[turn.speaker, turn.role].append((place, turn))
    for group in groups.values():
        batch: _Numbered = []
        spent = 0
        for place, turn in group:
            cost = _cost(turn)
            if batch and (len(batch) >= budget.turns or spent + cost > budget.prompt_tokens):
                yield batch
                batch, spent = [], 0
            batch.append((place, turn))
            spent += cost
        yield batch


def _cost(turn: TurnText) -> int:
    return len(turn.text) // _CHARS_PER_TOKEN + 24
