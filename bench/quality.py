"""How well memories are found: ``python -m bench quality``, on LoCoMo and PrefEval, no LLM.

Everything goes through the public API with the library's defaults: one ``MOS`` per conversation
or topic, ``add``, ``wait``, ``search(question, limit=10)``. The baselines answer the same
questions over the same turns with the same vectors, in the same run. For tuning in a loop::

    with memories(locomo(folder)) as stores:
        found = [answers(store) for store in stores]          # as the library is
        other = evaluate(stores, ranking=stores[0].mos.ranking.without("when"))
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from bench.baselines import Ranker, rankers, told
from bench.datasets import (
    CATEGORIES,
    HEADLINE,
    PREFERENCE,
    Question,
    Sessions,
    Store,
    Turn,
    data_folder,
    locomo,
    prefeval,
)
from bench.kept_vectors import KeptVectors
from bench.measure import percentile, table
from bench.recall import K, Score, context_figures, fill, mean, score
from memos_integrations import MOS
from memos_integrations.infrastructure.backends.embedders import default_embedder
from memos_integrations.interface.tokens import EstimatedTokens
from memos_integrations.operation.operator.ranking import Ranking
from memos_integrations.operation.operator.signals import SIGNALS

__all__ = ["answers", "evaluate", "locomo", "main", "memories", "prefeval"]

CONTEXT_TOKENS = 1000
_LIVE_QUESTIONS = 30
_TOKENS = EstimatedTokens()
Report: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Memory:
    """A store of a data set, filled into a MOS of its own."""

    store: Store
    mos: MOS
    turn_of: Mapping[str, str]
    """Id of a memory -> id of the turn whose words it holds."""
    add_seconds: float
    fine_seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What one question got."""

    question: Question
    ranked: tuple[str | None, ...]
    """Turns of the hits, best first; ``None`` for a hit that is no turn but was made of one."""
    milliseconds: float
    score: Score


# -- filling --------------------------------------------------------------------------------------


def kept_vectors() -> KeptVectors | None:
    """The library's own embedder, remembering between runs; ``None`` where it is not installed."""
    found = default_embedder()
    return None if found is None else KeptVectors(found)


@contextmanager
def memories(stores: Sequence[Store], vectors: KeptVectors | None = None) -> Iterator[list[Memory]]:
    """The stores, each filled into a fresh MOS; closed and removed afterwards."""
    embedder = vectors or kept_vectors()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-quality-")))
        if embedder is not None:
            warm(stores, embedder)
            stack.callback(embedder.save)
        yield [stack.enter_context(_filled(store, folder, embedder)) for store in stores]


def warm(stores: Sequence[Store], vectors: KeptVectors) -> None:
    """Embed all turns and questions at once: batches of one length are the quickest."""
    texts = [text for store in stores for text in told(store)]
    texts += [turn.text for store in stores for turn in store.turns]
    texts += [question.text for store in stores for question in store.questions]
    vectors.embed(list(dict.fromkeys(texts)))
    vectors.save()


@contextmanager
def _filled(store: Store, folder: Path, embedder: KeptVectors | None) -> Iterator[Memory]:
    with MOS(folder / f"{store.name}.db", embedder=embedder) as mos:
        begun = time.perf_counter()
        done = mos.add([turn.message() for turn in store.turns])
        added = time.perf_counter()
        mos.wait(timeout_seconds=3600)
        refined = time.perf_counter()
        ids = [outcome.id for outcome in done.outcomes]
        turn_of = {i: t.id for i, t in zip(ids, store.turns, strict=True) if i is not None}
        yield Memory(store, mos, turn_of, added - begun, refined - added)


# -- asking ---------------------------------------------------------------------------------------


def answers(memory: Memory, *, contexts: bool = False) -> list[Answer]:
    """Every question of the store through ``mos.search``; ``contexts`` fills a context as well."""
    words = {turn.id: _TOKENS.count(turn.text) for turn in memory.store.turns}
    if memory.store.questions:
        memory.mos.search(memory.store.questions[0].text, limit=K)  # opens the projections
    return [_answer(memory, question, words, contexts) for question in memory.store.questions]


def _answer(memory: Memory, question: Question, words: Mapping[str, int], contexts: bool) -> Answer:
    begun = time.perf_counter()
    hits = memory.mos.search(question.text, limit=K)
    spent = (time.perf_counter() - begun) * 1e3
    ranked = tuple(memory.turn_of.get(hit.item.id) for hit in hits)
    precision = in_context = 0.0
    if contexts:
        block = memory.mos.context(question.text, budget_tokens=CONTEXT_TOKENS)
        held = [memory.turn_of.get(hit.item.id) for hit in block.hits]
        precision, in_context = context_figures(
            held, question.evidence, words=words, spent=block.tokens
        )
    figures = score(ranked, question.evidence, precision=precision, in_context=in_context)
    return Answer(question, ranked, spent, figures)


def evaluate(
    filled: Sequence[Memory], *, ranking: Ranking | None = None, contexts: bool = False
) -> list[Answer]:
    """All answers of all stores, with another ranking than the library's where given."""
    found: list[Answer] = []
    for memory in filled:
        with ranked_by(memory.mos, ranking):
            found += answers(memory, contexts=contexts)
    return found


@contextmanager
def ranked_by(mos: MOS, ranking: Ranking | None) -> Iterator[None]:
    """The MOS ranking by this meanwhile: filling a fresh one for each would take minutes."""
    operator = mos._rooms.operator
    before = operator.ranking
    operator.ranking = ranking or before
    try:
        yield
    finally:
        operator.ranking = before


def recall_of(
    found: Sequence[Answer], categories: Sequence[int] = (PREFERENCE, *HEADLINE)
) -> float:
    """Mean recall@10 in percent over these categories."""
    return 100 * mean(a.score for a in found if a.question.category in categories).recall


def by_baselines(filled: Sequence[Memory], vectors: KeptVectors) -> dict[str, list[Answer]]:
    """The baselines' answers to the same questions, by name."""
    found: dict[str, list[Answer]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-quality-") as folder:
        for memory in filled:
            for name, ranker in rankers(memory.store, vectors, Path(folder)).items():
                found.setdefault(name, []).extend(_ranked_answers(memory.store, ranker))
    return found


def _ranked_answers(store: Store, ranker: Ranker) -> Iterator[Answer]:
    words = {turn.id: _TOKENS.count(turn.text) for turn in store.turns}
    lines = {turn.id: _TOKENS.count(_line(turn)) + 1 for turn in store.turns}
    for question in store.questions:
        begun = time.perf_counter()
        ranked = ranker(question.text)
        spent = (time.perf_counter() - begun) * 1e3
        costs = [(turn, lines[turn]) for turn in ranked[: 2 * K]]
        held, tokens = fill(costs, budget=CONTEXT_TOKENS)
        precision, in_context = context_figures(held, question.evidence, words=words, spent=tokens)
        figures = score(ranked, question.evidence, precision=precision, in_context=in_context)
        yield Answer(question, tuple(ranked[:K]), spent, figures)


def _line(turn: Turn) -> str:
    return f"- {turn.name or turn.role}, {turn.time.day} {turn.time:%B %Y}: {turn.text}"


# -- reporting ------------------------------------------------------------------------------------


def ablation(filled: Mapping[str, Sequence[Memory]]) -> dict[str, dict[str, float]]:
    """Recall@10 of each set with one signal left out (or an idle one put in) at a time; first as
    the library ranks."""
    every = next(iter(filled.values()))[0].mos.ranking
    arms = {"all signals": every}
    arms |= {f"without {each.name}": every.without(each.name) for each in every.signals}
    off = [each.name for each in SIGNALS if each not in every.signals]
    arms |= {f"with {name} at 0.4": every.with_weights(**{name: 0.4}) for name in off}
    return {
        name: {which: recall_of(evaluate(each, ranking=kept)) for which, each in filled.items()}
        for name, kept in arms.items()
    }


def report(
    which: str, filled: Sequence[Memory], vectors: KeptVectors | None, *, contexts: bool = True
) -> Report:
    """All figures of one set as JSON-able values."""
    ours = evaluate(filled, contexts=contexts)
    arms = {"memos (library defaults)": ours}
    if vectors is not None:
        arms |= by_baselines(filled, vectors)
    items = sum(len(memory.store.turns) for memory in filled)
    times = [answer.milliseconds for answer in ours]
    return {
        "set": which,
        "stores": len(filled),
        "turns": items,
        "questions": len(ours),
        "arms": {name: _figures(found) for name, found in arms.items()},
        "hits_that_are_no_turn": sum(turn is None for a in ours for turn in a.ranked),
        "search_ms": {"p50": percentile(times, 0.5), "p95": percentile(times, 0.95)},
        "add_seconds": sum(memory.add_seconds for memory in filled),
        "fine_seconds": sum(memory.fine_seconds for memory in filled),
    }


def _figures(found: Sequence[Answer]) -> dict[str, Any]:
    groups = {name: [c] for c, name in CATEGORIES.items()} | {"preference": [PREFERENCE]}
    groups = {"headline": [PREFERENCE, *HEADLINE]} | groups
    figures: dict[str, Any] = {}
    for name, categories in groups.items():
        part = [a.score for a in found if a.question.category in categories]
        if part:
            figures[name] = asdict(mean(part)) | {"questions": len(part)}
    return figures


def _show(found: Report) -> None:
    print(
        f"\n{found['set']}: {found['questions']} questions over {found['turns']:,} turns in "
        f"{found['stores']} stores (headline: {_headline(found)})"
    )
    heads = ("", "recall@10", "all@10", "MRR", "nDCG@10", "precision", "in context")
    rows = [
        [name, *(f"{100 * arm['headline'][key]:.1f}" for key in _COLUMNS)]
        for name, arm in found["arms"].items()
    ]
    print("\n".join(table(heads, rows)))
    names = [name for name in next(iter(found["arms"].values())) if name != "headline"]
    if len(names) > 1:
        print("\nrecall@10 by category")
        rows = [
            [name, *(f"{100 * arm[group]['recall']:.1f}" for group in names)]
            for name, arm in found["arms"].items()
        ]
        first = next(iter(found["arms"].values()))
        print("\n".join(table(("", *(f"{n} ({first[n]['questions']})" for n in names)), rows)))
    times = found["search_ms"]
    print(
        f"search p50 {times['p50']:.2f} ms, p95 {times['p95']:.2f} ms (question embedded before); "
        f"add {found['add_seconds']:.1f} s, fine stage {found['fine_seconds']:.1f} s; "
        f"{found['hits_that_are_no_turn']} hits were no turn but made of one"
    )


_COLUMNS = ("recall", "all", "mrr", "ndcg", "precision", "in_context")


def _headline(found: Report) -> str:
    asked = next(iter(found["arms"].values()))["headline"]["questions"]
    return f"{asked} of categories 1-4" if found["set"] == "locomo" else f"{asked}"


def _show_ablation(found: Mapping[str, Mapping[str, float]]) -> None:
    sets = list(next(iter(found.values())))
    full = found["all signals"]
    rows = [
        [name, *(f"{each[s]:.1f} ({each[s] - full[s]:+.1f})" for s in sets)]
        for name, each in found.items()
    ]
    print("\nAblation: recall@10 with one signal left out, or an idle one put in")
    print("\n".join(table(("", *sets), rows)))


def _live_ms(vectors: KeptVectors, stores: Sequence[Store]) -> float:
    """What embedding a question costs when nothing is remembered: the median of a few."""
    asked = [q.text for store in stores for q in store.questions][:_LIVE_QUESTIONS]
    spent: list[float] = []
    for text in asked:
        begun = time.perf_counter()
        vectors.inner.embed([text])
        spent.append((time.perf_counter() - begun) * 1e3)
    return percentile(spent, 0.5)


SETS: Mapping[str, Callable[[Path], list[Store]]] = {"locomo": locomo, "prefeval": prefeval}


def half_of(stores: Sequence[Store], half: str) -> list[Store]:
    """``first`` and ``second`` split the stores, ``all`` keeps them."""
    middle = (len(stores) + 1) // 2
    return list({"first": stores[:middle], "second": stores[middle:]}.get(half, stores))


def main(
    *,
    quick: bool = False,
    which: str = "all",
    half: str = "all",
    ablate: bool = False,
    sessions: Sessions = "own",
    json_file: str | None = None,
) -> None:
    """Print the tables of the sets; ``quick`` takes the first half and no contexts."""
    folder = data_folder()
    if folder is None:
        print("quality is left out: no data (set MEMOS_DATA to the folder of locomo and prefeval)")
        return
    stores: dict[str, list[Store]] = {}
    for name, read in SETS.items():
        if which in ("all", name):
            every = prefeval(folder, sessions=sessions) if name == "prefeval" else read(folder)
            stores[name] = half_of(every, "first" if quick else half)
    vectors = kept_vectors()
    if vectors is None:
        print("no embedder is installed: words alone are measured, without baselines")
    with ExitStack() as stack:
        filled = {
            name: stack.enter_context(memories(each, vectors)) for name, each in stores.items()
        }
        found: Report = {
            name: report(name, each, vectors, contexts=not quick) for name, each in filled.items()
        }
        for each in list(found.values()):
            _show(each)
        if ablate:
            found["ablation"] = ablation(filled)
            _show_ablation(found["ablation"])
        if vectors is not None:
            live = _live_ms(vectors, next(iter(stores.values())))
            print(f"\nembedding a question p50 {live:.1f} ms; {vectors.embedded} texts were new")
    if json_file is not None:
        Path(json_file).write_text(json.dumps(found, indent=1), "utf-8")
