"""The adapters that a server offers beside its model, such as vLLM's LoRA modules.

Called by the adapters of frameworks, before they send a call to one of them. The server lists them
under ``/models``; vLLM also takes and gives up some while it runs, where it was started with
``VLLM_ALLOW_RUNTIME_LORA_UPDATING=True`` (its documentation, "LoRA Adapters").
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Final

from memos_integrations.cube.errors import HostileArchive, LLMUnavailable
from memos_integrations.cube.ids import clean_name
from memos_integrations.infrastructure.backends.llm.http_exchange import (
    Limits,
    Place,
    Reply,
    bearer,
    get_json,
    post_json,
)
from memos_integrations.infrastructure.strict_json import decode_object

_MOST_DEPTH: Final = 16
_QUICK: Final = Limits(connect_seconds=2.0, read_seconds=5.0, total_seconds=10.0)


class ServedAdapters:
    """``ServedAdapters("http://localhost:8000/v1")``: what may be asked for there. Thread-safe.

    What the server offered is believed for ``fresh_seconds``. While it is away nothing is offered,
    so that calls go to the base, with text. A key is only sent over HTTPS, or to this machine or a
    private network.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        fresh_seconds: float = 30.0,
        limits: Limits = _QUICK,
    ) -> None:
        self._place = Place.of(base_url)
        self._headers = bearer(api_key, self._place)
        self._fresh, self._limits = fresh_seconds, limits
        self._lock = threading.Lock()
        self._known: frozenset[str] = frozenset()
        self._until = 0.0

    def __repr__(self) -> str:
        return f"ServedAdapters(at={self._place.shown!r})"

    def __contains__(self, name: object) -> bool:
        return name in self.offered()

    def offered(self) -> frozenset[str]:
        """The names that the server answers to, its base model's too; none while it is away."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._known = self._asked()
                self._until = time.monotonic() + self._fresh
            return self._known

    def load(self, name: str, folder: str) -> None:
        """Have vLLM serve an exported adapter, from a folder of its machine, under this name.

        Raises ``LLMUnavailable`` where it does not.
        """
        self._told("load", {"lora_name": clean_name(name, "name"), "lora_path": folder})

    def unload(self, name: str) -> None:
        """Have vLLM give it up. Raises ``LLMUnavailable`` where it does not."""
        self._told("unload", {"lora_name": clean_name(name, "name")})

    def _told(self, verb: str, body: Mapping[str, str]) -> None:
        path = f"/{verb}_lora_adapter"
        reply = post_json(self._place, path, body, self._headers, self._limits)
        with self._lock:
            self._until = 0.0
        if reply.status != 200:
            raise LLMUnavailable(
                f"{self._place.shown} did not {verb} the adapter (HTTP {reply.status}): start vLLM "
                "with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"
            )

    def _asked(self) -> frozenset[str]:
        try:
            reply = get_json(self._place, "/models", self._headers, self._limits)
        except LLMUnavailable:
            return frozenset()
        return _names(reply) if reply.status == 200 else frozenset()


def _names(reply: Reply) -> frozenset[str]:
    """The ids of a list of models; none of an answer that is no such list."""
    try:
        told = decode_object(reply.body, max_depth=_MOST_DEPTH, what="the list of models")
    except HostileArchive:
        return frozenset()
    found = told.get("data")
    models = found if isinstance(found, list) else []
    ids = (model.get("id") for model in models if isinstance(model, dict))
    return frozenset(each for each in ids if isinstance(each, str) and each)
