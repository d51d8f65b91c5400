"""The other stores, each behind the same step; a missing one says why and is left out."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.measure import Step
from bench.words import DIMENSIONS

Vectors = Mapping[str, NDArray[np.float32]]


def missing(package: str) -> str | None:
    """Why a rival cannot run here; ``None`` where it can."""
    if find_spec(package) is None:
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
