"""LangChain's cache of model answers over governed records: exact, or by meaning.

Called by LangChain (``set_llm_cache(MemOSCache(mos))``), calls ``MOS.records``. What was paid for
once is durable and goes with its owner.
"""

from __future__ import annotations

import logging
from typing import Any

from langchain_core.caches import RETURN_VAL_TYPE, BaseCache
from langchain_core.embeddings import Embeddings

from langchain_memos.alike import direction, nearest
from langchain_memos.asker import Asker
from langchain_memos.generations import dumped, loaded
from langchain_memos.places import cube_beside, founded
from langchain_memos.prompts_asked import Asked, asked_of, digest, rests_on_memory
from memos_integrations.cube.errors import AccessDenied, UsageError
from memos_integrations.infrastructure.backends.embedders import as_embedder, embed_query
from memos_integrations.interface.mos import MOS

_log = logging.getLogger(__name__)
_ALIKE = "alike"
_CANDIDATES = 5


class MemOSCache(BaseCache):
    """Answers of models by prompt and model configuration, in a cube of one owner.

    Exact by default: the same prompt to the same model, whatever the run. With ``embedding`` and
    ``threshold`` (a cosine, try 0.95) a question that is nearly the same has the same answer, if
    the model's configuration, the instructions and all messages before are equal; a look-up then
    reads the directions of all questions of that kind. No word of a prompt is kept, only hashes
    and directions. ``ttl_seconds`` ends an answer and all that leads to it.

    A prompt that holds memories (a block of ``MemOSMiddleware``, ``mos.context`` or a graph of
    ``langgraph_memos``, an answer of the ``recall`` tool) is never cached: its answer would outlive
    the memories that it was made of, also erased ones. What a person says in a prompt, or a tool
    or retriever brings, may come back in a cached answer; ``erase(subject=...)`` removes that, an
    erased memory does not: set ``ttl_seconds`` or ``clear()`` there.

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
        beside = cube or cube_beside(mos, self._asker, "llm-cache")
        self._cube = founded(mos, beside, self._asker)
        self._records = mos.records(
            f"langchain.cache/{namespace}", cube=self._cube, **self._asker.keywords()
        )

    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """The answer to this prompt, or to one near enough to it; ``None`` for a miss."""
        if rests_on_memory(prompt):
            return None
        try:
            exact = self._read(_key(prompt, llm_string))
            return self._alike(prompt, llm_string) if exact is None else exact
        except AccessDenied:
            self._found_again()
            return None

    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """Keep an answer. One that JSON has no form for is not kept, and logged as such; nor is
        one that was made of memories."""
        if rests_on_memory(prompt):
            _log.debug("an answer was not cached: its prompt holds memories")
            return
        try:
            data = dumped(return_val)
        except (TypeError, ValueError) as error:
            _log.warning("an answer was not cached: %s", type(error).__name__)
            return
        put = {_key(prompt, llm_string): data, **self._question(prompt, llm_string)}
        self._records.put(put, ttl_seconds=self._ttl_seconds)

    def clear(self, *, llm_string: str | None = None, **unknown: Any) -> None:
        """Forget every answer, or those of one model configuration."""
        if unknown:
            raise UsageError(f"clear knows no option {sorted(unknown)[0]!r}")
        prefix = "" if llm_string is None else f"{digest(llm_string)}/"
        try:
            self._records.clear(prefix)
        except AccessDenied:
            self._found_again()

    def _found_again(self) -> None:
        """The cube goes when its owner is erased, and a cache that is in use goes on. Raises
        ``AccessDenied`` where the cube is there and closed."""
        founded(self._mos, self._cube, self._asker)

    def _read(self, key: str) -> RETURN_VAL_TYPE | None:
        data = self._records.get([key]).get(key)
        if data is None:
            return None
        try:
            return loaded(data)
        except ValueError:
            _log.warning("a cached answer is not readable and counts as a miss")
            return None

    def _alike(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        asked = asked_of(prompt, llm_string)
        if self._embedder is None or self._threshold is None or not asked.question.strip():
            return None
        looked_for = direction(embed_query(self._embedder, asked.question).tolist())
        kept = self._records.items(self._prefix(asked, llm_string)) if looked_for else []
        near = nearest(looked_for or b"", kept, threshold=self._threshold)[:_CANDIDATES]
        answers = (self._read(_answer_to(key)) for key in near)
        return next((answer for answer in answers if answer is not None), None)

    def _question(self, prompt: str, llm_string: str) -> dict[str, bytes]:
        """What leads to an answer by meaning: where its question points, under whose hash."""
        asked = asked_of(prompt, llm_string)
        if self._embedder is None or not asked.question.strip():
            return {}
        points = direction(self._embedder.embed([asked.question])[0].tolist())
        key = f"{self._prefix(asked, llm_string)}{digest(prompt)}"
        return {} if points is None else {key: points}

    def _prefix(self, asked: Asked, llm_string: str) -> str:
        """What the keys of questions begin with that may have one answer."""
        model = "" if self._embedder is None else self._embedder.fingerprint
        return f"{digest(llm_string)}/{_ALIKE}/{digest(asked.setting, model)}/"


def _key(prompt: str, llm_string: str) -> str:
    return f"{digest(llm_string)}/{digest(prompt)}"


def _answer_to(question: str) -> str:
    """The key of the answer that a question's leads to."""
    model, _, _, prompt = question.split("/")
    return f"{model}/{prompt}"
