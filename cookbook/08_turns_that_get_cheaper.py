"""A LangGraph agent that reads its memory once: KV-caches of a local model, kept from turn to turn.

    python cookbook/08_turns_that_get_cheaper.py

Needs `pip install 'memos-integrations[activation,langgraph]'`. No network, no key: the model here
is a tiny one with random weights. What it says means nothing; what it must compute is what counts.
"""

from typing import Any

import torch
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, MessagesState, StateGraph
from transformers import AutoModelForCausalLM, ByT5Tokenizer, LlamaConfig

from langchain_memos import MemOSChatModel
from langgraph_memos import MemOSSaver
from memos_integrations import MOS

torch.manual_seed(0)
torch.set_num_threads(1)
shape = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
config = LlamaConfig(vocab_size=384, pad_token_id=0, eos_token_id=1, **shape)
model = AutoModelForCausalLM.from_config(config).eval()  # a model of yours, with its tokenizer
tokenizer = ByT5Tokenizer()  # a token is a byte
tokenizer.chat_template = (
    "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}[assistant]"
)
letters_only = {"suppress_tokens": [n for n in range(384) if not 100 <= n <= 125]}


def agent_of(mos: MOS, **how: Any) -> Any:
    """A graph of one node; yours has more, and calls the model in the same way."""
    llm = MemOSChatModel(
        mos=mos, model=model, tokenizer=tokenizer, max_new_tokens=24, options=letters_only, **how
    )

    def answer(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
        return {"messages": [llm.invoke(state["messages"], config)]}

    builder = StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer")
    return builder.compile(checkpointer=MemOSSaver(mos))


def ask(agent: Any, words: str, user: str, thread: str) -> str:
    """How long the prompt was, and how much of it had to be computed."""
    run = {"configurable": {"user_id": user, "thread_id": thread}}
    usage = agent.invoke({"messages": [HumanMessage(words)]}, run)["messages"][-1].usage_metadata
    tokens, known = usage["input_tokens"], usage["input_token_details"]["cache_read"]
    return f"{tokens:,} tokens, {tokens - known:,} of them new"


with MOS() as mos:  # MOS("agent.db") keeps the caches of memory beside it
    mos.add([f"The parcel of day {n} lies on shelf {n % 7}." for n in range(12)], user="maya")

    # Memory as a KV-cache: computed in the first turn, found later. The turns are read again.
    agent = agent_of(mos)
    for n in range(3):
        print(f"Memory kept, turn {n + 1}:", ask(agent, f"And parcel {n}?", "maya", "monday"))

    # With its turns kept too, each costs what is new in it, however long the conversation grows.
    agent = agent_of(mos, keep_turns=True)
    for n in range(3):
        print(f"Turns kept, turn {n + 1}: ", ask(agent, f"And parcel {n}?", "maya", "tuesday"))

    # A new memory comes behind the others, and what was computed for those serves again.
    mos.add("The parcel of day 12 lies on shelf 5.", user="maya")
    print("A memory more:      ", ask(agent, "And parcel 12?", "maya", "tuesday"))

    # Whoever may not read the memory finds nothing of it, and a corrected one is never served.
    print("Another person:     ", ask(agent, "And parcel 1?", "sam", "tuesday"))
    first = mos.list(user="maya")[-1]
    mos.update(first.id, "The parcel of day 0 was sent back.", user="maya")
    print("Corrected:          ", ask(agent, "And parcel 0?", "maya", "tuesday"))

    # An erase takes the caches that were made of it along, in memory and on disk.
    print("Erased, bytes found:", mos.erase(first.id, user="maya").scan.found)
