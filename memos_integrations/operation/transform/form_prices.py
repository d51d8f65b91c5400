"""What forms cost for a hosted model: measured by what was built, estimated until then.

Called by the form loop. Tokens are those of usage records (bytes / 4) throughout, so that what was
measured in them holds for what is planned in them.
"""

from __future__ import annotations

import importlib.util
import sqlite3
from dataclasses import dataclass
from typing import Any

from memos_integrations.cube.usage import Form
from memos_integrations.infrastructure.activation.errors import CacheUnsupported
from memos_integrations.infrastructure.activation.identity import Digest
from memos_integrations.infrastructure.parametric.recipe import Recipe
from memos_integrations.infrastructure.vault import cube_forms
from memos_integrations.operation.scheduler.placement import Host, Price
from memos_integrations.operation.scheduler.policy import PREFILL_TOKENS_PER_SECOND
from memos_integrations.operation.transform.hosted import Hosted
from memos_integrations.operation.transform.shards import MOST_FACTS

_PASSES = 3.0
"""A training step costs about three forward passes."""
_CACHE_USE_SECONDS = 1e-3
_ADAPTER_USE_SECONDS = 3e-3
_ADAPTER_BYTES_PER_HIDDEN = 3_000.0
"""Rank 16 on six matrices of a layer takes so many bytes per layer and hidden unit, about."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a model's configuration tells."""

    identity: Digest
    kv_bytes_per_token: float | None
    """``None`` where its caches have no codec."""
    adapter_bytes: float


def known_of(hosted: Hosted) -> Known:
    """Identity and sizes of the base. Raises ``InvalidInput`` for what is no model."""
    from memos_integrations.infrastructure.activation import codec  # noqa: PLC0415
    from memos_integrations.infrastructure.activation.model_identity import (  # noqa: PLC0415
        identify,
        without_adapters,
    )

    base = without_adapters(hosted.model)
    identity = identify(base, hosted.tokenizer).digest()
    try:
        codec.ensure_supported(base.config)
        kv_bytes: float | None = _kv_bytes(base)
    except CacheUnsupported:
        kv_bytes = None
    config = base.config.get_text_config()
    layers = float(getattr(config, "num_hidden_layers", 1))
    width = float(getattr(config, "hidden_size", 1))
    return Known(identity, kv_bytes, layers * width * _ADAPTER_BYTES_PER_HIDDEN)


def prices_of(connection: sqlite3.Connection, name: str, known: Known) -> Host:
    """The model with its prices as measured so far."""
    caches = cube_forms.cache_costs(connection, known.identity)
    per_token = 1.0 / PREFILL_TOKENS_PER_SECOND
    if caches.size:
        per_token = caches.seconds / caches.size
    prices: dict[Form, Price] = {}
    if known.kv_bytes_per_token is not None:
        per_byte = caches.bytes / caches.size if caches.size else known.kv_bytes_per_token
        prices["activation"] = Price(
            build_seconds_per_token=per_token,
            bytes_per_token=per_byte,
            use_seconds=_CACHE_USE_SECONDS,
            source=_source(caches.builds, "caches"),
        )
    if importlib.util.find_spec("peft") is not None:
        prices["parametric"] = _adapters(connection, name, known, per_token)
    return Host(name, per_token, prices)


def _adapters(connection: sqlite3.Connection, name: str, known: Known, per_token: float) -> Price:
    costs = cube_forms.adapter_costs(connection, name)
    size = costs.bytes or known.adapter_bytes
    if not costs.size:
        exposures = Recipe().exposures
        return Price(
            build_seconds_per_token=exposures * _PASSES * per_token,
            bytes_per_part=size,
            part_memories=MOST_FACTS,
            use_seconds=_ADAPTER_USE_SECONDS,
            source=_source(0, "adapters"),
        )
    return Price(
        build_seconds_per_memory=costs.seconds / costs.size,
        bytes_per_part=size,
        part_memories=MOST_FACTS,
        use_seconds=_ADAPTER_USE_SECONDS,
        source=_source(costs.builds, "adapters"),
    )


def _kv_bytes(base: Any) -> float:
    """Keys and values of one token over all layers."""
    config = base.config.get_text_config()
    heads = config.num_attention_heads
    kept = getattr(config, "num_key_value_heads", None) or heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    return float(2 * config.num_hidden_layers * kept * width * base.dtype.itemsize)


def _source(builds: int, what: str) -> str:
    return f"measured over {builds} {what}" if builds else "estimated"
