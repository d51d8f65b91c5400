"""The filter language: what parses, what is refused and how, and what each operator means."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import memos_integrations.infrastructure.vault as vault_package
from memos_integrations.cube.errors import InvalidFilter, UnsupportedFilter
from memos_integrations.cube.filters import (
    ALIASES,
    FIELDS,
    MAX_DEPTH,
    MAX_LIST,
    MAX_NODES,
    OPERATORS,
    And,
    Comparison,
    Not,
    Or,
    info_path,
    matches,
    parse,
)
from memos_integrations.cube.header import Header, State
from memos_integrations.cube.ids import to_micros
from memos_integrations.cube.item import MemoryItem
from memos_integrations.infrastructure.vault.filter_sql import Condition, compile_filter

MIGRATION = Path(str(vault_package.__file__)).parent / "sql/migrations/0001_core.sql"
NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
WORDS = "Buy 100% oat_milk at O'Brien's"
INFO: dict[str, Any] = {
    "project": "apollo",
    "n": 1,
    "half": 0.5,
    "yes": True,
    "nothing": None,
    "list": ["a", 1, True],
    "empty": [],
    "object": {"in": {"ner": "deep"}},
    "a.b": "dotted",
    'we"ird': "quoted",
    "$": "root",
    "[0]": "bracket",
    "back\\slash": "back",
    "huge": 10**30,
    "snowflake": 2**60 + 1,
    "'; DROP TABLE item; --": "robert",
}


def _item(**header: Any) -> MemoryItem:
    times = dict.fromkeys(("created", "updated", "time", "valid_from"), NOON)
    fields = {**times, "id": "one", "cube": "users/a", "owner": "user:a", **header}
    return MemoryItem(text=WORDS, header=Header(**fields))


ITEM = _item(tags=("work", "milk"), speaker="Ann", usage_count=3, last_used=NOON, info=INFO)


@pytest.fixture(scope="module")
def db() -> Iterator[sqlite3.Connection]:
    """A vault's tables with ``ITEM`` in them."""
    connection = sqlite3.connect(":memory:")
    connection.executescript(MIGRATION.read_text())
    at = to_micros(NOON)
    connection.execute(
        "INSERT INTO item (iid, id, cid, created, owner) VALUES (1, 'one', 1, ?, 'user:a')", (at,)
    )
    connection.execute(
        "INSERT INTO content (tid, cid, iid, fold, text) VALUES (1, 1, 1, x'', ?)", (WORDS,)
    )
    connection.execute(
        "INSERT INTO version (seq, iid, cid, version, recorded, tid, state, time, valid_from,"
        " speaker, tags, info, actor, reason)"
        " VALUES (1, 1, 1, 1, ?, 1, 'generated', ?, ?, 'Ann', ?, ?, 'user:a', 'test')",
        (at, at, at, json.dumps(ITEM.header.tags), json.dumps(INFO)),
    )
    connection.execute("INSERT INTO usage (iid, count, last) VALUES (1, 3, ?)", (at,))
    yield connection
    connection.close()


def in_sql(db: sqlite3.Connection, condition: Condition) -> bool:
    rows = db.execute(
        "SELECT count(*) FROM version AS v JOIN item AS i ON i.iid = v.iid"
        " LEFT JOIN content AS t ON t.tid = v.tid LEFT JOIN usage AS u ON u.iid = v.iid"
        f" WHERE v.cid = ? AND {condition.sql} AND v.seq_to > ?",
        (1, *condition.parameters, 0),
    )
    return bool(rows.fetchone()[0])


def holds(db: sqlite3.Connection, spec: Any) -> bool:
    """What both evaluators say; they must say the same."""
    tree = parse(spec)
    answer = matches(tree, ITEM)
    assert in_sql(db, compile_filter(tree)) is answer
    return answer


HOLDING: list[dict[str, Any]] = [
    {"speaker": "Ann"},
    {"speaker": {"!=": "Bob"}},
    {"speaker": {"gt": "Am", "gte": "Ann", "lt": "Anna", "lte": "Ann"}},
    {"speaker": {"in": ["Bob", "Ann"]}},
    {"speaker": {"nin": ["Bob"]}},
    {"speaker": {"contains": "nn"}},
    {"speaker": {"like": "a_N"}},
    {"speaker": {"exists": True}},
    {"role": {"exists": False}},
    {"role": {"!=": "user"}},
    {"role": {"nin": ["user"]}},
    {"not": {"role": {"gt": ""}}},
    {"not": {"not": {"speaker": "Ann"}}},
    {"state": State.GENERATED},
    {"state": {"in": ["generated", "frozen"]}},
    {"usage_count": 3},
    {"usage_count": {"gt": 2.5}},
    {"stale": False},
    {"labels": {"exists": False}},
    {"labels": {"nin": ["secret"]}},
    {"tags": "work"},
    {"tags": {"contains": "milk"}},
    {"tags": {"in": ["home", "work"]}},
    {"tags": {"nin": ["home"], "!=": "home"}},
    {"tag": "work"},
    {"text": {"contains": "100% oat_"}},
    {"text": {"like": r"buy 100\% oat\_milk%o'brien's"}},
    {"time": NOON},
    {"time": {"gte": "2026-01-15", "lt": date(2026, 1, 16)}},
    {"time": "2026-01-15T13:00+01:00"},
    {"created": {"in": ["2026-01-15T12:00Z"]}},
    {"last_used": {"exists": True}},
    {"valid_to": {"exists": False}},
    {"info.project": "apollo"},
    {"info.project": {"gt": "a", "contains": "poll", "like": "APO%"}},
    {"info.n": 1},
    {"info.n": 1.0},
    {"info.n": {"!=": True}},
    {"info.yes": True},
    {"info.yes": {"!=": 1}},
    {"info.half": {"in": [0.5, "x"]}},
    {"info.nothing": {"exists": False}},
    {"info.absent": {"exists": False}},
    {"info.empty": {"exists": True}},
    {"info.list": {"contains": "a"}},
    {"info.list": {"contains": True}},
    {"info.list": {"!=": "a"}},
    {"info.object": {"exists": True}},
    {"info.object.in.ner": "deep"},
    {r"info.a\.b": "dotted"},
    {'info.we"ird': "quoted"},
    {"info.$": "root"},
    {"info.[0]": "bracket"},
    {"info.back\\slash": "back"},
    {r"info.back\\slash": "back"},
    {"info.huge": 1e30},
    {"info.huge": {"gt": 2**63 - 1}},
    {"info.snowflake": 2**60 + 1},
    {"info.snowflake": {"gt": 2**60}},
    {"info.'; DROP TABLE item; --": "robert"},
]

FAILING: list[dict[str, Any]] = [
    {"speaker": "ann"},
    {"speaker": {"contains": "N"}},
    {"speaker": {"like": "nn"}},
    {"speaker": {"in": []}},
    {"role": {"gte": ""}},
    {"role": {"like": "%"}},
    {"tags": {"contains": "wor"}},
    {"text": {"contains": "100_"}},
    {"text": {"like": "%oat-milk%"}},
    {"text": {"like": r"%oat\%%"}},
    {"info.n": "1"},
    {"info.n": {"like": "1"}},
    {"info.n": {"contains": "1"}},
    {"info.yes": 1},
    {"info.yes": {"gt": 0}},
    {"info.nothing": "null"},
    {"info.a.b": "dotted"},
    {"info.list": {"contains": 2}},
    {"info.list": {"contains": '"a"'}},
    {"info.list": {"in": ["a"]}},
    {"info.list.0": "a"},
    {"info.object": {"contains": "deep"}},
    {"info.project.deeper": {"exists": True}},
    {"info.snowflake": 2**60},
    {"info.snowflake": float(2**60)},
    {"tags": "work", "speaker": "Bob"},
]


@pytest.mark.parametrize("spec", HOLDING, ids=repr)
def test_condition_holds_for_the_item(db: sqlite3.Connection, spec: dict[str, Any]) -> None:
    assert holds(db, spec)
    assert not holds(db, {"not": spec})


@pytest.mark.parametrize("spec", FAILING, ids=repr)
def test_condition_fails_for_the_item(db: sqlite3.Connection, spec: dict[str, Any]) -> None:
    assert not holds(db, spec)
    assert holds(db, {"NOT": spec})


@pytest.mark.parametrize(
    ("spelling", "meant"),
    [
        *[(("speaker", op), "=") for op in ("=", "eq", "$eq")],
        *[(("speaker", op), "!=") for op in ("!=", "ne", "$ne")],
        *[(("speaker", op), op.strip("$")) for op in ("gt", "$gt", "gte", "$gte")],
        *[(("speaker", op), op.strip("$")) for op in ("lt", "$lt", "lte", "$lte")],
    ],
)
def test_operator_spellings_mean_one_operator(spelling: tuple[str, str], meant: str) -> None:
    name, op = spelling
    assert parse({name: {op: "Ann"}}) == Comparison(name, meant, "Ann")


def test_mongo_list_and_exists_spellings_mean_one_operator() -> None:
    assert parse({"speaker": {"$in": ["a"]}}) == Comparison("speaker", "in", ("a",))
    assert parse({"speaker": {"$nin": ["a"]}}) == Comparison("speaker", "nin", ("a",))
    assert parse({"speaker": {"$exists": False}}) == Comparison("speaker", "exists", False)


@pytest.mark.parametrize("mark", ["and", "AND", "$and"])
def test_and_spellings_make_one_node(mark: str) -> None:
    a, b = Comparison("role", "=", "user"), Comparison("tags", "=", "x")
    assert parse({mark: [{"role": "user"}, {"tags": "x"}]}) == And((a, b))
    assert parse({"role": "user", "tags": "x"}) == And((a, b))


@pytest.mark.parametrize("mark", ["", "$"])
def test_or_and_not_spellings_make_one_node(mark: str) -> None:
    a = Comparison("role", "=", "user")
    assert parse({f"{mark}or": [{"role": "user"}]}) == Or((a,)) == parse({"OR": [{"role": "user"}]})
    assert parse({f"{mark}not": {"role": "user"}}) == Not(a) == parse({"NOT": {"role": "user"}})


@pytest.mark.parametrize("alias", ALIASES)
def test_alias_reads_as_the_header_field(alias: str) -> None:
    assert parse({alias: {"exists": True}}) == Comparison(ALIASES[alias], "exists", True)


def test_every_field_is_in_the_header() -> None:
    assert set(FIELDS) - {"text"} <= set(Header.model_fields)


@pytest.mark.parametrize("nothing", [None, {}])
def test_empty_filter_is_no_filter_and_passes_everything(
    db: sqlite3.Connection, nothing: dict[str, Any] | None
) -> None:
    assert parse(nothing) is None
    assert holds(db, nothing)


@pytest.mark.parametrize(
    "written",
    [
        datetime(2026, 1, 15, 12),
        datetime(2026, 1, 15, 13, tzinfo=timezone(timedelta(hours=1))),
        "2026-01-15T12:00:00Z",
        "2026-01-15T12:00:00",
        "2026-01-15 14:00+02:00",
    ],
    ids=str,
)
def test_times_become_aware_utc_instants(written: object) -> None:
    assert parse({"time": written}) == Comparison("time", "=", NOON)


def test_date_is_its_first_instant_in_utc() -> None:
    first = Comparison("time", "gte", datetime(2026, 1, 15, tzinfo=UTC))
    assert parse({"time": {"gte": date(2026, 1, 15)}}) == first
    assert parse({"time": {"gte": "2026-01-15"}}) == first


@pytest.mark.parametrize("spec", [*HOLDING, *FAILING], ids=repr)
def test_parsing_a_tree_changes_nothing(spec: dict[str, Any]) -> None:
    tree = parse({"or": [spec, {"not": spec}]})
    assert parse(tree) == tree


def test_trees_and_dicts_mix() -> None:
    a = Comparison("role", "=", "user")
    assert parse({"and": [a, {"tags": "x"}]}) == And((a, Comparison("tags", "=", "x")))


def test_info_path_splits_at_dots_and_reads_escapes() -> None:
    assert info_path(r"info.a.b\.c.d\\.e\f") == ("a", "b.c", "d\\", "e\\f")


REFUSED: list[tuple[Any, str]] = [
    ({"tgas": "x"}, "did you mean 'tags'"),
    ({"Tags": "x"}, "did you mean 'tags'"),
    ({"sesion": "x"}, "did you mean 'session'"),
    ({"qqqqqq": 1}, "info.<key>"),
    ({"info": {"=": 1}}, "info.<key>"),
    ({"info.": 1}, "non-empty keys"),
    ({"info.a..b": 1}, "non-empty keys"),
    ({"info." + ".".join("a" * 17): 1}, "1 to 16"),
    ({"info.a\0": 1}, "NUL"),
    ({"info.\ud800": 1}, "surrogates"),
    ({1: "x"}, "is a string"),
    ({"tags": {"regex": "x"}}, "legal are = != in nin contains exists"),
    ({"tags": {None: "x"}}, "no operator None"),
    ({"tags": {}}, "holds no operator"),
    ({"text": "exact"}, "legal are contains like"),
    ({"text": {"exists": True}}, "legal are contains like"),
    ({"state": {"gt": "frozen"}}, "no operator 'gt'"),
    ({"state": "actve"}, "legal are generated activated merged"),
    ({"stale": {"in": [True]}}, "no operator 'in'"),
    ({"stale": 1}, "takes True or False"),
    ({"stale": "true"}, "takes True or False"),
    ({"role": None}, "'exists': False"),
    ({"role": 3}, "takes text"),
    ({"role": ["a", "b"]}, "'in': [...]"),
    ({"role": {"in": "abc"}}, "takes a list"),
    ({"role": {"in": [["a"]]}}, "takes one value"),
    ({"role": {"exists": 1}}, "takes True or False"),
    ({"role": "a\0b"}, "NUL"),
    ({"role": "\ud83d"}, "surrogates"),
    ({"role": {"in": ["x"] * (MAX_LIST + 1)}}, "10000 is the limit"),
    ({"text": {"like": "a\\"}}, "ends in a backslash"),
    ({"text": {"like": "%" * 10_001}}, "10000 is the limit"),
    ({"priority": "high"}, "takes a number"),
    ({"priority": True}, "takes a number"),
    ({"priority": float("nan")}, "finite"),
    ({"priority": float("-inf")}, "finite"),
    ({"version": 2**63}, "64 bits"),
    ({"info.n": 2**64}, "64 bits"),
    ({"info.n": float("inf")}, "finite"),
    ({"info.n": {"gt": True}}, "no order"),
    ({"info.n": NOON}, "takes text, a number"),
    ({"info.n": [1]}, "'in': [...]"),
    ({"time": 1_768_000_000}, "a datetime, a date or ISO 8601 text"),
    ({"time": True}, "a datetime, a date or ISO 8601 text"),
    ({"time": "yesterday"}, "ISO 8601"),
    ({"time": datetime.min.replace(tzinfo=timezone(timedelta(hours=5)))}, "'time'"),
    ({"and": []}, "non-empty list"),
    ({"$or": {}}, "non-empty list"),
    ({"or": "tags"}, "non-empty list"),
    ({"and": [{}]}, "empty filter"),
    ({"not": {}}, "empty filter"),
    ({"not": None}, "a filter is a dict"),
    ({"and": ["x"]}, "a filter is a dict"),
    ("tags", "a filter is a dict"),
    ([], "a filter is a dict"),
    (Comparison("tgas", "=", "x"), "did you mean 'tags'"),
    (Comparison("version); DROP TABLE item; --", "=", 1), "no filter field"),
    (Not(Comparison("version", "= 1 OR 1 =", 1)), "no operator"),
    (And(()), "non-empty list"),
]


@pytest.mark.parametrize(("spec", "says"), REFUSED, ids=lambda value: repr(value)[:60])
def test_illegal_filter_is_refused_with_what_is_legal(spec: Any, says: str) -> None:
    with pytest.raises(InvalidFilter) as refusal:
        parse(spec)
    assert says in str(refusal.value)
    assert len(str(refusal.value)) < 700
    with pytest.raises(InvalidFilter):
        compile_filter(spec)


def _nested(levels: int) -> dict[str, Any]:
    spec: dict[str, Any] = {"tags": "work"}
    for _ in range(levels):
        spec = {"not": spec}
    return spec


def test_nesting_stops_at_the_limit(db: sqlite3.Connection) -> None:
    assert holds(db, _nested(MAX_DEPTH))
    for levels in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(InvalidFilter, match="deeper than 32"):
            parse(_nested(levels))


def test_node_count_stops_at_the_limit(db: sqlite3.Connection) -> None:
    assert holds(db, {"or": [{"tags": "work"}] * (MAX_NODES - 1)})
    with pytest.raises(InvalidFilter, match="more than 1000"):
        parse({"or": [{"tags": "work"}] * MAX_NODES})


def test_filter_that_holds_itself_is_refused() -> None:
    spec: dict[str, Any] = {}
    spec["and"] = [spec, spec]
    with pytest.raises(InvalidFilter, match="deeper"):
        parse(spec)


def _caterpillar(op: str, other: str, depth: int, leaf: dict[str, Any], width: int) -> Any:
    if not depth:
        return leaf
    inner = _caterpillar(other, op, depth - 1, leaf, width)
    return {op: [*[leaf] * width, inner, *[leaf] * width]}


def _bushy(op: str, other: str, depth: int, leaf: dict[str, Any]) -> Any:
    """Two equally deep arms for three levels, so that neither order of them is the cheap one."""
    if depth <= MAX_DEPTH - 3:
        return _caterpillar(op, other, depth, leaf, 1)
    arm = _bushy(other, op, depth - 1, leaf)
    return {op: [arm, arm]}


@pytest.mark.parametrize("leaf", [{"info.a.b.c": {"nin": ["x"]}}, {"labels": {"exists": False}}])
@pytest.mark.parametrize("op", ["and", "or"])
@pytest.mark.parametrize("shape", ["narrow", "wide", "flat", "bushy"])
def test_largest_legal_shapes_fit_the_parser_of_sqlite(
    db: sqlite3.Connection, leaf: dict[str, Any], op: str, shape: str
) -> None:
    other = "or" if op == "and" else "and"
    spec = {
        "narrow": lambda: _caterpillar(op, other, MAX_DEPTH, leaf, 1),
        "wide": lambda: _caterpillar(op, other, MAX_DEPTH, leaf, 14),
        "flat": lambda: {op: [leaf] * (MAX_NODES - 1)},
        "bushy": lambda: _bushy(op, other, MAX_DEPTH, leaf),
    }[shape]()
    assert holds(db, spec)


def test_filter_too_long_for_sqlite_is_refused_by_the_compiler() -> None:
    name = "info." + ".".join("k" * 16)
    tree = parse({"or": [{name: {"contains": 1}}] * (MAX_NODES - 1)})
    with pytest.raises(UnsupportedFilter, match="too long"):
        compile_filter(tree)


def test_longest_list_and_pattern_are_evaluated(db: sqlite3.Connection) -> None:
    many = [f"s{n}" for n in range(MAX_LIST - 1)]
    assert holds(db, {"speaker": {"in": [*many, "Ann"]}, "info.project": {"nin": many}})
    assert not holds(db, {"text": {"like": "🙂" * 10_000}})


def test_like_with_many_wildcards_ends_quickly() -> None:
    item = ITEM.model_copy(update={"text": "a" * 5_000})
    assert not matches(parse({"text": {"like": "%a" * 200 + "%b"}}), item)


HOSTILE = [
    "'",
    '"',
    "' OR 1=1 --",
    "'; DROP TABLE item; --",
    "x') OR ('1'='1",
    "/* */",
    "-- ",
    "?",
    "?1",
    ":name",
    "@p",
    "%",
    "_",
    "%' ESCAPE '",
    "\\",
    "\\\\",
    "$",
    "$.project",
    "$[0]",
    '$."project"',
    "[0]",
    "#-1",
    '") OR 1=1 --',
    "{x}",
    "{0}",
    "%s",
    "\u202e",
    "\u2028",
    "ﬀ",
    "🙂",
    "\x01",
    "\x7f",
    "\n",
    "NULL",
    "v.info",
    "project' OR '1",
    "a\0b",
    "\ud800",
]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_hostile_text_is_an_error_or_just_text(db: sqlite3.Connection, text: str) -> None:
    before = list(db.iterdump())
    pattern = text + "\\" if text == "\\" else text
    specs: list[dict[str, Any]] = [
        {text: "x"},
        {text: {"=": 1}},
        {"tags": {text: "x"}},
        {"info." + text: "apollo"},
        {"info." + text: {"exists": True}},
        {"info.object." + text: {"contains": text}},
        *[{name: {op: text}} for name in ("speaker", "info.project") for op in ("=", "gt", "lt")],
        *[{name: {"contains": text}} for name in ("text", "speaker", "tags", "info.list")],
        *[{name: {"like": pattern}} for name in ("text", "speaker", "info.project")],
        *[{name: {"in": [text]}} for name in ("id", "tags", "info.project")],
    ]
    answers = [_answer(db, spec) for spec in specs]
    assert answers[:3] == [None, None, None]
    assert list(db.iterdump()) == before


def _answer(db: sqlite3.Connection, spec: dict[str, Any]) -> bool | None:
    """What both evaluators say, ``None`` for a typed refusal."""
    try:
        return holds(db, spec)
    except InvalidFilter:
        return None


@pytest.mark.parametrize("text", HOSTILE[:-2], ids=ascii)
def test_sql_text_never_holds_what_the_caller_wrote(text: str) -> None:
    spec = {"info.a" + text: {"contains": text}, "tags": text, "speaker": {"in": [text]}}
    harmless = {"info.a": {"contains": "b"}, "tags": "b", "speaker": {"in": ["b"]}}
    written, plain = compile_filter(parse(spec)), compile_filter(parse(harmless))
    keys = len(info_path("info.a" + text))
    if keys == 1:
        assert written.sql == plain.sql
    assert len(written.parameters) == written.sql.count("?")


def test_every_operator_of_every_field_means_the_same_in_sql(db: sqlite3.Connection) -> None:
    values: dict[str, Any] = {"enum": None, "number": 1, "boolean": True, "time": NOON}
    for name, field in FIELDS.items():
        value = field.choices[0] if field.choices else values.get(field.type, "x")
        for op in OPERATORS[field.type]:
            operand = [value] if op in ("in", "nin") else True if op == "exists" else value
            holds(db, {name: {op: operand}})
