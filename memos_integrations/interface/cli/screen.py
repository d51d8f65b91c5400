"""Where answers go: tables for people, or one JSON document on stdout for programs.

Called by the commands. Progress, questions and remarks go to stderr, so stdout holds the answer
and nothing else.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from memos_integrations.cube.errors import UsageError
from memos_integrations.cube.ids import from_micros
from memos_integrations.cube.item import Hit, MemoryItem
from memos_integrations.interface.cli.plain import shown
from memos_integrations.interface.cli.toolkit import (
    SIMPLE_HEAD,
    BarColumn,
    Console,
    Progress,
    RenderableType,
    SpinnerColumn,
    Table,
    Text,
    TextColumn,
    TimeElapsedColumn,
)


class _Unbroken(Text):
    """Words that are printed as they are, however long their lines."""


class Screen:
    """Shows answers on stdout and everything else on stderr."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._out = Console(markup=False, highlight=False, emoji=False)
        self._err = Console(stderr=True, markup=False, highlight=False, emoji=False)

    def answer(self, data: object, *pictures: RenderableType) -> None:
        """``data`` as JSON where that was asked for, else the pictures of it."""
        if self.as_json:
            print(as_json(data), flush=True)  # noqa: T201  -- the answer of a command
            return
        for picture in pictures:
            self._out.print(picture, soft_wrap=isinstance(picture, _Unbroken))
        sys.stdout.flush()

    def verbatim(self, data: object, text: str) -> None:
        """As ``answer``, for text that other programs read: no line is broken or indented."""
        self.answer(data, *([] if self.as_json else [_Unbroken(shown(text))]))

    def remark(self, text: str) -> None:
        """A line beside the answer."""
        self._err.print(words(text, style="dim"))

    @contextmanager
    def progress(self, what: str) -> Generator[Callable[[float], None]]:
        """A bar on a terminal, nothing elsewhere; call what it gives with shares from 0 to 1."""
        bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%", markup=False),
            TimeElapsedColumn(),
            console=self._err,
            transient=True,
            disable=not self._err.is_terminal,
        )
        with bar:
            task = bar.add_task(what, total=1.0)
            yield lambda share: bar.update(task, completed=share)


def as_json(data: object) -> str:
    """``data`` as one JSON document, in ASCII so that no terminal is led astray by it."""
    return json.dumps(data, default=_jsonable, indent=2)


def save(path: Path, data: object) -> None:
    """Write ``data`` as JSON to a new file. Raises ``UsageError`` where there is one already."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(as_json(data) + "\n")
    except FileExistsError as error:
        raise UsageError(f"{path} exists already; name a new file") from error
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def _jsonable(value: object) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)


def words(text: object, style: str = "") -> Text:
    """Foreign words as they are: no markup, no escape sequence has an effect."""
    return Text(shown(str(text)), style=style)


def moment(when: datetime | int) -> str:
    """A time to the minute, in UTC; microseconds since 1970 are read too."""
    at = from_micros(when) if isinstance(when, int) else when.astimezone(UTC)
    return f"{at:%Y-%m-%d %H:%M}"


def many(count: int, one: str, more: str) -> str:
    """``3 memories``, ``1 memory``."""
    return f"{count} {one if count == 1 else more}"


def table(*columns: str, title: str | None = None) -> Table:
    """An empty table; the last column takes the room that is left and wraps."""
    made = Table(box=SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False, expand=True)
    for name in columns[:-1]:
        made.add_column(name, no_wrap=True)
    made.add_column(columns[-1], ratio=1, overflow="fold")
    return made


def facts(**lines: object) -> Table:
    """Names and values, one line each; values that are None or empty are left out."""
    made = Table.grid(padding=(0, 2), expand=True)
    made.add_column(no_wrap=True, style="dim")
    made.add_column(ratio=1, overflow="fold")
    for name, value in lines.items():
        if value not in (None, "", (), []):
            made.add_row(name.replace("_", " "), words(value))
    return made


def memory(item: MemoryItem) -> Text:
    """A memory with its id and what matters of its header under it."""
    header = item.header
    marks = [moment(header.time), header.speaker or header.role or "", header.conversation or ""]
    marks += [header.state.value] if header.state.value not in ("generated", "activated") else []
    marks += [mark for mark in ("stale", "quarantined", "redacted") if getattr(header, mark)]
    marks += [f"#{tag}" for tag in header.tags]
    line = " · ".join(mark for mark in marks if mark)
    return Text.assemble(
        words(item.text), "\n", words(item.id, style="cyan"), words(f"  {line}", style="dim")
    )


def found(hits: list[Hit], *, explain: bool) -> RenderableType:
    """Hits as a table, with the terms of each score where asked for."""
    if not hits:
        return words("nothing was found", style="dim")
    made = table("score", "memory")
    for hit in hits:
        cell = memory(hit.item)
        if explain:
            terms = sorted(hit.signals, key=lambda s: -abs(s.points))
            for term in terms:
                cell.append(f"\n{term.points:+6.2f}  ", style="green" if term.points > 0 else "red")
                cell.append_text(words(f"{term.name}: {term.why}"))
        made.add_row(f"{hit.score:.2f}", cell)
    return made
