"""The verb that answers with adapters: the search decides, question by question, which one serves.

Called by programs that run a hosted model themselves; needs the extra ``parametric``. Every
question is searched as any other is, so nobody is answered from what a search would not show.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from memos_integrations.cube.errors import InvalidInput, NotFound
from memos_integrations.cube.item import MemoryItem
from memos_integrations.infrastructure.vault import adapters
from memos_integrations.infrastructure.vault.adapters import AdapterRow
from memos_integrations.infrastructure.vault.rows import to_item
from memos_integrations.interface.adapter_candidates import Serving, candidate, sources_in
from memos_integrations.interface.arguments import whole
from memos_integrations.interface.parametric_verbs import ParametricVerbs
from memos_integrations.interface.reads import Reads, check_query
from memos_integrations.interface.scope import CubeName, Scope, Where
from memos_integrations.operation.operator.search import Found
from memos_integrations.operation.transform.lesson import QuestionForms
from memos_integrations.operation.transform.prompt import Question, Turn, prompt_of
from memos_integrations.operation.transform.recollection import recollected
from memos_integrations.operation.transform.routing import Bar, Candidate, Route, choose
from memos_integrations.operation.transform.teaching import Teaching, lesson_of

_MOST_QUESTIONS = 1_000


@dataclass(frozen=True, slots=True)
class AdaptedRow:
    """One question, and what answers it."""

    query: str
    adapter: str | None
    """The id of the adapter that is active; ``None``: the base answers."""
    items: tuple[MemoryItem, ...]
    """The memories that stand in the prompt as text."""
    learnt: tuple[MemoryItem, ...]
    """The memories found that the adapter holds."""
    why: str


@dataclass(frozen=True, slots=True)
class Adapted:
    """What a model is to be given: ``adapted.model.generate(**adapted.inputs)``."""

    model: Any
    inputs: dict[str, Any]
    """``input_ids`` and ``attention_mask``, ``[questions, tokens]`` each, padded on the left, and
    the adapter of each row."""
    rows: tuple[AdaptedRow, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """A fact that an adapter claims to know, and whether it does."""

    item: MemoryItem
    """The memory it was learnt from, at the version that was read."""
    question: str
    """Of a form that was never trained on."""
    answer: str
    """What the model says with the adapter active and no text."""
    expected: str
    """What it reads off the text."""
    agrees: bool


class AdaptedVerb(Reads, ParametricVerbs):
    """Answers from weights, text and both."""

    @contextmanager
    def adapted(
        self,
        *,
        model: str,
        query: str | Sequence[str],
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
        filter: Where = None,  # noqa: A002  -- the field's word
        k: int = 5,
        bar: Bar | None = None,
        turns: Sequence[Turn] | None = None,
    ) -> Generator[Adapted]:
        """Inputs of a hosted model for one or many questions, each with the memory it needs.

        Of the ``k`` memories found for a question those above the ``bar`` are answers. An adapter
        is active only where they are among its sources and the asker may read all of these; at
        most one a question, and of a named session, an agent beside a user or a ``filter`` only
        where all of these pass it; a question about "me" is answered from weights by what the
        asker said alone. What it does not hold stands in the prompt as text, as does what was
        corrected since. A question about anything else gets the base alone, bitwise, and no text.
        Each row tells why. ``turns`` is the conversation of which ``query``, one question then, is
        the last: it is written whole, and the adapter is active from its last invocation on.

        The model is yours for the length of the block. Raises ``NotFound`` for a model that this
        program does not host, ``MissingExtra`` without torch and peft.
        """
        questions = _questions(query, turns)
        whole(k, "k", least=1, most=100)
        check_bar(bar)
        teaching = self._rooms.adapters.teaching(model)
        self._rooms.adapters.tend()
        scope = self._scope(user, agent, session, cube)
        with teaching.hosted.lock:
            bank = self._rooms.adapters.bank(model)
            found = [self._find(scope, q, filter, k, self._instant) for q in questions]
            asked = [self._candidates(scope, rows) for rows in found]
            serving = self._serving(
                scope,
                model,
                sources_in(asked),
                where=filter,
                fits=lambda row: row.base == bank.base,
            )
            self._rooms.adapters.forget()
            routes = self._routes(model, list(zip(questions, asked, strict=True)), serving, bar)
            rows = [
                row_of(q, r, f, scope) for q, r, f in zip(questions, routes, found, strict=True)
            ]
            prompts = [prompt_tokens(teaching, row.items, turns or row.query) for row in rows]
            keys = [None if r.adapter is None else serving.rows[r.adapter].key for r in routes]
            inputs = bank.rows_inputs(list(zip(prompts, keys, strict=True)))
            self._tell(scope, routes, found)
            yield Adapted(bank.model, inputs, tuple(rows))

    def claims(
        self,
        adapter: str,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        forms: QuestionForms | None = None,
    ) -> tuple[Claim, ...]:
        """What an adapter says it knows, each fact asked for in a form that was never trained on
        and held against its memory: from weights back to text.

        ``forms`` are those it was distilled with, where they were given to that call. Raises
        ``NotFound`` for an adapter the asker may not see or a model that this program does not
        host, ``AccessDenied`` where it may not read every source.
        """
        scope = self._scope(user, agent, session)
        with self._reading(scope, action="claims") as reading:
            row = self._usable_adapter(reading, scope, adapter)
            items = sorted(adapters.source_rows(reading.connection, [row.id])[row.id])
            rows = reading.governed.items(items, cids=[row.cid])
        teaching = self._rooms.adapters.teaching(row.model)
        seen = {each.id: to_item(each, scope.principal) for each in rows}
        asked = teaching.forms if forms is None else forms
        lessons = [lesson_of(item, teaching, asked) for item in seen.values()]
        known = [each for each in lessons if each is not None]
        if len(known) < len(lessons):
            raise InvalidInput(
                f"{len(lessons) - len(known)} memories have too few question forms here: pass the "
                "forms that were given to distil"
            )
        with teaching.hosted.lock:
            bank = self._rooms.adapters.bank(row.model)
            if not self._rooms.adapters.attach(row.model, row):
                raise NotFound(f"adapter {adapter} was withdrawn: its file is broken")
            assert row.key is not None  # noqa: S101  -- attached in the line above
            found = recollected(teaching, bank, row.key, known)
        self._rooms.vault.shown(scope.principal, "claims", rows, cubes=[row.cube], used=False)
        return tuple(Claim(seen[r.item], r.question, r.answer, r.expected, r.agrees) for r in found)

    def _serving(
        self,
        scope: Scope,
        model: str,
        items: Collection[int],
        *,
        where: Where,
        fits: Callable[[AdapterRow], bool],
    ) -> Serving:
        """The adapters that hold something of what was found and that the asker may use."""
        asked = scope.where(where)
        with self._reading(scope, action="adapted") as reading:
            rows = adapters.usable(reading.connection, reading.asking, model=model, items=items)
            usable = {row.id: row for row in rows if fits(row)}
            sources = adapters.source_rows(reading.connection, list(usable))
            if asked is None:
                return Serving(usable, sources, frozenset())
            every, cids = sorted(set[int]().union(*sources.values())), {row.cid for row in rows}
            passing = reading.governed.items(every, cids=cids, pick="searchable", where=asked)
        inside = {row.iid for row in passing}
        return Serving(
            usable, sources, frozenset(n for n, of in sources.items() if not of <= inside)
        )

    def _candidates(self, scope: Scope, found: Sequence[Found]) -> list[Candidate]:
        with self._rooms.vault.readers.snapshot() as connection:
            drawn = adapters.drawn_from(connection, [each.row.iid for each in found])
        embeds = self._rooms.embedder is not None
        return [candidate(each, scope.principal, drawn, embeds=embeds) for each in found]

    def _routes(
        self,
        model: str,
        asked: Sequence[tuple[str, Sequence[Candidate]]],
        serving: Serving,
        bar: Bar | None,
    ) -> list[Route]:
        """The route of each question, its adapter attached; text stands in where one is broken."""
        most, sources = self._rooms.settings.resident_adapters, serving.sources
        while True:
            routes = [
                choose(q, found, sources, bar=bar, outside=serving.outside) for q, found in asked
            ]
            wanted = {route.adapter for route in routes if route.adapter is not None}
            if len(wanted) > most:
                raise InvalidInput(
                    f"{len(wanted)} adapters are needed, and {most} fit beside the model: "
                    "ask fewer at once"
                )
            broken = {w for w in wanted if not self._rooms.adapters.attach(model, serving.rows[w])}
            if not broken:
                return routes
            sources = {name: rows for name, rows in sources.items() if name not in broken}

    def _tell(
        self, scope: Scope, routes: Sequence[Route], found: Sequence[Sequence[Found]]
    ) -> None:
        """Record what was shown, as text or through the weights, and by which adapters: these hold
        more than what was found."""
        rows = {
            each.row.iid: each.row
            for route, hits in zip(routes, found, strict=True)
            for each in hits
            if each.row.iid in (*route.text, *route.covered)
        }
        used = sorted({route.adapter for route in routes if route.adapter is not None})
        self._rooms.vault.shown(
            scope.principal,
            "adapted",
            list(rows.values()),
            cubes=scope.cubes,
            extra={"adapter": " ".join(used)} if used else None,
        )


def prompt_tokens(
    teaching: Teaching, items: Sequence[MemoryItem], question: Question
) -> tuple[int, ...]:
    """The prompt of a question or a conversation with these memories as text."""
    hosted = teaching.hosted
    done = prompt_of(hosted.tokenizer, teaching.memory(items), question, rendering=hosted.rendering)
    return done.tokens


def check_bar(bar: object) -> None:
    """Raise ``InvalidInput`` for what is no bar."""
    if bar is not None and not isinstance(bar, Bar):
        raise InvalidInput("bar takes a Bar, with what a memory must reach to count as an answer")


def _questions(query: object, turns: Sequence[Turn] | None) -> list[str]:
    given = [query] if isinstance(query, str) else query
    if not isinstance(given, Sequence) or not 1 <= len(given) <= _MOST_QUESTIONS:
        raise InvalidInput(f"query must be a question, or a list of 1 to {_MOST_QUESTIONS}")
    if turns is not None and (len(given) != 1 or not turns):
        raise InvalidInput("a conversation has turns, and one question that is asked last")
    for each in (*given, *(turn["content"] for turn in turns or ())):
        check_query(each, 1)
    return [str(each) for each in given]


def row_of(question: str, route: Route, found: Sequence[Found], scope: Scope) -> AdaptedRow:
    """A route as the asker is told of it."""
    items = {each.row.iid: each.row for each in found}

    def seen(rows: Sequence[int]) -> tuple[MemoryItem, ...]:
        return tuple(to_item(items[iid], scope.principal) for iid in rows)

    return AdaptedRow(question, route.adapter, seen(route.text), seen(route.covered), route.why)
