"""A memory operating system for agent frameworks.

``MOS`` is the way in: ``MOS("agent.db").add("I'm allergic to peanuts", user="alice")``.
Names are loaded when they are first used, so importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memos_integrations.cube import errors
    from memos_integrations.cube.acl import Permission, Principal
    from memos_integrations.cube.errors import MemosError
    from memos_integrations.cube.header import MemoryType, Relation
    from memos_integrations.cube.item import Hit, MemoryItem
    from memos_integrations.cube.mem_cube import MemCube
    from memos_integrations.interface.aio import AsyncMOS
    from memos_integrations.interface.mos import MOS
    from memos_integrations.interface.settings import Settings
    from memos_integrations.operation.operator.ranking import Ranking

__version__ = "0.1.0"

__all__ = [
    "MOS",
    "AsyncMOS",
    "Hit",
    "MemCube",
    "MemoryItem",
    "MemoryType",
    "MemosError",
    "Permission",
    "Principal",
    "Ranking",
    "Relation",
    "Settings",
    "errors",
]

_HOMES = {
    "MOS": "interface.mos",
    "AsyncMOS": "interface.aio",
    "Hit": "cube.item",
    "MemCube": "cube.mem_cube",
    "MemoryItem": "cube.item",
    "MemoryType": "cube.header",
    "MemosError": "cube.errors",
    "Permission": "cube.acl",
    "Principal": "cube.acl",
    "Ranking": "operation.operator.ranking",
    "Relation": "cube.header",
    "Settings": "interface.settings",
}


def __getattr__(name: str) -> object:
    if name == "errors":
        return import_module(f"{__name__}.cube.errors")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
