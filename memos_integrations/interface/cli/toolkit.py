"""Typer and Rich, or the error that says how to get them.

Every module of the command line takes them from here, so that each of them, imported without the
extra, raises the same ``MissingExtra``.
"""

from __future__ import annotations

from memos_integrations.cube.errors import MissingExtra

try:
    import typer
    from rich.box import SIMPLE_HEAD
    from rich.console import Console, Group, RenderableType
    from rich.panel import Panel
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.table import Table
    from rich.text import Text
    from typer.core import TyperGroup
except ImportError as error:
    raise MissingExtra("the memos command", "cli") from error

__all__ = [
    "SIMPLE_HEAD",
    "BarColumn",
    "Console",
    "Group",
    "Panel",
    "Progress",
    "RenderableType",
    "SpinnerColumn",
    "Table",
    "Text",
    "TextColumn",
    "TimeElapsedColumn",
    "TyperGroup",
    "typer",
]
