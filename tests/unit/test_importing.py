"""Memories of LangGraph, mem0 and Letta come in from real files: once, whole, and without harm."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from memos_integrations import MOS, AsyncMOS, Settings
from memos_integrations.cube.acl import Trust
from memos_integrations.cube.errors import AccessDenied, InvalidInput, UsageError
from memos_integrations.cube.header import Origin
from memos_integrations.interface.importing.files import ImportLimits
from memos_integrations.testing.fakes import ManualClock

QUIET = Settings(worker=False, synchronous="normal")
# The schema that langgraph-checkpoint-sqlite 3.1 makes, migration by migration.
STORE = """
CREATE TABLE IF NOT EXISTS store (
    prefix text NOT NULL, key text NOT NULL, value text NOT NULL,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (prefix, key)
);
CREATE INDEX IF NOT EXISTS store_prefix_idx ON store (prefix);
ALTER TABLE store ADD COLUMN expires_at TIMESTAMP;
ALTER TABLE store ADD COLUMN ttl_minutes REAL;
CREATE TABLE IF NOT EXISTS store_migrations (v INTEGER PRIMARY KEY);
"""
# The table that mem0 2.2 keeps.
HISTORY = """
CREATE TABLE history (
    id TEXT PRIMARY KEY, memory_id TEXT, old_memory TEXT, new_memory TEXT, event TEXT,
    created_at DATETIME, updated_at DATETIME, is_deleted INTEGER, actor_id TEXT, role TEXT
);
"""


@pytest.fixture
def mos(tmp_path: Path) -> Iterator[MOS]:
    clock = ManualClock(datetime(2026, 5, 1, 12, tzinfo=UTC))
    with MOS(tmp_path / "m.db", embedder=None, settings=QUIET, clock=clock) as made:
        yield made
        made.work()
        assert made.check().sound


def written(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def database(path: Path, schema: str, sql: str = "", rows: list[tuple[Any, ...]] = []) -> Path:  # noqa: B006
    with sqlite3.connect(path) as link:
        link.executescript(schema)
        link.executemany(sql, rows) if rows else None
    link.close()
    return path


def store_file(path: Path, *rows: tuple[Any, ...]) -> Path:
    sql = (
        "INSERT INTO store (prefix, key, value, created_at, updated_at, expires_at, ttl_minutes) "
        "VALUES (?, ?, ?, ?, ?, ?, NULL)"
    )
    return database(path, STORE, sql, list(rows))


def state(mos: MOS, user: str) -> list[tuple[str, str, int]]:
    found = mos.list(user=user, limit=1000)
    return sorted((i.text, i.header.id, i.header.version) for i in found)


# -- LangGraph ------------------------------------------------------------------------------------

TEA = json.dumps({"text": "likes green tea", "strength": 2}).encode()
ROW = ("memories.ann", "m1", TEA, "2025-11-03 10:20:30", "2025-11-04 11:00:00", None)


def test_a_store_file_of_langgraph_becomes_entries_of_the_same_names(
    mos: MOS, tmp_path: Path
) -> None:
    file = store_file(
        tmp_path / "store.db",
        ROW,
        ("memories.bo", "m1", json.dumps({"text": "likes jam"}), *ROW[3:]),
        ("memories.ann", "broken", b"{not json", *ROW[3:]),
        ("memories.ann", "gone", TEA, *ROW[3:5], "2020-01-01 00:00:00"),
    )
    before = file.read_bytes()
    done = mos.import_from("langgraph", file, user="ann")
    assert (done.new, done.changed, done.unchanged) == (2, 0, 0)
    assert done.left == {
        "an item whose value is no strict JSON": 1,
        "an item whose time had run out": 1,
    }
    entry = mos.get_entry(("memories", "ann"), "m1", user="ann")
    assert entry is not None
    assert entry.value == {"text": "likes green tea", "strength": 2}
    header = mos.get(entry.item, user="ann").header
    assert (header.origin, header.trust) == (Origin.IMPORT, Trust.IMPORT)
    assert header.time == datetime(2025, 11, 3, 10, 20, 30, tzinfo=UTC)
    assert header.info["imported_from"] == "langgraph"
    assert header.info["updated_at"] == "2025-11-04 11:00:00"
    (first, *_) = mos.find_entries(("memories",), query="tea", user="ann")
    assert first.key == "m1"
    assert file.read_bytes() == before


def test_a_namespace_can_be_taken_alone(mos: MOS, tmp_path: Path) -> None:
    file = store_file(
        tmp_path / "s.db", ROW, ("memories.annabel", *ROW[1:]), ("memories.ann.work", *ROW[1:])
    )
    done = mos.import_from("langgraph", file, of="memories.ann", user="ann")
    assert (done.new, done.left) == (2, {"of somebody else": 1})
    names = mos.entry_namespaces(user="ann")
    assert names == [("memories", "ann"), ("memories", "ann", "work")]


@pytest.mark.parametrize("form", ["list", "lines", "object"])
def test_items_of_an_in_memory_store_come_from_json(mos: MOS, tmp_path: Path, form: str) -> None:
    store = pytest.importorskip("langgraph.store.memory", reason="needs the langgraph extra")
    memory = store.InMemoryStore()
    memory.put(("memories", "bo"), "m1", {"text": "likes green tea"})
    memory.put(("memories", "ann"), "m2", {"text": "plays the cello"})
    items = [item.dict() for item in memory.search(("memories",))]
    for each in items:
        each.pop("score", None)
    texts = {
        "list": json.dumps(items, default=str),
        "object": json.dumps({"items": items}, default=str),
        "lines": "\n".join(json.dumps(item, default=str) for item in items),
    }
    file = tmp_path / "items.json"
    file.write_text(texts[form], encoding="utf-8")
    done = mos.import_from("langgraph", file, user="ann")
    assert (done.new, done.left) == (2, {})
    other = mos.get_entry(("memories", "bo"), "m1", user="ann")
    assert other is not None
    assert other.value == {"text": "likes green tea"}


def test_memos_store_finds_what_came_from_langgraph(mos: MOS, tmp_path: Path) -> None:
    graphs = pytest.importorskip("langgraph_memos", reason="needs the langgraph extra")
    mos.import_from("langgraph", store_file(tmp_path / "s.db", ROW), user="ann")
    store = graphs.MemOSStore(mos, user="ann")
    assert store.get(("memories", "ann"), "m1").value["strength"] == 2
    assert [item.key for item in store.search(("memories",), query="tea")] == ["m1"]


def test_an_entry_that_no_import_brought_is_left_and_told(mos: MOS, tmp_path: Path) -> None:
    name = ("memories", "ann")
    mos.put_entry(name, "m1", {"text": "likes black coffee"}, user="ann")
    mos.put_entry(name, "m3", {"text": "hidden"}, trust="import", user="ann")
    mos.quarantine("entry:memories/ann/m3", user="ann", cube="users/ann")
    mos.put_entry(name, "m4", {"text": "gone"}, user="ann")
    mos.delete_entry(name, "m4", user="ann")
    rows = [("memories.ann", key, *ROW[2:]) for key in ("m1", "m2", "m3", "m4")]
    file = store_file(tmp_path / "s.db", *rows)
    foreseen = mos.import_from("langgraph", file, user="ann", dry_run=True)
    assert foreseen.left == {"exists here": 1}  # what is hidden is not told
    done = mos.import_from("langgraph", file, user="ann")
    assert (done.new, done.left) == (2, {"exists here": 2})
    held = mos.get_entry(name, "m1", user="ann")
    assert held is not None
    assert held.value == {"text": "likes black coffee"}
    assert mos.get_entry(name, "m3", user="ann") is None
    mos.release("entry:memories/ann/m3", user="ann", cube="users/ann")
    kept = mos.get_entry(name, "m3", user="ann")
    assert kept is not None
    assert kept.value == {"text": "hidden"}


def test_imported_entries_are_quarantined_and_rolled_back_by_their_source(
    mos: MOS, tmp_path: Path
) -> None:
    name, theirs = ("memories", "ann"), {"user": "ann", "cube": "users/ann"}
    mos.put_entry(name, "own", {"text": "mine"}, user="ann")
    (item,) = mos.import_from("langgraph", store_file(tmp_path / "s.db", ROW), user="ann").ids
    assert mos.quarantine("import:langgraph", **theirs) == [item]
    assert mos.get_entry(name, "m1", user="ann") is None
    row = ("memories.ann", "m2", *ROW[2:])
    mos.import_from("langgraph", store_file(tmp_path / "t.db", row), user="ann")
    assert mos.get_entry(name, "m2", user="ann") is None
    assert len(mos.release("import:langgraph", **theirs)) == 2
    assert mos.get_entry(name, "m2", user="ann") is not None
    mos.rollback(source="import:langgraph", **theirs)
    assert [entry.key for entry in mos.find_entries(name, user="ann")] == ["own"]


def test_an_imported_entry_follows_its_file_until_it_is_put_anew_here(
    mos: MOS, tmp_path: Path
) -> None:
    name = ("memories", "ann")

    def come(place: str, text: str) -> Any:
        row = ("memories.ann", "m1", json.dumps({"text": text}), *ROW[3:])
        return mos.import_from("langgraph", store_file(tmp_path / place, row), user="ann")

    come("a.db", "likes tea")
    assert come("b.db", "likes green tea").changed == 1
    mos.put_entry(name, "m1", {"text": "likes coffee"}, user="ann")
    done = come("c.db", "likes black tea")
    assert (done.changed, done.left) == (0, {"changed there, put anew here": 1})
    held = mos.get_entry(name, "m1", user="ann")
    assert held is not None
    assert held.value == {"text": "likes coffee"}
    assert mos.get(held.item, user="ann").header.source == "entry:memories/ann/m1"


# -- mem0 -----------------------------------------------------------------------------------------


def memory(n: int, text: str, **more: object) -> dict[str, object]:
    return {
        "id": f"892db2ae-06d9-49e5-8b3e-585ef9b8{n:04}",
        "memory": text,
        "hash": "5f4dcc3b",
        "metadata": None,
        "created_at": f"2025-02-0{n}T09:00:00.000001-08:00",
        "updated_at": None,
        "user_id": "ann",
        **more,
    }


RESULTS = [
    memory(1, "Lives in Lisbon", metadata={"team": "atlas", "category": "home"}),
    memory(2, "Allergic to peanuts", agent_id="nurse", run_id="visit-7", actor_id="Ann"),
    memory(3, "Old news", expiration_date="2020-01-01"),
    {"id": "x"},
    "no memory",
]


def test_what_mem0_gives_comes_with_its_times_its_scope_and_its_metadata(
    mos: MOS, tmp_path: Path
) -> None:
    done = mos.import_from("mem0", written(tmp_path / "a.json", {"results": RESULTS}), user="ann")
    assert (done.new, sum(done.left.values())) == (2, 3)
    home = mos.list(user="ann", filter={"info.team": "atlas"})
    assert [item.text for item in home] == ["Lives in Lisbon"]
    header = home[0].header
    assert header.time == datetime(2025, 2, 1, 17, 0, 0, 1, tzinfo=UTC)
    assert (header.origin, header.trust) == (Origin.IMPORT, Trust.IMPORT)
    assert (header.source, header.info["imported_id"]) == ("import:mem0", RESULTS[0]["id"])
    (visit,) = mos.list(user="ann", session="visit-7")
    assert (visit.header.agent, visit.header.speaker) == ("nurse", "Ann")
    mos.wait(done)
    assert mos.facts("ann", user="ann")
    assert mos.search("peanuts", user="ann")[0].id == visit.id


def test_importing_twice_changes_nothing(mos: MOS, tmp_path: Path) -> None:
    file = written(tmp_path / "a.json", {"results": RESULTS})
    mos.import_from("mem0", file, user="ann")
    mos.work()
    before = state(mos, "ann")
    again = mos.import_from("mem0", file, user="ann")
    mos.work()
    assert (again.new, again.changed, again.unchanged, again.ids) == (0, 0, 2, ())
    assert state(mos, "ann") == before


def test_a_correction_made_here_is_not_undone_by_the_same_file(mos: MOS, tmp_path: Path) -> None:
    file = written(tmp_path / "a.json", {"results": RESULTS[:1]})
    (item,) = mos.import_from("mem0", file, user="ann").ids
    mos.update(item, "Lives in Porto", user="ann")
    assert mos.import_from("mem0", file, user="ann").unchanged == 1
    assert mos.get(item, user="ann").text == "Lives in Porto"


def test_a_later_file_corrects_what_changed_there_and_brings_nothing_deleted_back(
    mos: MOS, tmp_path: Path
) -> None:
    first = mos.import_from("mem0", written(tmp_path / "a.json", RESULTS[:2]), user="ann")
    home, peanuts = first.ids
    mos.delete(peanuts, user="ann")
    later = [
        {**RESULTS[0], "memory": "Lives in Oslo", "metadata": {"team": "b"}},
        {**RESULTS[1], "memory": "Allergic to hazelnuts"},
    ]
    done = mos.import_from("mem0", written(tmp_path / "b.json", later), user="ann")
    assert (done.changed, done.ids) == (1, (home,))
    assert done.left == {"changed there, deleted here": 1}
    item = mos.get(home, user="ann")
    assert (item.text, item.header.info["team"]) == ("Lives in Oslo", "b")
    assert mos.history(home, user="ann")[0].item.text == "Lives in Lisbon"
    assert mos.import_from("mem0", tmp_path / "b.json", user="ann").unchanged == 1


def test_a_file_with_several_users_is_refused_until_one_is_named(mos: MOS, tmp_path: Path) -> None:
    file = written(tmp_path / "a.json", [memory(1, "Mine"), memory(2, "Hers", user_id="bo")])
    with pytest.raises(InvalidInput, match="2 users"):
        mos.import_from("mem0", file, user="ann")
    assert mos.count(user="ann") == 0
    done = mos.import_from("mem0", file, of="ann", user="ann")
    assert (done.new, done.left) == (1, {"of somebody else": 1})
    assert [item.text for item in mos.list(user="ann")] == ["Mine"]


def test_the_history_of_mem0_brings_each_wording(mos: MOS, tmp_path: Path) -> None:
    steps = [
        ("1", "m1", None, "Lives in Lisbon", "ADD", "2025-01-01T08:00:00+00:00", None),
        ("2", "m2", None, "Likes jam", "ADD", "2025-01-02T08:00:00+00:00", None),
        ("3", "m1", "Lives in Lisbon", "Lives in Oslo", "UPDATE", "2025-01-01", "2025-03-01"),
        ("4", "m2", "Likes jam", None, "DELETE", "2025-01-02", "2025-03-02"),
    ]
    sql = "INSERT INTO history VALUES (?, ?, ?, ?, ?, ?, ?, 0, NULL, NULL)"
    file = database(tmp_path / "history.db", HISTORY, sql, steps)
    done = mos.import_from("mem0", file, user="ann")
    assert (done.new, done.left) == (1, {"a memory that was deleted there": 1})
    (item,) = done.ids
    assert [v.item.text for v in mos.history(item, user="ann")] == [
        "Lives in Lisbon",
        "Lives in Oslo",
    ]
    assert mos.get(item, user="ann").header.time == datetime(2025, 1, 1, 8, tzinfo=UTC)
    assert mos.import_from("mem0", file, user="ann").unchanged == 1
    # The export of the same memory only adds what the history does not tell.
    export = written(tmp_path / "a.json", [memory(1, "Lives in Oslo", id="m1")])
    assert mos.import_from("mem0", export, user="ann").changed == 1
    assert mos.get(item, user="ann").header.info["user_id"] == "ann"
    assert mos.import_from("mem0", file, user="ann").unchanged == 1


# -- Letta ----------------------------------------------------------------------------------------

SAY = {"name": "send_message", "arguments": json.dumps({"message": "Hello Ann!"})}
WRAPPED = json.dumps({"type": "user_message", "message": "I live in Lisbon.", "time": "2025"})
MESSAGES = [
    {"id": "message-0", "role": "system", "content": "You are Letta."},
    {
        "id": "message-1",
        "role": "user",
        "content": [{"type": "text", "text": WRAPPED}],
        "created_at": "2025-04-01T10:00:00Z",
    },
    {
        "id": "message-2",
        "role": "assistant",
        "content": [{"type": "text", "text": "I should greet her."}],
        "tool_calls": [{"id": "c", "type": "function", "function": SAY}],
        "created_at": "2025-04-01T10:00:05Z",
    },
    {"id": "message-3", "role": "tool", "content": [{"type": "text", "text": "OK"}]},
    {
        "id": "message-4",
        "role": "user",
        "content": json.dumps({"type": "heartbeat", "reason": "x"}),
    },
]
BLOCKS = [
    {"id": "block-0", "label": "human", "value": "Ann likes tea.", "limit": 5000},
    {"id": "block-1", "label": "persona", "value": "", "limit": 5000},
]
AGENT = {
    "id": "agent-0",
    "name": "nurse",
    "system": "You are Letta.",
    "block_ids": ["block-0", "block-1"],
    "messages": MESSAGES,
    "tool_exec_environment_variables": {"API_KEY": "very-secret"},
}
AGENT_FILE = {
    "agents": [AGENT],
    "groups": [],
    "blocks": BLOCKS,
    "files": [],
    "sources": [],
    "tools": [{"id": "tool-0", "name": "run", "source_code": "import os; os.abort()"}],
    "mcp_servers": [],
    "metadata": {"revision_id": "x"},
    "created_at": "2025-04-02T00:00:00Z",
}
OLD_FILE = {
    "agent_type": "memgpt_agent",
    "name": "nurse",
    "created_at": "2025-04-02T00:00:00Z",
    "core_memory": BLOCKS,
    "messages": [{k: v for k, v in each.items() if k != "id"} for each in MESSAGES],
    "system": "You are Letta.",
    "tools": AGENT_FILE["tools"],
    "tool_exec_environment_variables": [{"key": "API_KEY", "value": "very-secret"}],
    "version": "0.6.47",
}
PASSAGES = [
    {
        "id": "passage-1",
        "text": "The clinic closes at six.",
        "tags": ["clinic"],
        "created_at": "2025-04-03T00:00:00Z",
    },
    {"id": "passage-2", "text": "Gone.", "is_deleted": True},
]


@pytest.mark.parametrize("form", [AGENT_FILE, OLD_FILE], ids=["several agents", "one agent"])
def test_an_agent_file_brings_blocks_and_what_was_said_and_counts_the_rest(
    mos: MOS, tmp_path: Path, form: dict[str, Any]
) -> None:
    file = written(tmp_path / "nurse.af", {**form, "passages": []})
    done = mos.import_from("letta", file, user="ann")
    said = {item.text: item.header for item in mos.list(user="ann")}
    assert set(said) == {"Ann likes tea.", "I live in Lisbon.", "Hello Ann!"}
    assert (said["Hello Ann!"].role, said["I live in Lisbon."].role) == ("assistant", "user")
    assert said["Hello Ann!"].conversation == said["I live in Lisbon."].conversation
    assert {header.agent for header in said.values()} == {"nurse"}
    assert said["I live in Lisbon."].time == datetime(2025, 4, 1, 10, tzinfo=UTC)
    assert said["Ann likes tea."].info["label"] == "human"
    assert done.left == {
        "a memory block without words": 1,
        "a message of the role system": 1,
        "a message of the role tool": 1,
        "an event of the system": 1,
        "tools": 1,
        "tool exec environment variables": 1,
        "a system prompt": 1,
    }
    again = mos.import_from("letta", file, user="ann")
    assert (again.new, again.unchanged) == (0, 3)
    for part in tmp_path.glob("m.db*"):
        assert b"very-secret" not in part.read_bytes()
        assert b"os.abort" not in part.read_bytes()


def test_numbers_of_one_agent_file_do_not_stand_for_those_of_another(
    mos: MOS, tmp_path: Path
) -> None:
    mos.import_from("letta", written(tmp_path / "a.af", AGENT_FILE), user="ann")
    other = {**AGENT, "name": "cook", "messages": MESSAGES[:2]}
    blocks = [{**BLOCKS[0], "value": "Ann eats no meat."}]
    file = written(tmp_path / "b.af", {**AGENT_FILE, "agents": [other], "blocks": blocks})
    done = mos.import_from("letta", file, user="ann")
    assert (done.new, done.changed) == (2, 0)
    assert {item.text for item in mos.list(user="ann")} >= {"Ann likes tea.", "Ann eats no meat."}
    # A later export of the same agent begins with a later message, and counts anew.
    later = {**AGENT, "messages": [{**MESSAGES[2], "id": "message-0"}]}
    newer = {**AGENT_FILE, "agents": [later], "blocks": [{**BLOCKS[0], "value": "Ann likes jam."}]}
    again = mos.import_from("letta", written(tmp_path / "c.af", newer), user="ann")
    assert (again.new, again.changed, again.unchanged) == (0, 1, 1)


def test_an_agent_that_speaks_plainly_is_heard_beside_its_calls(mos: MOS, tmp_path: Path) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
    message = {"role": "assistant", "content": "I will look it up.", "tool_calls": [call]}
    agent = {**AGENT, "agent_type": "letta_v1_agent", "messages": [message]}
    file = written(tmp_path / "a.af", {**AGENT_FILE, "agents": [agent], "blocks": []})
    mos.import_from("letta", file, user="ann")
    assert [item.text for item in mos.list(user="ann")] == ["I will look it up."]


@pytest.mark.parametrize("form", ["list", "key"])
def test_passages_of_the_archive_come_too(mos: MOS, tmp_path: Path, form: str) -> None:
    value: object = PASSAGES if form == "list" else {"passages": PASSAGES}
    done = mos.import_from("letta", written(tmp_path / "p.json", value), user="ann")
    assert (done.new, done.left) == (1, {"a deleted passage": 1})
    (item,) = mos.list(user="ann")
    assert (item.text, item.header.tags) == ("The clinic closes at six.", ("clinic",))


# -- whatever system ------------------------------------------------------------------------------


def test_a_dry_run_says_what_would_come_and_writes_nothing(mos: MOS, tmp_path: Path) -> None:
    file = written(tmp_path / "a.json", {"results": RESULTS})
    foreseen = mos.import_from("mem0", file, user="ann", dry_run=True)
    assert mos.count(user="ann") == 0
    done = mos.import_from("mem0", file, user="ann")
    assert (foreseen.new, foreseen.left, foreseen.ids) == (done.new, done.left, ())
    later = mos.import_from("mem0", file, user="ann", dry_run=True)
    assert (later.new, later.unchanged) == (0, 2)


def test_an_import_that_breaks_off_goes_on_where_it_was(
    mos: MOS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = [memory(1, f"Note {n} is here", id=f"id-{n}") for n in range(250)]
    file = written(tmp_path / "a.json", results)
    shares: list[float] = []

    def stop(share: float) -> None:
        shares.append(share)
        if len(shares) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mos.import_from("mem0", file, user="ann", progress=stop)
    assert mos.count(user="ann") == 200
    rest = mos.import_from("mem0", file, user="ann", progress=shares.append)
    assert (rest.new, rest.unchanged, mos.count(user="ann")) == (50, 200, 250)
    assert shares[-1] == 1.0


def test_secrets_in_foreign_words_are_masked_like_any(mos: MOS, tmp_path: Path) -> None:
    key = "sk-proj-" + "a1B2c3D4e5F6g7H8" * 3
    file = written(tmp_path / "a.json", [memory(1, f"The key is {key}", metadata={"key": key})])
    done = mos.import_from("mem0", file, user="ann")
    assert sum(done.masked.values()) == 1
    for part in tmp_path.glob("m.db*"):
        assert key.encode() not in part.read_bytes()


def test_whose_cube_it_goes_to_is_a_matter_of_rights(mos: MOS, tmp_path: Path) -> None:
    file = written(tmp_path / "a.json", RESULTS[:1])
    with pytest.raises(AccessDenied):
        mos.import_from("mem0", file, user="bo", cube="users/ann")
    done = mos.import_from("mem0", file, user="bo", trust="user")
    assert mos.get(done.ids[0], user="bo").header.trust is Trust.USER


def test_an_imported_memory_that_is_erased_leaves_no_note_of_it(mos: MOS, tmp_path: Path) -> None:
    (item,) = mos.import_from("mem0", written(tmp_path / "a.json", RESULTS[:1]), user="ann").ids
    receipt = mos.erase(item, user="ann")
    assert receipt.scan.found == 0
    with sqlite3.connect(mos.path) as link:
        assert link.execute("SELECT count(*) FROM idempotency").fetchone() == (0,)
    link.close()


async def test_the_async_rim_imports_too(tmp_path: Path) -> None:
    file = written(tmp_path / "a.json", RESULTS[:1])
    async with AsyncMOS(tmp_path / "a.db", embedder=None, settings=QUIET) as rim:
        assert (await rim.import_from("mem0", file, user="ann")).new == 1


# -- hostile files --------------------------------------------------------------------------------

SYSTEMS = ["langgraph", "mem0", "letta"]


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"results": [{"id": NaN}]}',
        b'{"a": 1, "a": 2}',
        b'"text"',
        b"3",
        b"SQLite format 3\x00" + b"\x00" * 5000,
        b"PK\x03\x04 not json",
        b'{"agents": 3, "results": 3, "items": 3}',
        b'[{"namespace": [], "key": "", "value": {}}]',
    ],
)
def test_a_file_that_is_none_of_its_kind_is_refused_or_brings_nothing(
    mos: MOS, tmp_path: Path, system: Any, raw: bytes
) -> None:
    file = tmp_path / "file"
    file.write_bytes(raw)
    with contextlib.suppress(InvalidInput):
        done = mos.import_from(system, file, user="ann")
        assert (done.new, done.ids) == (0, ())
    assert mos.count(user="ann") == 0


@pytest.mark.parametrize(
    "schema",
    [
        "CREATE VIEW store AS SELECT 'a.b' prefix, 'k' key, '{}' value, 1 created_at, "
        "2 updated_at, NULL expires_at;",
        "CREATE VIRTUAL TABLE store USING fts5(prefix, key, value, created_at, updated_at);",
        "CREATE TABLE store (prefix, key, created_at, updated_at, value AS (hex(zeroblob(1000))));",
        "CREATE TABLE other (x);",
    ],
    ids=["view", "virtual table", "computed column", "another table"],
)
def test_a_database_that_would_compute_what_it_shows_is_refused(
    mos: MOS, tmp_path: Path, schema: str
) -> None:
    file = database(tmp_path / "evil.db", schema)
    with sqlite3.connect(file) as link:
        if "AS (hex" in schema:
            link.execute("INSERT INTO store VALUES ('a', 'k', 1, 2)")
    link.close()
    with pytest.raises(InvalidInput):
        mos.import_from("langgraph", file, user="ann")


def test_files_and_values_beyond_the_limits_are_refused(mos: MOS, tmp_path: Path) -> None:
    file = written(tmp_path / "a.json", RESULTS)
    with pytest.raises(InvalidInput, match="larger than 10 bytes"):
        mos.import_from("mem0", file, user="ann", limits=ImportLimits(max_json_bytes=10))
    big = store_file(tmp_path / "s.db", ("a", "k", json.dumps({"t": "x" * 5000}), *ROW[3:]))
    with pytest.raises(InvalidInput):
        mos.import_from("langgraph", big, user="ann", limits=ImportLimits(max_value_bytes=1000))
    many = store_file(tmp_path / "n.db", *(("a", f"k{n}", TEA, *ROW[3:]) for n in range(9)))
    with pytest.raises(InvalidInput, match="more than 5 records"):
        mos.import_from("langgraph", many, user="ann", limits=ImportLimits(max_records=5))
    assert mos.count(user="ann") == 0


@pytest.mark.parametrize(
    ("system", "path", "says"),
    [
        ("mem0", "nowhere.json", "no file"),
        ("zep", "a.json", "must be one of"),
        ("mem0", ".", "no file"),
    ],
)
def test_wrong_calls_say_what_to_do(
    mos: MOS, tmp_path: Path, system: Any, path: str, says: str
) -> None:
    written(tmp_path / "a.json", RESULTS)
    with pytest.raises(InvalidInput, match=says):
        mos.import_from(system, tmp_path / path, user="ann")


# -- the command ----------------------------------------------------------------------------------


def test_the_command_imports_says_what_it_left_and_dry_runs(tmp_path: Path) -> None:
    pytest.importorskip("typer", reason="the command line needs the cli extra")
    from typer.testing import CliRunner

    from memos_integrations.interface.cli.program import app

    file = written(tmp_path / "a.json", {"results": RESULTS})
    db = ["--db", str(tmp_path / "c.db"), "--no-embed", "--user", "ann"]

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["import", *arguments, *db], catch_exceptions=False)

    foreseen = json.loads(run("mem0", str(file), "--dry-run", "--json").stdout)
    assert (foreseen["new"], foreseen["dry_run"]) == (2, True)
    shown = run("mem0", str(file))
    assert shown.exit_code == 0
    assert "users/ann" in shown.stdout
    assert "a memory whose time had run out" in shown.stdout
    again = json.loads(run("mem0", str(file), "--json").stdout)
    assert (again["new"], again["unchanged"]) == (0, 2)
    with pytest.raises(UsageError, match="there is no file"):
        run("letta", str(tmp_path / "none.af"))
