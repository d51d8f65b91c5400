"""Texts that come with their vectors: found exactly, governed, replaced, travelled and erased."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memos_integrations import MOS, Principal, Settings, errors
from memos_integrations.cube.embedded import Embedded
from memos_integrations.testing.fakes import FakeEmbedder

CUBE = "users/ann/nodes"
NODES = [
    Embedded("a", "the cat sat on the mat", [1, 0, 0], info={"meta": {"x": 1}}, source="doc-1"),
    Embedded("b", "the dog ran home", [0, 2, 0], info={"meta": {"x": 2}}, source="doc-2"),
]


class Letters:
    """Embeds a text as how often it has each letter."""

    fingerprint, dim = "letters/26", 26

    def embed(self, texts: Sequence[str]) -> Any:
        rows = [[1 + t.lower().count(chr(97 + n)) for n in range(26)] for t in texts]
        out = np.asarray(rows, dtype=np.float32)
        return out / np.linalg.norm(out, axis=1, keepdims=True)


@pytest.fixture
def mos() -> Iterator[MOS]:
    with MOS(None, embedder=None, settings=Settings(worker=False)) as mos:
        yield mos


def put(mos: MOS, *texts: Embedded, model: str = "m") -> tuple[str, ...]:
    return mos.put_embedded(texts, model=model, user="ann", cube=CUBE)


def test_scores_are_the_cosines_with_the_vectors_that_were_given(mos: MOS) -> None:
    put(mos, *NODES)
    hits = mos.nearest([3, 4, 0], user="ann", cube=CUBE)
    assert [(h.text, round(h.score, 6)) for h in hits] == [
        ("the dog ran home", 0.8),
        ("the cat sat on the mat", 0.6),
    ]


def test_a_filter_never_costs_results(mos: MOS) -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(500, 8))
    put(
        mos,
        *[
            Embedded(f"n{n}", f"text {n}", row.tolist(), info={"meta": {"x": n % 50}})
            for n, row in enumerate(rows)
        ],
    )
    hits = mos.nearest(rows[0].tolist(), user="ann", cube=CUBE, filter={"info.meta.x": 7}, limit=20)
    cosines = rows @ rows[0] / np.linalg.norm(rows, axis=1) / np.linalg.norm(rows[0])
    wanted = sorted((n for n in range(500) if n % 50 == 7), key=lambda n: -cosines[n])
    assert [h.text for h in hits] == [f"text {n}" for n in wanted]


def test_words_and_vector_are_weighed_by_the_balance(mos: MOS) -> None:
    put(mos, *NODES)
    both = mos.nearest([1, 0, 0], words="dog", balance=0.2, user="ann", cube=CUBE)
    assert [h.text for h in both] == ["the dog ran home", "the cat sat on the mat"]
    assert [h.text for h in mos.nearest(words="dog", user="ann", cube=CUBE)] == ["the dog ran home"]


def test_a_key_that_is_put_again_is_replaced_and_the_past_keeps_it(mos: MOS) -> None:
    first = put(mos, *NODES)[0]
    then = mos.get(first, user="ann").header.seq + 10
    second = put(mos, Embedded("a", "the new cat", [0, 0, 1]))[0]
    assert mos.count(user="ann", cube=CUBE) == 2
    assert mos.nearest([0, 0, 1], user="ann", cube=CUBE, limit=1)[0].id == second != first
    past = mos.as_of(min(then, mos.get(second, user="ann").header.seq - 2))
    assert past.nearest([1, 0, 0], user="ann", cube=CUBE, limit=1)[0].id == first


def test_a_memory_of_ones_own_with_such_a_key_in_its_info_is_left_alone(mos: MOS) -> None:
    mine = mos.add("keep me", user="ann", cube=CUBE, info={"embedded": "a"}).id
    put(mos, NODES[0])
    assert mine is not None
    assert mos.get(mine, user="ann", cube=CUBE).text == "keep me"


def test_plain_search_beside_a_model_finds_such_texts_by_their_words() -> None:
    with MOS(None, embedder=Letters(), settings=Settings(worker=False)) as mos:
        ids = put(mos, *NODES)
        assert mos.search("cat", user="ann", cube=CUBE)[0].id == ids[0]
        mos.update(ids[0], "the cow stood", user="ann", cube=CUBE)
        while mos.work():
            pass
        assert mos.search("cow", user="ann", cube=CUBE)[0].id == ids[0]
        assert mos.vectors(ids, user="ann", cube=CUBE).keys() == {ids[1]}
        assert mos.check().findings == ()


def test_neither_a_checkup_nor_a_reembedding_takes_given_vectors_away() -> None:
    with MOS(None, embedder=Letters(), settings=Settings(worker=False)) as mos:
        ids = put(mos, *NODES, Embedded("c", "without a vector"))
        assert mos.doctor(user="ann", cube=CUBE).findings == ()
        with pytest.raises(errors.UsageError, match="came with its texts"):
            mos.reembed(user="ann", cube=CUBE)
        assert mos.vectors(ids, user="ann", cube=CUBE).keys() == set(ids[:2])


def test_a_fork_finds_by_the_vectors_of_its_trunk(mos: MOS) -> None:
    put(mos, *NODES)
    branch = mos.fork("users/ann/branch", user="ann", cube=CUBE).path
    put_there = mos.put_embedded(
        [Embedded("a", "the branch's own cat", [1, 0, 0])], model="m", user="ann", cube=branch
    )
    best = mos.nearest([1, 0, 0], user="ann", cube=branch)
    assert [best[0].id, best[1].text] == [put_there[0], "the dog ran home"]
    assert mos.nearest([1, 0, 0], user="ann", cube=CUBE)[0].text == "the cat sat on the mat"


def test_vectors_of_another_model_or_length_are_refused_and_nothing_is_stored(mos: MOS) -> None:
    put(mos, *NODES)
    with pytest.raises(errors.EmbedderMismatch, match="m/3"):
        put(mos, Embedded("c", "other", [1, 0, 0]), model="other")
    with pytest.raises(errors.EmbedderMismatch):
        put(mos, Embedded("c", "longer", [1, 0, 0, 0]))
    with pytest.raises(errors.EmbedderMismatch):
        mos.nearest([1, 0], user="ann", cube=CUBE)
    for bad in ([0.0, 0.0, 0.0], [float("nan"), 0, 1]):
        with pytest.raises(errors.UsageError):
            put(mos, Embedded("c", "bad", bad))
    with pytest.raises(errors.InvalidInput):
        put(mos, Embedded("c", "fine", [1, 0, 0]), Embedded("d", "  ", [1, 0, 0]))
    assert mos.count(user="ann", cube=CUBE) == 2


def test_nobody_else_sees_them_until_they_are_shared(mos: MOS) -> None:
    put(mos, *NODES)
    with pytest.raises(errors.AccessDenied):
        mos.nearest([1, 0, 0], user="ben", cube=CUBE)
    with pytest.raises(errors.AccessDenied):
        mos.put_embedded([NODES[0]], model="m", user="ben", cube=CUBE)
    mos.share(to="ben", user="ann", cube=CUBE)
    assert len(mos.nearest([1, 0, 0], user="ben", cube=CUBE)) == 2
    mos.revoke(to="ben", user="ann", cube=CUBE)
    with pytest.raises(errors.AccessDenied):
        mos.nearest([1, 0, 0], user="ben", cube=CUBE)


def test_an_erase_takes_the_vectors_out_of_file_and_memory(mos: MOS) -> None:
    ids = put(mos, *NODES)
    mos.nearest([1, 0, 0], user="ann", cube=CUBE)
    receipt = mos.erase(source="doc-1", user="ann", cube=CUBE)
    assert (receipt.erased, receipt.counts["vectors"]) == ((ids[0],), 1)
    assert [h.id for h in mos.nearest([1, 0, 0], user="ann", cube=CUBE)] == [ids[1]]


def test_a_dump_carries_the_vectors_to_a_memory_with_another_model(
    mos: MOS, tmp_path: Path
) -> None:
    put(mos, *NODES)
    mos.dump(tmp_path / "nodes.memcube", user="ann", cube=CUBE)
    with MOS(None, embedder=Letters(), settings=Settings(worker=False)) as other:
        other.load(tmp_path / "nodes.memcube", user="ann", cube=CUBE, trusted=True)
        assert other.nearest([1, 0, 0], user="ann", cube=CUBE)[0].score == pytest.approx(1)


def test_strangers_learn_no_embedder_of_a_closed_cube_and_their_try_is_noted(mos: MOS) -> None:
    put(mos, *NODES)
    with pytest.raises(errors.AccessDenied):
        mos.nearest([1, 0], user="ben", cube=CUBE)
    (line,) = [each for each in mos.audit(user="ann", cube=CUBE) if each.outcome == "denied"]
    assert (line.actor, line.action) == ("user:ben", "search")


def test_strangers_learn_no_embedder_by_a_plain_search_or_a_vector_either(tmp_path: Path) -> None:
    file, quiet = tmp_path / "m.db", Settings(worker=False)
    with MOS(file, embedder=Letters(), settings=quiet) as first:
        first.add("the cat sat on the mat", user="ann")
        first.work()
    with MOS(file, embedder=FakeEmbedder(), settings=quiet) as second:
        for ask in (lambda **w: second.search("cat", **w), lambda **w: second.nearest([1, 0], **w)):
            with pytest.raises(errors.AccessDenied):
                ask(user="ben", cube="users/ann")
            with pytest.raises(errors.EmbedderMismatch, match="letters"):
                ask(user="ann")


def test_vectors_of_words_that_are_masked_for_a_reader_are_not_handed_out(mos: MOS) -> None:
    mail = "mail me at maya@example.org"
    ids = put(
        mos,
        Embedded("a", mail, [1, 0, 0]),
        Embedded("b", "plain", [0, 1, 0], data={"from": mail}),
        Embedded("c", "plain too", [0, 0, 1], info={"from": mail}),
        Embedded("d", "the dog ran home", [1, 1, 0]),
    )
    mos.share(to="ben", user="ann", cube=CUBE)
    assert mos.vectors(ids, user="ann", cube=CUBE).keys() == set(ids)
    assert mos.vectors(ids, user="ben", cube=CUBE).keys() == {ids[3]}
    cleared = mos.acting(Principal(user="ben", clearances=frozenset({"personal"})))
    assert cleared.vectors(ids, cube=CUBE).keys() == set(ids)


def test_vectors_of_our_own_embedder_hold_masked_words_and_are_handed_out() -> None:
    with MOS(None, embedder=Letters(), settings=Settings(worker=False)) as mos:
        item = mos.add("mail me at maya@example.org", user="ann").id
        mos.work()
        mos.share(to="ben", user="ann")
        found = mos.vectors([item], user="ben", cube="users/ann")
        assert found[item] == pytest.approx(mos.vectors([item], user="ann")[item])


def test_a_put_onto_a_key_hidden_from_the_writer_tells_no_id(mos: MOS) -> None:
    (item, _) = put(mos, *NODES)
    mos.share(to="ben", permission="write", user="ann", cube=CUBE)
    mos.deny(item, to="ben", user="ann")
    with pytest.raises(errors.AccessDenied) as refused:
        mos.put_embedded([NODES[0]], model="m", user="ben", cube=CUBE)
    assert item not in f"{refused.value} {vars(refused.value)} {refused.value.__context__}"
    assert mos.get(item, user="ann").text == NODES[0].text


def test_a_source_that_looks_like_a_secret_is_refused(mos: MOS) -> None:
    secret = "sk-proj-" + "a1B2c3D4e5F6g7H8" * 3
    put(mos, NODES[0])
    with pytest.raises(errors.InvalidInput, match="source") as refused:
        put(mos, NODES[1], Embedded("a", "plain", [1, 0, 0], source=f"https://host/{secret}"))
    assert secret not in str(refused.value)
    assert [each.text for each in mos.list(user="ann", cube=CUBE)] == [NODES[0].text]


def test_a_fork_carries_no_vectors_of_words_that_are_masked_in_it(mos: MOS) -> None:
    put(mos, Embedded("a", "mail me at maya@example.org", [1, 0, 0]), NODES[1])
    mos.share(to="ben", user="ann", cube=CUBE)
    fork = mos.fork("users/ben/copy", user="ben", cube=CUBE)
    items = {item.text: item.header.id for item in mos.list(user="ben", cube=fork)}
    assert items.keys() == {"mail me at [personal:email]", NODES[1].text}
    assert mos.vectors([*items.values()], user="ben", cube=fork).keys() == {items[NODES[1].text]}
    assert [hit.text for hit in mos.nearest([1, 1, 0], user="ben", cube=fork)] == [NODES[1].text]
    own = mos.fork("users/ann/copy", user="ann", cube=CUBE)
    assert len(mos.nearest([1, 1, 0], user="ann", cube=own)) == 2
    assert mos.check().sound


def test_a_dump_carries_no_vectors_of_words_that_are_masked_in_it(mos: MOS, tmp_path: Path) -> None:
    put(mos, Embedded("a", "mail me at maya@example.org", [1, 0, 0]), NODES[1])
    mos.share(to="ben", user="ann", cube=CUBE)
    assert mos.dump(tmp_path / "anns.memcube", user="ann", cube=CUBE).vectors == 2
    assert mos.dump(tmp_path / "bens.memcube", user="ben", cube=CUBE).vectors == 1
    mos.load(tmp_path / "bens.memcube", user="ann", cube="users/ann/loaded", trusted=True)
    hits = mos.nearest([1, 1, 0], user="ann", cube="users/ann/loaded")
    assert [hit.text for hit in hits] == [NODES[1].text]
    assert mos.count(user="ann", cube="users/ann/loaded") == 2
    assert mos.check().sound
