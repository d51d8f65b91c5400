"""Memory behind LangChain's own interfaces: thin rooms over one ``MOS``.

``create_agent(model, middleware=[MemOSMiddleware(mos)])`` is an agent that remembers. The rest
takes the place of what a chain has already: retriever, vector store, byte store, cache, record
manager, tools, chat history. Each is loaded when it is first asked for (PEP 562), so what is not
used is not imported.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from memos_integrations.cube.errors import MissingExtra

if TYPE_CHECKING:
    from langchain_memos.cache import MemOSCache
    from langchain_memos.chat_model import MemOSChatModel
    from langchain_memos.compat import MemOSChatMessageHistory
    from langchain_memos.compat import MemOSClassicMemory as MemOSClassicMemory
    from langchain_memos.middleware import MemOSMiddleware
    from langchain_memos.middleware_state import MemOSAgentState
    from langchain_memos.parametric import MemOSParametricMiddleware
    from langchain_memos.prefilling import MemOSPrefillMiddleware
    from langchain_memos.record_manager import MemOSRecordManager
    from langchain_memos.retriever import MemOSRetriever
    from langchain_memos.served import MemOSPrefixMiddleware
    from langchain_memos.stores import MemOSByteStore, MemOSStrStore
    from langchain_memos.tools import memory_tools
    from langchain_memos.vector_store import MemOSVectorStore

_HOMES = {
    "MemOSAgentState": "middleware_state",
    "MemOSByteStore": "stores",
    "MemOSCache": "cache",
    "MemOSChatMessageHistory": "compat",
    "MemOSChatModel": "chat_model",
    "MemOSClassicMemory": "compat",
    "MemOSMiddleware": "middleware",
    "MemOSParametricMiddleware": "parametric",
    "MemOSPrefillMiddleware": "prefilling",
    "MemOSPrefixMiddleware": "served",
    "MemOSRecordManager": "record_manager",
    "MemOSRetriever": "retriever",
    "MemOSStrStore": "stores",
    "MemOSVectorStore": "vector_store",
    "memory_tools": "tools",
}
_FRAMEWORKS = ("langchain", "langchain_core", "langgraph")

# Without MemOSClassicMemory, which is deprecated and needs an extra of its own: a star import works
# without it.
__all__ = [
    "MemOSAgentState",
    "MemOSByteStore",
    "MemOSCache",
    "MemOSChatMessageHistory",
    "MemOSChatModel",
    "MemOSMiddleware",
    "MemOSParametricMiddleware",
    "MemOSPrefillMiddleware",
    "MemOSPrefixMiddleware",
    "MemOSRecordManager",
    "MemOSRetriever",
    "MemOSStrStore",
    "MemOSVectorStore",
    "memory_tools",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"langchain_memos.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _FRAMEWORKS:
            raise
        raise MissingExtra(f"{name} for LangChain", "langchain") from error


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
