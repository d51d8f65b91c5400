"""Byte stores, the cache of answers and the record manager, at work inside LangChain."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

pytest.importorskip("langchain_core", reason="the langchain extra is not installed")

from langchain.agents import create_agent
from langchain_core.caches import BaseCache, InMemoryCache
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.indexing import aindex, index
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult, Generation
from langchain_core.stores import InvalidKeyException

from langchain_memos import (
    MemOSByteStore,
    MemOSCache,
    MemOSMiddleware,
    MemOSRecordManager,
    MemOSStrStore,
    MemOSVectorStore,
)
from langchain_memos.generations import dumped, loaded
from langgraph_memos.forms import HEADING
from memos_integrations import MOS, Principal, Settings, errors


@pytest.fixture
def mos(tmp_path: Path) -> Iterator[MOS]:
    settings = Settings(worker=False, synchronous="normal")
    with MOS(tmp_path / "memory.db", embedder=None, settings=settings) as opened:
        yield opened


def on_disk(mos: MOS, words: bytes) -> bool:
    """Whether any file beside the memory's, its log included, holds these bytes."""
    files = [file for file in Path(mos.path).parent.rglob("*") if file.is_file()]
    assert files
    return any(words in file.read_bytes() for file in files)


# -- key-value stores ----------------------------------------------------------------------------


def test_stores_of_other_namespaces_users_and_kinds_are_apart(mos: MOS) -> None:
    store = MemOSByteStore(mos, namespace="a", user="alice")
    store.mset([("k", b"v")])
    others = [
        MemOSByteStore(mos, namespace="b", user="alice"),
        MemOSByteStore(mos, namespace="a", user="bob"),
        MemOSStrStore(mos, namespace="a", user="alice"),
    ]
    for other in others:
        assert other.mget(["k"]) == [None]
        assert list(other.yield_keys()) == []
        other.mdelete(["k"])
    assert store.mget(["k"]) == [b"v"]


def test_any_number_of_keys_is_listed_in_order(mos: MOS) -> None:
    store = MemOSByteStore(mos, user="alice")
    keys = [f"key-{n:05}" for n in range(2_500)]
    store.mset([(key, b"x") for key in reversed(keys)])
    assert list(store.yield_keys()) == keys
    assert list(store.yield_keys(prefix="key-0001")) == keys[10:20]


def test_value_ends_with_its_time_to_live(mos: MOS) -> None:
    store = MemOSByteStore(mos, user="alice", ttl_seconds=0.05)
    store.mset([("k", b"v")])
    assert store.mget(["k"]) == [b"v"]
    time.sleep(0.1)
    assert store.mget(["k"]) == [None]
    assert list(store.yield_keys()) == []


@pytest.mark.parametrize("key", [3, None, "x" * 5_000, "half \ud800"], ids=ascii)
def test_key_that_cannot_be_one_has_the_frameworks_own_error(mos: MOS, key: Any) -> None:
    for store in (MemOSByteStore(mos, user="alice"), MemOSStrStore(mos, user="alice")):
        value: Any = b"v" if isinstance(store, MemOSByteStore) else "v"
        for call in (
            lambda s=store, v=value: s.mset([("good", v), (key, v)]),
            lambda s=store: s.mget([key]),
            lambda s=store: s.mdelete([key]),
        ):
            with pytest.raises(InvalidKeyException):
                call()
        assert list(store.yield_keys()) == []


def test_value_of_another_type_is_refused_and_nothing_is_kept(mos: MOS) -> None:
    store: Any = MemOSByteStore(mos, user="alice")
    with pytest.raises(errors.InvalidInput):
        store.mset([("a", b"v"), ("b", "text")])
    texts: Any = MemOSStrStore(mos, user="alice")
    for wrong in (b"bytes", None, "half \ud800"):
        with pytest.raises(errors.InvalidInput):
            texts.mset([("a", "v"), ("b", wrong)])
    assert list(store.yield_keys()) == list(texts.yield_keys()) == []


def test_embeddings_are_cached_in_the_byte_store(mos: MOS) -> None:
    pytest.importorskip("langchain_classic", reason="langchain-classic is not installed")
    from langchain_classic.embeddings import CacheBackedEmbeddings

    calls: list[list[str]] = []

    class Counting(DeterministicFakeEmbedding):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            calls.append(texts)
            return super().embed_documents(texts)

    store = MemOSByteStore(mos, namespace="vectors", user="alice")
    model = CacheBackedEmbeddings.from_bytes_store(
        Counting(size=4), store, namespace="fake", key_encoder="sha256"
    )
    first = model.embed_documents(["a", "b"])
    assert model.embed_documents(["b", "c", "a"])[::2] == [first[1], first[0]]
    assert calls == [["a", "b"], ["c"]]


# -- the cache -----------------------------------------------------------------------------------


class Counted(BaseChatModel):
    """Answers with how often it was asked."""

    name_of_model: str = "counted"
    asked: list[str] = []  # noqa: RUF012  -- pydantic copies it

    @property
    def _llm_type(self) -> str:
        return self.name_of_model

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"name": self.name_of_model}

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self.asked.append(str(messages[-1].text))
        usage = {"input_tokens": 3, "output_tokens": 1, "total_tokens": 4}
        message = AIMessage(f"answer {len(self.asked)}", usage_metadata=usage)
        return ChatResult(generations=[ChatGeneration(message=message)])


class Topics(Embeddings):
    """Questions of one topic lie close together."""

    model = "topics"

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        angle = math.radians(10 * text.count("!") + (0 if "Paris" in text else 90))
        return [math.cos(angle), math.sin(angle)]


def test_same_question_is_paid_for_once(mos: MOS) -> None:
    cache: BaseCache = MemOSCache(mos, user="alice")
    model = Counted(cache=cache)
    first = model.invoke("What is the capital of France?")
    again = model.invoke("What is the capital of France?")
    assert (first.text, again.text) == ("answer 1", "answer 1")
    assert model.asked == ["What is the capital of France?"]
    assert model.invoke("And of Spain?").text == "answer 2"


async def test_cache_is_shared_by_both_halves_and_lives_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    with MOS(path, embedder=None) as mos:
        assert Counted(cache=MemOSCache(mos)).invoke("Hi?").text == "answer 1"
    with MOS(path, embedder=None) as mos:
        model = Counted(cache=MemOSCache(mos))
        assert (await model.ainvoke("Hi?")).text == "answer 1"
        assert model.asked == []


def test_other_model_conversation_or_owner_has_an_answer_of_its_own(mos: MOS) -> None:
    cache = MemOSCache(mos, user="alice")
    Counted(cache=cache).invoke("Hi?")
    assert Counted(cache=cache, name_of_model="other").invoke("Hi?").text == "answer 1"
    model = Counted(cache=cache, asked=["before"])
    assert model.invoke([SystemMessage("Be rude."), HumanMessage("Hi?")]).text == "answer 2"
    elsewhere = [
        MemOSCache(mos, user="bob"),
        MemOSCache(mos, user="alice", namespace="other"),
        MemOSCache(mos.acting(Principal(tenant="acme")), user="alice"),
    ]
    for other in elsewhere:
        asked = Counted(cache=other, asked=["before"])
        assert asked.invoke("Hi?").text == "answer 2"


def test_question_that_is_nearly_the_same_has_the_same_answer(mos: MOS) -> None:
    cache = MemOSCache(mos, user="alice", embedding=Topics(), threshold=0.98)
    model = Counted(cache=cache)
    assert model.invoke("What of Paris?").text == "answer 1"
    assert model.invoke("What of Paris, then!").text == "answer 1", "10 degrees away"
    assert model.invoke("What of Paris, then!!").text == "answer 2", "20 degrees away"
    assert model.invoke("What of Rome?").text == "answer 3"


def test_question_is_only_alike_where_all_else_is_equal(mos: MOS) -> None:
    cache = MemOSCache(mos, user="alice", embedding=Topics(), threshold=0.98)
    model = Counted(cache=cache)
    model.invoke([SystemMessage("You are a guide."), HumanMessage("What of Paris?")])
    same = [SystemMessage("You are a guide."), HumanMessage("What of Paris!")]
    other = [SystemMessage("You are a clerk."), HumanMessage("What of Paris!")]
    assert model.invoke(same).text == "answer 1"
    assert model.invoke(other).text == "answer 2"
    assert Counted(cache=cache, name_of_model="other", asked=["x", "y"]).invoke(same).text == (
        "answer 3"
    )
    history = [HumanMessage("What of Rome?"), AIMessage("Old."), HumanMessage("What of Paris!")]
    assert model.invoke(history).text == "answer 3"


def test_ids_of_messages_are_no_part_of_the_setting(mos: MOS) -> None:
    cache = MemOSCache(mos, user="alice", embedding=Topics(), threshold=0.98)
    model = Counted(cache=cache)
    for number, mark in enumerate("?!"):
        asked = [
            HumanMessage("Hello.", id=f"a{number}"),
            AIMessage("Hello.", id=f"b{number}"),
            HumanMessage(f"What of Paris{mark}", id=f"c{number}"),
        ]
        assert model.invoke(asked).text == "answer 1"


def test_pictures_are_never_alike(mos: MOS) -> None:
    cache = MemOSCache(mos, user="alice", embedding=Topics(), threshold=0.01)
    model = Counted(cache=cache)
    for number, name in enumerate(("a", "b"), 1):
        picture = {"type": "image", "url": f"https://example.org/{name}.png"}
        asked = HumanMessage([{"type": "text", "text": "What of Paris?"}, picture])
        assert model.invoke([asked]).text == f"answer {number}"


def test_answer_ends_with_its_time_to_live_also_by_meaning(mos: MOS) -> None:
    cache = MemOSCache(mos, user="alice", embedding=Topics(), threshold=0.98, ttl_seconds=0.2)
    model = Counted(cache=cache)
    model.invoke("What of Paris?")
    assert model.invoke("What of Paris!").text == "answer 1"
    time.sleep(0.3)
    assert model.invoke("What of Paris!").text == "answer 2"
    assert model.invoke("What of Paris?").text == "answer 2"


def test_clear_forgets_all_or_one_model(mos: MOS) -> None:
    cache = MemOSCache(mos, user="alice", embedding=Topics(), threshold=0.98)
    for name in ("one", "two"):
        cache.update("What of Paris?", name, [Generation(text=name)])
    cache.clear(llm_string="one")
    assert cache.lookup("What of Paris?", "one") is None
    assert cache.lookup("What of Paris!", "one") is None
    assert cache.lookup("What of Paris!", "two") == [Generation(text="two")]
    cache.clear()
    assert cache.lookup("What of Paris!", "two") is None
    with pytest.raises(errors.UsageError, match="everything"):
        cache.clear(everything=True)


def test_answer_that_json_cannot_carry_is_not_cached_and_breaks_nothing(
    mos: MOS, caplog: pytest.LogCaptureFixture
) -> None:
    cache = MemOSCache(mos, user="alice")
    cache.update("secret prompt", "m", [Generation(text="t", generation_info={"x": object()})])
    assert cache.lookup("secret prompt", "m") is None
    assert "not cached" in caplog.text
    assert "secret prompt" not in caplog.text


@pytest.mark.parametrize(
    "planted",
    [
        b"no json",
        b"{}",
        b'[{"kind": "Generation"}]',
        b'[{"kind": "PromptTemplate", "text": "x", "info": null}]',
        b'[{"lc": 1, "type": "constructor", "id": ["os", "system"], "kwargs": {}}]',
        b'[{"kind": "ChatGeneration", "info": null, "message": {"type": "x", "data": {}}}]',
        b"[" * 100_000,
    ],
    ids=lambda data: data[:30].decode(),
)
def test_planted_answer_makes_no_object_and_counts_as_a_miss(mos: MOS, planted: bytes) -> None:
    cache = MemOSCache(mos, user="alice")
    cache.update("p", "m", [Generation(text="t")])
    records = mos.records("langchain.cache/default", user="alice", cube="users/alice/llm-cache")
    (key,) = records.keys()
    records.put({key: planted})
    assert cache.lookup("p", "m") is None


def test_generations_of_every_kind_come_back_as_they_were() -> None:
    call = {"name": "clock", "args": {"x": [1]}, "id": "c", "type": "tool_call"}
    kept = [
        Generation(text="t", generation_info={"finish": "stop"}),
        ChatGeneration(
            message=AIMessage("a", id="m1", tool_calls=[call], response_metadata={"n": 1})
        ),
        ChatGeneration(message=AIMessage([{"type": "text", "text": "part"}])),
    ]
    assert loaded(dumped(kept)) == kept


@pytest.mark.parametrize(
    "wrong",
    [{"threshold": 0.9}, {"embedding": Topics()}, {"embedding": Topics(), "threshold": 0.0}],
    ids=["no embedding", "no threshold", "a threshold of nothing"],
)
def test_half_of_a_cache_by_meaning_is_refused(mos: MOS, wrong: Any) -> None:
    with pytest.raises(errors.UsageError):
        MemOSCache(mos, **wrong)


def test_questions_of_the_cache_stand_in_no_search_of_memories(mos: MOS) -> None:
    cache = MemOSCache(mos, user="alice", embedding=Topics(), threshold=0.9)
    cache.update("What of Paris?", "m", [Generation(text="Much.")])
    assert mos.search("Paris", user="alice") == []


def test_no_word_of_a_question_is_kept_and_all_of_it_ends_with_its_answer(mos: MOS) -> None:
    cache = MemOSCache(mos, user="alice", embedding=Topics(), threshold=0.9, ttl_seconds=0.2)
    cache.update("What of Paris and xylophones?", "m", [Generation(text="Much.")])
    assert cache.lookup("What of Paris?", "m") == [Generation(text="Much.")]
    assert mos.count(user="alice", cube="users/alice/llm-cache") == 0
    assert not on_disk(mos, b"xylophones")
    records = mos.records("langchain.cache/default", user="alice", cube="users/alice/llm-cache")
    assert len(records.keys()) == 2
    time.sleep(0.3)
    assert records.keys() == []
    cache.update("What of Paris?", "m", [Generation(text="Much.")])
    cache.clear(llm_string="m")
    assert records.keys() == []


def test_direction_that_another_model_made_or_that_is_damaged_leads_nowhere(mos: MOS) -> None:
    class Others(Topics):
        pass

    cache = MemOSCache(mos, user="alice", embedding=Topics(), threshold=0.9)
    cache.update("What of Paris?", "m", [Generation(text="Much.")])
    other = MemOSCache(mos, user="alice", embedding=Others(), threshold=0.9)
    assert other.lookup("What of Paris!", "m") is None
    records = mos.records("langchain.cache/default", user="alice", cube="users/alice/llm-cache")
    (key,) = [each for each in records.keys() if "/alike/" in each]  # noqa: SIM118  -- no mapping
    for planted in (b"", b"abc", b"\xff" * 8, b"\x00" * 8):
        records.put({key: planted})
        assert cache.lookup("What of Paris!", "m") is None


@pytest.mark.parametrize("place", ["question", "system"])
@pytest.mark.parametrize("by_meaning", [False, True])
def test_answer_made_of_memories_is_not_cached_and_erased_words_are_gone(
    mos: MOS, place: Any, by_meaning: bool
) -> None:
    how: dict[str, Any] = {"embedding": Topics(), "threshold": 0.5} if by_meaning else {}
    cache = MemOSCache(mos, user="alice", **how)
    kept = mos.add("My pin for Paris is zanzibar.", user="alice")
    model = Counted(cache=cache)
    agent = create_agent(
        model, middleware=[MemOSMiddleware(mos, user="alice", place=place, remember=())]
    )
    for _ in range(2):
        agent.invoke({"messages": [HumanMessage("What is my pin for Paris?")]})
    assert len(model.asked) == 2
    assert kept.id is not None
    mos.erase(kept.id, user="alice")
    assert not on_disk(mos, b"zanzibar")
    records = mos.records("langchain.cache/default", user="alice", cube="users/alice/llm-cache")
    assert records.keys() == []


def test_prompts_with_what_recall_or_a_graph_brought_are_not_cached(mos: MOS) -> None:
    cache = MemOSCache(mos, user="alice")
    model = Counted(cache=cache)
    calls = AIMessage(
        "", tool_calls=[{"name": "recall", "args": {}, "id": "c", "type": "tool_call"}]
    )
    brought = ToolMessage("[1] My pin is 4711.", name="recall", tool_call_id="c")
    clock = ToolMessage("Noon.", name="clock", tool_call_id="c")
    block = SystemMessage(f"{HEADING}\n[1] alice: My pin is 4711.")
    for prompt, asked in (
        ([HumanMessage("Pin?"), calls, brought], 2),
        ([block, HumanMessage("Pin?")], 2),
        ([HumanMessage("Time?"), calls, clock], 1),
    ):
        model.asked.clear()
        for _ in range(2):
            model.invoke(prompt)
        assert len(model.asked) == asked


def test_cache_goes_on_after_its_owner_was_erased_and_not_after_its_right_was_taken(
    mos: MOS,
) -> None:
    cache = MemOSCache(mos, user="alice")
    for again in (lambda: cache.lookup("Hi?", "m"), cache.clear):
        cache.update("Hi?", "m", [Generation(text="Hello.")])
        mos.erase(subject="alice", user="alice")
        assert again() is None
    mos.create_cube("teams/acme", user="maya")
    mos.share(to="alice", permission="write", user="maya", cube="teams/acme")
    shared = MemOSCache(mos, user="alice", cube="teams/acme")
    mos.revoke(to="alice", user="maya", cube="teams/acme")
    for refused in (lambda: shared.lookup("Hi?", "m"), shared.clear):
        with pytest.raises(errors.AccessDenied):
            refused()


def test_agent_with_memory_runs_on_an_answer_out_of_langchains_own_cache(mos: MOS) -> None:
    class Unbilled(Counted):
        def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
            self.asked.append("")
            return ChatResult(generations=[ChatGeneration(message=AIMessage("In Porto."))])

    mos.add("I live in Porto.", user="alice")
    model = Unbilled(cache=InMemoryCache())
    agent = create_agent(model, middleware=[MemOSMiddleware(mos, user="alice", remember=())])
    for _ in range(2):
        done = agent.invoke({"messages": [HumanMessage("Where do I live?", id="h1")]})
    assert len(model.asked) == 1
    assert done["messages"][-1].text == "In Porto."


# -- the record manager: LangChain's own tests of its managers, and indexing ---------------------


@pytest.fixture
def manager(mos: MOS) -> MemOSRecordManager:
    made = MemOSRecordManager("kittens", mos=mos, user="alice")
    made.create_schema()
    return made


def test_update_notes_keys_once(manager: MemOSRecordManager) -> None:
    assert manager.list_keys() == []
    for _ in range(2):
        manager.update(["key1", "key2", "key3"])
        assert sorted(manager.list_keys()) == ["key1", "key2", "key3"]


def test_update_moves_the_time(manager: MemOSRecordManager) -> None:
    with patch.object(manager, "get_time", return_value=100.0):
        manager.update(["key1"])
    with patch.object(manager, "get_time", return_value=200.0):
        manager.update(["key2"])
    assert manager.list_keys(before=150.0) == ["key1"]
    assert manager.list_keys(after=150.0) == ["key2"]
    with patch.object(manager, "get_time", return_value=300.0):
        manager.update(["key1"])
    assert manager.list_keys(after=250.0) == ["key1"]
    assert manager.list_keys(before=250.0) == ["key2"]
    assert manager.list_keys(before=300.0, after=200.0) == [], "both bounds are exclusive"


def test_clock_that_goes_back_is_an_error(manager: MemOSRecordManager) -> None:
    with (
        patch.object(manager, "get_time", return_value=100.0),
        pytest.raises(ValueError, match="time_at_least"),
    ):
        manager.update(["key1"], time_at_least=101.0)
    assert manager.list_keys() == []
    manager.update(["key1"], time_at_least=manager.get_time())


def test_group_ids_must_be_as_many_as_keys(manager: MemOSRecordManager) -> None:
    with pytest.raises(ValueError, match="group_ids"):
        manager.update(["key1", "key2"], group_ids=["one"])
    assert manager.list_keys() == []


def test_exists_answers_for_each_key_in_order(manager: MemOSRecordManager) -> None:
    manager.update(["key1", "key2"])
    assert manager.exists(["key2", "no", "key1"]) == [True, False, True]
    assert manager.exists([]) == []


def test_keys_are_listed_by_group(manager: MemOSRecordManager) -> None:
    manager.update(["k1", "k2", "k3"], group_ids=["g1", "g2", None])
    assert manager.list_keys(group_ids=["g1"]) == ["k1"]
    assert sorted(manager.list_keys(group_ids=["g1", "g2"])) == ["k1", "k2"]
    assert manager.list_keys(group_ids=["g3"]) == []
    assert manager.list_keys(group_ids=[]) == []
    assert len(manager.list_keys(limit=2)) == 2


def test_deleted_keys_are_gone(manager: MemOSRecordManager) -> None:
    manager.update(["k1", "k2"])
    manager.delete_keys(["k1", "never there"])
    assert manager.list_keys() == ["k2"]


def test_namespaces_and_owners_are_apart(mos: MOS, manager: MemOSRecordManager) -> None:
    manager.update(["k1"])
    for other in (
        MemOSRecordManager("puppies", mos=mos, user="alice"),
        MemOSRecordManager("kittens", mos=mos, user="bob"),
    ):
        other.update(["k2"])
        assert other.list_keys() == ["k2"]
        other.delete_keys(["k1"])
    assert manager.list_keys() == ["k1"]


async def test_both_halves_know_the_same(manager: MemOSRecordManager) -> None:
    await manager.acreate_schema()
    await manager.aupdate(["k1", "k2"], group_ids=["g1", "g2"])
    assert await manager.aexists(["k1", "k3"]) == [True, False]
    assert await manager.alist_keys(group_ids=["g2"]) == ["k2"]
    assert await manager.alist_keys(before=await manager.aget_time() + 1) == ["k1", "k2"]
    await manager.adelete_keys(["k1"])
    assert manager.list_keys() == ["k2"]


def test_unreadable_record_is_told_as_damage(mos: MOS, manager: MemOSRecordManager) -> None:
    mos.records("langchain.indexed/kittens", user="alice").put({"k": json.dumps({}).encode()})
    with pytest.raises(errors.VaultDamaged):
        manager.list_keys()


def documents(*texts: str, source: str = "a") -> list[Document]:
    return [Document(text, metadata={"source": source}) for text in texts]


def counts(done: Any) -> tuple[int, int, int, int]:
    return tuple(done[f"num_{what}"] for what in ("added", "updated", "skipped", "deleted"))  # type: ignore[return-value]


@pytest.fixture
def store(mos: MOS) -> MemOSVectorStore:
    return MemOSVectorStore(DeterministicFakeEmbedding(size=8), mos=mos, user="alice")


def held(store: MemOSVectorStore) -> set[str]:
    return {d.page_content for d in store.similarity_search("x", k=100)}


def test_index_adds_skips_and_cleans_up_in_full(
    store: MemOSVectorStore, manager: MemOSRecordManager
) -> None:
    def run(*texts: str) -> Any:
        return counts(
            index(
                documents(*texts),
                manager,
                store,
                cleanup="full",
                source_id_key="source",
                key_encoder="sha256",
            )
        )

    assert run("one", "two") == (2, 0, 0, 0)
    assert run("one", "two") == (0, 0, 2, 0)
    assert run("two", "three") == (1, 0, 1, 1)
    assert held(store) == {"two", "three"}
    assert run() == (0, 0, 0, 2)
    assert held(store) == set()
    assert run("one") == (1, 0, 0, 0)


def test_index_cleans_up_one_source_at_a_time(
    store: MemOSVectorStore, manager: MemOSRecordManager
) -> None:
    def run(given: list[Document]) -> Any:
        return counts(
            index(
                given,
                manager,
                store,
                cleanup="incremental",
                source_id_key="source",
                key_encoder="sha256",
            )
        )

    assert run(documents("one", "two") + documents("three", source="b")) == (3, 0, 0, 0)
    assert run(documents("two", "four")) == (1, 0, 1, 1)
    assert held(store) == {"two", "four", "three"}


async def test_aindex_does_the_same(store: MemOSVectorStore, manager: MemOSRecordManager) -> None:
    async def run(*texts: str, force: bool = False) -> Any:
        return counts(
            await aindex(
                documents(*texts),
                manager,
                store,
                cleanup="scoped_full",
                source_id_key="source",
                key_encoder="sha256",
                force_update=force,
            )
        )

    assert await run("one", "two") == (2, 0, 0, 0)
    assert await run("one") == (0, 0, 1, 1)
    assert await run("one", force=True) == (0, 1, 0, 0)
    assert held(store) == {"one"}


def test_erasing_a_person_takes_documents_records_and_answers_along(
    mos: MOS, store: MemOSVectorStore
) -> None:
    manager = MemOSRecordManager("docs", mos=mos, user="alice", cube=store.cube)
    index(documents("one"), manager, store, cleanup="full", key_encoder="sha256")
    assert len(manager.list_keys()) == 1
    cache = MemOSCache(mos, user="alice", embedding=Topics(), threshold=0.9)
    cache.update("What of Paris?", "m", [Generation(text="Much, in Paris.")])
    receipt = mos.erase(subject="alice", user="alice")
    assert receipt.scan.found == 0
    assert cache.lookup("What of Paris?", "m") is None
    assert not on_disk(mos, b"in Paris")
    again = MemOSVectorStore(DeterministicFakeEmbedding(size=8), mos=mos, user="alice")
    manager = MemOSRecordManager("docs", mos=mos, user="alice", cube=again.cube)
    assert manager.list_keys() == []
    assert held(again) == set()
