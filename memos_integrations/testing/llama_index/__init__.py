"""What stores and memories of LlamaIndex must do, as suites that any implementation can run.

    from memos_integrations.testing.llama_index import VectorStoreTests

    class TestMyStore(VectorStoreTests):
        def make(self) -> BasePydanticVectorStore:
            return MyStore()

Each test runs through both halves, sync and async. At least as strict as LlamaIndex's tests of its
own classes; ``python -m bench.llama_conformance`` shows what these get. Needs pytest and
llama-index-core.
"""

from memos_integrations.testing.llama_index.chat_store import ChatStoreTests
from memos_integrations.testing.llama_index.chat_store_async import AsyncChatStoreTests
from memos_integrations.testing.llama_index.kv_store import KVStoreTests
from memos_integrations.testing.llama_index.memory import MemoryTests
from memos_integrations.testing.llama_index.property_graph import PropertyGraphStoreTests
from memos_integrations.testing.llama_index.vector_filters import VectorFilterTests
from memos_integrations.testing.llama_index.vector_store import VectorStoreTests

__all__ = [
    "AsyncChatStoreTests",
    "ChatStoreTests",
    "KVStoreTests",
    "MemoryTests",
    "PropertyGraphStoreTests",
    "VectorFilterTests",
    "VectorStoreTests",
]
