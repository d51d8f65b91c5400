"""Text and Markdown as blocks: headings, paragraphs, lists, tables and code, each one whole.

Called by the chunker. Pure. It knows as much of Markdown as is needed to see where a block ends;
the words of a block stay as they are written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

BlockKind: TypeAlias = Literal["heading", "paragraph", "list", "table", "code"]

_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.+?)[ \t]*#*[ \t]*$")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ITEM = re.compile(r"[ \t]*(?:[-*+•]|\d{1,9}[.)、])[ \t]+\S")
_RULE_ROW = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
_INDENTED = re.compile(r"(?: {2,}|\t)\S")
_MAX_HEADING_CHARS = 300


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of a document that says one thing."""

    kind: BlockKind
    text: str
    level: int = 0
    """1 to 6 for a heading."""


def read_blocks(text: str, *, markdown: bool) -> list[Block]:
    """The blocks of ``text`` in order. Without ``markdown`` no line is a heading or a table."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    reader = _Markdown(lines) if markdown else _Plain(lines)
    return with_lead_ins(reader.read())


class _Plain:
    """Paragraphs and lists: what unmarked text shows of its structure."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines
        self._at = 0

    def read(self) -> list[Block]:
        blocks: list[Block] = []
        while self._at < len(self._lines):
            if self._lines[self._at].strip():
                blocks.append(self.block())
            else:
                self._at += 1
        return blocks

    def block(self) -> Block:
        if _ITEM.match(self._lines[self._at]):
            return self.listed()
        return self.paragraph()

    def listed(self) -> Block:
        """Items with what is indented under them; one blank line between items is part of it."""
        start = self._at
        self._at += 1
        while self._at < len(self._lines):
            here = self._lines[self._at]
            after = self._lines[self._at + 1] if self._at + 1 < len(self._lines) else ""
            blank_inside = not here.strip() and (_ITEM.match(after) or _INDENTED.match(after))
            if not (blank_inside or _ITEM.match(here) or _INDENTED.match(here)):
                break
            self._at += 1
        return Block("list", self._taken(start))

    def paragraph(self) -> Block:
        start = self._at
        self._at += 1
        while self._at < len(self._lines) and not self.ends_paragraph(self._lines[self._at]):
            self._at += 1
        return Block("paragraph", self._taken(start))

    def ends_paragraph(self, line: str) -> bool:
        return not line.strip() or _ITEM.match(line) is not None

    def _taken(self, start: int) -> str:
        return "\n".join(self._lines[start : self._at]).strip("\n").rstrip()


class _Markdown(_Plain):
    """As plain text, with headings, tables and fenced code."""

    def block(self) -> Block:
        line = self._lines[self._at]
        if _FENCE.match(line):
            return self.code()
        heading = self.heading(line)
        if heading is not None:
            return heading
        if self.starts_table(self._at):
            return self.table()
        return super().block()

    def heading(self, line: str) -> Block | None:
        marked = _HEADING.match(line)
        if marked and len(marked[2]) <= _MAX_HEADING_CHARS:
            self._at += 1
            return Block("heading", marked[2].strip(), len(marked[1]))
        below = self._lines[self._at + 1] if self._at + 1 < len(self._lines) else ""
        under = _UNDERLINE.match(below)
        plain = not _ITEM.match(line) and "|" not in line and len(line) <= _MAX_HEADING_CHARS
        if under and plain and not _UNDERLINE.match(line):
            self._at += 2
            return Block("heading", line.strip(), 1 if under[1].startswith("=") else 2)
        return None

    def code(self) -> Block:
        """Up to the fence that closes it, or to the end."""
        start = self._at
        opened = _FENCE.match(self._lines[start])
        mark = opened[1] if opened else "```"
        self._at += 1
        while self._at < len(self._lines):
            line = self._lines[self._at].strip()
            self._at += 1
            if line.startswith(mark) and not line.strip(mark[0]):
                break
        return Block("code", self._taken(start))

    def starts_table(self, at: int) -> bool:
        below = self._lines[at + 1] if at + 1 < len(self._lines) else ""
        return "|" in self._lines[at] and "|" in below and _RULE_ROW.match(below) is not None

    def table(self) -> Block:
        start = self._at
        while self._at < len(self._lines) and "|" in self._lines[self._at]:
            self._at += 1
        return Block("table", self._taken(start))

    def ends_paragraph(self, line: str) -> bool:
        marked = _HEADING.match(line) or _FENCE.match(line) or self.starts_table(self._at)
        return bool(marked) or super().ends_paragraph(line)


def with_lead_ins(blocks: Sequence[Block]) -> list[Block]:
    """The same blocks, a list (or table, or code) joined with the short line that leads into it."""
    joined: list[Block] = []
    for block in blocks:
        before = joined[-1] if joined else None
        if before is not None and _leads_into(before, block):
            joined[-1] = Block(block.kind, f"{before.text}\n\n{block.text}")
        else:
            joined.append(block)
    return joined


def _leads_into(before: Block, block: Block) -> bool:
    announces = before.kind == "paragraph" and before.text.rstrip("*_ ").endswith((":", "\uff1a"))
    return announces and block.kind in ("list", "table", "code") and len(before.text) <= 500
