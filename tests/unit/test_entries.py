"""Entries: memories with a name, in batches, over time, under governance, and gone when erased."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from memos_integrations import MOS, AsyncMOS, Settings
from memos_integrations.cube.entries import (
    DeleteEntry,
    Entry,
    FindEntries,
    GetEntry,
    ListNamespaces,
    PutEntry,
    decode,
    encode,
    source_of,
    under,
)
from memos_integrations.cube.errors import (
    AccessDenied,
    Conflict,
    HostileArchive,
    InvalidFilter,
    InvalidInput,
    ItemFrozen,
    MergeConflict,
)
from memos_integrations.cube.ids import CubePath
from memos_integrations.testing.fakes import FakeEmbedder, ManualClock

QUIET = Settings(worker=False)
NS = ("profile", "food")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def mos(clock: ManualClock, tmp_path: Path) -> Iterator[MOS]:
    with MOS(tmp_path / "m.db", embedder=None, clock=clock, settings=QUIET) as opened:
        yield opened
        opened.work()
        assert opened.check().findings == ()


def held(mos: MOS, key: str = "k", **scope: Any) -> Any:
    found = mos.get_entry(NS, key, **({"user": "alice"} | scope))
    return None if found is None else found.value


def put(mos: MOS, value: dict[str, Any], key: str = "k", **more: Any) -> None:
    mos.put_entry(NS, key, value, **({"user": "alice"} | more))


def item_of(mos: MOS, key: str = "k", **scope: Any) -> str:
    found = mos.get_entry(NS, key, **({"user": "alice"} | scope))
    assert found is not None
    return found.item


# -- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "namespace", [("a",), ("a", "b"), ('a"', 'b,"c', "d\\"), ("é", "日本", " "), ("a,", '"')]
)
def test_a_namespace_is_read_back_from_its_encoding(namespace: tuple[str, ...]) -> None:
    assert decode(encode(namespace)) == namespace


def test_a_prefix_covers_whole_segments_only() -> None:
    start, below = under(("users",))
    inside = [("users",), ("users", "a"), ("users", "\U0010ffff")]
    outside = [("users2",), ("user",), ('users"',), ('users","a',), ("usert",)]
    assert all(start <= encode(each) < below for each in inside)
    assert not any(start <= encode(each) < below for each in outside)


def test_sources_of_different_names_differ() -> None:
    names = [(("a", "b"), "c"), (("a",), "b/c"), (("a/b",), "c"), (("a",), "b%2Fc")]
    long = [(("x" * 500,), "a"), (("x" * 500,), "b")]
    assert len({source_of(*name) for name in names + long}) == 6


# -- one name ---------------------------------------------------------------------------------


def test_a_value_comes_back_as_a_copy_with_its_times(mos: MOS, clock: ManualClock) -> None:
    value = {"dish": "soup", "notes": ["hot", {"n": 1}]}
    put(mos, value)
    value["notes"].append("changed")  # type: ignore[attr-defined]
    first = mos.get_entry(NS, "k", user="alice")
    assert first is not None
    assert first.value == {"dish": "soup", "notes": ["hot", {"n": 1}]}
    first.value["notes"].append("mine")
    assert held(mos) == {"dish": "soup", "notes": ["hot", {"n": 1}]}
    clock.advance(seconds=60)
    put(mos, {"dish": "pie"})
    second = mos.get_entry(NS, "k", user="alice")
    assert second is not None
    assert (second.created, second.updated - first.created) == (first.created, timedelta(minutes=1))


def test_an_empty_value_is_a_value(mos: MOS) -> None:
    put(mos, {})
    assert held(mos) == {}


def test_a_deleted_name_holds_nothing_and_begins_anew(mos: MOS, clock: ManualClock) -> None:
    put(mos, {"dish": "soup"})
    old = mos.get_entry(NS, "k", user="alice")
    mos.delete_entry(NS, "k", user="alice")
    mos.delete_entry(NS, "k", user="alice")
    assert held(mos) is None
    assert mos.entry_namespaces(user="alice") == []
    clock.advance(seconds=5)
    put(mos, {"dish": "pie"})
    new = mos.get_entry(NS, "k", user="alice")
    assert old is not None
    assert new is not None
    assert new.item != old.item
    assert new.created > old.created


def test_the_past_tells_what_a_name_held_then(mos: MOS) -> None:
    places = []
    for change in ({"dish": "soup"}, {"dish": "pie"}, None, {"dish": "rice"}):
        if change is None:
            mos.delete_entry(NS, "k", user="alice")
        else:
            put(mos, change)
        places.append(mos.version(user="alice"))
    then = [mos.as_of(place).get_entry(NS, "k", user="alice") for place in places]
    assert [each and each.value for each in then] == [
        {"dish": "soup"},
        {"dish": "pie"},
        None,
        {"dish": "rice"},
    ]
    found = mos.as_of(places[1]).find_entries((), query="pie", user="alice")
    assert [each.value for each in found] == [{"dish": "pie"}]
    assert mos.as_of(places[2]).entry_namespaces(user="alice") == []


def test_an_entry_is_an_ordinary_memory(mos: MOS) -> None:
    put(mos, {"dish": "soup with ginger"})
    hit = mos.search("ginger", user="alice")[0]
    assert (hit.item.data, hit.text) == ({"dish": "soup with ginger"}, "dish: soup with ginger")
    assert hit.item.header.source == "entry:profile/food/k"
    assert hit.id == item_of(mos)
    put(mos, {"dish": "pie"})
    assert [each.item.data for each in mos.history(hit.id, user="alice")] == [
        {"dish": "soup with ginger"},
        {"dish": "pie"},
    ]
    mos.rollback(hit.id, version=1, user="alice")
    assert held(mos) == {"dish": "soup with ginger"}


def test_no_facts_are_read_out_of_values(mos: MOS) -> None:
    put(mos, {"said": "I live in Oslo and work at Siemens."})
    mos.work()
    assert mos.facts(user="alice") == []


def test_equal_values_and_messages_stay_apart(mos: MOS) -> None:
    put(mos, {"dish": "soup"}, "one")
    put(mos, {"dish": "soup"}, "two")
    mos.add("dish: soup", user="alice", data={"dish": "soup"})
    mos.work()
    assert (held(mos, "one"), held(mos, "two")) == ({"dish": "soup"}, {"dish": "soup"})
    assert mos.count(user="alice") == 3


def test_a_name_survives_the_merging_of_its_memory(mos: MOS) -> None:
    put(mos, {"dish": "soup"}, "one")
    put(mos, {"dish": "soups"}, "two")
    mos.merge([item_of(mos, "one"), item_of(mos, "two")], "soup", user="alice")
    assert held(mos, "one") == {"dish": "soup"}
    put(mos, {"dish": "pie"}, "one")
    assert held(mos, "one") == {"dish": "pie"}
    assert mos.find_entries(NS, query="pie", user="alice")[0].key == "one"


# -- batches ----------------------------------------------------------------------------------


def test_reads_of_a_batch_see_the_state_before_its_writes(mos: MOS) -> None:
    put(mos, {"n": 1})
    found = mos.entries(
        [
            PutEntry(NS, "k", {"n": 2}),
            GetEntry(NS, "k"),
            PutEntry(NS, "new", {"n": 3}),
            FindEntries(NS),
            DeleteEntry(NS, "k"),
            ListNamespaces(),
            PutEntry(NS, "k", {"n": 4}),
        ],
        user="alice",
    )
    got, listed = found[1], found[3]
    assert isinstance(got, Entry)
    assert got.value == {"n": 1}
    assert isinstance(listed, list)
    assert len(listed) == 1
    assert found[5] == [NS]
    assert [found[n] for n in (0, 2, 4, 6)] == [None] * 4
    assert (held(mos), held(mos, "new")) == ({"n": 4}, {"n": 3})


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (PutEntry((), "k", {}), InvalidInput),
        (PutEntry(("a", ""), "k", {}), InvalidInput),
        (PutEntry("ab", "k", {}), InvalidInput),  # type: ignore[arg-type]
        (PutEntry(("a", 1), "k", {}), InvalidInput),  # type: ignore[arg-type]
        (PutEntry(("a",), "", {}), InvalidInput),
        (PutEntry(("a",), "k\0", {}), InvalidInput),
        (PutEntry(("a",), "k", {"x": object()}), InvalidInput),
        (PutEntry(("a",), "k", {"x": float("nan")}), InvalidInput),
        (PutEntry(("a",), "k", {1: 2}), InvalidInput),  # type: ignore[dict-item]
        (PutEntry(("a",), "k", [1]), InvalidInput),  # type: ignore[arg-type]
        (PutEntry(("a",), "k", {}, index=[]), InvalidInput),
        (PutEntry(("a",), "k", {}, index="text"), InvalidInput),
        (PutEntry(("a",), "k", {}, ttl_seconds=0), InvalidInput),
        (PutEntry(("a",), "k", {}, ttl_seconds=float("nan")), InvalidInput),
        (GetEntry(("a",), None), InvalidInput),  # type: ignore[arg-type]
        (FindEntries((), limit=-1), InvalidInput),
        (FindEntries((), offset=True), InvalidInput),
        (FindEntries((), filter={"data.x": {"$regex": "a"}}), InvalidFilter),  # type: ignore[arg-type]
        (FindEntries((), filter={"color": "red"}), InvalidFilter),  # type: ignore[arg-type]
        (FindEntries((), query=7), InvalidInput),  # type: ignore[arg-type]
        (ListNamespaces(max_depth=0), InvalidInput),
        ("get", InvalidInput),
    ],
)
def test_one_bad_operation_refuses_the_whole_batch(
    mos: MOS, bad: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        mos.entries([PutEntry(NS, "k", {"n": 1}), bad], user="alice")
    assert held(mos) is None


def test_a_refusal_inside_the_transaction_keeps_nothing_of_the_batch(mos: MOS) -> None:
    put(mos, {"n": 1}, "frozen")
    mos.freeze(item_of(mos, "frozen"), user="alice")
    with pytest.raises(ItemFrozen):
        mos.entries([PutEntry(NS, "k", {"n": 1}), PutEntry(NS, "frozen", {"n": 2})], user="alice")
    with pytest.raises(ItemFrozen):
        mos.delete_entry(NS, "frozen", user="alice")
    assert (held(mos), held(mos, "frozen")) == (None, {"n": 1})


# -- finding ----------------------------------------------------------------------------------


def test_fields_are_filtered_in_the_one_filter_language(mos: MOS) -> None:
    put(mos, {"color": "red", "size": {"w": 1}, "tags": ["a", "b"]}, "one")
    put(mos, {"color": "blue", "size": {"w": 2}}, "two")
    asked: list[tuple[Any, list[str]]] = [
        ({"data.color": "red"}, ["one"]),
        ({"data.size.w": {"gte": 2}}, ["two"]),
        ({"data.tags": {"same": ["a", "b"]}}, ["one"]),
        ({"data.tags": {"same": ["b", "a"]}}, []),
        ({"data.size": {"same": {"w": 1}}}, ["one"]),
        ({"data.tags": {"exists": False}}, ["two"]),
        ({"not": {"data.color": {"in": ["red", "green"]}}}, ["two"]),
    ]
    for where, keys in asked:
        found = mos.find_entries(NS, filter=where, user="alice")
        assert [each.key for each in found] == keys, where
        by_query = mos.find_entries(NS, filter=where, query="color", user="alice")
        assert [each.key for each in by_query] == keys, where


def test_pages_follow_the_order_in_which_names_were_given(mos: MOS) -> None:
    for n in range(5):
        put(mos, {"n": n}, f"k{n}")
    put(mos, {"n": 9}, "k0")
    pages = [mos.find_entries(NS, limit=2, offset=at, user="alice") for at in (0, 2, 4, 6)]
    assert [[e.key for e in page] for page in pages] == [["k0", "k1"], ["k2", "k3"], ["k4"], []]
    assert mos.find_entries(NS, limit=0, user="alice") == []


def test_a_query_never_finds_what_is_not_indexed(mos: MOS) -> None:
    put(mos, {"dish": "soup"}, "hidden", index=False)
    put(mos, {"dish": "soup", "cook": "Ann"}, "cook", index=["cook"])
    assert [e.key for e in mos.find_entries(NS, query="soup", user="alice")] == ["cook"]
    assert mos.find_entries(NS, query="soup", user="alice")[0].score is None
    assert mos.search("soup", user="alice") == []
    assert len(mos.find_entries(NS, user="alice")) == 2
    put(mos, {"dish": "soup"}, "hidden")
    assert mos.find_entries(NS, query="soup", user="alice")[0].key == "hidden"
    put(mos, {"dish": "soup"}, "hidden", index=False)
    assert [e.key for e in mos.find_entries(NS, query="soup", user="alice")] == ["cook"]


@pytest.fixture
def topics(tmp_path: Path) -> Iterator[MOS]:
    with MOS(tmp_path / "t.db", embedder=FakeEmbedder(256), settings=QUIET) as opened:
        yield opened
        opened.work()
        assert opened.check().findings == ()


def test_each_field_is_compared_by_itself_and_the_closest_counts(topics: MOS) -> None:
    topics.put_entry(NS, "both", {"a": "pizza", "b": "train"}, index=["a", "b"], user="alice")
    topics.put_entry(NS, "one", {"a": "pizza train"}, user="alice")
    for _ in range(2):  # before the fine stage, and after it
        found = topics.find_entries(NS, query="pizza", user="alice")
        assert found[0].key == "both"
        assert found[0].score is not None
        assert found[1].score is not None
        assert found[0].score > found[1].score
        topics.work()
    kept = topics.find_entries(NS, query="pizza", user="alice")
    assert kept[0].score == pytest.approx(found[0].score)


def test_a_new_value_is_compared_by_its_own_words(topics: MOS) -> None:
    topics.put_entry(NS, "k", {"a": "pizza"}, user="alice")
    topics.work()
    high = topics.find_entries(NS, query="pizza", user="alice")[0].score
    place = topics.version(user="alice")
    topics.put_entry(NS, "k", {"a": "train"}, user="alice")
    low = topics.find_entries(NS, query="pizza", user="alice")[0].score
    assert high is not None
    assert low is not None
    assert high > low
    then = topics.as_of(place).find_entries(NS, query="pizza", user="alice")[0]
    assert (then.value, then.score) == ({"a": "pizza"}, pytest.approx(high))


# -- governance -------------------------------------------------------------------------------


def test_nobody_reads_or_writes_the_names_of_others(mos: MOS) -> None:
    put(mos, {"n": 1})
    assert held(mos, user="bob") is None
    for act in (
        lambda: held(mos, user="bob", cube="users/alice"),
        lambda: mos.find_entries((), user="bob", cube="users/alice"),
        lambda: mos.entry_namespaces(user="bob", cube="users/alice"),
        lambda: put(mos, {"n": 2}, user="bob", cube="users/alice"),
        lambda: mos.delete_entry(NS, "k", user="bob", cube="users/alice"),
        lambda: mos.delete_entry(NS, "k", user="bob", cube="users/carol"),
        lambda: mos.entries([PutEntry(NS, "k", {}, cube="users/alice")], user="bob"),  # type: ignore[arg-type]
    ):
        with pytest.raises(AccessDenied):
            act()
    assert held(mos) == {"n": 1}
    mos.share(to="bob", user="alice")
    assert held(mos, user="bob", cube="users/alice") == {"n": 1}
    with pytest.raises(AccessDenied):
        put(mos, {"n": 2}, user="bob", cube="users/alice")
    mos.deny(item_of(mos), to="bob", user="alice")
    assert held(mos, user="bob", cube="users/alice") is None
    assert mos.find_entries((), user="bob", cube="users/alice") == []
    assert mos.entry_namespaces(user="bob", cube="users/alice") == []


def test_a_hidden_newer_value_does_not_show_the_older_one(mos: MOS) -> None:
    put(mos, {"n": 1})
    mos.delete_entry(NS, "k", user="alice")
    put(mos, {"n": 2})
    mos.share(to="bob", user="alice")
    mos.deny(item_of(mos), to="bob", user="alice")
    assert held(mos, user="bob", cube="users/alice") is None


def test_secrets_are_masked_before_they_are_stored(mos: MOS) -> None:
    put(mos, {"note": "key sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCD"})
    assert "abcdefghijkl" not in str(held(mos))


def test_personal_details_are_shown_to_their_owner_and_filter_nothing_for_others(mos: MOS) -> None:
    put(mos, {"mail": "carol@example.org"})
    mos.share(to="bob", user="alice")
    assert held(mos) == {"mail": "carol@example.org"}
    assert "carol@" not in str(held(mos, user="bob", cube="users/alice"))
    asked = {"data.mail": "carol@example.org"}
    assert len(mos.find_entries((), filter=asked, user="alice")) == 1
    for query in (None, "mail"):
        found = mos.find_entries((), filter=asked, query=query, user="bob", cube="users/alice")
        assert found == []


def test_every_operation_is_in_the_audit_log_without_names_or_values(mos: MOS) -> None:
    put(mos, {"dish": "soup"})
    held(mos)
    mos.delete_entry(NS, "k", user="alice")
    mos.flush()
    lines = mos.audit(user="alice", cube="users/alice")
    assert {line.action for line in lines} >= {"put", "entries", "delete"}
    assert "soup" not in str(lines)
    assert "profile" not in str(lines)


def test_a_quarantined_name_holds_nothing_until_it_is_released(mos: MOS) -> None:
    put(mos, {"dish": "soup"})
    mos.quarantine(source_of(NS, "k"), user="alice", cube="users/alice")
    assert held(mos) is None
    mos.release(source_of(NS, "k"), user="alice", cube="users/alice")
    assert held(mos) == {"dish": "soup"}


def test_a_put_that_a_quarantine_would_hide_is_refused_and_says_so(mos: MOS) -> None:
    put(mos, {"dish": "soup"})
    put(mos, {"dish": "tea"}, "gone")
    mos.delete_entry(NS, "gone", user="alice")
    for key in ("k", "gone", "never"):
        mos.quarantine(source_of(NS, key), user="alice", cube="users/alice")
        with pytest.raises(Conflict, match="under quarantine"):
            mos.entries(
                [PutEntry(NS, "other", {"n": 1}), PutEntry(NS, key, {"dish": "pie"})], user="alice"
            )
        assert held(mos, "other") is None
        mos.release(source_of(NS, key), user="alice", cube="users/alice")
        put(mos, {"dish": "pie"}, key)
        assert held(mos, key) == {"dish": "pie"}


def test_a_quarantined_name_can_still_be_deleted(mos: MOS) -> None:
    put(mos, {"dish": "soup"})
    mos.quarantine(source_of(NS, "k"), user="alice", cube="users/alice")
    mos.delete_entry(NS, "k", user="alice")
    mos.release(source_of(NS, "k"), user="alice", cube="users/alice")
    assert held(mos) is None


def test_a_put_onto_a_name_hidden_from_the_writer_tells_no_id_and_is_noted(mos: MOS) -> None:
    put(mos, {"n": 1})
    item = item_of(mos)
    mos.share(to="bob", permission="write", user="alice")
    mos.deny(item, to="bob", user="alice")
    for change in (
        lambda: put(mos, {"n": 2}, user="bob", cube="users/alice"),
        lambda: mos.delete_entry(NS, "k", user="bob", cube="users/alice"),
    ):
        with pytest.raises(AccessDenied) as refused:
            change()
        assert item not in f"{refused.value} {vars(refused.value)} {refused.value.__context__}"
    denied = [e for e in mos.audit(user="alice", cube="users/alice") if e.outcome == "denied"]
    assert [line.actor for line in denied] == ["user:bob"] * 2
    assert held(mos) == {"n": 1}


def test_a_put_onto_a_name_that_is_only_readable_names_the_memory(mos: MOS) -> None:
    put(mos, {"n": 1})
    mos.share(to="bob", permission="write", user="alice")
    mos.deny(item_of(mos), to="bob", permission="write", user="alice")
    with pytest.raises(AccessDenied, match=item_of(mos)):
        put(mos, {"n": 2}, user="bob", cube="users/alice")


SECRET = "sk-proj-" + "a1B2c3D4e5F6g7H8" * 3


@pytest.mark.parametrize(
    ("namespace", "key"),
    [
        (NS, SECRET),
        (("keys", SECRET, "x"), "k"),
        (NS, "password: hunter2hunter2"),
        (("git", "https://ann:hunter2hunter2@host"), "k"),
    ],
)
def test_a_name_that_looks_like_a_secret_is_refused_and_reaches_no_file(
    mos: MOS, namespace: tuple[str, ...], key: str
) -> None:
    with pytest.raises(InvalidInput, match="secret") as refused:
        mos.put_entry(namespace, key, {"n": 1}, user="alice")
    told = str(refused.value)
    assert SECRET not in told
    assert "hunter2" not in told
    raw = b"".join(path.read_bytes() for path in Path(mos.path).parent.iterdir() if path.is_file())
    assert SECRET.encode() not in raw
    assert b"hunter2" not in raw


def test_ordinary_names_are_no_secrets(mos: MOS) -> None:
    uuid = "0b0f7c4e-5d9d-4c5b-9a53-2f1f0f6a3c11"
    for name in (uuid, "ann@example.org", "token", "secret-santa", "日本", "a" * 64, "doc:12/3"):
        mos.put_entry(("memories", name, uuid), name, {"n": name}, user="alice")
        found = mos.get_entry(("memories", name, uuid), name, user="alice")
        assert found is not None


# -- time to live -----------------------------------------------------------------------------


def test_a_value_ends_with_its_time_and_reading_puts_that_off(mos: MOS, clock: ManualClock) -> None:
    put(mos, {"n": 1}, "read", ttl_seconds=60)
    put(mos, {"n": 1}, "left", ttl_seconds=60)
    clock.advance(seconds=40)
    assert held(mos, "read") == {"n": 1}
    assert held(mos, "left", refresh_ttl=False) == {"n": 1}
    clock.advance(seconds=40)
    assert (held(mos, "read"), held(mos, "left")) == ({"n": 1}, None)
    assert [e.key for e in mos.find_entries(NS, query="n", user="alice")] == ["read"]
    clock.advance(seconds=59)
    assert mos.find_entries(NS, user="alice")[0].key == "read"
    clock.advance(seconds=61)
    assert mos.entry_namespaces(user="alice") == []
    assert mos.expire_due() == 2
    put(mos, {"n": 2}, "left")
    assert held(mos, "left") == {"n": 2}


def test_an_ended_value_is_replaced_before_any_sweep(mos: MOS, clock: ManualClock) -> None:
    put(mos, {"n": 1}, ttl_seconds=60)
    first = item_of(mos)
    clock.advance(seconds=61)
    put(mos, {"n": 2})
    assert held(mos) == {"n": 2}
    assert item_of(mos) != first
    clock.advance(seconds=10_000)
    assert held(mos) == {"n": 2}


def test_a_put_without_a_time_to_live_lifts_the_earlier_one(mos: MOS, clock: ManualClock) -> None:
    put(mos, {"n": 1}, ttl_seconds=60)
    put(mos, {"n": 2})
    clock.advance(seconds=61)
    assert held(mos) == {"n": 2}


def test_who_may_only_read_a_value_does_not_keep_it_from_ending(
    mos: MOS, clock: ManualClock
) -> None:
    for key in ("k", "mine"):
        put(mos, {"n": 1}, key, ttl_seconds=60)
    mos.share(to="bob", user="alice")
    mos.share(to="carol", permission="write", user="alice")
    theirs = {"cube": "users/alice"}
    clock.advance(seconds=40)
    assert held(mos, user="bob", **theirs) == {"n": 1}
    assert mos.find_entries(NS, user="bob", **theirs) != []
    mos.entries(
        [GetEntry(NS, "k", cube=CubePath("users/alice")), PutEntry(NS, "b", {})], user="bob"
    )
    assert held(mos, "mine", user="carol", **theirs) == {"n": 1}
    clock.advance(seconds=40)
    assert (held(mos), held(mos, "mine")) == (None, {"n": 1})


def test_a_view_of_the_past_puts_nothing_off(mos: MOS, clock: ManualClock) -> None:
    put(mos, {"n": 1}, ttl_seconds=60)
    view = mos.as_of(mos.version(user="alice"))
    clock.advance(seconds=40)
    assert view.get_entry(NS, "k", user="alice") is not None
    clock.advance(seconds=30)
    assert held(mos) is None


# -- borders ----------------------------------------------------------------------------------


def test_erase_leaves_neither_value_nor_name_in_the_files(mos: MOS) -> None:
    mos.put_entry(("zebrafinch", "x"), "quokkakey", {"a": "wombatvalue"}, user="alice")
    mos.put_entry(("zebrafinch", "x"), "quokkakey", {"a": "wombatsecond"}, user="alice")
    found = mos.get_entry(("zebrafinch", "x"), "quokkakey", user="alice")
    assert found is not None
    mos.flush()
    receipt = mos.erase(found.item, user="alice")
    assert (receipt.scan.found, receipt.counts["entries"]) == (0, 1)
    raw = b"".join(path.read_bytes() for path in Path(mos.path).parent.iterdir() if path.is_file())
    for word in (b"zebrafinch", b"quokkakey", b"wombatvalue", b"wombatsecond"):
        assert word not in raw
    assert mos.get_entry(("zebrafinch", "x"), "quokkakey", user="alice") is None


def test_a_person_is_erased_with_their_names(mos: MOS) -> None:
    put(mos, {"dish": "soup"})
    mos.erase(subject="alice", user="alice")
    assert held(mos) is None


def test_a_cube_carries_its_names_over_borders(mos: MOS, tmp_path: Path) -> None:
    put(mos, {"dish": "old"})
    mos.delete_entry(NS, "k", user="alice")
    put(mos, {"dish": "soup"}, index=["dish"])
    put(mos, {"dish": "pie"}, "hidden", index=False)
    put(mos, {"dish": "gone"}, "gone")
    mos.delete_entry(NS, "gone", user="alice")
    mos.dump(tmp_path / "a.memcube", user="alice")
    for trusted in (True, False):
        name = f"users/alice/copy-{trusted}".lower()
        mos.load(tmp_path / "a.memcube", user="alice", cube=name, trusted=trusted)
        mos.work()
        assert held(mos, cube=name) == {"dish": "soup"}
        assert held(mos, "gone", cube=name) is None
        found = mos.find_entries((), query="dish pie soup", user="alice", cube=name)
        assert [each.key for each in found] == ["k"]
        put(mos, {"dish": "rice"}, cube=name)
        assert held(mos, cube=name) == {"dish": "rice"}
    assert held(mos) == {"dish": "soup"}


def test_a_fork_carries_its_names_and_a_merge_brings_them_back(mos: MOS) -> None:
    put(mos, {"n": 1}, "both")
    put(mos, {"n": 1}, "gone")
    put(mos, {"n": 1}, "anew")
    branch = mos.fork("users/alice/try", user="alice").path
    here = {"cube": branch}
    assert held(mos, "both", **here) == {"n": 1}
    put(mos, {"n": 2}, "both", index=["n"], **here)
    put(mos, {"n": 3}, "new", **here)
    mos.delete_entry(NS, "gone", user="alice", **here)
    mos.delete_entry(NS, "anew", user="alice", **here)
    put(mos, {"n": 4}, "anew", **here)
    assert (held(mos, "both"), held(mos, "new"), held(mos, "gone")) == ({"n": 1}, None, {"n": 1})
    mos.merge_branch(branch, user="alice")
    assert [held(mos, key) for key in ("both", "new", "gone", "anew")] == [
        {"n": 2},
        {"n": 3},
        None,
        {"n": 4},
    ]
    assert len(mos.find_entries((), user="alice")) == 3


def test_a_name_given_on_both_sides_is_a_conflict(mos: MOS) -> None:
    put(mos, {"n": 0}, "old")
    branch = mos.fork("users/alice/try", user="alice").path
    put(mos, {"n": 1}, "new")
    put(mos, {"n": 2}, "new", cube=branch)
    put(mos, {"n": 3}, "same")
    put(mos, {"n": 3}, "same", cube=branch)
    with pytest.raises(MergeConflict):
        mos.merge_branch(branch, user="alice")
    mos.merge_branch(branch, user="alice", on_conflict="theirs")
    assert (held(mos, "new"), held(mos, "same")) == ({"n": 2}, {"n": 3})
    assert len(mos.find_entries((), user="alice")) == 3


def test_an_archive_with_an_impossible_name_is_refused(mos: MOS, tmp_path: Path) -> None:
    from memos_integrations.infrastructure.wire import ItemRow, parse

    told = {
        "id": "01a21bae-aae1-7000-9cb3-15eca4fed441",
        "created": 0,
        "trust": "user",
        "entry": {"namespace": ["a"], "key": "k", "fields": []},
    }
    assert parse(ItemRow, told, "x").entry is not None
    for wrong in (
        {"namespace": []},
        {"namespace": [1]},
        {"key": ""},
        {"fields": [""]},
        {"ttl": 0},
        {"more": 1},
    ):
        with pytest.raises(HostileArchive):
            parse(ItemRow, told | {"entry": {**told["entry"], **wrong}}, "x")  # type: ignore[dict-item]


def test_a_thousand_puts_are_one_commit(mos: MOS) -> None:
    vault = mos._rooms.vault
    before = vault.commits
    mos.entries([PutEntry(NS, f"k{n}", {"n": n}) for n in range(1000)], user="alice")
    assert vault.commits == before + 1
    before = vault.commits
    held(mos, "k7")
    assert vault.commits == before


def test_a_checkup_and_a_summary_leave_values_as_they_are(topics: MOS) -> None:
    for n in range(4):
        topics.put_entry(NS, f"k{n}", {"text": "the standup is at nine"}, user="alice")
        topics.put_entry(NS, f"n{n}", {"v": n}, user="alice")
    topics.work()
    assert topics.doctor(user="alice").findings == ()
    topics.consolidate(user="alice")
    topics.work()
    assert topics.count(user="alice") == 8
    assert len(topics.find_entries(NS, query="standup", user="alice")) == 8


def test_all_that_a_name_ever_held_is_erased_by_its_source(mos: MOS) -> None:
    put(mos, {"dish": "wombatsoup"})
    mos.delete_entry(NS, "k", user="alice")
    put(mos, {"dish": "wombatpie"})
    put(mos, {"dish": "rice"}, "other")
    receipt = mos.erase(source=source_of(NS, "k"), user="alice")
    assert (receipt.counts["entries"], receipt.scan.found) == (2, 0)
    assert (held(mos), held(mos, "other")) == (None, {"dish": "rice"})
    raw = b"".join(path.read_bytes() for path in Path(mos.path).parent.iterdir() if path.is_file())
    assert b"wombat" not in raw


def test_what_rests_on_a_value_turns_stale_when_it_changes(mos: MOS) -> None:
    put(mos, {"dish": "soup"})
    drawn = mos.add("Alice likes warm food", user="alice", derived_from=[item_of(mos)]).id
    put(mos, {"dish": "ice"})
    assert mos.get(drawn, user="alice").header.stale
    mos.activate(drawn, user="alice")
    mos.delete_entry(NS, "k", user="alice")
    assert mos.get(drawn, user="alice").header.stale


def test_a_value_says_whose_word_it_is(mos: MOS) -> None:
    put(mos, {"dish": "soup"}, trust="inference")
    header = mos.get(item_of(mos), user="alice").header
    assert (header.trust, header.origin) == ("inference", "inference")
    put(mos, {"dish": "soup"})
    header = mos.get(item_of(mos), user="alice").header
    assert (header.trust, header.origin) == ("user", "user_input")
    with pytest.raises(InvalidInput, match="trust"):
        put(mos, {"dish": "soup"}, trust="gossip")
    assert mos.search("soup", user="alice", filter={"trust": "user"})[0].item.data


def test_the_present_version_is_looked_up_without_its_forerunners(mos: MOS) -> None:
    put(mos, {"n": 0})
    plan = "EXPLAIN QUERY PLAN SELECT 1 FROM version v WHERE v.iid = ? AND v.seq_to > ?"
    with mos._rooms.vault.readers.snapshot() as connection:
        (step,) = connection.execute(plan, (1, 1)).fetchall()
    assert "version_held" in step[3]


def test_every_memory_is_filtered_by_its_data(mos: MOS) -> None:
    put(mos, {"dish": "soup"})
    mos.add("the soup is hot", user="alice", data={"dish": "soup", "hot": True})
    mos.add("the soup is cold", user="alice")
    found = mos.search("soup", user="alice", filter={"data.dish": "soup"})
    assert sorted(hit.text for hit in found) == ["dish: soup", "the soup is hot"]
    assert [item.text for item in mos.list(user="alice", filter={"data.hot": True})] == [
        "the soup is hot"
    ]
    assert mos.count(user="alice", filter={"data.dish": {"exists": False}}) == 1
    assert mos.count(user="alice", filter={"source": {"like": "entry:%"}}) == 1


async def test_entries_are_awaited_with_the_same_words(tmp_path: Path) -> None:
    async with AsyncMOS(tmp_path / "a.db", embedder=None, settings=QUIET) as mos:
        await mos.put_entry(NS, "k", {"n": 1})
        place = await mos.version()
        await mos.entries([PutEntry(NS, "k", {"n": 2}), PutEntry(NS, "b", {"n": 3})])
        view = await mos.as_of(place)
        then, now = await view.get_entry(NS, "k"), await mos.get_entry(NS, "k")
        assert then is not None
        assert now is not None
        assert (then.value, now.value) == ({"n": 1}, {"n": 2})
        assert len(await mos.find_entries(NS)) == 2
        assert await mos.entry_namespaces() == [NS]
        await mos.delete_entry(NS, "k")
        assert await mos.get_entry(NS, "k") is None


def test_what_only_reads_refuses_to_write(mos: MOS) -> None:
    view = mos.as_of(mos.version(user="alice"))
    for ops in ([PutEntry(NS, "k", {})], [GetEntry(NS, "k"), DeleteEntry(NS, "k")], None, "ops"):
        for memory in (mos, view):
            with pytest.raises(InvalidInput):
                memory.read_entries(ops, user="alice")  # type: ignore[arg-type]
    assert not hasattr(view, "put_entry")
