"""A LangGraph agent whose memory goes back in time with the conversation.

    python cookbook/03_langgraph_agent_with_time_travel.py

Needs `pip install 'memos-integrations[langgraph]'`. No network, no key: without a model the agent
quotes what it remembers.
"""

from typing import Any

from langgraph_memos import MemOSSaver, memory_graph
from memos_integrations import MOS


def said(words: str) -> Any:
    return {"messages": [("user", words)]}


def answer(state: Any) -> str:
    return str(state["answer"]["text"])


run: Any = {"configurable": {"user_id": "maya", "thread_id": "trip"}}
ask = said("Where does my flight leave from?")

with MOS() as mos:  # MOS("agent.db") keeps it, conversation and all
    saver = MemOSSaver(mos)  # checkpoints lie in the vault, with Maya's memories
    graph = memory_graph(mos).compile(checkpointer=saver)

    graph.invoke(said("My flight leaves from Oslo."), run)
    print("On Monday:       ", answer(graph.invoke(ask, run)))
    monday = graph.get_state(run).config
    graph.invoke(said("I want a window seat."), run)  # the conversation goes on

    # Plans change: the memory is corrected, and what it was stays in its history.
    memory = mos.search("flight Oslo", user="maya")[0]
    mos.update(memory.id, "My flight leaves from Bergen.", user="maya")
    print("On Tuesday:      ", answer(graph.invoke(ask, run)))
    texts = [each.item.text for each in mos.history(memory.id, user="maya")]
    print("History:         ", list(dict.fromkeys(texts)))

    # From Monday's checkpoint the agent knows what it knew when it went on from there.
    back: Any = {"configurable": {**monday["configurable"], "user_id": "maya"}}
    print("Back on Monday:  ", answer(graph.invoke(ask, back)))

    # What is said on that fork goes to a branch of the cube. Maya's own memory never hears of it.
    graph.invoke(said("The hotel is the Bristol."), run)
    hotel = {"text": {"like": "%Bristol%"}}
    branch = [cube.path for cube in mos.cubes(user="maya") if "branches" in cube.path]
    print("In her memory:   ", mos.count(user="maya", filter=hotel))
    print("On the branch:   ", mos.count(user="maya", filter=hotel, cube=branch))

    # Erasing the conversation takes its checkpoints along, down to the bytes of the file.
    found = mos.erase(source="session:trip", user="maya").scan.found
    print("Erased:          ", (found, saver.get_tuple(run)))
