"""The contract of a graph of typed links as tests: subclass ``GraphIndexTests`` and give ``make``.

class TestMyGraph(GraphIndexTests):
    def make(self, tmp_path: Path) -> GraphIndex: ...
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest

from memos_integrations.cube.header import Relation
from memos_integrations.cube.ports import Edge, GraphIndex, Reached
from memos_integrations.infrastructure.backends.sqlite_graph import SupportsWithin

FOLLOWS, PART_OF, MENTIONS = Relation.FOLLOWS, Relation.PART_OF, Relation.MENTIONS


class GraphIndexTests:
    """Every promise of ``GraphIndex`` and (where offered) ``SupportsWithin``."""

    def make(self, tmp_path: Path) -> GraphIndex:
        """An empty graph that keeps its data under ``tmp_path``."""
        raise NotImplementedError

    @pytest.fixture
    def graph(self, tmp_path: Path) -> GraphIndex:
        return self.make(tmp_path)

    def test_edge_leads_from_source_to_target_only(self, graph: GraphIndex) -> None:
        graph.upsert(edges("1>2"))
        assert graph.walk([1]) == [Reached(2, 1)]
        assert graph.walk([2]) == []

    def test_walking_backwards_follows_edges_from_target_to_source(self, graph: GraphIndex) -> None:
        graph.upsert(edges("1>2 3>2 2>4"))
        assert graph.walk([2], backwards=True) == [Reached(1, 1), Reached(3, 1)]
        assert graph.walk([4], depth=2, backwards=True) == [
            Reached(2, 1),
            Reached(1, 2),
            Reached(3, 2),
        ]

    def test_edge_added_twice_is_one_edge(self, graph: GraphIndex) -> None:
        graph.upsert(edges("1>2 1>2"))
        graph.upsert(edges("1>2"))
        assert graph.walk([1]) == [Reached(2, 1)]
        graph.delete(edges("1>2"))
        assert graph.walk([1]) == []

    def test_deleted_edge_leads_nowhere_and_can_come_back(self, graph: GraphIndex) -> None:
        graph.upsert(edges("1>2 1>3"))
        graph.delete(edges("1>2"))
        assert graph.walk([1]) == [Reached(3, 1)]
        graph.upsert(edges("1>2"))
        assert graph.walk([1]) == [Reached(2, 1), Reached(3, 1)]

    def test_deleting_takes_only_the_named_relation_and_direction(self, graph: GraphIndex) -> None:
        graph.upsert([*edges("1>2 2>1"), *edges("1>2", MENTIONS)])
        graph.delete(edges("1>2"))
        assert graph.walk([1], relations=[FOLLOWS]) == []
        assert graph.walk([1], relations=[MENTIONS]) == [Reached(2, 1)]
        assert graph.walk([2], relations=[FOLLOWS]) == [Reached(1, 1)]

    def test_deleting_or_forgetting_what_is_not_there_is_no_error(self, graph: GraphIndex) -> None:
        graph.upsert(edges("1>2"))
        graph.delete(edges("8>9"))
        graph.forget([8, 9])
        graph.delete([])
        graph.forget([])
        graph.upsert([])
        assert graph.walk([1]) == [Reached(2, 1)]

    def test_forgotten_item_has_no_edges_either_way(self, graph: GraphIndex) -> None:
        graph.upsert(edges("1>2 2>3 3>4 4>2 2>2 1>5"))
        graph.forget([2])
        assert graph.walk([1], depth=9) == [Reached(5, 1)]
        assert graph.walk([2], depth=9) == []
        assert graph.walk([2], depth=9, backwards=True) == []
        assert graph.walk([3], depth=9) == [Reached(4, 1)]

    def test_depth_bounds_the_walk(self, graph: GraphIndex) -> None:
        graph.upsert(edges("1>2 2>3 3>4 4>5"))
        for depth in range(6):
            found = [Reached(step + 1, step) for step in range(1, min(depth, 4) + 1)]
            assert graph.walk([1], depth=depth) == found

    def test_only_named_relations_are_followed(self, graph: GraphIndex) -> None:
        graph.upsert([*edges("1>2 3>4"), *edges("2>3 1>5", PART_OF), *edges("1>6", MENTIONS)])
        assert graph.walk([1], relations=[FOLLOWS], depth=9) == [Reached(2, 1)]
        assert items(graph.walk([1], relations=[FOLLOWS, PART_OF], depth=9)) == [2, 5, 3, 4]
        assert items(graph.walk([1], depth=9)) == [2, 5, 6, 3, 4]
        assert graph.walk([1], relations=[], depth=9) == []

    def test_two_relations_between_two_items_reach_the_item_once(self, graph: GraphIndex) -> None:
        graph.upsert([*edges("1>2"), *edges("1>2", PART_OF)])
        assert graph.walk([1]) == [Reached(2, 1)]

    @pytest.mark.parametrize("depth", [4, 50, 10**9])
    def test_cycles_end_the_walk(self, graph: GraphIndex, depth: int) -> None:
        graph.upsert(edges("1>2 2>3 3>1 3>4 4>4 4>2"))
        assert graph.walk([1], depth=depth) == [Reached(2, 1), Reached(3, 2), Reached(4, 3)]

    def test_diamond_gives_the_nearest_depth(self, graph: GraphIndex) -> None:
        graph.upsert(edges("1>2 1>3 2>4 3>4 1>5 5>6 6>4 4>6"))
        assert graph.walk([1], depth=9) == [
            Reached(2, 1),
            Reached(3, 1),
            Reached(5, 1),
            Reached(4, 2),
            Reached(6, 2),
        ]

    def test_start_is_never_among_the_found(self, graph: GraphIndex) -> None:
        graph.upsert(edges("1>1 1>2 2>1 2>3 3>2"))
        assert graph.walk([1], depth=9) == [Reached(2, 1), Reached(3, 2)]
        assert graph.walk([1, 2], depth=9) == [Reached(3, 1)]
        assert graph.walk([1, 2, 3], depth=9) == []

    def test_several_starts_count_from_the_nearest(self, graph: GraphIndex) -> None:
        graph.upsert(edges("1>2 2>3 3>4 9>4"))
        assert graph.walk([1, 9, 1], depth=9) == [Reached(2, 1), Reached(4, 1), Reached(3, 2)]

    def test_found_items_come_by_depth_then_by_number(self, graph: GraphIndex) -> None:
        graph.upsert(edges("1>30 1>20 1>10 20>5 30>4"))
        found = graph.walk([1], depth=2)
        assert found == sorted(found, key=lambda r: (r.depth, r.item))
        assert items(found) == [10, 20, 30, 4, 5]

    def test_nothing_and_strangers_lead_nowhere(self, graph: GraphIndex) -> None:
        graph.upsert(edges("1>2"))
        assert graph.walk([], depth=9) == []
        assert graph.walk([77], depth=9) == []

    @pytest.mark.parametrize("seed", range(3))
    def test_random_graphs_are_walked_as_by_brute_force(self, graph: GraphIndex, seed: int) -> None:
        chance = random.Random(seed)
        nodes = (300, 1500, 5000)[seed]
        every = random_edges(chance, nodes=nodes, count=5000)
        gone = set(chance.sample(every, 500))
        forgotten = set(chance.sample(range(nodes), 20))
        graph.upsert(every)
        graph.delete(sorted(gone, key=str))
        graph.forget(sorted(forgotten))
        left = [e for e in every if e not in gone and not {e.source, e.target} & forgotten]
        for _ in range(25):
            start = chance.sample(range(nodes), chance.randint(1, 4))
            relations = chance.choice([None, list(Relation)[:2], [FOLLOWS]])
            depth, backwards = chance.randint(1, 6), chance.random() < 0.5
            found = graph.walk(start, relations=relations, depth=depth, backwards=backwards)
            assert found == brute_force(left, start, relations, depth, backwards)

    def test_hidden_items_are_neither_found_nor_passed_through(self, graph: GraphIndex) -> None:
        walker = restricted(graph)
        graph.upsert(edges("1>2 2>3 1>4 4>5 5>3"))
        assert items(graph.walk([1], depth=9)) == [2, 4, 3, 5]
        assert walker.walk_within([1], allowed=[1, 3, 4, 5], depth=9) == [
            Reached(4, 1),
            Reached(5, 2),
            Reached(3, 3),
        ]
        assert walker.walk_within([1], allowed=[1, 3, 5], depth=9) == []
        assert walker.walk_within([3], allowed={1, 2, 3}, depth=9, backwards=True) == [
            Reached(2, 1),
            Reached(1, 2),
        ]

    def test_hidden_start_tells_nothing_of_its_neighbours(self, graph: GraphIndex) -> None:
        walker = restricted(graph)
        graph.upsert(edges("1>2 3>4"))
        assert walker.walk_within([1, 3], allowed=[2, 3, 4]) == [Reached(4, 1)]
        assert walker.walk_within([1, 3], allowed=[]) == []

    def test_restricted_walk_equals_a_walk_on_the_allowed_part(self, graph: GraphIndex) -> None:
        walker = restricted(graph)
        chance = random.Random(11)
        every = random_edges(chance, nodes=500, count=2000)
        graph.upsert(every)
        for share in (0.2, 0.6, 1.0):
            allowed = {n for n in range(500) if chance.random() < share}
            part = [e for e in every if {e.source, e.target} <= allowed]
            start = chance.sample(sorted(allowed), 3)
            found = walker.walk_within(start, allowed=allowed, depth=5)
            assert found == brute_force(part, start, None, 5, False)


def edges(drawing: str, relation: Relation = FOLLOWS) -> list[Edge]:
    """The edges drawn as ``"1>2 2>3"``."""
    pairs = (arrow.split(">") for arrow in drawing.split())
    return [Edge(int(source), relation, int(target)) for source, target in pairs]


def items(found: Sequence[Reached]) -> list[int]:
    return [reached.item for reached in found]


def restricted(graph: GraphIndex) -> SupportsWithin:
    if not isinstance(graph, SupportsWithin):
        pytest.skip("this graph cannot be walked within a set of items")
    return graph


def random_edges(chance: random.Random, *, nodes: int, count: int) -> list[Edge]:
    relations = list(Relation)
    found: dict[Edge, None] = {}
    while len(found) < count:
        source, target = chance.randrange(nodes), chance.randrange(nodes)
        found[Edge(source, chance.choice(relations), target)] = None
    return list(found)


def brute_force(
    every: Sequence[Edge],
    start: Collection[int],
    relations: Collection[Relation] | None,
    depth: int,
    backwards: bool,
) -> list[Reached]:
    """Breadth first over a dict: slow, short, and right at a glance."""
    near: dict[int, set[int]] = defaultdict(set)
    for edge in every:
        if relations is None or edge.relation in relations:
            here, there = (edge.source, edge.target)[:: -1 if backwards else 1]
            near[here].add(there)
    depths = dict.fromkeys(start, 0)
    queue = list(depths)
    for item in queue:
        for neighbour in near[item]:
            if neighbour not in depths and depths[item] < depth:
                depths[neighbour] = depths[item] + 1
                queue.append(neighbour)
    found = [Reached(item, steps) for item, steps in depths.items() if steps]
    return sorted(found, key=lambda r: (r.depth, r.item))
