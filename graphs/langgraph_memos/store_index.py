"""LangGraph's index configuration as an embedder of the core.

Called by the store. Takes what ``InMemoryStore(index=...)`` takes: LangChain ``Embeddings``, a
function, a coroutine function, or ``"provider:model"``.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar, cast

import numpy as np
from langchain_core.embeddings import Embeddings
from langgraph.store.base import IndexConfig, ensure_embeddings

from memos_integrations.cube.errors import UsageError
from memos_integrations.cube.ports import Matrix, Vector

T = TypeVar("T")


class IndexEmbedder:
    """The model of an index, as an ``Embedder``: unit rows, named, of the promised dimension.

    Rows get one dimension more than the model's. A text that the model has no direction for (a
    row of zeros) lies along it, so it is near to nothing, as in LangGraph's own stores.
    """

    def __init__(self, config: IndexConfig, *, fingerprint: str | None = None) -> None:
        given: Any = config.get("embed")
        if given is None or not (isinstance(given, str | Embeddings) or callable(given)):
            raise UsageError("index needs embed: Embeddings, a function or 'provider:model'")
        dims: object = config.get("dims")
        if not isinstance(dims, int) or isinstance(dims, bool) or dims < 1:
            raise UsageError("index needs dims: how many numbers the vectors of embed have")
        self._dims = dims
        self._model = ensure_embeddings(cast("Embeddings", given))
        self._waits = _Loop() if _is_coroutine(given) else None
        self.fingerprint = f"{fingerprint or _name(given)}/{dims}+1"
        self.dim = dims + 1

    def embed(self, texts: Sequence[str]) -> Matrix:
        """One row per text. Raises ``UsageError`` where ``dims`` is not what the model gives."""
        if not texts:
            return np.empty((0, self.dim), np.float32)
        if self._waits is None:
            return self._rows(self._model.embed_documents(list(texts)), len(texts))
        return self._rows(self._waits.run(self._model.aembed_documents(list(texts))), len(texts))

    def embed_query(self, text: str) -> Vector:
        """The row of a question, by the model's own way for questions."""
        if self._waits is None:
            found = self._model.embed_query(text)
        else:
            found = self._waits.run(self._model.aembed_query(text))
        return cast("Vector", self._rows([found], 1)[0])

    def close(self) -> None:
        """End the thread that a coroutine function was awaited in."""
        if self._waits is not None:
            self._waits.close()

    def _rows(self, found: object, count: int) -> Matrix:
        try:
            rows = np.array(found, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise UsageError("embed returned something other than rows of numbers") from error
        if rows.shape != (count, self._dims):
            raise UsageError(
                f"embed returned shape {rows.shape} for {count} texts where index says dims="
                f"{self._dims}"
            )
        if not np.isfinite(rows).all():
            raise UsageError("embed returned a number that is not finite")
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        silent = (lengths == 0).astype(np.float64)
        made: Matrix = np.hstack((rows / (lengths + silent), silent)).astype(np.float32)
        return made


class _Loop:
    """An event loop in a thread of its own, where a coroutine function always finds itself."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                forever = self._loop.run_forever
                self._thread = threading.Thread(target=forever, name="memos-index", daemon=True)
                self._thread.start()
            waiting = asyncio.run_coroutine_threadsafe(work, self._loop)
        return waiting.result()

    def close(self) -> None:
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


def _is_coroutine(given: object) -> bool:
    call = getattr(type(given), "__call__", None)  # noqa: B004  -- its kind matters
    return any(inspect.iscoroutinefunction(each) for each in (given, call))


def _name(given: object) -> str:
    """Class or function, and the model's name if it says one: equal in every process."""
    if isinstance(given, str):
        return given
    named: Any = given if hasattr(given, "__qualname__") else type(given)
    model = getattr(given, "model", None) or getattr(given, "model_name", None)
    path = f"{named.__module__}.{named.__qualname__}"
    return f"{path}/{model}" if isinstance(model, str) else path
