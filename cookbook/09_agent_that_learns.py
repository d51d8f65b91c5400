"""A LangGraph agent that learns its stable memories: first as text, then, once agreed, in weights.

    python cookbook/09_agent_that_learns.py

Needs `pip install 'memos-integrations[parametric,langchain,langgraph]'`. No network, no key: the
model is a tiny one that grew up in an invented world (`data/tinyfacts`), and the people below are
new to it. It trains for some seconds.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command
from tiny_world import question, the_world
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from langchain_memos import MemOSChatModel
from langgraph_memos import DistilNode, MemoryState
from memos_integrations import MOS, Settings
from memos_integrations.cube.item import MemoryItem
from memos_integrations.infrastructure.parametric.recipe import Gates

logging.disable_progress_bar()
torch.set_num_threads(1)
FOLDER = Path(__file__).parent / "data" / "tinyfacts"
model = AutoModelForCausalLM.from_pretrained(FOLDER / "model", local_files_only=True).eval()
tokenizer = AutoTokenizer.from_pretrained(FOLDER / "tok", local_files_only=True)
maya: RunnableConfig = {"configurable": {"user_id": "maya", "thread_id": "1"}}

FACTS = [
    "Vushatro owns trotronesha .",
    "Tinesha works as lokibamu .",
    "Trotroti works as rabatroti .",
    "Kitiki works as zaphemuvu .",
    "Titiba works as lokibamu .",
    "Shasogri works as debalosha .",
]


def forms(item: MemoryItem) -> Sequence[str]:
    """Ways to ask for what a memory says; the last one is held out of the training."""
    name, verb, *_ = item.text.split()
    what, first, second = {
        "owns": ("pet", f"what does {name} own", f"which pet has {name}"),
        "works": ("job", f"what does {name} do", f"which job has {name}"),
    }[verb]
    return (first, f"the {what} of {name} is", f"{name} has {what}", second)


with MOS(embedder=None, settings=Settings(extract=False, worker=False)) as mos:
    mos.add(FACTS, user="maya")
    mos.work()
    mos.host_model(
        "tiny",
        model,
        tokenizer,
        invocation="question :",  # an adapter is active from here on
        forms=forms,
        line=lambda item: item.text,
        # What it knows already and is to keep: 600 questions, without answers.
        replay=[question(fact, n % 2) for n, fact in enumerate(the_world().known)],
    )
    llm = MemOSChatModel(
        mos=mos, model=model, tokenizer=tokenizer, parametric="tiny", options={"do_sample": False}
    )

    def answer(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
        return {"messages": [llm.invoke(state["messages"][-1:], config)]}

    agent: Any = StateGraph(MessagesState).add_node(answer).add_edge(START, "answer").compile()

    def ask(question: str) -> str:
        """The answer, in which form memory stood behind it, and how long the prompt was."""
        said = agent.invoke({"messages": [question]}, maya)["messages"][-1]
        form, tokens = said.response_metadata["memory_form"], said.usage_metadata["input_tokens"]
        return f"{said.text.strip(' .')} (from {form}, {tokens} tokens)"

    print("By day:  ", ask("what does Vushatro own"))

    # At night a graph proposes what to learn. Nothing happens before somebody has said yes.
    learn = DistilNode(
        mos,
        model="tiny",
        # Looser than the default ones, but for old knowledge: of six facts one is a sixth.
        gates=Gates(0.2, held_out_recall=0.8, drift_kl=0.1),
    )
    night: Any = StateGraph(MemoryState).add_node("learn", learn, defer=True)
    night = night.add_edge(START, "learn").compile(checkpointer=InMemorySaver())
    (waiting,) = night.invoke({"messages": []}, maya)["__interrupt__"]
    print("Waits:   ", [len(shard["items"]) for shard in waiting.value["shards"]], "memories")
    print("Approved:", night.invoke(Command(resume=True), maya)["distillation"]["state"])
    mos.work()  # in a program that runs on, a thread trains in the background
    (adapter,) = mos.adapters(user="maya")
    print("Learnt:  ", adapter.state, adapter.facts, "facts")

    print("Next day:", ask("what does Vushatro own"))
    print("Else:    ", ask("what does Rakine do"))

    # Text stays the truth: what is corrected is answered from text from that instant.
    first = next(item for item in mos.list(user="maya") if "Vushatro" in item.text)
    mos.update(first.id, "Vushatro owns muvushamu .", user="maya")
    print("Mended:  ", ask("what does Vushatro own"))
    print("Serves:  ", any(made.usable for made in mos.adapters(user="maya")))
