"""The identity of a model and tokenizer at hand, read off the objects themselves.

Needs torch and transformers (extra ``activation``). Hashing the weights takes about a second per
2 GB, so it is done once for each model object, and again when its parameters were changed.

Adapters rename the parameters of a model they sit on. The base is hashed by itself under its own
names, so that an activated LoRA, which computes the base up to its invocation tokens, changes
nothing; any other adapter that is active is part of the identity.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
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
_ACTIVATED = "ALoraLinearVariant"
"""peft's class for a LoRA that computes the base up to its invocation tokens."""
_OF_ONE_CALL = frozenset({"padding", "truncation"})
"""Of a fast tokenizer: how it was last called. Which ids a text has does not depend on it."""
_weights: WeakKeyDictionary[Any, tuple[bytes, str]] = WeakKeyDictionary()
"""Model -> what its parameters looked like when they were hashed, and the hash."""
_tokenizers: WeakKeyDictionary[Any, dict[bytes, Digest]] = WeakKeyDictionary()
"""Tokenizer -> what it looked like, and its hash: a second's work for a usual 150,000 words."""
_LOOKS = 8
"""Kept of one tokenizer: it looks otherwise while it truncates, and is hashed alike."""
_PARTS = ("normalizer", "pre_tokenizer", "post_processor")
_PROBE = " The 3 caf\u00e9s, Na\u00efve & Z\u00dc\u2019s\tA_b-c\n\u4f60\u597d \U0001f600 don't <s> "


def identify(model: Any, tokenizer: Any) -> Identity:
    """Everything that a cache made by this model for this tokenizer's ids depends on.

    Raises ``InvalidInput`` for what is no transformers model or tokenizer.
    """
    if not isinstance(model, torch.nn.Module) or not hasattr(model, "config"):
        raise InvalidInput("model must be a transformers model")
    base = without_adapters(model)
    return Identity(
        architecture=type(base).__name__,
        config=_config_digest(base.config),
        weights=_weights_digest(base),
        tokenizer=_tokenizer_digest(tokenizer),
        chat_template=_of_json(getattr(tokenizer, "chat_template", None)),
        dtype=str(model.dtype),
        device=torch.device(str(model.device)).type,
        quantisation=_quantisation(model.config),
        attention=str(getattr(model.config, "_attn_implementation", None)),
        adapters=_adapters(model),
        library=f"transformers {'.'.join(transformers.__version__.split('.')[:2])}",
    )


def without_adapters(model: Any) -> Any:
    """The model that computes a cache: the one inside peft's, where peft's was handed over.

    Called by itself it leaves activated adapters out, and uses those of any other kind.
    """
    inner = getattr(model, "get_base_model", None)
    return model if inner is None else inner()


def _config_digest(config: Any) -> str:
    said = {name: value for name, value in config.to_dict().items() if name not in _ABOUT_FILES}
    return _of_json(said)


def _weights_digest(model: Any) -> str:
    look = _look(model)
    known = _weights.get(model)
    if known is None or known[0] != look:
        known = look, _hash_of(_tensors(model))
        _weights[model] = known
    return known[1]


def _hash_of(tensors: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
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


def _tensors(base: Any) -> dict[str, Any]:
    """The base's own parameters and buffers, under the names they have without adapters."""
    every = {**dict(base.named_parameters()), **dict(base.named_buffers())}
    added = _added(base)
    return {
        name.replace(".base_layer.", "."): tensor
        for name, tensor in every.items()
        if id(tensor) not in added
    }


def _added(base: Any) -> frozenset[int]:
    """What adapters put into the model beside the layers they sit on."""
    return frozenset(
        id(tensor)
        for module in base.modules()
        if isinstance(getattr(module, "base_layer", None), torch.nn.Module)
        for name, tensor in (*module.named_parameters(), *module.named_buffers())
        if not name.startswith("base_layer.")
    )


def _tokenizer_digest(tokenizer: Any) -> Digest:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        return _known_digest(tokenizer, backend)
    if not hasattr(tokenizer, "get_vocab"):
        raise InvalidInput("tokenizer must be a transformers tokenizer")
    return _of_json([type(tokenizer).__name__, sorted(tokenizer.get_vocab().items())])


def _known_digest(tokenizer: Any, backend: Any) -> Digest:
    look, known = _look_of_backend(backend), _tokenizers.setdefault(tokenizer, {})
    digest = known.get(look)
    if digest is None:
        if len(known) >= _LOOKS:
            known.clear()
        digest = known[look] = _backend_digest(backend)
    return digest


def _backend_digest(backend: Any) -> Digest:
    said = json.loads(backend.to_str())
    return _of_json({name: said[name] for name in said if name not in _OF_ONE_CALL})


def _look_of_backend(backend: Any) -> bytes:
    """Changes when words are added, a part is exchanged, or a text of many kinds of characters
    comes to have other ids. Another model whose words are as many and whose ids are the same for
    the probe and for a sample of its words is not seen.
    """
    size = backend.get_vocab_size()
    ids = range(0, size, max(1, size // _SAMPLES))
    added = sorted((n, str(each)) for n, each in backend.get_added_tokens_decoder().items())
    parts = [_state(getattr(backend, name)) for name in _PARTS]
    sample = [backend.id_to_token(n) for n in ids]
    probed = backend.encode(_PROBE).ids
    said = (id(backend), size, added, parts, sample, probed, _settings_of(backend.model))
    return hashlib.sha256(repr(said).encode()).digest()


def _state(part: Any) -> bytes | None:
    return None if part is None else bytes(part.__getstate__())


def _settings_of(model: Any) -> list[tuple[str, str]]:
    """The plain attributes of a tokenizer's model, such as its unknown token."""
    given = ((name, getattr(model, name)) for name in dir(model) if not name.startswith("_"))
    return [(name, repr(value)) for name, value in given if not callable(value)]


def _adapters(model: Any) -> tuple[str, ...]:
    """Digests of the active adapters but for activated ones, whose base is the base."""
    found = [_other_kinds(model), _active_layers(without_adapters(model))]
    return tuple(each for each in found if each is not None)


def _active_layers(base: Any) -> str | None:
    """Of all adapters that change what the layers compute at every token."""
    active = {
        f"{name}.{part}": tensor
        for name, layer in base.named_modules()
        if isinstance(getattr(layer, "base_layer", None), torch.nn.Module)
        for adapter in _active_on(layer)
        for part, tensor in layer.named_parameters()
        if adapter in part.split(".")
    }
    scales = {
        name: [float(layer.scaling[each]) for each in _active_on(layer) if each in layer.scaling]
        for name, layer in base.named_modules()
        if isinstance(getattr(layer, "scaling", None), dict)
    }
    return _of_json([_hash_of(active), scales]) if active else None


def _active_on(layer: Any) -> list[str]:
    """The adapters in use on a layer, without those that begin at an invocation. One that was
    merged is in the base's numbers."""
    if getattr(layer, "disable_adapters", False):
        return []
    variants: Mapping[str, Any] = getattr(layer, "lora_variant", {})
    names: Sequence[str] = getattr(layer, "active_adapters", ())
    return [name for name in names if type(variants.get(name)).__name__ != _ACTIVATED]


def _other_kinds(model: Any) -> str | None:
    """Of what peft keeps outside the base, such as a trained prompt."""
    if without_adapters(model) is model:
        return None
    inside = {id(each) for each in without_adapters(model).parameters()}
    outside = {n: each for n, each in model.named_parameters() if id(each) not in inside}
    return _hash_of(outside) if outside else None


def _quantisation(config: Any) -> str | None:
    given = getattr(config, "quantization_config", None)
    return None if given is None else _of_json(given)


def _of_json(value: Any) -> Digest:
    as_text = json.dumps(value, sort_keys=True, default=str)
    return Digest(hashlib.sha256(as_text.encode()).hexdigest())
