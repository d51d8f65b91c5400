"""Memory for agents whose model is served elsewhere: what stays comes first, and is marked.

Called by LangChain, calls ``MOS.stable_prefix`` and ``MOS.context``. Providers reuse what they have
computed for a prompt as long as it begins as an earlier one did. So the lasting memories stand
behind the instructions, new ones behind the others, and what this question recalls stands in it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, get_args

from langchain.agents.middleware.types import ModelRequest
from langchain_core.messages import SystemMessage
from langchain_core.tools import BaseTool

from langchain_memos.asker import Asker
from langchain_memos.middleware import MemOSMiddleware
from langchain_memos.recalling import Recall, Recalling
from langchain_memos.remembering import Kind
from langchain_memos.said import question_of
from memos_integrations.cube.errors import UsageError
from memos_integrations.interface.context import SectionName
from memos_integrations.interface.mos import MOS
from memos_integrations.interface.scope import CubeName
from memos_integrations.interface.served_prompt import (
    MOST_MARKS,
    Provider,
    SharedBy,
    StablePrefix,
    checked_provider,
    request_options,
    system_parts,
)

_ASKED: Sequence[SectionName] = ("working", "tools", "documents", "memories")


class MemOSPrefixMiddleware(MemOSMiddleware):
    """``MemOSMiddleware`` for a served model that keeps what it computed for a prompt's beginning.

    Trusted, lasting memories, up to ``prefix_tokens``, stand in the system message behind the
    instructions, byte by byte the same in every call, and new ones come behind them. What else
    fits the question stands in it, within ``budget_tokens``. ``provider`` says how the model's
    endpoint is told: ``"anthropic"`` gets breakpoints (``cache_control``) on text blocks,
    ``"openai"`` a ``prompt_cache_key``, ``"vllm"`` a ``cache_salt``. Both are hashes with a secret
    of the tenant, so a salted server shares nothing between two of them. With
    ``shared_by="asker"`` each user or agent is apart; with ``"tenant"`` all of a tenant share what
    they prompt alike, and the time of an answer may tell them what others prompted. From how many
    tokens on, how long and at what price prompts are kept is the vendor's to say.

    The rest is as in ``MemOSMiddleware``.
    """

    def __init__(
        self,
        mos: MOS,
        *,
        provider: Provider,
        shared_by: SharedBy = "asker",
        prefix_tokens: int = 4_000,
        page_tokens: int = 1_024,
        user: str | None = None,
        agent: str | None = None,
        cube: str | None = None,
        also: Sequence[CubeName] = (),
        filter: Mapping[str, Any] | None = None,  # noqa: A002  -- the field's word
        sections: Sequence[SectionName] | None = _ASKED,
        limit: int = 20,
        budget_tokens: int = 1000,
        thread_budget_tokens: int | None = None,
        remember: Collection[Kind] = ("human", "ai"),
        tools: Sequence[BaseTool] = (),
    ) -> None:
        super().__init__(
            mos,
            user=user,
            agent=agent,
            cube=cube,
            also=also,
            filter=filter,
            sections=sections,
            limit=limit,
            budget_tokens=budget_tokens,
            thread_budget_tokens=thread_budget_tokens,
            remember=remember,
            tools=tools,
        )
        if shared_by not in get_args(SharedBy):
            raise UsageError(f"shared_by must be one of {', '.join(get_args(SharedBy))}")
        given = {each.name: getattr(self._recalling, each.name) for each in fields(Recalling)}
        self._recalling = _Prefixing(
            **given,
            provider=checked_provider(provider),
            shared_by=shared_by,
            prefix_tokens=prefix_tokens,
            page_tokens=page_tokens,
        )


@dataclass(frozen=True, slots=True)
class _Prefixing(Recalling):
    """As ``Recalling``, behind what every prompt begins with."""

    provider: Provider
    shared_by: SharedBy
    prefix_tokens: int
    page_tokens: int

    def recall(self, request: ModelRequest[Any], asker: Asker) -> Recall | None:
        """The request with its beginning; what is recalled besides is not in that already."""
        if question_of(request.messages) is None:
            return None
        prefix = self.mos.stable_prefix(
            cube=self.cubes(asker),
            filter=self._where(request, asker, None),
            budget_tokens=self.prefix_tokens,
            page_tokens=self.page_tokens,
            **asker.keywords(),
        )
        there: Mapping[str, Any] = {"id": {"nin": [item.id for item in prefix.items]}}
        both = there if self.filter is None else {"and": [self.filter, there]}
        return Recalling.recall(replace(self, filter=both), self._begun(request, prefix), asker)

    def _begun(self, request: ModelRequest[Any], prefix: StablePrefix) -> ModelRequest[Any]:
        given = dict(request.model_settings)
        if self.provider == "vllm":  # a call's fields take the place of the model's own
            own: object = getattr(request.model, "extra_body", None)
            given.setdefault("extra_body", own)
        settings = request_options(self.provider, prefix.salts[self.shared_by], given)
        begun = request.override(model_settings=settings)
        if not prefix.pages:
            return begun
        return begun.override(system_message=self._system(request, prefix.pages))

    def _system(self, request: ModelRequest[Any], pages: Sequence[str]) -> SystemMessage:
        system = request.system_message or SystemMessage("")
        left = max(0, MOST_MARKS - _marks(request))
        if isinstance(system.content, str):
            content: Any = system_parts(self.provider, system.content, pages, marks_left=left)
        else:
            added = system_parts(self.provider, "", pages, marks_left=left)
            blocks: Any = [{"type": "text", "text": added}] if isinstance(added, str) else added
            content = [*system.content, *blocks]
        return system.model_copy(update={"content": content})


def _marks(request: ModelRequest[Any]) -> int:
    """Breakpoints that a request has already, wherever they stand."""
    messages = [*([request.system_message] if request.system_message else []), *request.messages]
    blocks = [b for m in messages if isinstance(m.content, list) for b in m.content]
    tools = [each if isinstance(each, dict) else each.extras or {} for each in request.tools]
    places = [*blocks, *tools, request.model_settings]
    return sum(1 for each in places if isinstance(each, dict) and "cache_control" in each)
