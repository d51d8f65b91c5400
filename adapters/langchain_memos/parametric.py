"""Memory for agents whose model is served elsewhere with adapters: weights where they know, else
text.

Called by LangChain around the model, calls ``MOS.routed``. The server attaches adapters under
their ids, such as vLLM with ``--enable-lora --lora-modules ID=FOLDER`` for a folder made by
``MOS.export_adapter(ID, FOLDER)``; a call names the one that is to answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from langchain.agents.middleware.types import ModelRequest

from langchain_memos.asker import Asker
from langchain_memos.middleware import MemOSMiddleware
from langchain_memos.middleware_state import Turn
from langchain_memos.recalling import Recall, Recalling
from langchain_memos.said import question_of, searchable
from memos_integrations.cube.errors import UsageError
from memos_integrations.infrastructure.backends.llm.served_adapters import ServedAdapters
from memos_integrations.interface.adapted_verb import AdaptedRow
from memos_integrations.interface.context import Context
from memos_integrations.interface.local_prompt import routed
from memos_integrations.interface.mos import MOS

Served: TypeAlias = ServedAdapters | Callable[[], Collection[str]]
"""The adapters that the server has attached, by their ids."""


def as_model(adapter: str) -> Mapping[str, Any]:
    """How vLLM is asked for an adapter: by its name in the place of the model's."""
    return {"model": adapter}


class MemOSParametricMiddleware(MemOSMiddleware):
    """As ``MemOSMiddleware``, and what an adapter has learnt is left out of the prompt.

    ``MemOSParametricMiddleware(mos, model="house", served=ServedAdapters(url))``: before each call
    of the model the memories found for the last question decide. Where the server has an adapter
    that holds them, made for the hosted model of that name and of memories that the asker may read
    all, the call names it, and only what it does not hold stands in the prompt as text; else all
    does. ``setting`` says how the server is asked for an adapter; it is handed to the chat model as
    ``model_settings``. ``response_metadata`` of an answer says ``memory_form``,
    ``memory_adapter``, ``memory_why`` and which memories were text; ``memory_learnt`` those that
    were left to the adapter.

    An adapter is chosen anew for every call, so one that was withdrawn is asked for no more. What
    a server holds of it is out of reach: unload what is not ``usable`` any more in
    ``MOS.adapters`` (``ServedAdapters.unload``). A server that knows no activated adapters applies
    one to the whole prompt: 12 facts that the small model of the cookbook had learnt it then
    answered in 19 of 24 questions, and in 24 of 24 with activation.
    """

    def __init__(
        self,
        mos: MOS,
        *,
        model: str,
        served: Served,
        setting: Callable[[str], Mapping[str, Any]] = as_model,
        hits: int = 5,
        **as_usual: Any,
    ) -> None:
        """``hits`` is how many memories decide; the rest is as for ``MemOSMiddleware``."""
        super().__init__(mos, **as_usual)
        if not isinstance(served, ServedAdapters) and not callable(served):
            raise UsageError("served takes ServedAdapters(url), or a function that gives ids")
        self._model, self._served = model, served
        self._setting, self._hits = setting, hits

    def _recall(self, request: ModelRequest[Any], asker: Asker) -> Recall | None:
        asked = question_of(request.messages)
        words = "" if asked is None else str(asked.text).strip()
        if asked is None or not words:
            return None
        row = self._routed(words, asker)
        if row.adapter is None:
            recall = self._recalling.recall(request, asker)
            return None if recall is None else replace(recall, told=_told(row, recall.block))
        settings = {**request.model_settings, **self._setting(row.adapter)}
        request = request.override(model_settings=settings)
        nothing = Recall(request, Turn(question=asked.id or "", shown=[]), None, asker)
        beside = self._beside(row).recall(request, asker) if row.items else None
        return _noting(row, beside or nothing)

    def _beside(self, row: AdaptedRow) -> Recalling:
        """What is told as text beside an adapter: what was found and it does not hold."""
        only: dict[str, Any] = {"id": {"in": [item.id for item in row.items]}}
        usual = self._recalling.filter
        return replace(self._recalling, filter=only if usual is None else {"and": [usual, only]})

    def _routed(self, words: str, asker: Asker) -> AdaptedRow:
        recalling = self._recalling
        return recalling.mos.routed(
            searchable(words),
            model=self._model,
            among=self._offered(),
            k=self._hits,
            cube=recalling.cubes(asker),
            filter=recalling.filter,
            **asker.keywords(),
        )

    def _offered(self) -> Collection[str]:
        served = self._served
        return served.offered() if isinstance(served, ServedAdapters) else served()


def _noting(row: AdaptedRow, recall: Recall) -> Recall:
    """The call, and for the rest of the turn that what the adapter holds belongs to it: as text,
    should the adapter be gone by then."""
    shown = dict.fromkeys([*recall.turn["shown"], *(item.id for item in row.learnt)])
    turn = Turn(question=recall.turn["question"], shown=list(shown))
    return replace(recall, turn=turn, told=_told(row, recall.block))


def _told(row: AdaptedRow, block: Context | None) -> dict[str, Any]:
    """As a local model tells it; what was text is what the block holds."""
    shown = [] if block is None else [i.id for part in block.sections for i in part.items]
    told = {**routed(row), "memory_ids": shown}
    return told if row.adapter is not None else {**told, "memory_form": "text" if shown else "base"}
