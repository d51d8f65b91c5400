"""What was quarantined, archived, erased or planted reaches no model through LlamaIndex."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    CitableBlock,
    DocumentBlock,
    ImageBlock,
    ToolCallBlock,
)
from llama_index.core.graph_stores.types import ChunkNode, EntityNode, Relation
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    NodeWithScore,
    TextNode,
)
from llama_index.core.storage.docstore.keyval_docstore import KVDocumentStore
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from llama_index_memos import (
    MemOSAsyncChatStore,
    MemOSChatStore,
    MemOSKVStore,
    MemOSMemory,
    MemOSPostprocessor,
    MemOSPropertyGraphStore,
    MemOSRetriever,
    MemOSVectorStore,
)
from memos_integrations import MOS, Settings, errors
from memos_integrations.cube.embedded import Embedded
from memos_integrations.testing.fakes import ManualClock

CODE = "The alarm code of the house is 4711"
NODES = "users/ann/nodes"
GRAPH = "users/ann/graph"
Hide = Callable[[MOS, str, str | None], object]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 3, 1, 12, tzinfo=UTC))


@pytest.fixture
def mos(clock: ManualClock) -> Iterator[MOS]:
    settings = Settings(worker=False, synchronous="normal")
    with MOS(None, embedder=None, clock=clock, settings=settings) as mos:
        yield mos


def user(text: str) -> ChatMessage:
    return ChatMessage(role="user", content=text)


def said(messages: list[ChatMessage]) -> str:
    return "".join(message.content or "" for message in messages)


# -- what a search may not show -------------------------------------------------------------------

HIDE: dict[str, Hide] = {
    "quarantined": lambda m, _, cube: m.quarantine("web", user="ann", cube=cube),
    "archived": lambda m, i, cube: m.archive(i, user="ann", cube=cube),
    "no longer valid": lambda m, i, cube: m.update(
        i, valid_to=datetime(2026, 3, 1, tzinfo=UTC), user="ann", cube=cube
    ),
}


@pytest.mark.parametrize("how", HIDE)
def test_a_turn_does_not_show_again_what_was_hidden_within_it(mos: MOS, how: str) -> None:
    kept = mos.add(CODE, user="ann", source="web").id
    assert kept is not None
    memory = MemOSMemory(mos, user="ann", session_id="s")
    memory.put(user("What is the alarm code?"))
    assert "4711" in said(memory.get())
    HIDE[how](mos, kept, None)
    assert "4711" not in said(memory.get())
    memory.put(ChatMessage(role="assistant", content="I do not know."))
    assert mos.provenance(mos.list(user="ann", limit=1)[0].id, user="ann").sources == ()


def test_a_turn_does_not_show_again_what_expired_within_it(mos: MOS, clock: ManualClock) -> None:
    mos.add(CODE, user="ann", ttl_seconds=60)
    memory = MemOSMemory(mos, user="ann", session_id="s")
    memory.put(user("What is the alarm code?"))
    assert "4711" in said(memory.get())
    clock.advance(seconds=61)
    assert "4711" not in said(memory.get())


@pytest.mark.parametrize("how", HIDE)
def test_the_postprocessor_drops_memories_that_were_hidden_since(mos: MOS, how: str) -> None:
    kept = mos.add(CODE, user="ann", source="web").id
    assert kept is not None
    found = MemOSRetriever(mos, user="ann").retrieve("alarm code")
    check = MemOSPostprocessor(mos, user="ann")
    assert len(check.postprocess_nodes(found)) == 1
    HIDE[how](mos, kept, None)
    assert check.postprocess_nodes(found) == []


def test_the_postprocessor_drops_what_names_no_memory_at_all(mos: MOS) -> None:
    odd = [
        TextNode(text="x", metadata={"memory_id": name, "memory_cube": cube})
        for name, cube in (("a\x00b", "users/ann"), (7, "users/ann"), ("x", "\ud800"), ("x", ""))
    ]
    check = MemOSPostprocessor(mos, user="ann")
    assert check.postprocess_nodes([NodeWithScore(node=node) for node in odd]) == []


def filled(mos: MOS) -> tuple[MemOSVectorStore, str]:
    store = MemOSVectorStore(mos, user="ann")
    for name in ("web", "own"):
        node = Document(id_=name, text=name).as_related_node_info()
        store.add(
            [
                TextNode(
                    id_=f"{name}-1",
                    text=f"bread of {name}",
                    embedding=[1.0, 0.0],
                    relationships={"1": node},  # type: ignore[dict-item]
                )
            ]
        )
    (kept,) = mos.list(user="ann", cube=NODES, filter={"source": "web"})
    return store, kept.id


@pytest.mark.parametrize("how", HIDE)
def test_hidden_nodes_are_neither_found_nor_listed_nor_passed_on(mos: MOS, how: str) -> None:
    store, kept = filled(mos)
    found = [NodeWithScore(node=node) for node in store.get_nodes()]
    check = MemOSPostprocessor(mos, user="ann", cubes=[NODES])
    assert len(check.postprocess_nodes(found)) == 2
    HIDE[how](mos, kept, NODES)
    assert store.query(VectorStoreQuery(query_embedding=[1.0, 0.0], similarity_top_k=5)).ids == [
        "own-1"
    ]
    assert [node.node_id for node in store.get_nodes()] == ["own-1"]
    assert store.get_nodes(["web-1"]) == []
    assert [each.node_id for each in check.postprocess_nodes(found)] == ["own-1"]


def test_hidden_nodes_are_deleted_with_their_document(mos: MOS) -> None:
    store, _ = filled(mos)
    mos.quarantine("web", user="ann", cube=NODES)
    store.delete("web")
    mos.release("web", user="ann", cube=NODES)
    assert [node.node_id for node in store.get_nodes()] == ["own-1"]


def graph_of(mos: MOS) -> MemOSPropertyGraphStore:
    graph = MemOSPropertyGraphStore(mos, user="ann")
    from_web = {"ref_doc_id": "web"}
    mill = EntityNode(name="mill", label="PLACE", properties=from_web, embedding=[1.0, 0.0])
    graph.upsert_nodes([mill, EntityNode(name="baker", label="PERSON", embedding=[0.0, 1.0])])
    graph.upsert_relations(
        [
            Relation(label="OWNS", source_id="baker", target_id="mill"),
            Relation(label="KNOWS", source_id="baker", target_id="miller", properties=from_web),
        ]
    )
    return graph


def test_a_graph_without_what_was_quarantined(mos: MOS) -> None:
    graph = graph_of(mos)
    baker = graph.get(ids=["baker"])
    assert len(graph.get_triplets(entity_names=["baker"])) == 2
    mos.quarantine("web", user="ann", cube=GRAPH)
    assert sorted(node.id for node in graph.get()) == ["baker", "miller"]
    assert graph.get(ids=["mill"]) == []
    assert graph.get_triplets(entity_names=["baker"]) == []
    assert graph.get_triplets(properties={"ref_doc_id": "web"}) == []
    assert graph.get_rel_map(baker) == []
    assert graph.get_schema() == {"nodes": ["PERSON", "entity"], "relations": ["OWNS"]}
    mos.release("web", user="ann", cube=GRAPH)
    assert len(graph.get_rel_map(baker)) == 2


def test_a_relation_to_a_quarantined_node_does_not_replace_it(mos: MOS) -> None:
    graph = graph_of(mos)
    mos.quarantine("web", user="ann", cube=GRAPH)
    graph.upsert_relations([Relation(label="SEES", source_id="baker", target_id="mill")])
    mos.release("web", user="ann", cube=GRAPH)
    (mill,) = graph.get(ids=["mill"])
    assert (mill.label, mill.properties["ref_doc_id"]) == ("PLACE", "web")


def test_deleting_from_a_graph_takes_along_what_is_quarantined(mos: MOS) -> None:
    graph = graph_of(mos)
    chunk = ChunkNode(id_="c", text="the mill stands", properties={"ref_doc_id": "web"})
    drawn = EntityNode(name="wind", properties={"triplet_source_id": "c", "ref_doc_id": "web"})
    graph.upsert_nodes([chunk, drawn])
    mos.quarantine("web", user="ann", cube=GRAPH)
    graph.delete_llama_nodes(node_ids=["c"])
    graph.delete(entity_names=["mill"])
    mos.release("web", user="ann", cube=GRAPH)
    assert sorted(node.id for node in graph.get()) == ["baker", "miller"]


# -- erasing a conversation -----------------------------------------------------------------------

SECRET = "marzipan-and-nougat-4711"


def left_in(mos: MOS) -> int:
    files = (Path(mos.path + tail) for tail in ("", "-wal"))
    return sum(file.read_bytes().count(SECRET.encode()) for file in files if file.exists())


@pytest.mark.parametrize("cube", [None, "teams/kitchen"])
def test_erasing_a_session_takes_the_history_of_a_memory_along(mos: MOS, cube: str | None) -> None:
    memory = MemOSMemory(mos, user="ann", session_id="s1", cube=cube)
    other = MemOSMemory(mos, user="ann", session_id="s2", cube=cube)
    memory.put_messages([user(f"I love {SECRET}"), ChatMessage(role="tool", content=SECRET)])
    other.put(user("I like tea"))
    assert SECRET in said(memory.get())
    # The history lies in the member's home, what was said in the team's cube.
    receipts = [mos.erase(source="session:s1", user="ann", cube=c) for c in {None: 0, cube: 0}]
    assert receipts[-1].scan.found == 0
    assert memory.get_all() == MemOSMemory(mos, user="ann", session_id="s1", cube=cube).get() == []
    assert SECRET not in said(other.get("what do I love?"))
    assert said(other.get_all()) == "I like tea"
    assert left_in(mos) == 0


@pytest.mark.parametrize("key", ["s1", "chat/of ann: 100%", "ü" * 80])
async def test_erasing_a_conversation_takes_what_chat_stores_keep_of_it(mos: MOS, key: str) -> None:
    store, waiting = MemOSChatStore(mos, user="ann"), MemOSAsyncChatStore(mos, user="ann")
    store.set_messages(key, [user(f"{n} {SECRET}") for n in range(3)])
    await waiting.archive_oldest_messages(key, 2)
    store.add_message("s2", user("I like tea"))
    receipt = mos.erase(source=f"session:{key}", user="ann")
    assert (receipt.counts["records"], receipt.scan.found) == (3, 0)
    assert store.get_messages(key) == await waiting.get_messages(key, status=None) == []
    assert store.get_keys() == ["s2"]
    assert said(store.get_messages("s2")) == "I like tea"
    assert left_in(mos) == 0


def test_a_conversation_whose_name_names_no_session_is_kept_and_erased_with_its_user(
    mos: MOS,
) -> None:
    store = MemOSChatStore(mos, user="ann")
    for key in ("", "a\nb", "n" * 900):
        store.add_message(key, user(SECRET))
        assert said(store.get_messages(key)) == SECRET
    assert store.get_keys() == sorted(["", "a\nb", "n" * 900])
    mos.erase(subject="ann", user="ann")
    assert (store.get_keys(), left_in(mos)) == ([], 0)


# -- what would make its reader read or fetch something -------------------------------------------


def planted(path: Path) -> list[dict[str, Any]]:
    document = {"block_type": "document", "path": str(path)}
    cited = {"block_type": "citable", "title": "t", "source": "s", "content": [document]}
    quoted: dict[str, Any] = {"block_type": "citation", "source": "s", "title": "t"}
    quoted |= {"additional_location_info": {}}
    return [
        *({"block_type": kind, "path": str(path)} for kind in ("image", "audio", "video")),
        document,
        cited,
        quoted | {"cited_content": {"block_type": "image", "path": str(path)}},
        quoted | {"cited_content": [{"block_type": "image", "url": path.as_uri()}]},
        {"block_type": "document", "url": path.as_uri()},
        {"block_type": "image", "url": "http://169.254.169.254/latest/meta-data"},
        {"block_type": "image", "url": "http://[bad"},
        {"block_type": "video", "url": "ftp://example.com/x"},
    ]


@pytest.fixture
def private(tmp_path: Path) -> Path:
    path = tmp_path / "private.png"
    path.write_bytes(b"what only the reader has")
    return path


@pytest.mark.parametrize("field", ["blocks", "content"])
def test_a_message_planted_in_a_shared_chat_reads_nothing_of_its_reader(
    mos: MOS, private: Path, field: str
) -> None:
    MemOSChatStore(mos, user="ann", cube="teams/chat").add_message("k", user("hello"))
    mos.share(to="eve", permission="write", user="ann", cube="teams/chat")
    theirs = mos.records("llama_index.chat/default", user="eve", session="k", cube="teams/chat")
    (place,) = mos.records("llama_index.chat/default", user="ann", cube="teams/chat").keys()
    store = MemOSChatStore(mos, user="ann", cube="teams/chat")
    for block in planted(private):
        theirs.put({place: json.dumps({"role": "user", field: [block]}).encode()})
        with pytest.raises(errors.VaultDamaged, match="points at"):
            store.get_messages("k")


def test_a_message_with_a_local_file_is_refused_and_says_what_to_do(
    mos: MOS, private: Path
) -> None:
    store, memory = MemOSChatStore(mos, user="ann"), MemOSMemory(mos, user="ann", session_id="s")
    citing = CitableBlock(title="t", source="s", content=[DocumentBlock(path=str(private))])
    for block in (
        ImageBlock(path=private),
        AudioBlock(path=private),
        DocumentBlock(path=str(private)),
        DocumentBlock(url=private.as_uri()),
        ImageBlock(url="http://example.com/a.png"),
        citing,
    ):
        with pytest.raises(errors.InvalidInput, match="give the bytes"):
            store.add_message("k", ChatMessage(role="user", blocks=[block]))
        with pytest.raises(errors.InvalidInput, match="give the bytes"):
            memory.put_messages([user("see"), ChatMessage(role="user", blocks=[block])])
    assert store.get_keys() == memory.get_all() == mos.list(user="ann") == []


def test_media_that_travel_with_a_message_come_back(mos: MOS, private: Path) -> None:
    store = MemOSChatStore(mos, user="ann")
    inline = "data:image/png;base64," + base64.b64encode(b"dots").decode()
    blocks = [
        ImageBlock(image=private.read_bytes()),
        ImageBlock(url="https://example.com/a.png"),
        ImageBlock(url=inline),
        ToolCallBlock(tool_name="read", tool_kwargs={"path": "/etc/passwd", "url": "http://x"}),
    ]
    store.add_message("k", ChatMessage(role="user", blocks=blocks))
    (message,) = store.get_messages("k")
    assert message.blocks == blocks
    first, _, third, _ = message.blocks
    assert isinstance(first, ImageBlock)
    assert isinstance(third, ImageBlock)
    assert first.resolve_image().read() == private.read_bytes()
    assert third.resolve_image().read() == b"dots"


def test_a_node_with_a_local_file_is_refused_and_says_what_to_do(mos: MOS, private: Path) -> None:
    store = MemOSVectorStore(mos, user="ann")
    local, plain = MediaResource(path=private), MediaResource(url="http://example.com/a")  # type: ignore[arg-type]
    vector = [1.0, 0.0]
    nodes: list[BaseNode] = [
        ImageNode(image_path=str(private), embedding=vector),
        ImageNode(image_url="http://example.com/a.png", embedding=vector),
        *(Node(**{f"{of}_resource": local}, embedding=vector) for of in ("image", "video")),  # type: ignore[arg-type]
        Document(audio_resource=plain, embedding=vector),
        IndexNode(text="x", index_id="i", obj=ImageNode(image_path=str(private)), embedding=vector),
    ]
    for node in nodes:
        with pytest.raises(errors.InvalidInput, match="give the bytes"):
            store.add([TextNode(text="y", embedding=vector), node])
    assert store.get_nodes() == []


def test_pictures_of_nodes_come_back_with_their_bytes(mos: MOS) -> None:
    store = MemOSVectorStore(mos, user="ann")
    picture = MediaResource(data=b"\x89PNG dots", mimetype="image/png")
    far = MediaResource(url="https://example.com/a.wav")  # type: ignore[arg-type]
    node = Node(id_="n", image_resource=picture, audio_resource=far, embedding=[1.0, 0.0])
    store.add([node, ImageNode(id_="i", image="YWJj", embedding=[0.0, 1.0])])
    kept, image = store.get_nodes()
    assert isinstance(kept, Node)
    assert isinstance(image, ImageNode)
    assert (kept.image_resource, kept.audio_resource) == (picture, far)
    assert image.image == "YWJj"


def test_a_document_store_neither_keeps_nor_reads_what_lies_with_its_reader(
    mos: MOS, private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[object] = []
    monkeypatch.setattr("requests.get", lambda *given, **named: fetched.append(given))
    kvs = MemOSKVStore(mos, user="ann", cube="teams/docs")
    documents = KVDocumentStore(kvs)
    local = MediaResource(path=private)
    with pytest.raises(errors.InvalidInput, match="give the bytes"):
        documents.add_documents([Document(id_="d", image_resource=local)])
    assert kvs.get_all("docstore/data") == {}
    documents.add_documents([Document(id_="d", text="bread")])
    mos.share(to="eve", permission="write", user="ann", cube="teams/docs")
    theirs = mos.records("llama_index.kv/default", user="eve", cube="teams/docs")
    place = "docstore%2Fdata/d"
    for pointing in (
        {"image_path": str(private)},
        {"image_url": "https://example.com/beacon.png"},
        {"image_resource": {"path": str(private)}},
    ):
        data = {"class_name": "ImageDocument", **pointing}
        theirs.put({place: json.dumps({"__type__": "4", "__data__": data}).encode()})
        with pytest.raises(errors.VaultDamaged, match="points at"):
            documents.get_document("d")
    assert fetched == []


# -- what only says that it is a node -------------------------------------------------------------


def plant(mos: MOS, kind: str, data: dict[str, Any], key: str) -> None:
    """What a writer of the cube can keep in it by the verbs of the core."""
    text = Embedded(key=key, text="bread to bait", data=data, info={"kind": kind})
    mos.put_embedded([text], model="llama-index", user="ann", cube=NODES)


@pytest.mark.parametrize(
    "payload",
    [
        {"type": "ImageNode", "node": {"image_path": "/etc/passwd"}},
        {"type": "ImageDocument", "node": {"image_url": "https://example.com/beacon.png"}},
        {"type": "ImageDocument", "node": {"image_path": "/etc/passwd"}},
        {"type": "Node", "node": {"video_resource": {"path": "/etc/passwd"}}},
        {
            "type": "IndexNode",
            "node": {
                "index_id": "i",
                "obj": {
                    "__type__": "4",
                    "__data__": {"class_name": "ImageDocument", "image_url": "https://x.example"},
                },
            },
        },
        {"type": "os.system", "node": {}},
        {},
    ],
)
def test_what_is_no_node_ends_no_read_and_fetches_nothing(
    mos: MOS,
    payload: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fetch(*given: Any, **named: Any) -> None:
        raise AssertionError("fetched while a node was read")

    monkeypatch.setattr("requests.get", fetch)
    store, _ = filled(mos)
    plant(mos, "llama_index.node", payload, "node:bait")
    with caplog.at_level(logging.WARNING):
        found = store.query(
            VectorStoreQuery(
                query_str="bread", similarity_top_k=5, mode=VectorStoreQueryMode.TEXT_SEARCH
            )
        )
    assert sorted(found.ids or ()) == ["own-1", "web-1"]
    assert len(found.similarities or ()) == len(found.nodes or ()) == 2
    assert sorted(node.node_id for node in store.get_nodes()) == ["own-1", "web-1"]
    assert "left out 1 memories" in caplog.text
    assert "bait" not in caplog.text


def test_what_is_said_is_no_node_whatever_it_calls_itself(
    mos: MOS, caplog: pytest.LogCaptureFixture
) -> None:
    store, _ = filled(mos)
    mos.add("bread to bait", user="ann", cube=NODES, info={"kind": "llama_index.node"})
    found = store.query(
        VectorStoreQuery(
            query_str="bread", similarity_top_k=5, mode=VectorStoreQueryMode.TEXT_SEARCH
        )
    )
    assert sorted(found.ids or ()) == ["own-1", "web-1"]
    assert len(store.get_nodes()) == 2
    store.clear()
    assert [item.text for item in mos.list(user="ann", cube=NODES)] == ["bread to bait"]
    assert caplog.text == ""


def test_what_is_no_part_of_a_graph_ends_no_read_of_it(mos: MOS) -> None:
    graph = graph_of(mos)
    for kind in ("llama_index.graph_node", "llama_index.graph_relation"):
        info = {"kind": kind, "id": "baker", "from": "baker", "to": "miller"}
        mos.put_embedded(
            [Embedded(key=f"x:{kind}", text="bait", vector=[1.0, 0.0], info=info)],
            model="llama-index",
            user="ann",
            cube=GRAPH,
        )
    assert sorted(node.id for node in graph.get()) == ["baker", "mill", "miller"]
    assert len(graph.get_triplets(entity_names=["baker"])) == 2
    nodes, scores = graph.vector_query(
        VectorStoreQuery(query_embedding=[1.0, 0.0], similarity_top_k=5)
    )
    assert [node.id for node in nodes] == ["mill", "baker"]
    assert len(scores) == 2
