"""``memory_team``: several agents, each with a memory of its own and one that they share.

Who may read and write the shared cube is a matter of grants, not of this graph: a grant that is
revoked ends at the next step. Called by applications, calls the nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from langgraph_memos.asking import Asker
from langgraph_memos.graphs import MemoryGraph
from langgraph_memos.lines import Place, place_of
from langgraph_memos.model import ModelNode
from langgraph_memos.recall import RecallNode, question_of
from langgraph_memos.remember import RememberNode, Writing
from langgraph_memos.state import MemoryState, Recalled, Written
from langgraph_memos.trace import Trace
from memos_integrations.cube.errors import AccessDenied, UsageError
from memos_integrations.cube.header import Origin
from memos_integrations.cube.ids import home_path
from memos_integrations.interface.mos import MOS

Route: TypeAlias = Callable[[MemoryState], str]
"""Who speaks next: the name of a member, or ``"__end__"``."""
_NOTE: Final = "note"


@dataclass(frozen=True, slots=True)
class Member:
    """One agent of a team."""

    model: BaseChatModel | str
    prompt: str = ""
    may: Literal["read", "write"] = "write"
    """Its right on the shared cube. Who may only read keeps what it says to itself."""


def memory_team(
    mos: MOS,
    members: Mapping[str, Member],
    *,
    cube: str,
    owner: str,
    route: Route | None = None,
    limit: int = 8,
) -> MemoryGraph:
    """A graph in which members answer in turn: what a person says is noted in the shared cube,
    each member recalls from it and from its own, and keeps its answer in both.

    Founds what is missing: the shared ``cube``, owned by ``owner``, a home for each member, and
    its grant. A member acts as ``agent:NAME`` for nobody, so it sees no user's home. ``route``
    says who speaks next; by default each once, in order. Raises ``UsageError`` without members.
    """
    if not members or _NOTE in members:
        raise UsageError(f"a team has members by name, none called {_NOTE!r}")
    _found(mos, members, cube, owner)
    graph = StateGraph(MemoryState)
    graph.add_node(_NOTE, RememberNode(mos, cube=cube, roles=("human",)))
    graph.add_edge(START, _NOTE)
    chosen = route or _each_once(list(members))
    ways: list[str] = [*members, END]
    graph.add_conditional_edges(_NOTE, chosen, ways)
    for name, member in members.items():
        graph.add_node(name, MemberNode(mos, name, member, cube=cube, limit=limit))
        graph.add_conditional_edges(name, chosen, ways)
    return graph


class MemberNode:
    """One member's turn: recall from its own cube and the shared one, answer, remember."""

    def __init__(self, mos: MOS, name: str, member: Member, *, cube: str, limit: int = 8) -> None:
        self._mos, self._name, self._shared = mos, name, cube
        self._writes = member.may == "write"
        self._own = str(home_path(user=None, agent=name))
        self._limit = limit
        self._model = ModelNode(member.model, prompt=member.prompt, limit=limit, name=name)

    def __call__(
        self, state: MemoryState, config: RunnableConfig, runtime: Runtime[Any] | None = None
    ) -> dict[str, Any]:
        asker = Asker(None, self._name, config.get("configurable", {}).get("thread_id"))
        place = place_of(self._mos, asker, state.get("memory_version"), config, runtime)
        trace = Trace(config, runtime)
        found, seq = self._recall(place, question_of(state["messages"]), trace)
        done = self._model({**state, "recalled": found, "prefetched": []}, config, runtime)
        (reply,) = done["messages"]
        written, place = self._remember(reply, done["injected"]["ids"], place, config, runtime)
        trace.written(written, by=self._name, line=place.mark["line"])
        mark = place.left(found=seq, seq=max(seq, self._version(place)))
        return {**done, "recalled": found, "written": written, "memory_version": mark}

    def _recall(self, place: Place, question: str, trace: Trace) -> tuple[list[Recalled], int]:
        cubes = [self._own, self._shared]
        try:
            seq = place.version(cubes)
            found = RecallNode(self._mos, cube=cubes, limit=self._limit).find(place, question)
        except AccessDenied as refusal:
            trace.tell("refused", cube=refusal.cube, by=self._name)
            seq = place.version(self._own)
            found = RecallNode(self._mos, cube=self._own, limit=self._limit).find(place, question)
        trace.recalled(found, seq=seq, line=place.mark["line"], by=self._name)
        return found, seq

    def _remember(
        self,
        reply: AIMessage,
        rests_on: Sequence[str],
        place: Place,
        config: RunnableConfig,
        runtime: Runtime[Any] | None,
    ) -> tuple[list[Written], Place]:
        """Keep the answer, derived from what it rests on where that is in the same cube's sight."""
        written: list[Written] = []
        for cube in [self._own, *([self._shared] if self._writes else [])]:
            try:
                place, there = place.writing(cube)
                write = Writing(self._mos, place.asker, there, config, runtime)
                done = write(
                    [(0, reply)],
                    f"{self._name}:{cube}",
                    origin=Origin.INFERENCE,
                    derived_from=rests_on,
                )
                written += done.values()
            except AccessDenied as refusal:
                reason = str(refusal)
                written.append(Written(status="rejected", id=None, reason=reason, masked={}))
        return written, place

    def _version(self, place: Place) -> int:
        return max(place.version_written(cube) for cube in (self._own, self._shared))


def _found(mos: MOS, members: Mapping[str, Member], cube: str, owner: str) -> None:
    if not any(each.path == cube for each in mos.cubes(user=owner)):
        mos.create_cube(cube, user=owner)
    for name, member in members.items():
        home = home_path(user=None, agent=name)
        if not any(each.path == home for each in mos.cubes(agent=name)):
            mos.create_cube(home, agent=name)
        mos.share(to=f"agent:{name}", permission=member.may, user=owner, cube=cube)


def _each_once(names: Sequence[str]) -> Route:
    def next_to_speak(state: MemoryState) -> str:
        spoken: set[str | None] = set()
        for message in reversed(state["messages"]):
            if isinstance(message, HumanMessage):
                break
            spoken.add(message.name)
        return next((name for name in names if name not in spoken), END)

    return next_to_speak
