"""The other stores, each behind the same step; a missing one says why and is left out."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.measure import Step
from bench.words import DIMENSIONS

Vectors = Mapping[str, NDArray[np.float32]]


def missing(package: str) -> str | None:
    """Why a rival cannot run here; ``None`` where it can."""
    try:
        found = find_spec(package)
    except ModuleNotFoundError:  # of a part of it: the package itself is not there
        found = None
    if found is None:
        return f"{package} is left out: not installed (see bench/README.md)"
    return None


def chroma(folder: Path) -> Any:
    """A collection of Chroma's ``PersistentClient`` by cosine; its vectors are given to it."""
    import chromadb
    from chromadb.config import Settings

    client = chromadb.PersistentClient(str(folder), settings=Settings(anonymized_telemetry=False))
    return client.get_or_create_collection(
        "bench", metadata={"hnsw:space": "cosine"}, embedding_function=None
    )


@contextmanager
def chroma_adds(folder: Path, known: Vectors, *, batch: int) -> Iterator[Step]:
    """Adds to Chroma, ``batch`` texts a call."""
    collection = chroma(folder)

    def step(texts: Sequence[str]) -> None:
        for start in range(0, len(texts), batch):
            part = list(texts[start : start + batch])
            collection.add(
                ids=[str(uuid.uuid4()) for _ in part],
                documents=part,
                embeddings=[known[text] for text in part],
                metadatas=[{"user": "alice"} for _ in part],
            )

    yield step


@contextmanager
def mem0_adds(folder: Path, known: Vectors, *, batch: int) -> Iterator[Step]:
    """Adds to mem0 without its language model (``infer=False``), ``batch`` messages a call."""
    memory = _mem0(folder, known.__getitem__)

    def step(texts: Sequence[str]) -> None:
        for start in range(0, len(texts), batch):
            part = [{"role": "user", "content": text} for text in texts[start : start + batch]]
            memory.add(part, user_id="alice", infer=False)

    yield step
    memory.close()


def _mem0(folder: Path, look_up: Callable[[str], NDArray[np.float32]]) -> Any:
    """mem0 on its own default store (Qdrant in a folder), offline.

    The OpenAI clients are made with a key that is none and never called: nothing is inferred,
    and the embedder is replaced by a look-up.
    """
    os.environ.update(MEM0_TELEMETRY="False", MEM0_DIR=str(folder / "mem0"))
    logging.getLogger("mem0").setLevel(logging.ERROR)
    from mem0 import Memory  # type: ignore[import-not-found, unused-ignore]
    from mem0.embeddings.base import EmbeddingBase  # type: ignore[import-not-found, unused-ignore]

    class Embedder(EmbeddingBase):  # type: ignore[misc, unused-ignore]
        def embed(self, text: str, memory_action: str | None = None) -> list[float]:
            rows: list[float] = look_up(text).tolist()
            return rows

    offline = {"config": {"api_key": "offline"}, "provider": "openai"}
    store = {"path": str(folder / "qdrant"), "on_disk": True, "embedding_model_dims": DIMENSIONS}
    memory = Memory.from_config(
        {
            "vector_store": {"provider": "qdrant", "config": store},
            "llm": offline,
            "embedder": offline,
            "history_db_path": str(folder / "history.db"),
        }
    )
    memory.embedding_model = Embedder()
    return memory


Finds = tuple[str, Callable[[str, "dict[str, int] | None"], int]]
"""A name, and a search that says how many it found; the filter is one equality."""
_LIMIT = 10
_LARGEST = 100_000


class TooLarge(Exception):
    """A rival that is left out at this size, and why."""


class Looks(Protocol):
    """An embedder that looks up."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]: ...


def _places(number: int) -> dict[str, int]:
    """What a text is filtered by: its place among ten and among a hundred."""
    return {"tenth": number % 10, "hundredth": number % 100}


def chroma_finds(folder: Path, texts: Sequence[str], known: Looks) -> Finds:
    """Chroma, filled in batches."""
    collection = chroma(folder / "chroma")
    for start in range(0, len(texts), 1000):
        part = list(texts[start : start + 1000])
        collection.add(
            ids=[str(start + n) for n in range(len(part))],
            documents=part,
            embeddings=known.embed(part),
            metadatas=[_places(start + n) for n in range(len(part))],
        )

    def find(question: str, where: dict[str, int] | None) -> int:
        asked = known.embed([question])
        return len(
            collection.query(query_embeddings=asked, n_results=_LIMIT, where=where)["ids"][0]
        )

    return "chroma", find


def langgraph_finds(folder: Path, texts: Sequence[str], known: Looks) -> Finds:
    """LangGraph's store in memory, with its index."""
    from langgraph.store.base import PutOp
    from langgraph.store.memory import InMemoryStore

    if len(texts) > _LARGEST:
        raise TooLarge("langgraph InMemoryStore is left out: seconds a question at this size")

    def embed(some: Sequence[str]) -> list[list[float]]:
        rows: list[list[float]] = known.embed(list(some)).tolist()
        return rows

    store = InMemoryStore(index={"dims": DIMENSIONS, "embed": embed, "fields": ["text"]})
    for start in range(0, len(texts), 1000):
        part = enumerate(texts[start : start + 1000], start)
        store.batch([PutOp(("alice",), str(n), {"text": t, **_places(n)}) for n, t in part])

    def find(question: str, where: dict[str, int] | None) -> int:
        asked: Any = where
        return len(store.search(("alice",), query=question, filter=asked, limit=_LIMIT))

    return "langgraph InMemoryStore", find


def llama_index_finds(folder: Path, texts: Sequence[str], known: Looks) -> Finds:
    """LlamaIndex's simple store."""
    from llama_index.core.schema import TextNode  # type: ignore[import-not-found, unused-ignore]
    from llama_index.core.vector_stores import (  # type: ignore[import-not-found, unused-ignore]
        SimpleVectorStore,
    )
    from llama_index.core.vector_stores.types import (  # type: ignore[import-not-found, unused-ignore]
        MetadataFilter,
        MetadataFilters,
        VectorStoreQuery,
    )

    if len(texts) > _LARGEST:
        raise TooLarge("llama-index SimpleVectorStore is left out: seconds a question at this size")
    store = SimpleVectorStore()
    for start in range(0, len(texts), 1000):
        part = list(texts[start : start + 1000])
        rows = known.embed(part).tolist()
        both = enumerate(zip(part, rows, strict=True), start)
        store.add(
            [
                TextNode(id_=str(n), text=text, embedding=row, metadata=_places(n))
                for n, (text, row) in both
            ]
        )

    def find(question: str, where: dict[str, int] | None) -> int:
        filters = None
        if where is not None:
            ((key, value),) = where.items()
            filters = MetadataFilters(filters=[MetadataFilter(key=key, value=value)])
        asked = VectorStoreQuery(
            query_embedding=known.embed([question])[0].tolist(),
            similarity_top_k=_LIMIT,
            filters=filters,
        )
        return len(store.query(asked).ids or ())

    return "llama-index SimpleVectorStore", find
