"""Memory as a resource of a workflow: made when a step first needs it, shared by its steps.

``memory: Annotated[MemOSMemory, memory_resource(mos, user="ann", session_id="s1")]``
"""

from __future__ import annotations

from itertools import count
from typing import Any

from workflows.resource import Resource

from llama_index_memos.memory import MemOSMemory
from memos_integrations.interface.mos import MOS

_NUMBERS = count(1)


def memory_resource(mos: MOS, *, cache: bool = True, **scope: Any) -> Any:
    """What a step's parameter is annotated with to be handed a ``MemOSMemory``.

    ``scope`` is what ``MemOSMemory`` takes (``user``, ``session_id``, ``token_limit`` ...).
    ``cache=False`` makes one for every step.
    """

    def memory() -> MemOSMemory:
        return MemOSMemory.from_defaults(mos, **scope)

    # A workflow caches resources by the name of their factory: one name for all would hand the
    # memory of one user to the steps of another.
    memory.__qualname__ = f"memory_resource.{next(_NUMBERS)}"
    return Resource(memory, cache=cache)
