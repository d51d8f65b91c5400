"""The adapters attached to one model at a time, and the batches that use them row by row.

Called by whoever answers with a hosted model; calls ``wrapping`` and ``adapter_file``. Needs torch
and peft (extra ``parametric``). A row without an adapter is the base's answer, bitwise; a row with
one is the base's up to the invocation tokens, so a stored cache of the base serves before them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from memos_integrations.cube.errors import InvalidInput, MissingExtra, NotFound
from memos_integrations.infrastructure.activation.forward import cache_name
from memos_integrations.infrastructure.activation.identity import Digest
from memos_integrations.infrastructure.activation.model_identity import identify
from memos_integrations.infrastructure.parametric import adapter_file, wrapping
from memos_integrations.infrastructure.parametric.errors import AdapterRefused
from memos_integrations.infrastructure.parametric.lora import linear_shapes
from memos_integrations.infrastructure.parametric.manifest import invocation_start
from memos_integrations.infrastructure.parametric.recipe import Manifest

try:
    import torch
except ModuleNotFoundError as error:
    raise MissingExtra("parametric memory", "parametric") from error

MOST_RESIDENT = 16
"""Adapters attached at once; the one unused for longest makes room."""
BASE = "__base__"
"""peft's name for a row that uses no adapter."""

Row: TypeAlias = tuple[Sequence[int], Digest | None]
"""Token ids of a prompt, and the key of the adapter that answers it, or none."""


class HostedModel(Protocol):
    """What the bank needs of a hosted model."""

    @property
    def model(self) -> Any: ...
    @property
    def tokenizer(self) -> Any: ...
    @property
    def lock(self) -> AbstractContextManager[Any]: ...


class AdapterBank:
    """Adapters by key on one hosted model. Safe for many threads, under the model's own lock."""

    def __init__(self, hosted: HostedModel, *, most_resident: int = MOST_RESIDENT) -> None:
        """Raises ``InvalidInput`` for a model that carries adapters of someone else."""
        if most_resident < 1:
            raise InvalidInput("most_resident must be at least 1")
        self._hosted = hosted
        self._most = most_resident
        self._resident: OrderedDict[Digest, Manifest] = OrderedDict()
        with hosted.lock:
            self.model = wrapping.wrapped(hosted.model)
            """``model.generate(**bank.rows_inputs(...))`` answers."""

    @property
    def base(self) -> Digest:
        """Of the model and tokenizer without adapters, as it is now."""
        return identify(self.model, self._hosted.tokenizer).digest()

    def attach(self, key: Digest, path: Path) -> Manifest:
        """Make the adapter in this file answer under ``key``; nothing to do where it does.

        Raises ``AdapterRefused`` for a file that does not belong to this model, or is broken.
        """
        with self._hosted.lock:
            known = self._resident.get(key)
            if known is None:
                known = self._attached(key, path)
            self._resident[key] = known
            self._resident.move_to_end(key)
            while len(self._resident) > self._most:
                self.drop(next(iter(self._resident)))
            return known

    def drop(self, key: Digest) -> None:
        """Take it off the model; what is not attached is fine."""
        with self._hosted.lock:
            if self._resident.pop(key, None) is not None:
                wrapping.take_off(self.model, adapter_name(key))

    def resident(self) -> tuple[Digest, ...]:
        """The attached adapters, the one unused for longest first."""
        with self._hosted.lock:
            return tuple(self._resident)

    def rows_inputs(self, rows: Sequence[Row], cache: Any = None) -> dict[str, Any]:
        """What ``bank.model.generate`` takes: ``input_ids`` and ``attention_mask``
        ``[rows, tokens]``, padded on the left or behind the cached part, and each row's adapter.

        ``cache`` holds the beginning that all rows share, computed by the base; it is used up.
        Hold the hosted model's lock from here until the answer is there. Raises ``NotFound`` for
        an adapter that is not attached, ``AdapterRefused`` for a row where the adapter's
        invocation tokens are missing (peft would answer as the base, silently) or lie in the
        cached part, and ``InvalidInput`` for rows that do not begin with it.
        """
        if not rows or not all(tokens for tokens, _ in rows):
            raise InvalidInput("every row needs tokens")
        with self._hosted.lock:
            cached = 0 if cache is None else int(cache.get_seq_length())
            self._ensure_shared([tokens for tokens, _ in rows], cached)
            offsets = [self._offset(tokens, key, cached) for tokens, key in rows]
            inputs = self._padded([tokens for tokens, _ in rows], cached)
            if cache is not None:
                if len(rows) > 1:
                    cache.batch_repeat_interleave(len(rows))
                inputs[cache_name(wrapping.base_of(self.model))] = cache
            if any(key is not None for _, key in rows):
                names = [BASE if key is None else adapter_name(key) for _, key in rows]
                inputs |= {"adapter_names": names, "alora_offsets": offsets}
            return inputs

    def _attached(self, key: Digest, path: Path) -> Manifest:
        shapes = linear_shapes(wrapping.base_of(self.model))
        adapter = adapter_file.load(path, base=self.base, shapes=shapes)
        told = adapter.manifest
        name = adapter_name(key)
        wrapping.put_known(self.model, name, told.recipe, told.invocation, adapter.tensors)
        return told

    def _offset(self, tokens: Sequence[int], key: Digest | None, cached: int) -> int | None:
        """Tokens from the invocation to the end, as peft counts them: whatever is put before."""
        if key is None:
            return None
        told = self._resident.get(key)
        if told is None:
            raise NotFound("this adapter is not attached; attach it first")
        self._resident.move_to_end(key)
        start = invocation_start(tokens, told.invocation)
        if start is None:
            raise AdapterRefused(
                "the prompt lacks the tokens from which on this adapter is active: write it as "
                "the hosted model's rendering or chat template does"
            )
        if start < cached:
            raise AdapterRefused(
                "the cache reaches past the tokens from which on this adapter is active: end it "
                "before them (see invocation_start)"
            )
        return len(tokens) - start

    def _ensure_shared(self, rows: Sequence[Sequence[int]], cached: int) -> None:
        if not cached:
            return
        first = tuple(rows[0][:cached])
        if any(len(row) <= cached or tuple(row[:cached]) != first for row in rows):
            raise InvalidInput(f"every row must begin with the {cached} cached tokens and go on")

    def _padded(self, rows: Sequence[Sequence[int]], cached: int) -> dict[str, Any]:
        pad = getattr(self._hosted.tokenizer, "pad_token_id", None) or 0
        longest = max(len(row) for row in rows)
        device = self.model.device
        ids = torch.full((len(rows), longest), pad, dtype=torch.long, device=device)
        mask = torch.zeros((len(rows), longest), dtype=torch.long, device=device)
        for n, row in enumerate(rows):
            ids[n, :cached] = torch.tensor(list(row[:cached]), dtype=torch.long)
            rest = row[cached:]
            ids[n, longest - len(rest) :] = torch.tensor(list(rest), dtype=torch.long)
            mask[n, :cached] = 1
            mask[n, longest - len(rest) :] = 1
        return {"input_ids": ids, "attention_mask": mask}


def adapter_name(key: Digest) -> str:
    """What peft calls the adapter of this key."""
    return f"m{key}"
