"""The last check before a model reads: what the asker may see now, in the words as they stand now.

Between retrieval and the prompt may lie a cache, another service or a day. What was deleted,
revoked, quarantined or corrected since is dropped or corrected here, by asking the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Literal, TypeGuard

from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, QueryBundle
from pydantic import Field, PrivateAttr

from llama_index_memos.asker import Room, checked
from llama_index_memos.messages import Count
from llama_index_memos.nodes import PREFIX, key_of, node_of, readable
from llama_index_memos.retriever import CUBE_KEY, ID_KEY, memory_node
from memos_integrations.cube.errors import AccessDenied, InvalidInput
from memos_integrations.cube.ids import clean_name
from memos_integrations.cube.item import MemoryItem
from memos_integrations.interface.mos import MOS
from memos_integrations.interface.tokens import EstimatedTokens


class MemOSPostprocessor(BaseNodePostprocessor):
    """Drops what ``user`` or ``agent`` may not read now, and what the budget has no room for.

    It knows nodes of ``MemOSRetriever`` by themselves, and those of a ``MemOSVectorStore`` by the
    cubes named in ``cubes``. ``foreign`` says what becomes of other nodes: nothing is known of
    who may read them, so they are dropped unless told otherwise. Nodes keep their order; one that
    does not fit into the budget is passed over for a shorter one.
    """

    user: str | None = None
    agent: str | None = None
    cubes: tuple[str, ...] = ()
    foreign: Literal["drop", "keep"] = "drop"
    budget_tokens: int | None = Field(default=None, gt=0)
    _mos: MOS = PrivateAttr()
    _count: Count = PrivateAttr()

    def __init__(
        self,
        mos: MOS,
        *,
        user: str | None = None,
        agent: str | None = None,
        cubes: Sequence[str] = (),
        foreign: Literal["drop", "keep"] = "drop",
        budget_tokens: int | None = None,
        tokenizer_fn: Callable[[str], Sequence[Any]] | None = None,
    ) -> None:
        scope: dict[str, Any] = {"user": user, "agent": agent, "cubes": tuple(cubes)}
        rules: dict[str, Any] = {"foreign": foreign, "budget_tokens": budget_tokens}
        super().__init__(**scope, **rules)
        self._mos = checked(mos)
        self._count = EstimatedTokens().count
        if tokenizer_fn is not None:
            tokenize = tokenizer_fn
            self._count = lambda text: len(tokenize(text))

    @classmethod
    def class_name(cls) -> str:
        """The name LlamaIndex writes into what it serialises."""
        return "MemOSPostprocessor"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        now = self._memories(nodes) | self._kept_nodes(nodes)
        shown: list[NodeWithScore] = []
        for each in nodes:
            current = now.get(each.node.node_id)
            if current is not None:
                shown.append(NodeWithScore(node=current, score=each.score))
            elif self.foreign == "keep" and not self._ours(each.node):
                shown.append(each)
        return shown if self.budget_tokens is None else self._fitting(shown, self.budget_tokens)

    def _ours(self, node: BaseNode) -> bool:
        return ID_KEY in node.metadata

    def _memories(self, nodes: Sequence[NodeWithScore]) -> dict[str, BaseNode]:
        """Node id -> the memory it was made of, as it may be shown now."""
        by_cube: dict[str, list[str]] = {}
        for each in nodes:
            cube, item = each.node.metadata.get(CUBE_KEY), each.node.metadata.get(ID_KEY)
            if _is_name(cube) and _is_name(item):
                by_cube.setdefault(cube, []).append(item)
        found = [i for cube, ids in by_cube.items() for i in self._shown(cube, ids)]
        return {item.id: memory_node(item) for item in found}

    def _kept_nodes(self, nodes: Sequence[NodeWithScore]) -> dict[str, BaseNode]:
        """Node id -> the node a cube keeps under it, as it may be shown now."""
        keys = [key_of(PREFIX, each.node.node_id) for each in nodes if not self._ours(each.node)]
        if not keys:
            return {}
        kept = readable((n for cube in self.cubes for n in self._under(cube, keys)), node_of)
        return {node.node_id: node for node in kept.values()}

    def _shown(self, cube: str, ids: Sequence[str]) -> Iterable[MemoryItem]:
        with suppress(AccessDenied):
            return self._mos.showable(ids, **Room(self.user, self.agent, cube=cube).of())
        return ()

    def _under(self, cube: str, keys: Sequence[str]) -> Iterable[MemoryItem]:
        with suppress(AccessDenied):
            found = self._mos.embedded(keys, **Room(self.user, self.agent, cube=cube).of())
            return found.values()
        return ()

    def _fitting(self, nodes: Sequence[NodeWithScore], budget: int) -> list[NodeWithScore]:
        kept: list[NodeWithScore] = []
        for each in nodes:
            cost = self._count(each.node.get_content(metadata_mode=MetadataMode.LLM))
            if cost <= budget:
                budget -= cost
                kept.append(each)
        return kept


def _is_name(value: object) -> TypeGuard[str]:
    """Whether it can be an id or a cube; what another service made of a node may be anything."""
    try:
        clean_name(value, "name")
    except InvalidInput:
        return False
    return True
