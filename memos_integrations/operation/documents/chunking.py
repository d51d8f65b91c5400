"""Blocks packed into chunks: each readable on its own, under its headings, of bounded size.

Called by the verbs of documents before any transaction. Pure. A chunk never crosses a heading or
a page. Inside a long section it ends where a hash of the words says so, so that a paragraph that
is inserted moves only the chunks beside it and not every one after it.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from memos_integrations.cube.ports import TokenCounter
from memos_integrations.operation.documents.blocks import Block, read_blocks

JOINER = " > "
_WHOLE = 4
"""A table, list or block of code stays whole up to this many times the budget."""
_SENTENCE = re.compile(
    "(?<=[.!?;])\\s+|(?<=[\u3002\uff01\uff1f\uff1b])\\s*|\n+"  # the latter are CJK's own marks
)
_SPACES = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Part:
    """Converted words with the page they stand on, where the document has pages."""

    text: str
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document, with where in it it stands."""

    headings: tuple[str, ...]
    body: str
    page: int | None = None

    @property
    def heading(self) -> str:
        """``"Guide > Install > Linux"``; empty above the first heading."""
        return JOINER.join(self.headings)

    @property
    def text(self) -> str:
        """The words to be remembered: the headings in front, then the body."""
        return f"{self.heading}\n\n{self.body}" if self.headings else self.body

    @property
    def digest(self) -> str:
        """Names the body by its words, whatever the white space between them."""
        return hashlib.sha256(_SPACES.sub(" ", self.body).strip().encode()).hexdigest()


def chunk_document(
    parts: Sequence[Part], *, markdown: bool, tokens: TokenCounter, budget_tokens: int
) -> list[Chunk]:
    """The chunks of a document in order, none without words."""
    packer = _Packer(tokens, budget_tokens)
    chunks: list[Chunk] = []
    headings: list[tuple[int, str]] = []
    for part in parts:
        for blocks in _sections(read_blocks(part.text, markdown=markdown), headings):
            path = tuple(title for _, title in headings)
            bodies = [body for body in packer.pack(blocks, path) if body.strip()]
            chunks += [Chunk(path, body, part.page) for body in bodies]
    return chunks


def title_of(parts: Sequence[Part], *, markdown: bool) -> str | None:
    """The first heading of the highest level that comes first; ``None`` without headings."""
    if not markdown or not parts:
        return None
    found = (b for b in read_blocks(parts[0].text, markdown=True) if b.kind == "heading")
    first = next(found, None)
    return None if first is None else first.text


def _sections(blocks: Iterable[Block], headings: list[tuple[int, str]]) -> Iterator[list[Block]]:
    """The blocks between two headings; ``headings`` holds the path while a section is given.

    A heading with nothing under it, no deeper heading either, is its own section.
    """
    section: list[Block] = []
    bare = False
    for block in blocks:
        if block.kind != "heading":
            section.append(block)
            bare = False
            continue
        if section:
            yield section
            section = []
        elif bare and block.level <= headings[-1][0]:
            yield [Block("paragraph", _title(headings))]
        while headings and headings[-1][0] >= block.level:
            headings.pop()
        headings.append((block.level, block.text))
        bare = True
    if section:
        yield section
    elif bare:
        yield [Block("paragraph", _title(headings))]


def _title(headings: Sequence[tuple[int, str]]) -> str:
    """The nearest heading that says something; empty where none does."""
    return next((title for _, title in reversed(headings) if title), "")


class _Packer:
    """Fills chunks up to a budget of tokens."""

    def __init__(self, tokens: TokenCounter, budget_tokens: int) -> None:
        self._tokens = tokens
        self._budget = budget_tokens

    def pack(self, blocks: Sequence[Block], path: tuple[str, ...]) -> list[str]:
        """The bodies of one section."""
        room = max(self._budget // 2, self._budget - self._tokens.count(JOINER.join(path)))
        bodies: list[str] = []
        open_: list[str] = []
        spent = 0
        for piece, cost in self._pieces(blocks, room):
            if open_ and spent + cost > room:
                bodies.append("\n\n".join(open_))
                open_, spent = [], 0
            open_.append(piece)
            spent += cost
            if spent * 2 >= room and _is_boundary(piece):
                bodies.append("\n\n".join(open_))
                open_, spent = [], 0
        if open_:
            bodies.append("\n\n".join(open_))
        return bodies

    def _pieces(self, blocks: Sequence[Block], room: int) -> Iterator[tuple[str, int]]:
        """What is not torn further, with its tokens: counting is dear, so it is done once."""
        for block in blocks:
            cost = self._tokens.count(block.text)
            if cost <= (room if block.kind == "paragraph" else room * _WHOLE):
                yield block.text, cost
            else:
                yield from ((piece, self._tokens.count(piece)) for piece in self._torn(block, room))

    def _torn(self, block: Block, room: int) -> list[str]:
        """A block beyond all bounds, cut where it hurts least."""
        if block.kind == "table":
            return self._rows(block.text, room)
        if block.kind == "code":
            return self._code(block.text, room)
        units = block.text.split("\n") if block.kind == "list" else _sentences(block.text)
        return self._filled(units, room, "\n" if block.kind == "list" else " ")

    def _rows(self, text: str, room: int) -> list[str]:
        """A long table in pieces, each under the table's own header."""
        lines = text.split("\n")
        rule = next((n for n, line in enumerate(lines) if set(line) <= set("|-: \t") and line), 1)
        head = "\n".join(lines[: rule + 1])
        left = max(room - self._tokens.count(head), room // 2)
        return [f"{head}\n{rows}" for rows in self._filled(lines[rule + 1 :], left, "\n")]

    def _code(self, text: str, room: int) -> list[str]:
        """Long code in pieces, each between fences of its own."""
        lines = text.split("\n")
        opened = next((n for n, line in enumerate(lines) if line.lstrip()[:3] in _FENCES), 0)
        fence = lines[opened]
        mark = fence.lstrip()[:3]
        lead = lines[:opened]
        closed = len(lines) > opened + 1 and lines[-1].strip().startswith(mark)
        inside = lines[opened + 1 : -1] if closed else lines[opened + 1 :]
        pieces = [f"{fence}\n{each}\n{mark}" for each in self._filled(inside, room, "\n")]
        return ["\n".join([*lead, pieces[0]]), *pieces[1:]] if pieces else ["\n".join(lead)]

    def _filled(self, units: Iterable[str], room: int, joiner: str) -> list[str]:
        pieces: list[str] = []
        open_: list[str] = []
        spent = 0
        for unit in self._bounded(units, room):
            cost = self._tokens.count(unit)
            if open_ and spent + cost > room:
                pieces.append(joiner.join(open_))
                open_, spent = [], 0
            open_.append(unit)
            spent += cost
        if open_:
            pieces.append(joiner.join(open_))
        return [piece for piece in pieces if piece.strip()]

    def _bounded(self, units: Iterable[str], room: int) -> Iterator[str]:
        """The units, each one that is too long by itself cut by characters."""
        for unit in units:
            cost = self._tokens.count(unit)
            if cost <= room:
                yield unit
                continue
            step = max(1, len(unit) * room // cost)
            yield from (unit[n : n + step] for n in range(0, len(unit), step))


_FENCES = ("```", "~~~")


def _sentences(text: str) -> list[str]:
    return [each.strip() for each in _SENTENCE.split(text) if each and each.strip()]


def _is_boundary(piece: str) -> bool:
    """Whether a chunk ends here, by the words alone: one piece in four."""
    return zlib.crc32(piece.encode("utf-8", "surrogatepass")) % 4 == 0
