"""Memory at the beginning of prompts for models served elsewhere, where it need not be read again.

A served model keeps what it has computed for a prompt as long as the next one begins with the very
same bytes. Pure: memories and words go in, pages, marks and options of a provider come out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, get_args

from memos_integrations.cube.errors import UsageError
from memos_integrations.cube.item import MemoryItem
from memos_integrations.cube.ports import TokenCounter
from memos_integrations.infrastructure.activation.identity import tagged_digest
from memos_integrations.interface.context import RECALLED, render

Provider: TypeAlias = Literal["openai", "vllm", "anthropic"]
"""How a provider is told what may be reused: never guessed from a model's name."""
SharedBy: TypeAlias = Literal["asker", "tenant"]
"""Who may find what was computed for whom."""

MOST_MARKS: Final = 4
"""Cache breakpoints that Anthropic takes in one request, those of tools and turns included."""
_OURS: Final = 2
_MARK: Final = {"type": "ephemeral"}


@dataclass(frozen=True, slots=True)
class StablePrefix:
    """Memories that stand first in every prompt, in an order that only grows at its end."""

    pages: tuple[str, ...]
    """The text in parts: all but the last are full, and stay as they are while memory grows."""
    items: tuple[MemoryItem, ...]
    tokens: int
    full: bool
    """Whether the budget ended before the memories did: later ones are found by what is asked."""
    salts: Mapping[SharedBy, str]
    """Secret names, one of the asker and one of the tenant: other ones share nothing with them."""

    @property
    def text(self) -> str:
        """Empty where nothing is remembered."""
        return "\n".join(self.pages)


@dataclass(slots=True)
class Paging:
    """Pages being filled, in the order in which memories are given."""

    budget_tokens: int
    page_tokens: int
    tokens: TokenCounter
    pages: list[list[str]] = field(default_factory=lambda: [[RECALLED]])
    items: list[MemoryItem] = field(default_factory=list[MemoryItem])
    spent: int = 0
    full: bool = False
    _on_page: int = 0

    def fill(self, items: Iterable[MemoryItem]) -> None:
        """Take what fits until one does not; one that is longer than a page has no place here."""
        self.spent = self._on_page = self._cost(RECALLED)
        for item in items:
            line = render(item)
            cost = self._cost(line)
            if cost > self.page_tokens:
                continue
            if self.spent + cost > self.budget_tokens:
                self.full = True
                return
            self._take(item, line, cost)

    def prefix(self, salts: Mapping[SharedBy, str]) -> StablePrefix:
        """What was taken, as the beginning of prompts."""
        pages = tuple("\n".join(page) for page in self.pages) if self.items else ()
        spent = self.spent if self.items else 0
        return StablePrefix(pages, tuple(self.items), spent, self.full, salts)

    def _take(self, item: MemoryItem, line: str, cost: int) -> None:
        if self.items and self._on_page + cost > self.page_tokens:
            self.pages.append([])
            self._on_page = 0
        self.pages[-1].append(line)
        self.items.append(item)
        self.spent, self._on_page = self.spent + cost, self._on_page + cost

    def _cost(self, line: str) -> int:
        return self.tokens.count(line) + 1  # the line break


def salts(secret: str, *, user: str | None, agent: str | None) -> dict[SharedBy, str]:
    """Names that tell nothing of whose they are, and that nobody can make without the secret."""
    asker: dict[str, str | None] = {"secret": secret, "user": user, "agent": agent}
    return {
        "asker": tagged_digest({"served": "asker", **asker}),
        "tenant": tagged_digest({"served": "tenant", "secret": secret}),
    }


def checked_provider(provider: object) -> Provider:
    """Raises ``UsageError`` for one whose way of marking prompts is not known."""
    for known in get_args(Provider):
        if provider == known:
            return known  # type: ignore[no-any-return]
    raise UsageError(f"provider must be one of {', '.join(get_args(Provider))}")


def request_options(
    provider: Provider, salt: str, given: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """``given`` and what a request needs to be kept apart from those under other salts.

    OpenAI takes ``prompt_cache_key``, which leads alike prompts to one place; vLLM ``cache_salt``
    in its ``extra_body``. Anthropic has none: it keeps caches apart by organisation. What ``given``
    says already stands.
    """
    options = dict(given or {})
    if provider == "openai":
        return {"prompt_cache_key": salt} | options
    if provider == "vllm":
        return options | {"extra_body": {"cache_salt": salt, **(options.get("extra_body") or {})}}
    return options


def system_parts(
    provider: Provider, instructions: str, pages: Sequence[str], *, marks_left: int = MOST_MARKS
) -> str | list[dict[str, Any]]:
    """What the system turn says: the instructions, then the pages.

    One text, or for Anthropic text blocks with a breakpoint on the last page and on the last full
    one before it, at most ``marks_left``: a new memory changes the last page alone.
    """
    if provider != "anthropic":
        return "\n\n".join(part for part in (instructions, "\n".join(pages)) if part)
    blocks = [{"type": "text", "text": text} for text in (instructions, *pages) if text]
    return list(marked(blocks, last=min(_OURS, marks_left, len(pages))))


def marked(blocks: Sequence[Mapping[str, Any]], *, last: int) -> Iterator[dict[str, Any]]:
    """The blocks, the ``last`` of them with a breakpoint each."""
    for place, block in enumerate(blocks):
        more = {"cache_control": dict(_MARK)} if place >= len(blocks) - last else {}
        yield {**block, **more}
