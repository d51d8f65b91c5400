"""The identity of a model and tokenizer at hand, read off the objects themselves.

Needs torch and transformers (extra ``activation``). Hashing the weights takes about a second per
2 GB, so it is done once for each model object, and again when its parameters were changed.
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any
from weakref import WeakKeyDictionary

from memos_integrations.cube.errors import InvalidInput, MissingExtra
from memos_integrations.infrastructure.activation.identity import Digest, Identity

try:
    import torch
    import transformers
except ModuleNotFoundError as error:
    raise MissingExtra("activation memory", "activation") from error

_SAMPLES = 32
_ABOUT_FILES = frozenset({"_name_or_path", "transformers_version", "dtype", "torch_dtype"})
"""Of the configuration: where it was read from, and what the identity names by itself."""
_weights: WeakKeyDictionary[Any, tuple[bytes, str]] = WeakKeyDictionary()
"""Model -> what its parameters looked like when they were hashed, and the hash."""


def identify(model: Any, tokenizer: Any) -> Identity:
    """Everything that a cache made by this model for this tokenizer's ids depends on.

    Raises ``InvalidInput`` for what is no transformers model or tokenizer.
    """
    if not isinstance(model, torch.nn.Module) or not hasattr(model, "config"):
        raise InvalidInput("model must be a transformers model")
    return Identity(
        architecture=type(model).__name__,
        config=_config_digest(model.config),
        weights=_weights_digest(model),
        tokenizer=_tokenizer_digest(tokenizer),
        chat_template=_of_json(getattr(tokenizer, "chat_template", None)),
        dtype=str(model.dtype),
        device=torch.device(str(model.device)).type,
        quantisation=_quantisation(model.config),
        attention=str(getattr(model.config, "_attn_implementation", None)),
        adapters=_adapters(model),
        library=f"transformers {'.'.join(transformers.__version__.split('.')[:2])}",
    )


def _config_digest(config: Any) -> str:
    said = {name: value for name, value in config.to_dict().items() if name not in _ABOUT_FILES}
    return _of_json(said)


def _weights_digest(model: Any) -> str:
    look = _look(model)
    known = _weights.get(model)
    if known is None or known[0] != look:
        known = look, _hash_of(model)
        _weights[model] = known
    return known[1]


def _hash_of(model: Any) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(_tensors(model).items()):
        head = f"{name}\x00{tensor.dtype}\x00{tuple(tensor.shape)}\x00".encode()
        digest.update(struct.pack("<Q", len(head)))
        digest.update(head)
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _look(model: Any) -> bytes:
    """Changes when a parameter is replaced, written in place or merged into.

    Counters of writes miss those that go through ``.data``, as merging an adapter does; for these
    a few numbers of each tensor are looked at. A change of single numbers through ``.data`` is
    not seen.
    """
    digest = hashlib.sha256()
    for name, tensor in _tensors(model).items():
        flat = tensor.detach().flatten()
        step = max(1, flat.numel() // _SAMPLES)
        sample = flat[::step][:_SAMPLES].contiguous().cpu().view(torch.uint8).numpy().tobytes()
        digest.update(f"{name} {tensor.data_ptr()} {tensor._version}".encode())
        digest.update(sample)
    return digest.digest()


def _tensors(model: Any) -> dict[str, Any]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _tokenizer_digest(tokenizer: Any) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        return hashlib.sha256(backend.to_str().encode()).hexdigest()
    if not hasattr(tokenizer, "get_vocab"):
        raise InvalidInput("tokenizer must be a transformers tokenizer")
    return _of_json([type(tokenizer).__name__, sorted(tokenizer.get_vocab().items())])


def _adapters(model: Any) -> tuple[str, ...]:
    """Names of the active adapters; their weights are among the model's own tensors."""
    active = getattr(model, "active_adapters", None)
    if not getattr(model, "peft_config", None) and not getattr(
        model, "_hf_peft_config_loaded", False
    ):
        return ()
    names: Any = active() if callable(active) else active
    return tuple(str(name) for name in names or ())


def _quantisation(config: Any) -> str | None:
    given = getattr(config, "quantization_config", None)
    return None if given is None else _of_json(given)


def _of_json(value: Any) -> Digest:
    as_text = json.dumps(value, sort_keys=True, default=str)
    return Digest(hashlib.sha256(as_text.encode()).hexdigest())
