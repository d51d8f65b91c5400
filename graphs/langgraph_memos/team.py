"""``memory_team``: several agents, each with a memory of its own and one that they share.

Who may read and write the shared cube is a matter of grants, not of this graph: a grant that is
revoked ends at the next step. Called by applications, calls the nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from langgraph_memos.asking import Asker
from langgraph_memos.basis import rests_on
from langgraph_memos.graphs import MemoryGraph
from langgraph_memos.lines import Place, place_of
from langgraph_memos.model import ModelNode
from langgraph_memos.recall import RecallNode, question_of
from langgraph_memos.remember import RememberNode, Writing, refused
from langgraph_memos.state import MemoryState, Written
from langgraph_memos.trace import Trace
from memos_integrations.cube.errors import AccessDenied, UsageError
from memos_integrations.cube.header import Origin
from memos_integrations.cube.ids import home_path
from memos_integrations.interface.mos import MOS

Route: TypeAlias = Callable[[MemoryState], str]
"""Who speaks next: the name of a member, or ``"__end__"``."""
_NOTE: Final = "note"
_KEEP: Final = "keep"
_JOINED: Final = "langgraph.team/joined"
"""The records of who was granted its right on a shared cube."""


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

    Founds what is missing: the shared ``cube``, owned by ``owner``, and a home for each member. A
    member is granted its right once, when it joins: a team that is built again gives back nothing
    that ``revoke`` took since; ``mos.share`` does. A member acts as ``agent:NAME`` for nobody, so
    it sees no user's home. ``route`` says who speaks next; by default each once, in order. Raises
    ``UsageError`` without members.
    """
    if not members or {_NOTE, _KEEP} & members.keys():
        raise UsageError(f"a team has members by name, none called {_NOTE!r} or {_KEEP!r}")
    _found(mos, members, cube, owner)
    graph = StateGraph(MemoryState)
    graph.add_node(_NOTE, RememberNode(mos, cube=cube, roles=("human",)))
    graph.add_node(_KEEP, KeepNode(mos, members, cube=cube))
    graph.add_edge(START, _NOTE)
    chosen = route or _each_once(list(members))
    ways: list[str] = [*members, END]
    graph.add_conditional_edges(_NOTE, chosen, ways)
    graph.add_conditional_edges(_KEEP, chosen, ways)
    for name, member in members.items():
        graph.add_node(name, MemberNode(mos, name, member, cube=cube, limit=limit))
        graph.add_edge(name, _KEEP)
    return graph


class MemberNode:
    """One member's turn: recalls from its own cube and the shared one, and answers."""

    def __init__(self, mos: MOS, name: str, member: Member, *, cube: str, limit: int = 8) -> None:
        self._mos, self._name, self._limit = mos, name, limit
        self._cubes = [str(home_path(user=None, agent=name)), cube]
        self._model = ModelNode(member.model, prompt=member.prompt, limit=limit, name=name)

    def __call__(
        self, state: MemoryState, config: RunnableConfig, runtime: Runtime[Any] | None = None
    ) -> dict[str, Any]:
        asker = _member(self._name, config)
        place = place_of(self._mos, asker, state.get("memory_version"), config, runtime)
        trace = Trace(config, runtime)
        cubes = self._readable(place, trace)
        seq = place.version(cubes)
        node = RecallNode(self._mos, cube=cubes, limit=self._limit)
        found = node.find(place, question_of(state["messages"]))
        trace.recalled(found, seq=seq, line=place.mark["line"], by=self._name)
        seen: MemoryState = {**state, "recalled": found, "prefetched": []}
        done = self._model(seen, config, runtime)
        return {**done, "recalled": found, "memory_version": place.left(found=seq, seq=seq)}

    def _readable(self, place: Place, trace: Trace) -> list[str]:
        """Its own cube, and the shared one as long as it was granted."""
        try:
            place.version(self._cubes)
        except AccessDenied as refusal:
            trace.tell("refused", cube=refusal.cube, by=self._name)
            return self._cubes[:1]
        return self._cubes


class KeepNode:
    """Keeps what a member has just said: in its own cube, and in the shared one if it may write.

    A node of its own, so that what is written comes from the checkpoint: a model that is asked
    again says something else.
    """

    def __init__(self, mos: MOS, members: Mapping[str, Member], *, cube: str) -> None:
        self._mos, self._members, self._shared = mos, members, cube

    def __call__(
        self, state: MemoryState, config: RunnableConfig, runtime: Runtime[Any] | None = None
    ) -> dict[str, Any]:
        reply = state["messages"][-1]
        name = str(reply.name)
        place = place_of(
            self._mos, _member(name, config), state.get("memory_version"), config, runtime
        )
        cubes = [str(home_path(user=None, agent=name))]
        if self._members[name].may == "write":
            cubes.append(self._shared)
        found = self._version(place, cubes)
        sources = rests_on(reply, state.get("answer")) or []
        written: list[Written] = []
        for cube in cubes:
            place, outcome = self._keep(reply, sources, cube, place, config, runtime)
            written.append(outcome)
        Trace(config, runtime).written(written, by=name, line=place.mark["line"])
        mark = place.left(found=found, seq=self._version(place, cubes))
        return {"written": written, "memory_version": mark}

    def _keep(
        self,
        reply: AnyMessage,
        sources: Sequence[str],
        cube: str,
        place: Place,
        config: RunnableConfig,
        runtime: Runtime[Any] | None,
    ) -> tuple[Place, Written]:
        """What became of it in this cube; a right that ended since is an outcome, no error."""
        try:
            place, there = place.writing(cube)
            write = Writing(self._mos, place.asker, there, config, runtime)
            about: dict[str, Any] = {"origin": Origin.INFERENCE, "derived_from": sources}
            return place, write([(0, reply)], cube, **about)[0]
        except AccessDenied as refusal:
            return place, refused(str(refusal))

    def _version(self, place: Place, cubes: Sequence[str]) -> int:
        return max(place.version_written(cube) for cube in cubes)


def _member(name: str, config: RunnableConfig) -> Asker:
    """A member acts as itself and for nobody."""
    return Asker(None, name, config.get("configurable", {}).get("thread_id"))


def _found(mos: MOS, members: Mapping[str, Member], cube: str, owner: str) -> None:
    if not any(each.path == cube for each in mos.cubes(user=owner)):
        mos.create_cube(cube, user=owner)
    for name in members:
        home = home_path(user=None, agent=name)
        if not any(each.path == home for each in mos.cubes(agent=name)):
            mos.create_cube(home, agent=name)
    _grant(mos, members, cube, owner)


def _grant(mos: MOS, members: Mapping[str, Member], cube: str, owner: str) -> None:
    """Let those in who are new. Who ever was let in is known by a record of the shared cube: the
    grants that stand do not tell a right that was taken from one never given."""
    joined = mos.records(_JOINED, user=owner, cube=cube)
    known = joined.get(list(members))
    for name in members.keys() - known.keys():
        may = members[name].may
        mos.share(to=f"agent:{name}", permission=may, user=owner, cube=cube)
        joined.put({name: may.encode()})


def _each_once(names: Sequence[str]) -> Route:
    def next_to_speak(state: MemoryState) -> str:
        spoken: set[str | None] = set()
        for message in reversed(state["messages"]):
            if isinstance(message, HumanMessage):
                break
            spoken.add(message.name)
        return next((name for name in names if name not in spoken), END)

    return next_to_speak
