"""A memory operating system for agent frameworks.

``MOS`` is the way in: ``MOS("agent.db").add("I'm allergic to peanuts", user="alice")``.
"""

from memos_integrations.cube import errors
from memos_integrations.cube.acl import Permission, Principal
from memos_integrations.cube.errors import MemosError
from memos_integrations.cube.header import MemoryType, Relation
from memos_integrations.cube.item import Hit, MemoryItem
from memos_integrations.cube.mem_cube import MemCube
from memos_integrations.interface.mos import MOS
from memos_integrations.interface.settings import Settings

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
    "Relation",
    "Settings",
    "errors",
]
