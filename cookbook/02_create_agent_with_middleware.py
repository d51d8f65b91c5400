"""An agent that remembers across conversations: `create_agent` with `MemOSMiddleware`.

    python cookbook/02_create_agent_with_middleware.py

Needs `pip install 'memos-integrations[langchain]'`. No network, no key: the model here only reads
its prompt, so that what it knows is what memory gave it.
"""

from collections.abc import Sequence
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import SimpleChatModel
from langchain_core.messages import BaseMessage
from langgraph.checkpoint.memory import InMemorySaver

from langchain_memos import MemOSMiddleware, memory_tools
from memos_integrations import MOS


class Reader(SimpleChatModel):
    """Stands in for a model of yours: says whether the prompt holds the word `peanuts`."""

    _llm_type = "reader"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> "Reader":
        return self

    def _call(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> str:
        known = "peanuts" in " ".join(str(message.text) for message in messages)
        return "Mind the nuts: you are allergic." if known else "I know of no allergy."


def said(words: str) -> Any:
    return {"messages": [{"role": "user", "content": words}]}


def run(user: str, thread: str) -> Any:
    return {"configurable": {"user_id": user, "thread_id": thread}}


with MOS() as mos:  # MOS("agent.db") keeps it
    memory = MemOSMiddleware(mos, budget_tokens=300, tools=memory_tools(mos))
    agent = create_agent(Reader(), middleware=[memory], checkpointer=InMemorySaver())

    # What is said in one conversation ...
    agent.invoke(said("I'm allergic to peanuts."), run("maya", "monday"))

    # ... is known in the next one, to the same person and to nobody else.
    asked = said("Am I allergic to anything?")
    state = agent.invoke(asked, run("maya", "tuesday"))
    print("To Maya:", state["messages"][-1].text)
    print("To Sam: ", agent.invoke(asked, run("sam", "tuesday"))["messages"][-1].text)

    # Recall goes into the request alone: the stored conversation does not hold it.
    print("Stored on Tuesday:", [message.text for message in state["messages"]])

    # The custom stream tells what was given to the model and what was written, by ids.
    for event in agent.stream(asked, run("maya", "wednesday"), stream_mode="custom"):
        texts = [mos.get(item, user="maya").text for item in event["ids"]]
        print(f"Trace: {event['memory']}, such as {texts[0]!r}")

    # Memory is yours: look at it, correct it, erase it down to the bytes.
    first = mos.search("allergic to peanuts", user="maya")[0]
    print("Erased, bytes still found:", mos.erase(first.id, user="maya").scan.found)
    print("After it:", agent.invoke(asked, run("maya", "thursday"))["messages"][-1].text)
