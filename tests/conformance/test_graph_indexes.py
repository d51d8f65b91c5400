"""The embedded graph keeps the contract, and its edges keep their place in system time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from memos_integrations.cube.errors import UsageError
from memos_integrations.cube.header import Relation
from memos_integrations.cube.ports import GraphIndex, Reached
from memos_integrations.infrastructure.backends.sqlite_graph import SqliteGraph, SupportsWithin
from memos_integrations.testing.graph_index import GraphIndexTests, edges, items

SCHEMA = files("memos_integrations.infrastructure.vault") / "sql/migrations/0001_core.sql"


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(SCHEMA.read_text())
    yield connection
    connection.close()


class TestSqliteGraph(GraphIndexTests):
    @pytest.fixture(autouse=True)
    def _connected(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def make(self, tmp_path: Path) -> GraphIndex:
        return SqliteGraph(self.connection, writing_at=1)

    def test_it_offers_every_capability(self, graph: GraphIndex) -> None:
        assert isinstance(graph, GraphIndex)
        assert isinstance(graph, SupportsWithin)


def written(connection: sqlite3.Connection) -> int:
    found: int = connection.execute("SELECT count(*) FROM edge").fetchone()[0]
    return found


def test_each_position_of_the_log_shows_its_own_edges(connection: sqlite3.Connection) -> None:
    SqliteGraph(connection, writing_at=10).upsert(edges("1>2"))
    SqliteGraph(connection, writing_at=20).upsert(edges("1>3"))
    SqliteGraph(connection, writing_at=30).delete(edges("1>2"))
    SqliteGraph(connection, writing_at=40).upsert(edges("1>2"))
    seen = {at: items(SqliteGraph(connection, at).walk([1])) for at in (9, 10, 19, 20, 29, 30, 40)}
    assert seen == {9: [], 10: [2], 19: [2], 20: [2, 3], 29: [2, 3], 30: [3], 40: [2, 3]}
    assert items(SqliteGraph(connection).walk([1])) == [2, 3]


def test_past_is_walked_backwards_too(connection: sqlite3.Connection) -> None:
    SqliteGraph(connection, writing_at=10).upsert(edges("1>2"))
    SqliteGraph(connection, writing_at=20).delete(edges("1>2"))
    assert SqliteGraph(connection, 15).walk([2], backwards=True) == [Reached(1, 1)]
    assert SqliteGraph(connection, 20).walk([2], backwards=True) == []


def test_edge_added_again_later_keeps_its_first_place(connection: sqlite3.Connection) -> None:
    for at in (10, 20):
        SqliteGraph(connection, writing_at=at).upsert(edges("1>2"))
    assert written(connection) == 1
    assert items(SqliteGraph(connection, 10).walk([1])) == [2]


def test_edge_deleted_and_added_at_one_position_is_there(connection: sqlite3.Connection) -> None:
    graph = SqliteGraph(connection, writing_at=10)
    graph.upsert(edges("1>2"))
    graph.delete(edges("1>2"))
    assert graph.walk([1]) == []
    graph.upsert(edges("1>2"))
    assert SqliteGraph(connection, 10).walk([1]) == [Reached(2, 1)]
    assert written(connection) == 1


def test_forgetting_removes_the_past_as_well(connection: sqlite3.Connection) -> None:
    SqliteGraph(connection, writing_at=10).upsert(edges("1>2 2>3 3>1"))
    SqliteGraph(connection, writing_at=20).delete(edges("1>2"))
    SqliteGraph(connection).forget([2])
    assert items(SqliteGraph(connection, 15).walk([1], depth=9)) == []
    assert written(connection) == 1


def test_graph_without_a_position_to_write_at_refuses_writes(
    connection: sqlite3.Connection,
) -> None:
    graph = SqliteGraph(connection)
    with pytest.raises(UsageError):
        graph.upsert(edges("1>2"))
    with pytest.raises(UsageError):
        graph.delete(edges("1>2"))
    assert written(connection) == 0


def test_relation_is_a_value_and_never_sql(connection: sqlite3.Connection) -> None:
    SqliteGraph(connection, writing_at=1).upsert(edges("1>2", Relation.MENTIONS))
    assert SqliteGraph(connection).walk([1], relations=[Relation.MENTIONS]) == [Reached(2, 1)]


def test_row_numbers_may_come_from_numpy(connection: sqlite3.Connection) -> None:
    graph = SqliteGraph(connection, writing_at=1)
    graph.upsert(edges("1>2 2>3"))
    rows = np.array([1, 2], dtype=np.int64)
    assert graph.walk(list(rows[:1]), depth=9) == [Reached(2, 1), Reached(3, 2)]
    assert graph.walk_within(list(rows[:1]), allowed=list(rows), depth=9) == [Reached(2, 1)]
    graph.forget(list(rows[1:]))
    assert graph.walk([1]) == []


def test_steps_use_the_indexes(connection: sqlite3.Connection) -> None:
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    for backwards in (False, True):
        SqliteGraph(connection).walk([1], relations=[Relation.FOLLOWS], backwards=backwards)
    connection.set_trace_callback(None)
    plans = [
        " ".join(row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + statement))
        for statement in statements
    ]
    assert "SEARCH e USING PRIMARY KEY (source=?" in plans[0]
    assert "SEARCH e USING INDEX edge_target (target=?" in plans[1]
