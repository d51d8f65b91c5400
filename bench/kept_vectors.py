"""Vectors of a model kept on disk between runs, so that a rerun measures finding, not embedding."""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memos_integrations.cube.ports import Embedder, Matrix

_BATCH = 512
_SAVE_EVERY = 4 * _BATCH
"""So that a run that is stopped has not embedded for nothing."""


class KeptVectors:
    """``inner`` with its fingerprint; a text it saw in any earlier run is not embedded again.

    One ``.npz`` per fingerprint: SHA-256 of each text, and its row. No text is written.
    """

    def __init__(self, inner: Embedder, folder: Path | None = None) -> None:
        self.inner = inner
        self._path = (folder or _folder()) / f"{_hash(inner.fingerprint).hex()[:16]}.npz"
        self._rows = _load(self._path)
        self._kept = len(self._rows)
        self.embedded = 0
        """Texts that the model was asked for in this run."""

    @property
    def fingerprint(self) -> str:
        return self.inner.fingerprint

    @property
    def dim(self) -> int:
        return self.inner.dim

    def embed(self, texts: Sequence[str]) -> Matrix:
        """One unit row per text, from the file or from the model."""
        if not texts:
            return np.zeros((0, self.dim), np.float32)
        keys = [_hash(text) for text in texts]
        missing = {k: t for k, t in zip(keys, texts, strict=True) if k not in self._rows}
        todo = sorted(missing.items(), key=lambda pair: len(pair[1]))
        for start in range(0, len(todo), _BATCH):
            part = todo[start : start + _BATCH]
            rows = self.inner.embed([text for _, text in part])
            self._rows.update((key, row.copy()) for (key, _), row in zip(part, rows, strict=True))
            if len(self._rows) - self._kept >= _SAVE_EVERY:
                self.save()
        self.embedded += len(todo)
        return np.stack([self._rows[key] for key in keys])

    def save(self) -> None:
        """Write what is new, together with what another run wrote meanwhile."""
        if len(self._rows) == self._kept:
            return
        every = _load(self._path) | self._rows
        keys = np.frombuffer(b"".join(every), np.uint8).reshape(-1, 32)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._path.parent, delete=False) as file:
            np.savez(file, keys=keys, rows=np.stack(list(every.values())))
        Path(file.name).replace(self._path)
        self._kept = len(self._rows)


def _folder() -> Path:
    return Path(os.environ.get("BENCH_DIR", tempfile.gettempdir())) / "memos-bench-vectors"


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _load(path: Path) -> dict[bytes, NDArray[np.float32]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            keys, rows = file["keys"], file["rows"]
    except (FileNotFoundError, zipfile.BadZipFile, KeyError, ValueError):
        return {}
    return dict(zip((key.tobytes() for key in keys), rows, strict=True))
