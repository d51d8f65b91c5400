"""Two agents with memories of their own and one that they share, under grants.

    python cookbook/04_team_with_shared_memory.py

Needs `pip install 'memos-integrations[langgraph]'`. No network, no key: the models are scripted.
"""

from typing import Any

from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langgraph.checkpoint.memory import InMemorySaver

from langgraph_memos import Member, memory_team
from memos_integrations import MOS, errors

# Put models of yours here; each member may have another one.
planner = Member(FakeListChatModel(responses=["Plan: the venue is booked for 12 May."]))
critic = Member(FakeListChatModel(responses=["Note: the budget is not settled."]), may="read")

with MOS() as mos:  # MOS("team.db") keeps it
    team = memory_team(mos, {"planner": planner, "critic": critic}, cube="teams/event", owner="lea")
    graph = team.compile(checkpointer=InMemorySaver())
    run: Any = {"configurable": {"user_id": "lea", "thread_id": "kickoff"}}
    state = graph.invoke({"messages": [("user", "Plan the spring fair.")]}, run)
    print([f"{message.name}: {message.text}" for message in state["messages"][1:]])

    def texts(**where: Any) -> list[str]:
        return sorted(item.text for item in mos.list(**where))

    # What Lea said and what the planner wrote is shared; who may only read keeps notes to itself.
    print("Shared:  ", texts(user="lea", cube="teams/event"))
    print("Critic's:", texts(agent="critic"))

    # Each right is a grant, and ends when it is revoked.
    mos.revoke(to="agent:critic", user="lea", cube="teams/event")
    try:
        mos.search("spring fair", agent="critic", cube="teams/event")
    except errors.AccessDenied as refusal:
        print("Refused: ", refusal)

    # Who did what, and who was refused, is in a log that cannot be rewritten unseen.
    lines = mos.audit(user="lea", cube="teams/event")
    print("Refusals in the log:", [line.actor for line in lines if line.outcome == "denied"])
    print("The log is intact:", mos.audit_verify().intact)
