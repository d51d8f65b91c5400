"""A LlamaIndex agent that remembers its user across sessions, and stops when it is told to.

    python cookbook/06_llama_index_agent_memory.py

Needs `pip install 'memos-integrations[llama-index]'`. No network, no key: the model here is
scripted, and answers from what it reads in its prompt.
"""

import asyncio
from collections.abc import Sequence

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ToolCallBlock
from llama_index.core.llms import ChatMessage, MockFunctionCallingLLM
from llama_index.core.memory import Memory

from llama_index_memos import (
    MemOSAsyncChatStore,
    MemOSMemory,
    MemOSMemoryBlock,
    MemOSToolSpec,
)
from memos_integrations import MOS


def model(messages: Sequence[ChatMessage], **_: object) -> ChatMessage:
    """Stands in for a language model: it reads the prompt, and calls a tool when asked to note."""
    prompt = "\n".join(message.content or "" for message in messages)
    said = [m.content or "" for m in messages if m.role == "user"][-1]
    if messages[-1].role == "tool":
        return ChatMessage(role="assistant", content="I have noted that.")
    if said.endswith("Please note that."):
        note = ToolCallBlock(
            tool_call_id="1", tool_name="remember", tool_kwargs={"text": "Maya is in Oslo in May."}
        )
        return ChatMessage(role="assistant", blocks=[note])
    if "allergic" in said and "allergic to nuts" in prompt:
        return ChatMessage(role="assistant", content="Mind the nuts.")
    if "Where" in said and "Oslo in May" in prompt:
        return ChatMessage(role="assistant", content="To Oslo.")
    return ChatMessage(role="assistant", content="I do not know.")


def agent(mos: MOS, user: str) -> FunctionAgent:
    """Put a model of yours in place of the scripted one."""
    llm = MockFunctionCallingLLM(response_generator=model, is_chat_model=True)
    tools = MemOSToolSpec(mos, user=user).to_tool_list()
    return FunctionAgent(tools=tools, llm=llm, streaming=False)


async def main() -> None:
    with MOS(embedder=None) as mos:  # MOS("agent.db") keeps it
        monday = MemOSMemory(mos, user="maya", session_id="monday")
        print("Monday: ", await agent(mos, "maya").run("I am allergic to nuts.", memory=monday))

        # Another session, another agent: what was said on Monday stands in the prompt.
        tuesday = MemOSMemory(mos, user="maya", session_id="tuesday")
        ask = "May I eat this cake, or am I allergic?"
        print("Tuesday:", await agent(mos, "maya").run(ask, memory=tuesday))
        print("History of Tuesday:", len(tuesday.get_all()), "messages")
        sams = MemOSMemory(mos, user="sam", session_id="tuesday")
        print("Sam:    ", await agent(mos, "sam").run(ask, memory=sams))

        # Memory as tools: the model keeps what it finds worth keeping.
        trip = "I am in Oslo in May. Please note that."
        print("Trip:   ", await agent(mos, "maya").run(trip, memory=tuesday))
        noted = mos.search("Oslo", user="maya", filter={"trust": "inference"})[0]
        print("Kept:   ", noted.text, f"({noted.item.header.trust})")

        # LlamaIndex's own Memory works too, with its queue and a block in one file.
        own = Memory.from_defaults(
            session_id="wednesday",
            chat_store=MemOSAsyncChatStore(mos, user="maya"),
            memory_blocks=[MemOSMemoryBlock(mos, user="maya")],
        )
        ask = "Where do I go in May?"
        print("Block:  ", await agent(mos, "maya").run(ask, memory=own))

        # To forget is to forget everywhere: memories, conversations, indexes.
        receipt = mos.erase(subject="maya", user="maya")
        print("Erased, bytes still found:", receipt.scan.found)
        after = MemOSMemory(mos, user="maya", session_id="thursday")
        print("After:  ", await agent(mos, "maya").run("Am I allergic?", memory=after))


asyncio.run(main())
