"""Memory behind LlamaIndex's own interfaces: thin rooms over one ``MOS``.

``MemOSMemory`` is what an agent remembers by, ``MemOSVectorStore`` what an index keeps its nodes
in; ``MemOSKVStore`` gives document and index stores by composition. Each is loaded when it is
first asked for (PEP 562), so what is not used is not imported.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from memos_integrations.cube.errors import MissingExtra

if TYPE_CHECKING:
    from llama_index_memos.chat_store import MemOSChatStore
    from llama_index_memos.chat_store_async import MemOSAsyncChatStore
    from llama_index_memos.kv_store import MemOSKVStore
    from llama_index_memos.local_llm import MemOSLLM
    from llama_index_memos.memory import MemOSMemory
    from llama_index_memos.memory_block import MemOSMemoryBlock
    from llama_index_memos.postprocessor import MemOSPostprocessor
    from llama_index_memos.prefix_block import MemOSPrefixBlock, served_options
    from llama_index_memos.property_graph import MemOSPropertyGraphStore
    from llama_index_memos.resource import memory_resource
    from llama_index_memos.retriever import MemOSRetriever
    from llama_index_memos.tool_spec import MemOSToolSpec
    from llama_index_memos.vector_store import MemOSVectorStore

_HOMES = {
    "MemOSAsyncChatStore": "chat_store_async",
    "MemOSChatStore": "chat_store",
    "MemOSKVStore": "kv_store",
    "MemOSLLM": "local_llm",
    "MemOSMemory": "memory",
    "MemOSMemoryBlock": "memory_block",
    "MemOSPostprocessor": "postprocessor",
    "MemOSPrefixBlock": "prefix_block",
    "MemOSPropertyGraphStore": "property_graph",
    "MemOSRetriever": "retriever",
    "MemOSToolSpec": "tool_spec",
    "MemOSVectorStore": "vector_store",
    "memory_resource": "resource",
    "served_options": "prefix_block",
}
_FRAMEWORKS = ("llama_index", "workflows")

__all__ = [
    "MemOSAsyncChatStore",
    "MemOSChatStore",
    "MemOSKVStore",
    "MemOSLLM",
    "MemOSMemory",
    "MemOSMemoryBlock",
    "MemOSPostprocessor",
    "MemOSPrefixBlock",
    "MemOSPropertyGraphStore",
    "MemOSRetriever",
    "MemOSToolSpec",
    "MemOSVectorStore",
    "memory_resource",
    "served_options",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"llama_index_memos.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _FRAMEWORKS:
            raise
        raise MissingExtra(f"{name} for LlamaIndex", "llama-index") from error


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
