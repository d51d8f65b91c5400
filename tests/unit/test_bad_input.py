"""Whatever is handed in: a typed error that changes nothing, or a call that works."""

from __future__ import annotations

import inspect
import logging
import math
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from memos_integrations import MOS, Principal
from memos_integrations.cube.embedded import Embedded
from memos_integrations.cube.errors import (
    AccessDenied,
    EmbedderMismatch,
    IllegalTransition,
    InvalidFilter,
    InvalidInput,
    MemosError,
    NotFound,
    TaskTimeout,
    UsageError,
    VersionConflict,
)
from memos_integrations.interface.settings import Settings
from memos_integrations.testing.fakes import FakeEmbedder

SECRET = "marzipan"
"""A word of every memory here that must never be logged."""


def opened(path: Path, *, dim: int = 64, worker: bool = False) -> MOS:
    settings = Settings(worker=worker, synchronous="normal")
    return MOS(path, embedder=FakeEmbedder(dim), settings=settings)


@pytest.fixture
def mos(tmp_path: Path) -> Iterator[MOS]:
    with opened(tmp_path / "agent.db") as made:
        yield made


STANDING = """SELECT
    (SELECT coalesce(max(seq), 0) FROM outbox),
    (SELECT count(*) FROM item),
    (SELECT count(*) FROM content),
    (SELECT count(*) FROM cube),
    (SELECT count(*) FROM task),
    (SELECT count(*) FROM access),
    (SELECT count(*) FROM idempotency),
    (SELECT coalesce(sum(length(path) + length(owner)), 0) FROM cube)
"""


def standing(mos: MOS) -> tuple[int, ...]:
    """What every refused call has to leave as it was."""
    with closing(sqlite3.connect(mos.path)) as connection:
        return stands(connection)


def stands(connection: sqlite3.Connection) -> tuple[int, ...]:
    return tuple(connection.execute(STANDING).fetchone())


# -- every parameter of every verb against every bad value ----------------------------------------

BAD: dict[str, object] = {
    "None": None,
    "int": 7,
    "bool": True,
    "float": 1.5,
    "nan": math.nan,
    "infinity": math.inf,
    "negative": -1,
    "beyond 64 bits": 2**70,
    "bytes": b"bytes",
    "list": ["a"],
    "nested list": [[[]]],
    "tuple": (),
    "dict": {"a": 1},
    "set": {1},
    "object": object(),
    "empty": "",
    "blank": "  ",
    "NUL": "a\x00b",
    "lone surrogate": "\ud800",
    "SQL": "'; DROP TABLE item; --",
    "path": "../😀/%2f\"'",
    "10 kB": "n" * 10_000,
    "5 MB": "x" * 5_000_000,
    "first instant": datetime.min,
    "last instant": datetime.max,
    "first aware instant": datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
}

VERBS = (
    *(
        "add",
        "update",
        "correct",
        "delete",
        "merge",
        "split",
        "archive",
        "activate",
        "link",
        "unlink",
    ),
    *("search", "context", "get", "list", "count", "history", "provenance", "links", "explain"),
    *("stats", "cubes", "as_of", "rollback", "fork", "diff", "merge_branch", "create_cube"),
    *("share", "deny", "revoke", "grants", "set_visibility", "freeze", "thaw", "quarantine"),
    *("release", "audit", "audit_verify", "erase", "task_status", "cancel_task", "wait"),
    *("reembed", "pipeline", "add_message", "search_memory", "get_memory", "get_all_memories"),
    *("update_memory", "delete_memory", "get_task_status"),
    *("working_set", "plan", "rebalance"),
    *("facts", "ask", "feedback", "related", "entities", "consolidate", "plan_consolidation"),
    *("fit", "ingest", "documents", "document", "forget_document", "remember_tool"),
    *("recall_tool", "doctor", "stats_over_time"),
    *("entries", "read_entries", "put_entry", "get_entry", "delete_entry", "find_entries"),
    "entry_namespaces",
    *("nearest", "vectors", "embedded", "put_embedded", "version", "changes_in"),
    *("showable", "list_showable", "routed"),
    *("caches", "cache_stats", "pin_cache", "unpin_cache", "demote_cache", "evict_caches"),
    *("verify_caches", "repair_caches"),
    *("adapters", "claims", "verify_adapter", "withdraw_adapter", "stable_prefix"),
)
NOT_ASKED = {
    "blobs": "made by put_blob, refused by type before",
    "timeout_seconds": "arithmetic of Python raises TypeError",
    "progress": "called, so Python raises TypeError",
}


def needed(mos: MOS) -> dict[str, Any]:
    """A good value for every parameter that has no default, on two fresh memories."""
    one, two = (mos.add(f"base {n} {SECRET}", user="alice").id for n in (1, 2))
    return {
        "messages": "good words",
        "text": "good words",
        "query": "base",
        "question": "Where do I live?",
        "name": "teams/x",
        "item": one,
        "source": one,
        "target": two,
        "items": [one, two],
        "memory_id": one,
        "relation": "relates_to",
        "to": "bob",
        "visibility": "private",
        "branch": "teams/y",
        "when": 1,
        "task": "no-task",
        "task_id": "no-task",
        "what": one,
        "tool": "oven",
        "arguments": {"degrees": 180},
        "result": "warm",
        "ops": [],
        "namespace": ("a", "b"),
        "key": "k",
        "value": {"n": 1},
        "questions": ["base"] * 12,
        "evidence": [[one]] * 12,
        "keys": ["k"],
        "texts": [Embedded("k", "good words")],
        "model": "given",
        "adapter": "no-adapter",
    }


def asked(mos: MOS, verb: str) -> list[str]:
    """The parameters to try. Those of the scope are read by one function for all verbs."""
    parameters = inspect.signature(getattr(mos, verb)).parameters
    scope = () if verb in ("add", "search", "share") else ("user", "agent", "session", "cube")
    return [name for name in parameters if name not in NOT_ASKED and name not in scope]


def arguments(mos: MOS, verb: str, good: dict[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(getattr(mos, verb)).parameters
    given = {p: good[p] for p in parameters if parameters[p].default is inspect.Parameter.empty}
    given |= {"user": "alice"} if "user" in parameters else {}
    given |= {"timeout_seconds": 0.0} if "timeout_seconds" in parameters else {}
    return given


def call(mos: MOS, verb: str, given: dict[str, Any]) -> None:
    done = getattr(mos, verb)(**given)
    if verb == "pipeline":
        with done as pipeline:
            pipeline.add("in a pipeline")


@pytest.mark.parametrize("verb", VERBS)
def test_bad_argument_is_a_typed_error_that_changes_nothing_or_it_works(
    mos: MOS, verb: str
) -> None:
    with closing(sqlite3.connect(mos.path, isolation_level=None)) as connection:
        good = arguments(mos, verb, fresh := needed(mos))
        before = stands(connection)
        for name in asked(mos, verb):
            for value in BAD.values():
                try:
                    call(mos, verb, good | {name: value})
                except MemosError:
                    left = f"{verb}({name}=...) left something behind"
                    assert stands(connection) == before, left
                else:
                    good = arguments(mos, verb, fresh := needed(mos))
                    before = stands(connection)
    everything = mos.list(user="alice", limit=10_000)
    assert {item.id for item in everything} >= {fresh["item"], fresh["target"]}
    assert mos.search("base", user="alice")
    assert mos.check().sound
    assert mos.audit_verify().intact


def test_every_public_verb_is_in_the_table_or_named_here(mos: MOS) -> None:
    others = {
        "acting",
        "check",
        "close",
        "expire_due",
        "flush",
        "work",
        "audit_head",
        "path",
        "principal",
    }
    others |= {"prune_tasks", "ranking", "records"}  # tried by tests of their own, as these are:
    others |= {"activated", "activated_batch"}
    others |= {"host_model", "distil", "adapted", "export_adapter"}
    elsewhere = {
        "put_blob",
        "get_blob",
        "open_blob",
        "dump",
        "load",
        "collect_blobs",
        "ingest_folder",
        "import_from",
    }
    public = {name for name in dir(mos) if not name.startswith("_")}
    assert set(VERBS) <= public
    unknown = public - set(VERBS) - others - elsewhere
    assert not unknown, f"give these verbs a place in the table of bad input: {unknown}"


# -- what exactly is raised -----------------------------------------------------------------------

NOWHERE = "00000000-0000-7000-8000-000000000000"
Case = Callable[[MOS, str], object]

EXACT: dict[str, tuple[type[MemosError], Case]] = {
    "nothing to add": (InvalidInput, lambda m, _: m.add([], user="alice")),
    "only blank messages": (InvalidInput, lambda m, _: m.add([" ", ""], user="alice")),
    "message of bytes": (InvalidInput, lambda m, _: m.add(b"x", user="alice")),
    "message with unknown keys": (
        InvalidInput,
        lambda m, _: m.add({"role": "user", "content": "x", "contnet": "y"}, user="alice"),
    ),
    "message without content": (InvalidInput, lambda m, _: m.add({"role": "user"}, user="alice")),
    "message of NUL": (InvalidInput, lambda m, _: m.add("a\x00b", user="alice")),
    "message of half a character": (InvalidInput, lambda m, _: m.add("a\ud83d", user="alice")),
    "message too long": (InvalidInput, lambda m, _: m.add("x" * 5_000_000, user="alice")),
    "time to live of zero": (InvalidInput, lambda m, _: m.add("x", user="alice", ttl_seconds=0)),
    "time to live of nothing": (
        InvalidInput,
        lambda m, _: m.add("x", user="alice", ttl_seconds=math.nan),
    ),
    "priority of nothing": (InvalidInput, lambda m, _: m.add("x", user="alice", priority=math.nan)),
    "unknown memory type": (
        InvalidInput,
        lambda m, _: m.add("x", user="alice", memory_type="gossip"),
    ),
    "unknown trust": (InvalidInput, lambda m, _: m.add("x", user="alice", trust="blind")),
    "tags as one text": (InvalidInput, lambda m, _: m.add("x", user="alice", tags="work")),
    "info that JSON cannot carry": (
        InvalidInput,
        lambda m, _: m.add("x", user="alice", info={"a": object()}),
    ),
    "info that is not finite": (
        InvalidInput,
        lambda m, _: m.add("x", user="alice", info={"a": math.inf}),
    ),
    "valid time that ends before it starts": (
        InvalidInput,
        lambda m, _: m.add(
            "x", user="alice", valid_from=datetime(2026, 2, 1), valid_to=datetime(2026, 1, 1)
        ),
    ),
    "derived from the unknown": (
        NotFound,
        lambda m, _: m.add("x", user="alice", derived_from=[NOWHERE]),
    ),
    "derived from one text": (
        InvalidInput,
        lambda m, _: m.add("x", user="alice", derived_from=NOWHERE),
    ),
    "idempotency key of nothing": (
        InvalidInput,
        lambda m, _: m.add("x", user="alice", idempotency_key=""),
    ),
    "update of the unknown": (NotFound, lambda m, _: m.update(NOWHERE, "x", user="alice")),
    "update of nothing": (InvalidInput, lambda m, i: m.update(i, user="alice")),
    "update at another version": (
        VersionConflict,
        lambda m, i: m.update(i, "x", user="alice", expected_version=99),
    ),
    "update of somebody else's": (NotFound, lambda m, i: m.update(i, "x", user="bob")),
    "delete of somebody else's": (NotFound, lambda m, i: m.delete(i, user="bob")),
    "id with SQL in it": (NotFound, lambda m, _: m.get("' OR 1=1 --", user="alice")),
    "id of a wildcard": (NotFound, lambda m, _: m.get("%", user="alice")),
    "get of somebody else's": (NotFound, lambda m, i: m.get(i, user="bob")),
    "get of another version": (NotFound, lambda m, i: m.get(i, version=9, user="alice")),
    "history of somebody else's": (NotFound, lambda m, i: m.history(i, user="bob")),
    "erase of somebody else's": (NotFound, lambda m, i: m.erase(i, user="bob")),
    "erase of somebody else": (AccessDenied, lambda m, _: m.erase(subject="alice", user="bob")),
    "erase of nothing": (InvalidInput, lambda m, _: m.erase(user="alice")),
    "erase of two things": (InvalidInput, lambda m, i: m.erase(i, source="s", user="alice")),
    "merge of one": (UsageError, lambda m, i: m.merge([i], "x", user="alice")),
    "merge of one twice": (UsageError, lambda m, i: m.merge([i, i], "x", user="alice")),
    "split of what was not merged": (UsageError, lambda m, i: m.split(i, user="alice")),
    "thaw of what is not frozen": (IllegalTransition, lambda m, i: m.thaw(i, user="alice")),
    "unknown relation": (InvalidInput, lambda m, i: m.link(i, "likes", i, user="alice")),
    "link to itself": (InvalidInput, lambda m, i: m.link(i, "relates_to", i, user="alice")),
    "unlink of no link": (MemosError, lambda m, i: m.unlink(i, "follows", i, user="alice")),
    "unknown permission": (
        InvalidInput,
        lambda m, _: m.share(to="bob", permission="own", user="alice"),
    ),
    "share with nobody": (InvalidInput, lambda m, _: m.share(to="", user="alice")),
    "revoke of no grant": (NotFound, lambda m, _: m.revoke(to="nobody", user="alice")),
    "share of somebody else's cube": (
        AccessDenied,
        lambda m, _: m.share(to="bob", user="bob", cube="users/alice"),
    ),
    "reading somebody else's cube": (
        AccessDenied,
        lambda m, _: m.list(user="bob", cube="users/alice"),
    ),
    "reading a cube that is not there": (
        AccessDenied,
        lambda m, _: m.search("x", user="bob", cube="users/carol"),
    ),
    "writing into somebody else's home": (
        AccessDenied,
        lambda m, _: m.add("x", user="bob", cube="users/alice/notes"),
    ),
    "cube that climbs": (InvalidInput, lambda m, _: m.add("x", user="alice", cube="teams/../x")),
    "cube with an empty segment": (
        InvalidInput,
        lambda m, _: m.add("x", user="alice", cube="teams//x"),
    ),
    "no cube at all": (InvalidInput, lambda m, _: m.search("x", user="alice", cube=[])),
    "several cubes to write": (
        InvalidInput,
        lambda m, _: m.add("x", user="alice", cube=["a", "b"]),
    ),
    "cube that is there": (UsageError, lambda m, _: m.create_cube("users/alice", user="alice")),
    "user of nothing": (InvalidInput, lambda m, _: m.add("x", user="")),
    "user with a line break": (InvalidInput, lambda m, _: m.add("x", user="a\nb")),
    "user of 10 kB": (InvalidInput, lambda m, _: m.add("x", user="n" * 10_000)),
    "user as a number": (InvalidInput, lambda m, _: m.add("x", user=7)),  # type: ignore[arg-type]
    "limit of zero": (InvalidInput, lambda m, _: m.search("x", user="alice", limit=0)),
    "limit below zero": (InvalidInput, lambda m, _: m.list(user="alice", limit=-1)),
    "limit of true": (InvalidInput, lambda m, _: m.search("x", user="alice", limit=True)),
    "offset below zero": (InvalidInput, lambda m, _: m.list(user="alice", offset=-1)),
    "budget of zero": (InvalidInput, lambda m, _: m.context("x", user="alice", budget_tokens=0)),
    "query too long": (InvalidInput, lambda m, _: m.search("x" * 200_000, user="alice")),
    "unknown field in a filter": (
        InvalidFilter,
        lambda m, _: m.search("x", user="alice", filter={"colour": "red"}),
    ),
    "unknown operator in a filter": (
        InvalidFilter,
        lambda m, _: m.list(user="alice", filter={"tags": {"near": "red"}}),
    ),
    "filter of the wrong type": (
        InvalidFilter,
        lambda m, _: m.count(user="alice", filter=["tags"]),  # type: ignore[arg-type]
    ),
    "filter with SQL as a field": (
        InvalidFilter,
        lambda m, _: m.list(user="alice", filter={"1=1) OR (1": "1"}),
    ),
    "time that does not exist": (InvalidInput, lambda m, _: m.as_of("2026-02-30")),
    "place before the log": (InvalidInput, lambda m, _: m.as_of(-1)),
    "time of true": (InvalidInput, lambda m, _: m.as_of(True)),
    "rollback to nowhere": (InvalidInput, lambda m, i: m.rollback(i, user="alice")),
    "rollback to another version": (NotFound, lambda m, i: m.rollback(i, version=9, user="alice")),
    "diff of no fork": (InvalidInput, lambda m, _: m.diff("users/alice", user="alice")),
    "merge of no branch": (AccessDenied, lambda m, _: m.merge_branch("teams/none", user="alice")),
    "unknown task": (NotFound, lambda m, _: m.task_status("no-task", user="alice")),
    "freeze by somebody else": (NotFound, lambda m, i: m.freeze(i, user="bob")),
    "quarantine of a cube that is not there": (
        NotFound,
        lambda m, _: m.quarantine("web", user="carol"),
    ),
    "waiting without end": (TaskTimeout, lambda m, _: m.wait(timeout_seconds=-1)),
}


@pytest.mark.parametrize("case", EXACT)
def test_misuse_raises_its_own_error_and_changes_nothing(mos: MOS, case: str) -> None:
    kind, do = EXACT[case]
    item = mos.add(f"a memory about {SECRET}", user="alice").id
    before = standing(mos)
    with pytest.raises(kind):
        do(mos, item)
    assert standing(mos) == before
    assert mos.count(user="alice") == 1
    assert mos.check().sound


@pytest.mark.parametrize(
    "name",
    ["a/b", "..", ".", "%", "100% sure", "o'brien", 'say "hi"', "😀", "a b", "n" * 512, "\u202e"],
)
def test_strange_user_name_is_a_user_like_any_other(mos: MOS, name: str) -> None:
    mos.add("of the plain user", user="a")
    item = mos.add("peanuts are dangerous", user=name).id
    assert [hit.id for hit in mos.search("peanuts", user=name)] == [item]
    assert mos.search("peanuts", user="a") == []
    mos.share(to="bob", user=name)
    assert mos.get(item, user="bob").text == "peanuts are dangerous"
    assert item in mos.erase(subject=name, user=name).erased
    assert mos.count(user=name) == 0
    assert mos.count(user="a") == 1
    assert mos.check().sound


@pytest.mark.parametrize("when", [datetime.min, datetime.max, datetime(1969, 1, 1)])
@pytest.mark.parametrize("zone", [None, UTC])
def test_extreme_time_is_kept_or_refused(mos: MOS, when: datetime, zone: timezone | None) -> None:
    told = when.replace(tzinfo=zone)
    item = mos.add("long ago or far ahead", user="alice", time=told).id
    assert mos.get(item, user="alice").header.time == when.replace(tzinfo=UTC)
    assert mos.search("long ago", user="alice")
    assert str(mos.context("long ago", user="alice"))
    mos.work()
    assert mos.check().sound


# -- another model --------------------------------------------------------------------------------


def test_second_embedding_model_is_refused_until_the_cube_is_embedded_anew(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    with opened(path) as mos:
        mos.add("peanuts are dangerous", user="alice")
        mos.work()
    with opened(path, dim=32) as mos:
        before = standing(mos)
        with pytest.raises(EmbedderMismatch, match="reembed"):
            mos.add("another", user="alice")
        assert standing(mos) == before
        with pytest.raises(EmbedderMismatch, match="reembed"):
            mos.search("peanuts", user="alice")
        mos.reembed(user="alice")
        mos.work()
        mos.add("another", user="alice")
        mos.work()
        assert mos.search("peanuts", user="alice", limit=1)[0].text == "peanuts are dangerous"
        assert mos.check().sound


# -- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["add", "search", "get", "erase", "task_status", "explain"])
def test_use_after_close_is_a_usage_error(tmp_path: Path, verb: str) -> None:
    mos = opened(tmp_path / "agent.db")
    item = mos.add("something", user="alice").id
    mos.close()
    more = [item] if verb == "explain" else []
    with pytest.raises(UsageError, match="closed"):
        getattr(mos, verb)("something", *more, user="alice")


def test_closing_twice_is_no_error(tmp_path: Path) -> None:
    mos = opened(tmp_path / "agent.db", worker=True)
    mos.add("something", user="alice")
    mos.close()
    mos.close()


def test_closing_while_the_worker_works_loses_nothing(tmp_path: Path) -> None:
    for _ in range(5):
        with opened(tmp_path / "agent.db", worker=True) as mos:
            mos.add([f"note {n}" for n in range(60)], user="alice")
    with opened(tmp_path / "agent.db") as mos:
        mos.wait(timeout_seconds=30)
        assert mos.check().sound
        assert mos.audit_verify().intact
        assert mos.count(user="alice") >= 60


def test_closing_while_threads_write_gives_them_typed_errors(tmp_path: Path) -> None:
    mos = opened(tmp_path / "agent.db", worker=True)
    kept: list[str] = []
    wrong: list[BaseException] = []

    def write() -> None:
        try:
            while True:
                kept.append(mos.add("over and over", user="alice").id)
        except MemosError:
            return
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    while len(kept) < 20:
        pass
    mos.close()
    for thread in threads:
        thread.join()
    assert wrong == []
    with opened(tmp_path / "agent.db") as again:
        with closing(sqlite3.connect(again.path)) as connection:
            stored = {item for (item,) in connection.execute("SELECT id FROM item")}
        assert set(kept) <= stored
        assert again.check().sound


# -- silence --------------------------------------------------------------------------------------


def test_nothing_of_a_memory_is_logged_or_printed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with opened(tmp_path / "agent.db", worker=True) as mos:
        item = mos.add(f"I love {SECRET}", user="alice", info={"cake": SECRET}).id
        mos.add([f"{SECRET} again", f"I love {SECRET}"], user="alice")
        mos.search(f"who loves {SECRET}", user="alice", filter={"info.cake": SECRET})
        mos.update(item, f"no more {SECRET}", user="alice", reason=f"because of {SECRET}")
        for case in ("id with SQL in it", "unknown task", "derived from the unknown"):
            kind, do = EXACT[case]
            with pytest.raises(kind):
                do(mos, item)
        with pytest.raises(MemosError):
            mos.add(f"{SECRET}\x00", user="alice")
        mos.wait(timeout_seconds=30)
        mos.erase(item, user="alice")
        mos.acting(Principal(user="bob")).search(SECRET)
    printed = capfd.readouterr()
    for text in (caplog.text, printed.out, printed.err):
        assert SECRET not in text.casefold()


def test_error_about_a_text_does_not_repeat_it(mos: MOS) -> None:
    wrong: list[Callable[[], object]] = [
        lambda: mos.add(f"{SECRET}\x00", user="alice"),
        lambda: mos.add("x", user="alice", info={"cake": f"{SECRET}\ud800"}),
        lambda: mos.add({"role": "user", "content": object(), "name": SECRET}, user="alice"),
        lambda: mos.search(f"{SECRET}\ud800", user="alice"),
        lambda: mos.merge([NOWHERE, "other"], f"{SECRET}", user="alice"),
    ]
    for do in wrong:
        with pytest.raises(MemosError) as caught:
            do()
        assert SECRET not in str(caught.value)
