"""Memories as LangChain documents, for chains and tools that take a retriever.

Called by LangChain, calls ``MOS.search``. Who asks comes from the run's config, or was fixed when
the retriever was made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config, run_in_executor
from pydantic import Field

from langchain_memos.asker import Asker, asker_of
from memos_integrations.cube.item import Hit
from memos_integrations.interface.reads import Reads
from memos_integrations.interface.scope import CubeName

_ASKER = "asker"


class MemOSRetriever(BaseRetriever):
    """The memories that fit a question, best first, each with its score and where it is from.

    ``memory`` is a ``MOS``, or ``mos.as_of(...)`` to retrieve as things stood. ``user``, ``agent``
    and ``session`` fix who asks; where they are left out, ``config["configurable"]`` says it
    (``user_id``, ``agent_id``). ``k``, ``filter`` and ``min_score`` may also be given per call:
    ``retriever.invoke("...", k=3)``. Raises what ``MOS.search`` raises.
    """

    memory: Reads
    user: str | None = None
    agent: str | None = None
    session: str | None = None
    cube: CubeName | Sequence[CubeName] | None = None
    filter: Mapping[str, Any] | None = None
    k: int = Field(default=4, ge=1)
    min_score: float | None = None
    """Leave out what scores less. A score is the sum of signals that ``explain`` shows."""
    explain: bool = False
    """Say in ``metadata["why"]`` what each score rests on."""

    def invoke(
        self,
        input: str,  # noqa: A002  -- LangChain's word
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """The documents for ``input``; the config says who asks."""
        return super().invoke(input, config, **{**kwargs, _ASKER: self._asker(config)})

    async def ainvoke(
        self,
        input: str,  # noqa: A002
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """As ``invoke``, in a thread."""
        return await super().ainvoke(input, config, **{**kwargs, _ASKER: self._asker(config)})

    def _asker(self, config: RunnableConfig | None) -> Asker:
        return asker_of(ensure_config(config), bound=Asker(self.user, self.agent))

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun | None = None,
        asker: Asker | None = None,
        k: int | None = None,
        filter: Mapping[str, Any] | None = None,  # noqa: A002
        min_score: float | None = None,
    ) -> list[Document]:
        asked = asker or self._asker(None)
        hits = self.memory.search(
            query,
            limit=self.k if k is None else k,
            filter=self.filter if filter is None else filter,
            cube=self.cube,
            session=self.session,
            explain=self.explain,
            **asked.keywords(),
        )
        floor = self.min_score if min_score is None else min_score
        return [document_of(hit) for hit in hits if floor is None or hit.score >= floor]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **asked: Any
    ) -> list[Document]:
        sync = run_manager.get_sync()
        return await run_in_executor(
            None, self._get_relevant_documents, query, run_manager=sync, **asked
        )


def document_of(hit: Hit) -> Document:
    """A memory as a document: what is its own in ``info``, beside what the header knows of it."""
    header = hit.item.header
    known: dict[str, Any] = {
        "score": hit.score,
        "cube": header.cube,
        "version": header.version,
        "memory_type": header.memory_type.value,
        "time": header.time.isoformat(),
        "speaker": header.speaker,
        "role": header.role,
        "source": header.source,
        "session": header.conversation,
        "trust": header.trust.value,
        "tags": list(header.tags),
        "info": header.info,
        "provenance": [step.model_dump(mode="json") for step in header.provenance],
    }
    if hit.signals:
        known["why"] = hit.why()
    return Document(id=hit.id, page_content=hit.text, metadata=known)
