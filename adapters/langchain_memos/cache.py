"""LangChain's cache of model answers over governed records: exact, or by meaning.

Called by LangChain (``set_llm_cache(MemOSCache(mos))``), calls ``MOS.records`` and, with a
threshold, ``MOS.nearest``. What was paid for once is durable and goes with its owner.
"""

from __future__ import annotations

import logging
from typing import Any

from langchain_core.caches import RETURN_VAL_TYPE, BaseCache
from langchain_core.embeddings import Embeddings

from langchain_memos.asker import Asker
from langchain_memos.generations import dumped, loaded
from langchain_memos.places import cube_beside, founded
from langchain_memos.prompts_asked import Asked, asked_of, digest
from memos_integrations.cube.embedded import KEY_FIELD, Embedded
from memos_integrations.cube.errors import UsageError
from memos_integrations.infrastructure.backends.embedders import as_embedder, embed_query
from memos_integrations.interface.mos import MOS

_log = logging.getLogger(__name__)
_CANDIDATES = 5


class MemOSCache(BaseCache):
    """Answers of models by prompt and model configuration, in a cube of one owner.

    Exact by default: the same prompt to the same model, whatever the run. With ``embedding`` and
    ``threshold`` (a cosine, try 0.95) a question that is nearly the same has the same answer, if
    the model's configuration, the instructions and all messages before are equal; then questions
    are kept as memories of that cube. ``ttl_seconds`` ends an answer.

    LangChain does not say who asks, so a cache is one owner's (``user``, ``agent`` or ``cube``)
    and its tenant's. Give every tenant one over ``mos.acting(Principal(tenant=...))``.
    """

    def __init__(
        self,
        mos: MOS,
        *,
        namespace: str = "default",
        embedding: Embeddings | None = None,
        threshold: float | None = None,
        user: str | None = None,
        agent: str | None = None,
        cube: str | None = None,
        ttl_seconds: float | None = None,
    ) -> None:
        if (embedding is None) != (threshold is None):
            raise UsageError("a cache by meaning needs both an embedding and a threshold")
        if threshold is not None and not 0.0 < threshold <= 1.0:
            raise UsageError("threshold is a cosine above 0 and at most 1")
        self._mos = mos
        self._asker = Asker(user, agent)
        self._ttl_seconds = ttl_seconds
        self._threshold = threshold
        self._embedder = None if embedding is None else as_embedder(embedding)
        self._namespace = namespace
        beside = cube or cube_beside(mos, self._asker, "llm-cache")
        self._cube = founded(mos, beside, self._asker)
        self._records = mos.records(
            f"langchain.cache/{namespace}", cube=self._cube, **self._asker.keywords()
        )

    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """The answer to this prompt, or to one near enough to it; ``None`` for a miss."""
        exact = self._read(_key(prompt, llm_string))
        if exact is not None or self._embedder is None:
            return exact
        return self._alike(asked_of(prompt, llm_string))

    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """Keep an answer. One that JSON has no form for is not kept, and logged as such."""
        key = _key(prompt, llm_string)
        try:
            data = dumped(return_val)
        except (TypeError, ValueError) as error:
            _log.warning("an answer was not cached: %s", type(error).__name__)
            return
        self._records.put({key: data}, ttl_seconds=self._ttl_seconds)
        if self._embedder is not None:
            self._remember(key, asked_of(prompt, llm_string))

    def clear(self, *, llm_string: str | None = None, **unknown: Any) -> None:
        """Forget every answer, or those of one model configuration."""
        if unknown:
            raise UsageError(f"clear knows no option {sorted(unknown)[0]!r}")
        prefix = "" if llm_string is None else f"{digest(llm_string)}/"
        self._records.clear(prefix)
        if self._embedder is not None:
            self._forget(prefix)

    def _read(self, key: str) -> RETURN_VAL_TYPE | None:
        data = self._records.get([key]).get(key)
        if data is None:
            return None
        try:
            return loaded(data)
        except ValueError:
            _log.warning("a cached answer is not readable and counts as a miss")
            return None

    def _alike(self, asked: Asked) -> RETURN_VAL_TYPE | None:
        if self._embedder is None or self._threshold is None or not asked.question.strip():
            return None
        near = self._mos.nearest(
            embed_query(self._embedder, asked.question).tolist(),
            filter={"info.setting": asked.setting, "info.namespace": self._namespace},
            limit=_CANDIDATES,
            cube=self._cube,
            **self._asker.keywords(),
        )
        good = (hit.item.header.info for hit in near if hit.score >= self._threshold)
        answers = (self._read(str(info["embedded"]).partition(":")[2]) for info in good)
        return next((answer for answer in answers if answer is not None), None)

    def _remember(self, key: str, asked: Asked) -> None:
        if self._embedder is None or not asked.question.strip():
            return
        vector = self._embedder.embed([asked.question])[0].tolist()
        info = {"setting": asked.setting, "namespace": self._namespace}
        self._mos.put_embedded(
            [Embedded(f"{self._namespace}:{key}", asked.question, vector, info=info)],
            model=self._embedder.fingerprint,
            cube=self._cube,
            **self._asker.keywords(),
        )

    def _forget(self, prefix: str) -> None:
        named = {"and": [{"info.namespace": self._namespace}, {KEY_FIELD: {"exists": True}}]}
        found = self._mos.list(filter=named, limit=2**31, cube=self._cube, **self._asker.keywords())
        begins = f"{self._namespace}:{prefix}"
        gone = [i.id for i in found if str(i.header.info["embedded"]).startswith(begins)]
        if gone:
            with self._mos.pipeline(cube=self._cube, **self._asker.keywords()) as pipeline:
                for item in gone:
                    pipeline.delete(item)


def _key(prompt: str, llm_string: str) -> str:
    return f"{digest(llm_string)}/{digest(prompt)}"
