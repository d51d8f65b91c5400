"""Stored KV-caches as things of their own: told of, counted, pinned, moved, removed, verified."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra activation")
transformers = pytest.importorskip("transformers", reason="needs the extra activation")

from memos_integrations import MOS, AsyncMOS, Principal, Settings  # noqa: E402
from memos_integrations.cube.errors import AccessDenied, InvalidInput, NotFound  # noqa: E402
from memos_integrations.infrastructure.activation import codec, selftest  # noqa: E402
from memos_integrations.infrastructure.activation.errors import CacheUnsupported  # noqa: E402
from memos_integrations.infrastructure.activation.forward import cache_name  # noqa: E402
from memos_integrations.infrastructure.activation.identity import Digest  # noqa: E402
from memos_integrations.operation.transform import prefill as transform  # noqa: E402

# Two threads on busy cores wait for each other; one is faster for tensors of this size.
torch.set_num_threads(1)
WORDS = "red blue green lamp box door key north south river stone paper".split()
VOCABULARY = {word: n for n, word in enumerate(["<unk>", *WORDS], 1)}
SETTINGS = Settings(worker=False, extract=False, synchronous="normal")


class Words:
    """A tokenizer of whole words, in the two methods that are used of one."""

    chat_template = None

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": [VOCABULARY.get(word, 1) for word in text.split()]}

    def get_vocab(self) -> dict[str, int]:
        return VOCABULARY


def a_model(seed: int = 0, **changed: Any) -> Any:
    torch.manual_seed(seed)
    shape = {
        "vocab_size": 16,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
    }
    config = transformers.LlamaConfig(**{**shape, **changed})
    return transformers.AutoModelForCausalLM.from_config(config).eval()


@pytest.fixture(scope="module")
def model() -> Any:
    return a_model()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agent.db"


@pytest.fixture
def mos(path: Path) -> Iterator[MOS]:
    with MOS(path, embedder=None, settings=SETTINGS) as opened:
        yield opened


def fill(mos: MOS, *users: str, words: int = 80) -> list[str]:
    return [
        mos.add(" ".join(WORDS[(n + len(user)) % len(WORDS)] for n in range(words)), user=user).id
        for user in users
    ]


def ask(mos: MOS, model: Any, user: str = "maya", times: int = 1, **about: Any) -> Any:
    for _ in range(times):
        with mos.activated(
            model,
            Words(),
            query="red blue door",
            user=user,
            rendering=lambda memory, query: f"{memory} {query}",
            **about,
        ) as given:
            ids, cache = given.inputs["input_ids"], given.inputs[cache_name(model)]
            start = given.cached_tokens + given.computed_tokens
            with torch.no_grad():
                ours = model(ids[:, start:], **{cache_name(model): cache}).logits[:, -1]
                plain = model(ids).logits[:, -1]
            assert torch.allclose(ours, plain, atol=1e-5)  # whatever is told, it is never wrong
    return given


def files(path: Path) -> list[Path]:
    return [each for each in path.with_name("agent.db.blobs").rglob("*") if each.is_file()]


# -- what there is ---------------------------------------------------------------------------------


def test_a_cache_is_told_with_where_it_lies_and_what_it_saved(mos: MOS, model: Any) -> None:
    fill(mos, "maya")
    ask(mos, model)
    [first] = mos.caches(user="maya")
    assert first.tiers == ("memory",)
    assert (first.tokens, first.sources, first.hits) == (64, 1, 0)
    assert first.bytes == 64 * 2 * 2 * 8 * 4  # tokens, keys and values, layers, head size, fp32
    assert first.architecture == "LlamaForCausalLM"
    assert first.build_seconds > 0
    ask(mos, model, times=3)
    [now] = mos.caches(user="maya")
    assert now.tiers == ("memory", "disk")
    assert now.hits == 3
    assert now.saved_seconds == pytest.approx(3 * now.build_seconds)
    assert now.used is not None
    assert now.used >= now.created
    assert not now.pinned
    assert not now.withdrawn


def test_counts_of_what_lies_on_disk_outlive_the_process(path: Path, model: Any) -> None:
    with MOS(path, embedder=None, settings=SETTINGS) as mos:
        fill(mos, "maya")
        ask(mos, model, times=2)
        assert mos.caches(user="maya")[0].hits == 1  # written down, and counted on from there
        ask(mos, model, times=2)
    with MOS(path, embedder=None, settings=SETTINGS) as mos:
        [found] = mos.caches(user="maya")
        assert (found.hits, found.tiers) == (3, ("disk",))
        ask(mos, model)
        assert mos.caches(user="maya")[0].hits == 4
        total = mos.acting(Principal(roles=frozenset({"admin"}))).cache_stats()
        assert (total.hits, total.misses) == (4, 1)
        assert total.disk_bytes == total.memory_bytes == found.bytes


def test_a_hit_does_not_wait_for_a_write(mos: MOS, model: Any) -> None:
    fill(mos, "maya")
    ask(mos, model, times=3)
    mos.flush()
    before = mos._rooms.vault.commits
    began = time.monotonic()
    ask(mos, model, times=20)
    batches = 1 + (time.monotonic() - began) // 1.0
    # Counts and the trace of the read are each written about once a second.
    assert mos._rooms.vault.commits - before <= 2 * (batches + 1) < 20
    assert mos.caches(user="maya")[0].hits == 22


def test_a_withdrawn_cache_is_told_as_such_until_it_goes(mos: MOS, model: Any) -> None:
    [item] = fill(mos, "maya")
    ask(mos, model, times=2)
    mos.update(item, " ".join(["lamp"] * 80), user="maya")
    assert [each.withdrawn for each in mos.caches(user="maya")] == [True]
    ask(mos, model)
    assert [each.withdrawn for each in mos.caches(user="maya")] == [False]


# -- who is told -----------------------------------------------------------------------------------


def test_a_cache_is_told_to_those_who_may_read_all_it_was_made_of(mos: MOS, model: Any) -> None:
    fill(mos, "maya", "sam")
    mos.share(to="sam", user="maya")
    both = {"cube": ["users/maya", "users/sam"]}
    for disk in (False, True):
        ask(mos, model, user="maya", times=1 + disk)
        ask(mos, model, user="sam", times=1 + disk, **both)
        assert len(mos.caches(user="sam")) == 2
        # Sam's words are in one of them, so Maya is not told of it.
        assert [each.sources for each in mos.caches(user="maya")] == [1]
        assert mos.caches(user="eve") == []
        assert mos.cache_stats(user="eve").hits == 0
        assert mos.cache_stats(user="eve").misses is None
        admin = mos.acting(Principal(roles=frozenset({"admin"})))
        assert len(admin.caches()) == 2
        other = mos.acting(Principal(tenant="other", roles=frozenset({"admin"})))
        assert other.caches() == []
        assert other.cache_stats().misses == 0
    mos.revoke(to="sam", user="maya")
    assert mos.caches(user="sam") == []


def test_a_conversation_is_told_to_admins_only(mos: MOS, model: Any) -> None:
    fill(mos, "maya")
    ask(mos, model)
    [place] = mos._rooms.caches.shelf.held().values()
    keeper = mos._rooms.caches.keeper()
    blocks = (Digest("b" * 64),)
    keeper.keep(replace(place, passing=True, blocks=blocks))
    assert len(mos.caches(user="maya")) == 1
    admin = mos.acting(Principal(roles=frozenset({"admin"})))
    assert len(admin.caches()) == 2
    assert keeper.pin(blocks[0])  # in memory: its words belong into no file
    assert keeper.demote(blocks[0])
    assert [each.tiers for each in admin.caches()] == [("memory",)]


def test_a_memory_denied_or_ended_takes_its_caches_from_view(mos: MOS, model: Any) -> None:
    items = fill(mos, "maya") + fill(mos, "maya", words=90)
    mos.share(to="sam", user="maya")
    ask(mos, model, user="maya", times=2)
    assert len(mos.caches(user="sam")) == 1
    mos.deny(to="sam", item=items[1], user="maya")
    assert mos.caches(user="sam") == []
    assert len(mos.caches(user="maya")) == 1


def test_a_cube_narrows_what_is_told_and_a_closed_one_is_refused(mos: MOS, model: Any) -> None:
    fill(mos, "maya", "sam")
    ask(mos, model, user="maya")
    ask(mos, model, user="sam")
    admin = mos.acting(Principal(roles=frozenset({"admin"})))
    assert len(admin.caches()) == 2
    assert len(admin.caches(cube="users/sam")) == 1
    with pytest.raises(AccessDenied):
        mos.caches(user="eve", cube="users/sam")


@pytest.mark.parametrize("narrow", [{"session": "s1"}, {"agent": "helper"}])
def test_a_cache_is_of_whole_cubes(mos: MOS, model: Any, narrow: dict[str, str]) -> None:
    fill(mos, "maya")
    ask(mos, model)
    for verb in (mos.caches, mos.cache_stats, mos.evict_caches):
        for cube in (None, "users/maya"):
            with pytest.raises(InvalidInput, match="name a cube"):
                verb(user="maya", cube=cube, **narrow)
    assert len(mos.caches(user="maya")) == 1
    assert mos.caches(agent="helper") == []  # who asks alone, at home


def test_a_cache_is_of_whole_cubes_for_asynchronous_callers_too(path: Path) -> None:
    async def calls() -> None:
        async with AsyncMOS(path, embedder=None, settings=SETTINGS) as mos:
            for verb in (mos.caches, mos.cache_stats, mos.evict_caches):
                with pytest.raises(InvalidInput, match="name a cube"):
                    await verb(user="maya", session="s1")
            assert await mos.caches(user="maya") == []

    asyncio.run(calls())


def test_a_reader_may_not_change_what_it_is_told_of(mos: MOS, model: Any) -> None:
    fill(mos, "maya")
    mos.share(to="sam", user="maya")
    ask(mos, model, times=2)
    [seen] = mos.caches(user="sam")
    for change in (mos.pin_cache, mos.unpin_cache, mos.demote_cache, mos.evict_caches):
        with pytest.raises(NotFound, match="sam's to change"):
            change(seen.key, user="sam")
    assert mos.evict_caches(user="sam") == []
    mos.share(to="sam", permission="write", user="maya")
    assert mos.pin_cache(seen.key, user="sam").key == seen.key


@pytest.mark.parametrize("key", ["", "abc", "zzzz", "A" * 64, "a" * 65, None, 7, "%", "ab*d"])
def test_what_is_no_key_is_refused(mos: MOS, key: Any) -> None:
    with pytest.raises(InvalidInput):
        mos.pin_cache(key, user="maya")


# -- where it lies ---------------------------------------------------------------------------------


def test_a_pinned_cache_stays_in_memory_and_on_disk(path: Path, model: Any) -> None:
    settings = SETTINGS.model_copy(update={"kv_memory_bytes": 9_000, "kv_disk_bytes": 9_000})
    with MOS(path, embedder=None, settings=settings) as mos:
        fill(mos, "maya", "sam")
        ask(mos, model, user="maya")
        [mine] = mos.caches(user="maya")
        assert mos.pin_cache(mine.key[:12], user="maya").pinned is False
        assert mos.caches(user="maya")[0].tiers == ("memory", "disk")
        ask(mos, model, user="sam", times=9)
        assert mos.caches(user="maya")[0].pinned
        assert mos.caches(user="maya")[0].tiers == ("memory", "disk")
        assert mos.caches(user="sam") == []
    with MOS(path, embedder=None, settings=settings) as mos:
        ask(mos, model, user="maya")
        ask(mos, model, user="sam", times=9)
        assert mos.caches(user="maya")[0].tiers == ("memory", "disk")
        mos.unpin_cache(mine.key, user="maya")
        ask(mos, model, user="sam", times=40)
        assert [each.tiers for each in mos.caches(user="sam")] == [("memory", "disk")]


def test_a_demoted_cache_lies_on_disk_alone_and_comes_back(mos: MOS, model: Any) -> None:
    fill(mos, "maya")
    ask(mos, model)
    [mine] = mos.caches(user="maya")
    assert mos.demote_cache(mine.key, user="maya")
    assert mos.caches(user="maya")[0].tiers == ("disk",)
    assert not mos.demote_cache(mine.key, user="maya")
    assert ask(mos, model).computed_tokens == 0
    assert mos.caches(user="maya")[0].tiers == ("memory", "disk")


def test_the_keeper_is_asked_by_key_and_tells_of_a_tenant(mos: MOS, model: Any) -> None:
    fill(mos, "maya")
    ask(mos, model)
    keeper = mos._rooms.caches.keeper()
    [mine] = keeper.records("default")
    assert keeper.pin(mine.key)
    assert keeper.records("default")[0].pinned
    assert keeper.demote(mine.key)
    assert keeper.records("default")[0].tiers == ("disk",)
    assert keeper.unpin(mine.key)
    assert keeper.records("other") == []
    assert not keeper.pin(Digest("0" * 64))


def test_evicted_caches_are_computed_anew(mos: MOS, model: Any, path: Path) -> None:
    fill(mos, "maya", "sam")
    for user in ("maya", "sam"):
        ask(mos, model, user=user, times=2)
    admin = mos.acting(Principal(roles=frozenset({"admin"})))
    assert admin.evict_caches(older_than_seconds=3600) == []
    assert [each.sources for each in mos.evict_caches(user="sam", cube="users/sam")] == [1]
    assert len(files(path)) == 1
    assert mos.caches(user="sam") == []
    assert ask(mos, model, user="sam").cached_tokens == 0
    mos.pin_cache(mos.caches(user="maya")[0].key, user="maya")
    assert len(admin.evict_caches()) == 1
    [pinned] = admin.caches()
    assert len(mos.evict_caches(pinned.key, user="maya")) == 1
    assert files(path) == []
    assert admin.caches() == []


def test_the_disk_makes_room_for_what_is_worth_more(path: Path, model: Any) -> None:
    settings = SETTINGS.model_copy(update={"kv_disk_bytes": 17_000})
    with MOS(path, embedder=None, settings=settings) as mos:
        users = [f"user{'x' * n}" for n in range(3)]
        fill(mos, *users)
        for times, user in enumerate(users):
            ask(mos, model, user=user, times=2 + 15 * times)
        admin = mos.acting(Principal(roles=frozenset({"admin"})))
        there = [each for each in admin.caches() if "disk" in each.tiers]
        assert len(there) == len(files(path)) == 2
        assert users[2] in {user for user in users if mos.caches(user=user)[0].tiers[-1] == "disk"}


# -- load or compute -------------------------------------------------------------------------------


def test_a_slow_disk_is_not_used_and_the_answer_says_so(path: Path) -> None:
    model = a_model(hidden_size=128, num_key_value_heads=2)
    with MOS(path, embedder=None, settings=SETTINGS) as mos:
        fill(mos, "maya", words=700)
        ask(mos, model, times=2)
        assert mos.caches(user="maya")[0].bytes > 2**20
    with MOS(path, embedder=None, settings=SETTINGS) as mos:
        disk = mos._rooms.caches.keeper()._disk
        disk.transfers.load.measured(2**20, 100.0)
        slow = ask(mos, model)
        assert slow.cached_tokens == 0
        assert "longer to load" in slow.why
        assert len(mos.caches(user="maya")) == 1  # it stays where it is
    with MOS(path, embedder=None, settings=SETTINGS) as mos:
        assert ask(mos, model).computed_tokens == 0


def test_a_longer_cache_on_disk_is_taken_before_a_shorter_in_memory(path: Path, model: Any) -> None:
    with MOS(path, embedder=None, settings=SETTINGS) as mos:
        fill(mos, "maya", words=200)
        ask(mos, model, times=2)
        keeper = mos._rooms.caches.keeper()
        [whole] = mos._rooms.caches.shelf.held().values()
        assert keeper.demote(whole.key)
        begun = codec.use(whole.kept, model.config, upto=64)
        part = codec.keep(begun, whole.kept.tokens[:64], identity=whole.kept.identity)
        keeper.keep(replace(whole, kept=part, blocks=whole.blocks[:1], on_disk=False))
        assert sorted(each.tiers for each in mos.caches(user="maya")) == [("disk",), ("memory",)]
        given = ask(mos, model)
        assert (given.cached_tokens, given.computed_tokens) == (len(whole.kept.tokens), 0)


# -- the self-test ---------------------------------------------------------------------------------


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "_verdicts", {})


def test_each_kind_of_model_is_tried_once(
    mos: MOS, untried: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Any] = []
    real = selftest._is_restored

    def counted(model: Any) -> bool:
        tried.append(model)
        return real(model)

    monkeypatch.setattr(selftest, "_is_restored", counted)
    fill(mos, "maya")
    ask(mos, a_model(0), times=2)
    ask(mos, a_model(1))  # other weights of the same kind
    assert len(tried) == 1
    ask(mos, a_model(0, num_hidden_layers=1))
    ask(mos, a_model(0).to(torch.float64).float())
    assert len(tried) == 2


def test_a_library_that_restores_otherwise_switches_activation_memory_off(
    mos: MOS, untried: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = codec._fill

    def off_by_one(fresh: Any, stored: Any, length: int) -> None:
        whole(fresh, stored, length)
        fresh.values = fresh.values.roll(1, dims=2)

    fill(mos, "maya")
    monkeypatch.setattr(codec, "_fill", off_by_one)
    for _ in range(3):
        with pytest.raises(CacheUnsupported, match="other logits"):
            ask(mos, a_model())
    assert caplog.text.count("activation memory is off for LlamaForCausalLM") == 1
    assert mos.caches(user="maya") == []
    monkeypatch.setattr(codec, "_fill", whole)
    assert ask(mos, a_model(num_hidden_layers=1)).computed_tokens == 64  # another kind is tried


def test_a_model_in_training_mode_is_told_what_to_do(mos: MOS, untried: None) -> None:
    fill(mos, "maya")
    model = a_model(attention_dropout=0.5).train()
    with pytest.raises(CacheUnsupported, match=r"model\.eval\(\)"):
        ask(mos, model)
    assert ask(mos, model.eval()).computed_tokens == 64


# -- many at once ----------------------------------------------------------------------------------


def test_threads_that_find_no_lasting_place_still_share_one_build(path: Path, model: Any) -> None:
    settings = SETTINGS.model_copy(update={"kv_memory_bytes": 0, "kv_disk_bytes": 0})
    with MOS(path, embedder=None, settings=settings) as mos:
        fill(mos, "maya", words=1_000)
        real, builds = transform.extend, list[int]()
        queues = mos._rooms.caches.keeper()._flights._queues

        def counted(model: Any, cache: Any, tokens: Any) -> float:
            builds.append(len(tokens))
            deadline = time.monotonic() + 20
            while [each.waiting for each in queues.values()] != [8]:
                assert time.monotonic() < deadline
                time.sleep(0.002)
            return float(real(model, cache, tokens))

        transform.extend = counted  # type: ignore[assignment]
        try:
            threads = [threading.Thread(target=ask, args=(mos, model)) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            transform.extend = real
        assert len(builds) == 1
        assert mos._rooms.caches.shelf.stats().held == 0


def test_who_waited_too_long_computes_for_itself_and_keeps_nothing(path: Path, model: Any) -> None:
    settings = SETTINGS.model_copy(update={"kv_wait_seconds": 0.0})
    with MOS(path, embedder=None, settings=settings) as mos:
        fill(mos, "maya")
        given: list[Any] = []
        here = mos._rooms.caches.keeper()
        real = here.building
        ask(mos, model)
        [mine] = mos.caches(user="maya")
        mos.evict_caches(user="maya")
        with real(mine.key):
            thread = threading.Thread(target=lambda: given.append(ask(mos, model)))
            thread.start()
            thread.join()
        assert given[0].computed_tokens == 64
        assert mos.caches(user="maya") == []


# -- files and rows --------------------------------------------------------------------------------


@pytest.fixture
def stored(path: Path, model: Any) -> Path:
    with MOS(path, embedder=None, settings=SETTINGS) as mos:
        fill(mos, "maya", "sam")
        for user in ("maya", "sam"):
            ask(mos, model, user=user, times=2)
    return path


def test_sound_caches_are_found_sound(stored: Path) -> None:
    seen: list[float] = []
    with MOS(stored, embedder=None, settings=SETTINGS) as mos:
        report = mos.verify_caches(progress=seen.append)
        assert report.sound
        assert (report.caches, report.removed) == (2, 0)
        assert seen[-1] == 1.0
        assert mos.repair_caches().findings == ()
        assert len(mos.acting(Principal(roles=frozenset({"admin"}))).caches()) == 2


HARMS = {
    "a bit": ("changed on disk", None),
    "gone": ("missing", None),
    "no name": ("no cache names", "DELETE FROM artifact WHERE aid = 1"),
    "tokens": ("another one", "UPDATE artifact SET tokens = 63 WHERE aid = 1"),
    "identity": ("another one", "UPDATE artifact SET identity = 'x' WHERE aid = 1"),
    "blocks": ("leads to it", "DELETE FROM artifact_block WHERE aid = 1"),
    "source": ("is gone", "UPDATE artifact_source SET version = 9 WHERE aid = 1"),
    "withdrawn": ("has changed", "UPDATE artifact SET withdrawn = 1 WHERE aid = 1"),
    "swapped": (
        "another one",
        "UPDATE artifact SET bytes = bytes + 1 WHERE aid = 1",
    ),
}


@pytest.mark.parametrize("harm", HARMS)
def test_what_is_wrong_is_named_and_removed(stored: Path, harm: str, model: Any) -> None:
    words, sql = HARMS[harm]
    with MOS(stored, embedder=None, settings=SETTINGS) as mos:
        if sql is not None:
            mos._rooms.vault.maintain(lambda tx: tx.execute(sql))
        elif harm == "gone":
            files(stored)[0].unlink()
        else:
            data = bytearray(files(stored)[0].read_bytes())
            data[-9] ^= 1
            files(stored)[0].write_bytes(data)
        found = mos.verify_caches()
        assert [words in each.what for each in found.findings] == [True]
        assert mos.verify_caches() == found  # looking changes nothing
        mended = mos.repair_caches()
        assert mended.findings == found.findings
        assert mended.removed == 1
        assert mos.verify_caches().sound
        assert len(files(stored)) == 1
        for user in ("maya", "sam"):
            ask(mos, model, user=user, times=2)
        assert mos.check().sound


def test_files_that_others_brought_are_left_alone(stored: Path) -> None:
    data = files(stored)[0].read_bytes()
    with MOS(stored, embedder=None, settings=SETTINGS) as mos:
        mos.evict_caches(user="maya")
        mos.evict_caches(user="sam")
        assert files(stored) == []
        ref = mos.put_blob(data, user="maya")  # the bytes of a cache, brought by a person
        mos._rooms.vault.blobs.put(b"anything else")
        assert mos.repair_caches().findings == ()
        assert mos._rooms.vault.blobs.exists(ref.sha256)
        assert len(files(stored)) == 2


def test_what_a_killed_writer_left_goes_when_the_file_is_opened(stored: Path) -> None:
    folder = stored.with_name("agent.db.blobs")
    with MOS(stored, embedder=None, settings=SETTINGS) as mos:
        mos._rooms.vault.maintain(lambda tx: tx.execute("DELETE FROM artifact WHERE aid = 1"))
    (folder / ".incoming-0123456789abcdef.tmp").write_bytes(b"half a cache")
    with MOS(stored, embedder=None, settings=SETTINGS):
        assert len(files(stored)) == 3  # nobody died, so nobody looks
    stored.with_name("agent.db.kv").joinpath("writing-0123456789abcdef.tmp").touch()
    with MOS(stored, embedder=None, settings=SETTINGS) as mos:
        assert len(files(stored)) == 1
        assert mos.verify_caches().sound
    assert list(stored.with_name("agent.db.kv").iterdir()) == []


def test_an_erase_takes_files_along_that_a_kill_left_without_a_name(stored: Path) -> None:
    with MOS(stored, embedder=None, settings=SETTINGS) as mos:
        mos._rooms.vault.maintain(lambda tx: tx.execute("DELETE FROM artifact WHERE aid = 1"))
        assert len(files(stored)) == 2
        item = mos.list(user="maya")[0].id
        mos.erase(item, user="maya")
        assert len(files(stored)) == 1
        assert mos.verify_caches().sound


def test_what_is_withdrawn_of_another_kind_is_left_to_those_who_made_it(
    stored: Path, model: Any
) -> None:
    with MOS(stored, embedder=None, settings=SETTINGS) as mos:
        vault = mos._rooms.vault
        vault.maintain(lambda tx: tx.execute("UPDATE artifact SET withdrawn = 1"))
        vault.maintain(
            lambda tx: tx.execute("UPDATE artifact SET kind = 'parametric' WHERE aid = 2")
        )
        mos.add("another note", user="maya")
        ask(mos, model)
        assert vault.maintain(
            lambda tx: tx.execute("SELECT aid, kind FROM artifact").fetchall()
        ) == [(2, "parametric")]
        assert len(files(stored)) == 1
