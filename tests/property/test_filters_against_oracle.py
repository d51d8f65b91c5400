"""Random filter trees: the compiled SQL finds exactly the items the plain-Python meaning finds."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import memos_integrations.infrastructure.vault as vault_package
from memos_integrations.cube.acl import Trust, Visibility
from memos_integrations.cube.filters import (
    ALIASES,
    FIELDS,
    OPERATORS,
    FieldType,
    canonical_json,
    field_of,
    matches,
    parse,
)
from memos_integrations.cube.header import (
    Header,
    Kind,
    MemoryType,
    Origin,
    State,
    StorageMode,
)
from memos_integrations.cube.ids import to_micros
from memos_integrations.cube.item import MemoryItem
from memos_integrations.infrastructure.vault.filter_sql import compile_filter

TREES = 5_000
ITEMS = 200

MIGRATION = Path(str(vault_package.__file__)).parent / "sql/migrations/0001_core.sql"
ROWS = """
    SELECT v.iid FROM version AS v JOIN item AS i ON i.iid = v.iid
    LEFT JOIN content AS t ON t.tid = v.tid LEFT JOIN usage AS u ON u.iid = v.iid
    WHERE """

TEXTS = [
    *["", "a", "A", "b", "ab", "aB%", "é", "É", "naïve café", "日本語", "🙂", "\ufffd", "\uffff"],
    *["100%", "100_", "a\\b", "back\\", "line\nbreak", "tab\there", "1", "true", "null", "[1]"],
    *["O'Brien", 'say "hi"', "x' OR 1=1 --", "apollo", "Apollo 11", "zebra", "{}", "K", "\u212a"],
]
PATTERNS = [
    "%",
    "_",
    "a%",
    "%A",
    "%b%",
    "a_",
    "100\\%",
    "100\\_",
    "%\\\\%",
    "ap%11",
    "%%",
    "é",
    "%é%",
]
INTEGERS = [0, 1, -1, 2, 7, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)]
FLOATS = [0.0, -0.0, 0.5, 1.0, 0.1 + 0.2, 0.3, 2.0**53, 1e30, 1e300, 5e-324, -1e-9, 9.3e18]
HUGE = [2**63, -(2**63) - 1, 10**30, 10**400, -(10**400)]
KEYS = [
    *["project", "n", "a", "a.b", 'we"ird', "it's", "$", "$.a", "[0]", "0", "#", "back\\slash"],
    *["é", "日本", " ", "'; DROP TABLE item; --", "?", "*", "\n", "true"],
]
NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
TIMES = [NOON + timedelta(days=d, microseconds=m) for d in (-400, -1, 0, 1, 30) for m in (0, 1)]
NAMES = [None, *TEXTS]


def _json_value(rng: random.Random, depth: int = 0) -> Any:
    pick = rng.random()
    if depth < 2 and pick < 0.15:
        return {rng.choice(KEYS): _json_value(rng, depth + 1) for _ in range(rng.randrange(4))}
    if depth < 2 and pick < 0.3:
        return [_json_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return rng.choice([*TEXTS, *INTEGERS, *FLOATS, *HUGE, *[True, False, None] * 5])


def _item(rng: random.Random, number: int) -> MemoryItem:
    def texts() -> tuple[str, ...]:
        return tuple(dict.fromkeys(rng.choices(TEXTS, k=rng.randrange(4))))

    tombstone = rng.random() < 0.05
    used = rng.random() < 0.5
    header = Header(
        id=f"item-{number}",
        cube="users/a",
        kind=rng.choice(list(Kind)),
        memory_type=rng.choice(list(MemoryType)),
        created=rng.choice(TIMES),
        updated=rng.choice(TIMES),
        time=rng.choice(TIMES),
        valid_from=rng.choice(TIMES),
        valid_to=rng.choice([None, *TIMES]),
        role=rng.choice(NAMES),
        speaker=rng.choice(NAMES),
        conversation=rng.choice(NAMES),
        agent=rng.choice(NAMES),
        origin=rng.choice(list(Origin)),
        source=rng.choice(NAMES),
        model=rng.choice(NAMES),
        tags=texts(),
        info={rng.choice(KEYS): _json_value(rng) for _ in range(rng.randrange(8))},
        owner=rng.choice(TEXTS),
        visibility=rng.choice(list(Visibility)),
        labels=texts(),
        trust=rng.choice(list(Trust)),
        expires=rng.choice([None, *TIMES]),
        legal_hold=rng.random() < 0.5,
        quarantined=rng.random() < 0.5,
        usage_count=rng.randrange(1, 4) if used else 0,
        last_used=rng.choice(TIMES) if used else None,
        priority=rng.choice(FLOATS),
        confidence=rng.choice(FLOATS),
        state=State.DELETED if tombstone else rng.choice(list(State)),
        stale=rng.random() < 0.5,
        version=rng.randrange(1, 4),
        storage_mode=rng.choice(list(StorageMode)),
    )
    data = {rng.choice(KEYS): _json_value(rng) for _ in range(rng.randrange(8))}
    text = "" if tombstone else rng.choice(TEXTS)
    wordless = header.state is State.DELETED and not text  # ``store`` keeps it as a tombstone
    return MemoryItem(text=text, data=None if wordless else data or None, header=header)


def _insert(db: sqlite3.Connection, table: str, **row: object) -> None:
    marks = ", ".join("?" * len(row))
    db.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))


def _json(value: object, *, ascii_only: bool) -> str | None:
    return json.dumps(value, ensure_ascii=ascii_only) if value else None


def _micros(when: datetime | None) -> int | None:
    return None if when is None else to_micros(when)


def store(db: sqlite3.Connection, item: MemoryItem, iid: int) -> None:
    """Write the item as a vault would; every other one with escaped instead of raw JSON text."""
    h, ascii_only = item.header, bool(iid % 2)
    tombstone = h.state is State.DELETED and not item.text
    same = ("kind", "memory_type", "role", "speaker", "conversation", "agent", "origin", "source")
    more = ("model", "priority", "confidence", "storage_mode", "stale", "version", "state")
    if not tombstone:
        data = canonical_json(item.data) if item.data else None
        _insert(db, "content", tid=iid, cid=1, iid=iid, fold=b"", text=item.text, data=data)
    _insert(
        db,
        "item",
        iid=iid,
        id=h.id,
        cid=1,
        created=to_micros(h.created),
        owner=h.owner,
        visibility=h.visibility,
        labels=_json(h.labels, ascii_only=ascii_only),
        trust=h.trust,
        expires=_micros(h.expires),
        legal_hold=int(h.legal_hold),
        quarantined=int(h.quarantined),
    )
    _insert(
        db,
        "version",
        **{name: getattr(h, name) for name in (*same, *more)},
        seq=iid,
        iid=iid,
        cid=1,
        recorded=to_micros(h.updated),
        tid=None if tombstone else iid,
        time=to_micros(h.time),
        valid_from=to_micros(h.valid_from),
        valid_to=_micros(h.valid_to),
        tags=_json(h.tags, ascii_only=ascii_only),
        info=_json(h.info, ascii_only=ascii_only),
        actor="user:a",
        reason="test",
    )
    if h.last_used:
        _insert(db, "usage", iid=iid, count=h.usage_count, last=to_micros(h.last_used))


def random_filter(rng: random.Random, depth: int = 0) -> dict[str, Any]:
    """A legal filter in its written form; deeper ones are rarer."""
    pick = rng.random()
    if depth < 5 and pick < 0.35:
        parts = [random_filter(rng, depth + 1) for _ in range(rng.randrange(1, 4))]
        return {rng.choice(["and", "or", "AND", "$or"]): parts}
    if depth < 5 and pick < 0.45:
        return {rng.choice(["not", "$not", "NOT"]): random_filter(rng, depth + 1)}
    name = _field_name(rng)
    operators = operators_of(name)
    chosen = rng.sample(operators, k=1 if rng.random() < 0.8 else min(2, len(operators)))
    return {name: {op: _operand(rng, name, op) for op in chosen}}


def _field_name(rng: random.Random) -> str:
    if rng.random() < 0.6:
        return rng.choice([*FIELDS, *ALIASES])
    keys = rng.choices(KEYS, k=rng.choice([1, 1, 1, 2, 3]))
    return rng.choice(["info.", "data."]) + ".".join(
        k.replace("\\", "\\\\").replace(".", "\\.") for k in keys
    )


def operators_of(name: str) -> list[str]:
    """``same`` reads JSON as the vault writes it; ``info`` is stored otherwise on purpose here."""
    legal = OPERATORS[field_of(ALIASES.get(name, name)).type]
    return [op for op in legal if op != "same" or name.startswith("data.")]


def _operand(rng: random.Random, name: str, op: str) -> Any:
    if op == "same":
        kinds = ([], {}, [rng.choice(TEXTS)], [1, 2], {rng.choice(KEYS): rng.choice(TEXTS)})
        return rng.choice([*kinds, [_json_value(rng, 1) for _ in range(rng.randrange(3))]])
    if op == "exists":
        return rng.random() < 0.5
    if op in ("in", "nin"):
        return [_operand(rng, name, "=") for _ in range(rng.randrange(5))]
    field = field_of(ALIASES.get(name, name))
    if op == "like":
        return rng.choice(PATTERNS)
    match field.type:
        case FieldType.ENUM:
            return rng.choice(field.choices)
        case FieldType.NUMBER:
            return rng.choice([*INTEGERS, *FLOATS])
        case FieldType.BOOLEAN:
            return rng.random() < 0.5
        case FieldType.TIME:
            return rng.choice([rng.choice(TIMES), rng.choice(TIMES).isoformat()])
        case FieldType.JSON:
            plain = [*TEXTS, *INTEGERS, *FLOATS]
            ordered = op in ("gt", "gte", "lt", "lte")
            return rng.choice(plain if ordered else [*plain, *[True, False] * 4])
        case _:
            return rng.choice(["item-7", *TEXTS])


@pytest.fixture(scope="module")
def stocked() -> Iterator[tuple[sqlite3.Connection, dict[int, MemoryItem]]]:
    rng = random.Random(20_260_115)
    db = sqlite3.connect(":memory:", cached_statements=0)
    db.executescript(MIGRATION.read_text())
    items = {iid: _item(rng, iid) for iid in range(1, ITEMS + 1)}
    for iid, item in items.items():
        store(db, item, iid)
    yield db, items
    db.close()


def found_by_sql(db: sqlite3.Connection, spec: Any) -> set[int]:
    condition = compile_filter(parse(spec))
    return {row[0] for row in db.execute(ROWS + condition.sql, condition.parameters)}


def found_by_oracle(items: dict[int, MemoryItem], spec: Any) -> set[int]:
    tree = parse(spec)
    return {iid for iid, item in items.items() if matches(tree, item)}


@pytest.mark.parametrize("trees", [TREES // 6, pytest.param(TREES, marks=pytest.mark.slow)])
def test_sql_and_oracle_agree_on_every_random_tree(
    stocked: tuple[sqlite3.Connection, dict[int, MemoryItem]], trees: int
) -> None:
    db, items = stocked
    rng = random.Random(7)
    partial = 0
    for _ in range(trees):
        spec = random_filter(rng)
        expected = found_by_oracle(items, spec)
        assert found_by_sql(db, spec) == expected, spec
        partial += 0 < len(expected) < ITEMS
    assert partial > trees / 2, "too few filters that tell items apart"


@pytest.mark.parametrize("each", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_every_field_and_operator_tells_items_apart_alike_in_both(
    stocked: tuple[sqlite3.Connection, dict[int, MemoryItem]], each: int
) -> None:
    db, items = stocked
    rng = random.Random(11)
    keys = ["n", "project", r"a\.b", 'we"ird']
    names = [*FIELDS, *(f"{root}.{key}" for root in ("info", "data") for key in keys)]
    for name in names:
        for op in operators_of(name):
            for _ in range(each):
                spec = {name: {op: _operand(rng, name, op)}}
                assert found_by_sql(db, spec) == found_by_oracle(items, spec), spec


def test_no_compiled_filter_is_ever_null(
    stocked: tuple[sqlite3.Connection, dict[int, MemoryItem]],
) -> None:
    db, _ = stocked
    rng = random.Random(13)
    for _ in range(300):
        condition = compile_filter(parse(random_filter(rng)))
        sql = ROWS.replace("SELECT v.iid", f"SELECT DISTINCT {condition.sql}") + "1"
        assert {row[0] for row in db.execute(sql, condition.parameters)} <= {0, 1}


def test_a_whole_list_or_object_is_found_by_what_the_vault_wrote(
    stocked: tuple[sqlite3.Connection, dict[int, MemoryItem]],
) -> None:
    db, items = stocked
    told = 0
    for iid, item in items.items():
        for key, value in (item.data or {}).items():
            if isinstance(value, list | dict):
                spec = {"data." + key.replace("\\", "\\\\").replace(".", "\\."): {"same": value}}
                found = found_by_sql(db, spec)
                assert iid in found
                assert found == found_by_oracle(items, spec), spec
                told += 1
    assert told > ITEMS / 4


ANY_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
FEW_LETTERS = st.text("aAbB%_\\é\n", max_size=8)


ANY = {
    "stored": ANY_TEXT | FEW_LETTERS,
    "asked": ANY_TEXT | FEW_LETTERS,
    "key": ANY_TEXT.filter(bool),
}


@settings(max_examples=60, deadline=None, database=None)
@given(**ANY)
def test_any_text_under_any_key_is_found_alike(stored: str, asked: str, key: str) -> None:
    _found_alike(stored, asked, key)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, database=None)
@given(**ANY)
def test_any_text_of_many_under_any_key_is_found_alike(stored: str, asked: str, key: str) -> None:
    _found_alike(stored, asked, key)


def _found_alike(stored: str, asked: str, key: str) -> None:
    db = sqlite3.connect(":memory:")
    try:
        db.executescript(MIGRATION.read_text())
        item = MemoryItem(
            text=stored,
            header=Header(
                **dict.fromkeys(("created", "updated", "time", "valid_from"), NOON),
                id="one",
                cube="users/a",
                owner="user:a",
                speaker=stored,
                tags=(stored, "other"),
                info={key: stored, "list": [stored]},
            ),
        )
        store(db, item, 1)
        name = "info." + key.replace("\\", "\\\\").replace(".", "\\.")
        pattern = asked if (len(asked) - len(asked.rstrip("\\"))) % 2 == 0 else asked + "\\"
        for spec in (
            *({field: {"like": pattern}} for field in ("text", "speaker", name)),
            *({field: {"contains": asked}} for field in ("text", "speaker", "tags", name)),
            *({field: {"lt": asked}} for field in ("speaker", name)),
            {"info.list": {"contains": asked}},
            {name: stored},
            {name: {"in": [asked, stored]}},
            {"tags": {"in": [stored]}},
        ):
            assert found_by_sql(db, spec) == found_by_oracle({1: item}, spec), spec
        assert found_by_sql(db, {name: stored}) == {1}
    finally:
        db.close()
