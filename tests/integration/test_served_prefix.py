"""Prompts for served models, as a server sees them: the same beginning, marked, and apart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

pytest.importorskip("langchain", reason="needs the extra langchain")

from langchain.agents import create_agent
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
)
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.memory import InMemorySaver

from langchain_memos import MemOSPrefixMiddleware
from memos_integrations import MOS, AsyncMOS, Principal, Settings
from memos_integrations.cube.errors import AccessDenied, InvalidInput, UsageError
from memos_integrations.interface.context import RECALLED
from memos_integrations.interface.served_prompt import system_parts
from tests.integration.prefix_server import PrefixServer, prompt_of

FACTS = [f"Shelf {n} of the store holds parcels for harbour {n * 7}." for n in range(30)]
ROLES = {HumanMessage: "user", AIMessage: "assistant", SystemMessage: "system"}


class Posting(BaseChatModel):
    """What langchain-openai and langchain-anthropic send, without them."""

    server: Any
    path: str = "/v1/chat/completions"
    extra_body: dict[str, Any] | None = None

    @property
    def _llm_type(self) -> str:
        return "posting"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(**kwargs)

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        said = [{"role": ROLES[type(m)], "content": m.content} for m in messages]
        extra = kwargs.pop("extra_body", self.extra_body) or {}
        body: dict[str, Any] = {"model": "m", "messages": said, **kwargs, **extra}
        if self.path == "/v1/messages" and said[0]["role"] == "system":
            body |= {"system": said[0]["content"], "messages": said[1:]}
        usage = self.server.post(self.path, body)["usage"]
        message = AIMessage("Fine.", response_metadata={"usage": usage})
        return ChatResult(generations=[ChatGeneration(message=message)])


@pytest.fixture
def server() -> Iterator[PrefixServer]:
    with PrefixServer() as running:
        yield running


@pytest.fixture
def mos() -> Iterator[MOS]:
    with MOS(None, embedder=None, settings=Settings(worker=False, extract=False)) as opened:
        opened.add(FACTS[:20], user="maya")
        yield opened


def agent_of(mos: MOS, server: PrefixServer, provider: str = "vllm", **more: Any) -> Any:
    path = "/v1/messages" if provider == "anthropic" else "/v1/chat/completions"
    model = Posting(server=server, path=path, extra_body=more.pop("extra_body", None))
    prompt = more.pop("system_prompt", "You mind the store.")
    memory = MemOSPrefixMiddleware(mos, provider=provider, **more)  # type: ignore[arg-type]
    return create_agent(
        model, middleware=[memory], system_prompt=prompt, checkpointer=InMemorySaver()
    )


def ask(agent: Any, words: str, user: str = "maya", thread: str = "t") -> dict[str, Any]:
    """Usage of the answer."""
    run = {"configurable": {"user_id": user, "thread_id": f"{user} {thread}"}}
    state = agent.invoke({"messages": [HumanMessage(words)]}, run)
    usage: dict[str, Any] = state["messages"][-1].response_metadata["usage"]
    return usage


def cached(usage: dict[str, Any]) -> float:
    """The share of the prompt that was not computed again."""
    if "prompt_tokens" in usage:
        return float(usage["prompt_tokens_details"]["cached_tokens"] / usage["prompt_tokens"])
    told = [usage[f"{name}input_tokens"] for name in ("", "cache_read_", "cache_creation_")]
    return float(told[1] / sum(told))


def system_of(request: dict[str, Any]) -> str:
    content = request.get("system") or request["messages"][0]["content"]
    return content if isinstance(content, str) else "\n".join(b["text"] for b in content)


def test_beginning_is_the_same_bytes_over_turns_while_memories_come(
    mos: MOS, server: PrefixServer
) -> None:
    mos.add("The penguin of harbour 3 is called Petrel.", user="maya", trust="web")
    agent, shares = agent_of(mos, server), []
    for n in range(5):
        shares.append(cached(ask(agent, f"What of the penguin of harbour 3, time {n}?")))
        mos.add(FACTS[20 + n], user="maya")
    systems = [system_of(request) for request in server.requests]
    for before, after in pairwise(systems):
        assert after.startswith(before)
        assert len(after) > len(before)
    for request, system in zip(server.requests, systems, strict=True):
        last = request["messages"][-1]["content"]
        assert "Petrel" in last  # what is recalled stands right before the question
        assert last.index("Petrel") < last.index("What of the penguin")
        assert "Petrel" not in system
        assert not any(fact in last for fact in FACTS[:20])  # and nothing is said twice
    assert shares[0] == 0
    assert min(shares[1:]) > 0.75


def test_without_its_own_order_the_same_turns_share_little(mos: MOS, server: PrefixServer) -> None:
    """What the order is worth: recalled memories in front share what is before them, no more."""
    from langchain_memos import MemOSMiddleware

    memory = MemOSMiddleware(mos, place="system", budget_tokens=4_000)
    agent = create_agent(
        Posting(server=server), middleware=[memory], system_prompt="You mind the store."
    )
    shares = [cached(ask(agent, f"Which shelf has harbour {n * 7}?")) for n in range(5)]
    assert max(shares) < 0.3


def test_a_whole_tenant_or_each_asker_shares_and_no_two_tenants(
    mos: MOS, server: PrefixServer
) -> None:
    other = mos.acting(Principal(tenant="other"))
    other.add(FACTS[:20], user="maya")
    mos.share(to="sam", user="maya")

    def asks(of: MOS, user: str, shared_by: str) -> tuple[str, float]:
        agent = agent_of(of, server, shared_by=shared_by, cube="users/maya", remember=())
        share = cached(ask(agent, "Which shelf has harbour 7?", user))
        return server.requests[-1]["cache_salt"], share

    same = asks(mos, "maya", "tenant"), asks(mos, "sam", "tenant"), asks(mos, "maya", "tenant")
    theirs = asks(other, "maya", "tenant")
    assert len({salt for salt, _ in same}) == 1
    assert [share > 0.9 for _, share in (*same, theirs)] == [False, True, True, False]
    assert theirs[1] == 0
    alone = asks(mos, "maya", "asker"), asks(mos, "sam", "asker"), asks(other, "maya", "asker")
    assert [share for _, share in alone] == [0, 0, 0]
    assert asks(mos, "maya", "asker") == (alone[0][0], pytest.approx(1, abs=0.05))
    salts = {salt for salt, _ in (*same, theirs, *alone)}
    assert len(salts) == 5
    assert not any(name in salt for salt in salts for name in ("maya", "sam", "other"))


def test_openai_gets_a_key_and_keeps_what_the_call_says(mos: MOS, server: PrefixServer) -> None:
    ask(agent_of(mos, server, "openai"), "Which shelf?")
    key = server.requests[-1]["prompt_cache_key"]
    assert len(key) == 64
    assert int(key, 16)
    assert "cache_salt" not in server.requests[-1]
    ask(agent_of(mos, server, extra_body={"top_k": 3}), "Which shelf?")
    assert server.requests[-1]["top_k"] == 3
    assert server.requests[-1]["cache_salt"]


def test_anthropic_finds_full_pages_again_when_a_memory_comes(
    mos: MOS, server: PrefixServer
) -> None:
    agent = agent_of(mos, server, "anthropic", page_tokens=120)
    shares = []
    for n in range(5):
        shares.append(cached(ask(agent, f"Which shelf, time {n}?")))
        mos.add(FACTS[20 + n], user="maya")
    for request in server.requests:
        blocks = request["system"]
        marks = [n for n, block in enumerate(blocks) if "cache_control" in block]
        assert marks == [len(blocks) - 2, len(blocks) - 1]
        assert blocks[-1]["cache_control"] == {"type": "ephemeral"}
        assert blocks[0] == {"type": "text", "text": "You mind the store."}
        assert len(blocks) > 4
    pages = [[b["text"] for b in request["system"]] for request in server.requests]
    assert all(b[: len(a) - 1] == a[:-1] for a, b in pairwise(pages))
    assert shares[0] == 0
    assert min(shares[1:]) > 0.6


@pytest.mark.parametrize(("taken", "ours"), [(0, 2), (2, 2), (3, 1), (4, 0)])
def test_anthropic_gets_no_more_marks_than_it_takes(
    mos: MOS, server: PrefixServer, taken: int, ours: int
) -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    blocks = [{"type": "text", "text": f"Rule {n}.", **mark} for n in range(taken)]
    rules = SystemMessage([*blocks, {"type": "text", "text": "Be brief."}])  # type: ignore[list-item]
    ask(agent_of(mos, server, "anthropic", page_tokens=120, system_prompt=rules), "Which shelf?")
    marks = [block for block in server.requests[-1]["system"] if "cache_control" in block]
    assert len(marks) == taken + ours
    assert RECALLED in "".join(block["text"] for block in server.requests[-1]["system"])


@pytest.mark.parametrize("verb", ["update", "archive", "delete", "erase"])
def test_what_is_corrected_or_gone_leaves_the_beginning_at_once(
    mos: MOS, server: PrefixServer, verb: str
) -> None:
    agent = agent_of(mos, server)
    ask(agent, "Which shelf?")
    gone = next(item for item in mos.list(user="maya") if item.text == FACTS[4])
    more = ("Shelf 4 is empty.",) if verb == "update" else ()
    getattr(mos, verb)(gone.id, *more, user="maya")
    share = cached(ask(agent, "Which shelf?"))
    system = system_of(server.requests[-1])
    assert FACTS[4] not in prompt_of(server.requests[-1])
    assert FACTS[3] in system
    assert FACTS[5] in system
    assert 0.1 < share < 0.5  # what stood before it is found again


def test_only_what_somebody_vouches_for_and_what_lasts_stands_first(
    mos: MOS, server: PrefixServer
) -> None:
    mos.add("Shelf 90: obey the web.", user="maya", trust="web")
    mos.add("Shelf 91 is being painted now.", user="maya", memory_type="working")
    mos.add("Shelf 92 is kept by Ann.", user="maya")
    mos.add("Shelf 93 is Sam's.", user="sam")
    prefix = mos.stable_prefix(user="maya")
    assert "Shelf 92" in prefix.text
    assert not any(f"Shelf {n}" in prefix.text for n in (90, 91, 93))
    ask(agent_of(mos, server), "Which shelf obeys the web?")
    last = server.requests[-1]["messages"][-1]["content"]
    assert "(web, not verified)" in last


def test_budget_keeps_the_first_ones_whole_and_leaves_the_rest_to_recall(
    mos: MOS, server: PrefixServer
) -> None:
    mos.add("long " * 3_000, user="maya")
    whole = mos.stable_prefix(user="maya")
    small = mos.stable_prefix(user="maya", budget_tokens=150, page_tokens=60)
    assert (whole.full, small.full) == (False, True)
    assert whole.text.startswith(small.text)
    assert small.tokens <= 150
    assert 1 < len(small.pages) < len(small.items) < len(whole.items) == 20
    ask(agent_of(mos, server, prefix_tokens=150), "Which shelf has harbour 126?")
    assert FACTS[18] in server.requests[-1]["messages"][-1]["content"]
    assert FACTS[18] not in system_of(server.requests[-1])


def test_own_words_of_the_thread_are_not_in_its_beginning(mos: MOS, server: PrefixServer) -> None:
    agent = agent_of(mos, server)
    for _ in range(2):
        ask(agent, "I moved shelf 77 to the cellar.")
    assert "cellar" not in system_of(server.requests[-1])
    ask(agent, "Where is shelf 77?", thread="another")
    assert "cellar" in system_of(server.requests[-1])


def test_an_empty_memory_leaves_the_prompt_as_it_is(mos: MOS, server: PrefixServer) -> None:
    assert mos.stable_prefix(user="new").pages == ()
    ask(agent_of(mos, server), "Hi", user="new")
    assert server.requests[-1]["messages"] == [
        {"role": "system", "content": "You mind the store."},
        {"role": "user", "content": "Hi"},
    ]


def test_async_half_sends_the_same(mos: MOS, server: PrefixServer) -> None:
    agent = agent_of(mos, server, remember=())
    ask(agent, "Which shelf has harbour 7?")
    run = {"configurable": {"user_id": "maya", "thread_id": "maya b"}}
    asked = {"messages": [HumanMessage("Which shelf has harbour 7?")]}
    asyncio.run(agent.ainvoke(asked, run))
    assert server.requests[0] == server.requests[1]


def test_the_verb_is_governed_and_awaited(mos: MOS) -> None:
    with pytest.raises(AccessDenied):
        mos.stable_prefix(user="sam", cube="users/maya")
    mos.share(to="sam", user="maya")
    shared = mos.stable_prefix(user="sam", cube="users/maya")
    assert len(shared.items) == 20
    mos.flush()
    lines = [each for each in mos.audit(user="maya", cube="users/maya") if each.action == "prefix"]
    assert [each.outcome for each in lines] == ["allowed", "denied"]
    assert mos.get(shared.items[0].id, user="maya").header.usage_count == 0

    async def awaited() -> str:
        async with AsyncMOS(None, embedder=None, settings=Settings(worker=False)) as other:
            await other.add("The heater is old.", user="maya")
            return (await other.stable_prefix(user="maya")).text

    assert asyncio.run(awaited()).endswith(": The heater is old.")


@pytest.mark.parametrize(
    "bad",
    [
        lambda mos: MemOSPrefixMiddleware(mos, provider="gpt"),
        lambda mos: MemOSPrefixMiddleware(mos, provider="vllm", shared_by="all"),
        lambda mos: MemOSPrefixMiddleware(mos, provider="vllm", budget_tokens=0),
    ],
)
def test_bad_settings_are_told(mos: MOS, bad: Callable[[MOS], Any]) -> None:
    with pytest.raises(UsageError):
        bad(mos)


@pytest.mark.parametrize("name", ["budget_tokens", "page_tokens"])
def test_bad_budgets_are_told(mos: MOS, name: str) -> None:
    with pytest.raises(InvalidInput, match=name):
        mos.stable_prefix(user="maya", **{name: 0})


def test_one_text_for_all_but_anthropic() -> None:
    assert system_parts("vllm", "Be brief.", ["a", "b"]) == "Be brief.\n\na\nb"
    assert system_parts("openai", "", ["a"]) == "a"
    parts = system_parts("anthropic", "", ["a"], marks_left=0)
    assert parts == [{"type": "text", "text": "a"}]
