"""Judges of how well a memory answers a question: a function, a cross-encoder.

Search calls them through the ``Reranker`` port. Models are known by their methods; none is
imported. One that asks a language model is ``operation.reading_llm.reranking.LLMReranker``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from memos_integrations.cube.errors import LLMUnavailable, UsageError

Judge: TypeAlias = Callable[[str, Sequence[str]], Sequence[float]]
"""A question and texts in, one score per text out, in order, higher is better."""


class CallableReranker:
    """A function as a ``Reranker``; what it returns is checked."""

    def __init__(self, judge: Judge, *, name: str | None = None) -> None:
        if not callable(judge):
            raise UsageError("a reranker is a function of a question and texts to scores")
        self._judge = judge
        self._name = name or str(getattr(judge, "__name__", type(judge).__name__))

    @property
    def name(self) -> str:
        return self._name

    def scores(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        """See ``Reranker.scores``."""
        if not texts:
            return []
        return checked(_tried(self._name, lambda: self._judge(query, list(texts))), len(texts))


class CrossEncoderReranker:
    """Anything with ``predict(pairs)``, as ``sentence_transformers.CrossEncoder`` has it, or
    with ``rank(query, documents)`` that returns ``corpus_id`` and ``score``."""

    def __init__(self, model: Any, *, name: str | None = None) -> None:
        if not is_cross_encoder(model):
            raise UsageError("a cross-encoder has predict(pairs) or rank(query, documents)")
        self._model = model
        self._name = name or _name(model)

    @property
    def name(self) -> str:
        return self._name

    def scores(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        """See ``Reranker.scores``."""
        if not texts:
            return []
        if callable(getattr(self._model, "predict", None)):
            pairs = [(query, text) for text in texts]
            return checked(_tried(self._name, lambda: self._model.predict(pairs)), len(texts))
        ranked = _tried(self._name, lambda: self._model.rank(query, list(texts)))
        return checked(_by_place(ranked, len(texts)), len(texts))


def is_cross_encoder(given: object) -> bool:
    """Whether it judges pairs, or ranks documents, by itself."""
    return any(callable(getattr(given, verb, None)) for verb in ("predict", "rank"))


def checked(found: object, count: int) -> list[float]:
    """``found`` as ``count`` finite numbers. Raises ``UsageError`` for anything else."""
    try:
        scores = np.asarray(found, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError("the reranker returned something other than numbers") from error
    if scores.shape == (count, 1):
        scores = scores[:, 0]
    if scores.shape != (count,):
        raise UsageError(f"the reranker returned shape {scores.shape} for {count} texts")
    if not np.isfinite(scores).all():
        raise UsageError("the reranker returned a score that is not finite")
    return [float(score) for score in scores]


def _by_place(ranked: object, count: int) -> list[float]:
    scores = [float("nan")] * count
    rows = ranked if isinstance(ranked, list) else []
    for row in rows:
        place = row.get("corpus_id") if isinstance(row, dict) else None
        if isinstance(place, int) and 0 <= place < count:
            scores[place] = row.get("score", float("nan"))
    return scores


def _tried(name: str, ask: Callable[[], Any]) -> Any:
    """What ``ask`` returns. A model that fails is away: search goes on without it."""
    try:
        return ask()
    except (LLMUnavailable, UsageError):
        raise
    except Exception as error:
        raise LLMUnavailable(f"reranker {name} failed ({type(error).__name__})") from error


def _name(model: Any) -> str:
    config = getattr(getattr(model, "config", None), "_name_or_path", None)
    return config if isinstance(config, str) and config else type(model).__name__
