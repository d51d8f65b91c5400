"""Whether a restored cache answers as the live one, tried once for each kind of model.

Called before anything is served; needs torch and transformers (extra ``activation``). A version of
the library that counts, masks or fills a restored layer otherwise gives other answers without an
error, so a few tokens are kept, written, read and gone on from, and the logits compared bitwise.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from memos_integrations.cube.errors import HostileArchive, MissingExtra
from memos_integrations.infrastructure.activation import codec
from memos_integrations.infrastructure.activation.errors import CacheRefused, CacheUnsupported
from memos_integrations.infrastructure.activation.forward import cache_name, empty_cache, extend
from memos_integrations.infrastructure.activation.identity import Digest, Identity, tagged_digest

try:
    import torch
    import transformers
except ModuleNotFoundError as error:
    raise MissingExtra("activation memory", "activation") from error

_log = logging.getLogger(__name__)
_KEPT_TOKENS = 6
_NEXT_TOKENS = 2
_ID = Digest("0" * 64)
_lock = threading.Lock()
_verdicts: dict[Digest, str | None] = {}
"""Kind of model -> why its caches cannot be kept, or ``None``."""


def ensure_restores(model: Any, identity: Identity) -> None:
    """Raises ``CacheUnsupported`` for a kind of model whose restored cache answers otherwise.

    A kind is a class, configuration, dtype, device and attention kernel under one version of the
    library; each is tried on its first use in a process. Costs a few tokens.
    """
    kind = tagged_digest(
        {
            "architecture": identity.architecture,
            "config": identity.config,
            "dtype": identity.dtype,
            "device": identity.device,
            "quantisation": identity.quantisation,
            "attention": identity.attention,
            "adapters": len(identity.adapters),
            "training": bool(model.training),
            "library": str(transformers.__version__),
        }
    )
    with _lock:
        if kind not in _verdicts:
            _verdicts[kind] = _tried(model)
            if _verdicts[kind] is not None:
                _log.warning(
                    "activation memory is off for %s: %s", identity.architecture, _verdicts[kind]
                )
        why = _verdicts[kind]
    if why is not None:
        raise CacheUnsupported(why)


def _tried(model: Any) -> str | None:
    """Why a restored cache of this model is not to be trusted, or ``None``."""
    try:
        alike = _is_restored(model)
    except (CacheRefused, CacheUnsupported, HostileArchive) as refusal:
        return f"its restored cache is refused ({refusal})"
    if alike:
        return None
    # With dropout not even two live caches are alike.
    advice = "; it is in training mode: call model.eval()" if model.training else ""
    return f"its restored cache gives other logits than the live one{advice}"


def _is_restored(model: Any) -> bool:
    size = int(model.config.get_text_config().vocab_size)
    tokens = [(7 * n + 5) % size for n in range(_KEPT_TOKENS + _NEXT_TOKENS)]
    live = empty_cache(model)
    extend(model, live, tokens[:_KEPT_TOKENS])
    kept = codec.keep(live, tokens[:_KEPT_TOKENS], identity=_ID)
    loaded = codec.parse(
        memoryview(bytearray(codec.dump(kept))), identity=_ID, device=str(model.device)
    )
    restored = codec.use(loaded, model.config)
    return all(
        torch.equal(_logits(model, live, token), _logits(model, restored, token))
        for token in tokens[_KEPT_TOKENS:]
    )


def _logits(model: Any, cache: Any, token: int) -> Any:
    ids = torch.tensor([[token]], device=model.device)
    with torch.no_grad():
        return model(input_ids=ids, use_cache=True, **{cache_name(model): cache}).logits[0, -1]
