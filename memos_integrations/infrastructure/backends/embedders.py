"""Any embedding model as an ``Embedder``: our own, a framework's, or a plain function.

``MOS`` calls ``as_embedder`` or ``default_embedder`` once; the projections and retrieval use what
they return. No framework is imported: its models are known by their methods.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np

from memos_integrations.cube.errors import UsageError
from memos_integrations.cube.ports import Embedder, Matrix, Vector
from memos_integrations.infrastructure.backends.minilm import MiniLM, minilm_installed

EmbedTexts: TypeAlias = Callable[[list[str]], object]
"""Texts in, an array or nested list of shape (texts, dim) out."""

_NAME_ATTRIBUTES = ("model", "model_name", "model_id")
_NAMELESS = (MethodType, BuiltinFunctionType, partial)
_PROBE = "dimension"


@runtime_checkable
class SupportsQueries(Protocol):
    """An embedder that treats a question otherwise than the text that answers it."""

    def embed_query(self, text: str) -> Vector:
        """The unit vector of a question, comparable with those of ``embed``."""
        ...


@runtime_checkable
class LangChainEmbeddings(Protocol):
    """What LangChain's ``Embeddings`` offers."""

    def embed_documents(self, texts: list[str]) -> object: ...

    def embed_query(self, text: str) -> object: ...


@runtime_checkable
class LlamaIndexEmbedding(Protocol):
    """What LlamaIndex's ``BaseEmbedding`` offers."""

    def get_text_embedding_batch(self, texts: list[str]) -> object: ...

    def get_query_embedding(self, query: str) -> object: ...


def default_embedder() -> Embedder | None:
    """The local model when the ``embed`` extra is installed, else ``None``. Loads nothing yet."""
    return MiniLM() if minilm_installed() else None


def embed_query(embedder: Embedder, text: str) -> Vector:
    """The unit vector of a question, by the embedder's own way for questions if it has one."""
    # What isinstance(embedder, SupportsQueries) asks; it would take 20 microseconds.
    own: Callable[[str], Vector] | None = getattr(embedder, "embed_query", None)
    if own is not None:
        return own(text)
    vector: Vector = embedder.embed([text])[0]
    return vector


def as_embedder(candidate: object, *, fingerprint: str | None = None) -> Embedder:
    """``candidate`` as an ``Embedder``; one that already is comes back unchanged.

    Takes LangChain ``Embeddings``, LlamaIndex embeddings and functions from a list of texts to
    rows of numbers. Without ``fingerprint`` it is made of class path, model name and dimension;
    give one when weights, prompts or anything else that changes the vectors is not in these.
    Raises ``UsageError`` for anything else.
    """
    if isinstance(candidate, type):
        raise UsageError(f"{candidate.__name__} is a class: pass an instance of it")
    if isinstance(candidate, Embedder):
        return _named_already(candidate, fingerprint)
    if isinstance(candidate, LangChainEmbeddings):
        name = fingerprint or _description(candidate)
        return _QueryEmbedder(candidate.embed_documents, candidate.embed_query, name, fingerprint)
    if isinstance(candidate, LlamaIndexEmbedding):
        name = fingerprint or _description(candidate)
        documents, query = candidate.get_text_embedding_batch, candidate.get_query_embedding
        return _QueryEmbedder(documents, query, name, fingerprint)
    if callable(candidate):
        return _TextEmbedder(candidate, fingerprint or _description(candidate), fingerprint)
    raise UsageError(
        f"{type(candidate).__name__} is no embedding model: pass an Embedder, LangChain or "
        "LlamaIndex embeddings, or a function from a list of texts to rows of numbers"
    )


def list_of_texts(texts: Sequence[str]) -> list[str]:
    """``texts`` as a list; a single ``str`` is refused, as it would be read letter by letter."""
    if isinstance(texts, str):
        raise UsageError("embed takes a list of texts: write embed([text])")
    return list(texts)


def unit_rows(found: object, *, count: int, source: str) -> Matrix:
    """What a model returned, as ``count`` new unit rows; ``UsageError`` if it is not that."""
    try:
        rows = np.array(found, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{source} returned something other than rows of numbers") from error
    if rows.ndim != 2 or rows.shape[0] != count or rows.shape[1] == 0:
        raise UsageError(f"{source} returned shape {rows.shape} for {count} texts")
    if not np.isfinite(rows).all():
        raise UsageError(f"{source} returned a number that is not finite")
    largest = np.abs(rows).max(axis=1, keepdims=True)
    if not largest.all():
        raise UsageError(f"{source} returned a zero vector, which has no direction")
    rows /= largest  # so that neither tiny nor huge rows are lost in the squares
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32)


class _TextEmbedder:
    """A function from texts to rows, checked, normalised and named.

    The dimension is the first answer's; asking for it earlier costs one call with a short text.
    """

    def __init__(self, documents: EmbedTexts, name: str, fingerprint: str | None) -> None:
        self._documents = documents
        self._name = name
        self._fingerprint = fingerprint
        self._dim: int | None = None
        self._learning = threading.Lock()

    @property
    def fingerprint(self) -> str:
        return self._fingerprint or f"{self._name}/{self.dim}"

    @property
    def dim(self) -> int:
        return self._dim or self.embed([_PROBE]).shape[1]

    def embed(self, texts: Sequence[str]) -> Matrix:
        texts = list_of_texts(texts)
        if not texts:
            return np.empty((0, self.dim), dtype=np.float32)
        rows = unit_rows(self._documents(list(texts)), count=len(texts), source=self._name)
        return self._of_one_dimension(rows)

    def _of_one_dimension(self, rows: Matrix) -> Matrix:
        with self._learning:
            if self._dim is None:
                self._dim = rows.shape[1]
        if rows.shape[1] != self._dim:
            raise UsageError(
                f"{self._name} returned {rows.shape[1]} numbers a text, after {self._dim} before"
            )
        return rows


class _QueryEmbedder(_TextEmbedder):
    """As its base, for a model with a separate way for questions."""

    def __init__(
        self,
        documents: EmbedTexts,
        query: Callable[[str], object],
        name: str,
        fingerprint: str | None,
    ) -> None:
        super().__init__(documents, name, fingerprint)
        self._query = query

    def embed_query(self, text: str) -> Vector:
        rows = unit_rows([self._query(text)], count=1, source=self._name)
        vector: Vector = self._of_one_dimension(rows)[0]
        return vector


class CachedEmbedder:
    """``inner``, which is not asked again for one of the last ``max_entries`` texts.

    For questions that repeat. Safe to use from several threads; two that miss the same text at
    once both ask. One entry costs its text and ``dim`` * 4 bytes.
    """

    def __init__(self, inner: Embedder, *, max_entries: int = 1_024) -> None:
        if max_entries < 1:
            raise UsageError("max_entries must be at least 1")
        self._inner = inner
        self._texts = _Recent(max_entries)
        self._queries = _Recent(max_entries) if isinstance(inner, SupportsQueries) else self._texts

    @property
    def fingerprint(self) -> str:
        return self._inner.fingerprint

    @property
    def dim(self) -> int:
        return self._inner.dim

    def embed(self, texts: Sequence[str]) -> Matrix:
        texts = list_of_texts(texts)
        if not texts:
            return np.empty((0, self.dim), dtype=np.float32)
        known = self._texts.get(texts)
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        if missing:
            fresh = dict(zip(missing, self._inner.embed(missing), strict=True))
            self._texts.put(fresh)
            known.update(fresh)
        return np.stack([known[text] for text in texts])

    def forget(self) -> None:
        """Drop every kept text: after an erase none may be left in memory."""
        self._texts.clear()
        self._queries.clear()

    def embed_query(self, text: str) -> Vector:
        vector = self._queries.one(text)
        if vector is None:
            vector = embed_query(self._inner, text)
            self._queries.put({text: vector})
        return vector.copy()


class _Recent:
    """Vectors of the texts used last, at most ``max_entries``."""

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._vectors: OrderedDict[str, Vector] = OrderedDict()
        self._lock = threading.Lock()

    def clear(self) -> None:
        with self._lock:
            self._vectors.clear()

    def get(self, texts: Sequence[str]) -> dict[str, Vector]:
        with self._lock:
            known = {text: self._vectors[text] for text in texts if text in self._vectors}
            for text in known:
                self._vectors.move_to_end(text)
        return known

    def one(self, text: str) -> Vector | None:
        with self._lock:
            vector = self._vectors.get(text)
            if vector is not None:
                self._vectors.move_to_end(text)
        return vector

    def put(self, vectors: Mapping[str, Vector]) -> None:
        """Keeps copies: a row of a batch would keep the whole batch in memory."""
        with self._lock:
            for text, vector in vectors.items():
                self._vectors[text] = vector.copy()
                self._vectors.move_to_end(text)
            while len(self._vectors) > self._max_entries:
                self._vectors.popitem(last=False)


def _named_already(embedder: Embedder, fingerprint: str | None) -> Embedder:
    if fingerprint is not None and fingerprint != embedder.fingerprint:
        raise UsageError(
            f"this embedder already names itself {embedder.fingerprint!r}: leave fingerprint out"
        )
    return embedder


def _description(model: object) -> str:
    """Class path and model names: equal in every process, different for different models."""
    described = model if isinstance(model, FunctionType) else type(model)
    path = f"{described.__module__}.{described.__qualname__}"
    if isinstance(model, _NAMELESS) or (described is model and "<" in path):
        raise UsageError(
            "a lambda, local function, method or partial does not say which model it uses: "
            "pass fingerprint='name-and-version' too"
        )
    names = [getattr(model, attribute, None) for attribute in _NAME_ATTRIBUTES]
    return "/".join([path, *dict.fromkeys(name for name in names if isinstance(name, str))])
