"""Copies of caches on a model's device. No device is at hand: the processor stands for one here,
and the host is another name, so what is copied when, and what an answer is made of, is real."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra activation")
transformers = pytest.importorskip("transformers", reason="needs the extra activation")

from memos_integrations import MOS, Settings  # noqa: E402
from memos_integrations.infrastructure.activation import codec  # noqa: E402
from memos_integrations.infrastructure.activation.codec import Kept  # noqa: E402
from memos_integrations.infrastructure.activation.forward import cache_name  # noqa: E402
from memos_integrations.operation.transform.on_devices import OnDevices  # noqa: E402

# Two threads on busy cores wait for each other; one is faster for tensors of this size.
torch.set_num_threads(1)
SETTINGS = Settings(worker=False, extract=False, synchronous="normal")
ONE = 64 * 2 * 2 * 8 * 4
"""Bytes of a cache of one block: keys and values, layers, head size, fp32."""


class Words:
    """A tokenizer that gives each letter its number."""

    chat_template = None

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": [ord(letter) % 16 for letter in text]}

    def get_vocab(self) -> dict[str, int]:
        return {"letters": 16}


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=16,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    return transformers.AutoModelForCausalLM.from_config(config).eval()


class Bus:
    """Copies as between two memories, and counts."""

    def __init__(self) -> None:
        self.to: list[str] = []

    def __call__(self, kept: Kept, device: str) -> Kept:
        self.to.append(device)
        copy = codec.moved(codec.moved(kept, "meta"), "meta")
        layers = [
            codec.Layer(each.kind, each.keys.clone(), each.values.clone(), each.seen_tokens)
            for each in kept.layers
        ]
        assert copy.bytes == kept.bytes
        return Kept(kept.identity, kept.tokens, tuple(layers))


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
def mos(tmp_path: Path) -> Iterator[MOS]:
    with MOS(tmp_path / "agent.db", embedder=None, settings=SETTINGS) as opened:
        for user in ("maya", "sam", "eve"):
            opened.add(f"{user} says " + "the box is blue " * 3, user=user)
        yield opened


def beside(mos: MOS, bus: Bus, *, capacity: int) -> OnDevices:
    devices = OnDevices(capacity, copied=bus, host="host")
    mos._rooms.caches.keeper()._devices = devices
    return devices


def ask(mos: MOS, model: Any, user: str = "maya") -> int:
    """The tokens that came from a cache; the answer is compared bitwise with the live one."""
    with mos.activated(
        model, Words(), query="?!", user=user, rendering=lambda m, q: f"{m[-80:]}{q}"
    ) as given:
        ids, cache = given.inputs["input_ids"], given.inputs[cache_name(model)]
        start = given.cached_tokens + given.computed_tokens
        with torch.no_grad():
            live = transformers.DynamicCache(config=model.config)
            model(ids[:, :start], **{cache_name(model): live})
            ours = model(ids[:, start:], **{cache_name(model): cache}).logits
            theirs = model(ids[:, start:], **{cache_name(model): live}).logits
        assert torch.equal(ours, theirs)
        return int(given.cached_tokens)


def test_what_fits_on_the_device_is_copied_once(mos: MOS, model: Any, bus: Bus) -> None:
    devices = beside(mos, bus, capacity=ONE)
    assert ask(mos, model) == 0
    assert bus.to == ["host"]
    assert [ask(mos, model) for _ in range(3)] == [64] * 3
    assert bus.to == ["host"]
    assert devices.bytes_on("cpu") == ONE
    assert mos.caches(user="maya")[0].tiers == ("device", "memory", "disk")


def test_by_default_nothing_stays_on_the_device(mos: MOS, model: Any, bus: Bus) -> None:
    devices = beside(mos, bus, capacity=0)
    ask(mos, model)
    assert [ask(mos, model) for _ in range(2)] == [64, 64]
    assert bus.to == ["host", "cpu", "cpu"]
    assert devices.bytes_on("cpu") == 0
    assert mos.caches(user="maya")[0].tiers == ("memory", "disk")


def test_the_device_holds_no_more_than_its_bytes(mos: MOS, model: Any, bus: Bus) -> None:
    devices = beside(mos, bus, capacity=2 * ONE)
    for _ in range(4):
        for user in ("maya", "sam", "eve"):
            ask(mos, model, user)
            assert devices.bytes_on("cpu") <= 2 * ONE
    assert len(devices.keys()) == 2


def test_each_device_has_its_own_copies_and_bytes(mos: MOS, model: Any, bus: Bus) -> None:
    devices = beside(mos, bus, capacity=ONE)
    ask(mos, model)
    [stored] = mos._rooms.caches.shelf.held().values()
    for _ in range(2):
        assert devices.on_device(stored, "cuda:1").kept is not stored.kept
    assert bus.to == ["host", "cuda:1"]
    assert (devices.bytes_on("cpu"), devices.bytes_on("cuda:1")) == (ONE, ONE)
    assert devices.on_device(stored, "host") is stored


@pytest.mark.parametrize("end", ["correct", "erase", "demote", "evict"])
def test_what_goes_from_memory_goes_from_the_device(
    mos: MOS, model: Any, bus: Bus, end: str
) -> None:
    devices = beside(mos, bus, capacity=9 * ONE)
    for _ in range(2):
        ask(mos, model)
    assert devices.holds(mos.caches(user="maya")[0].key)
    [mine], item = mos.caches(user="maya"), mos.list(user="maya")[0].id
    if end == "correct":
        mos.update(item, "maya says another thing " * 4, user="maya")
        assert ask(mos, model) == 0
        assert not devices.holds(mine.key)
    elif end == "erase":
        mos.erase(item, user="maya")
    elif end == "demote":
        mos.demote_cache(mine.key, user="maya")
    else:
        mos.evict_caches(mine.key, user="maya")
    assert not devices.holds(mine.key)


def held_in_memory(mos: MOS) -> set[str]:
    return set(mos._rooms.caches.shelf.keys())


def test_what_makes_room_in_memory_leaves_the_device_with_it(
    tmp_path: Path, model: Any, bus: Bus
) -> None:
    settings = Settings(worker=False, extract=False, synchronous="normal", kv_memory_bytes=ONE)
    with MOS(tmp_path / "small.db", embedder=None, settings=settings) as mos:
        for user in ("maya", "sam"):
            mos.add(f"{user} says " + "the box is blue " * 3, user=user)
        devices = beside(mos, bus, capacity=9 * ONE)
        for user in ("maya", "sam", "sam", "sam", "sam"):
            ask(mos, model, user)
            assert set(devices.keys()) <= held_in_memory(mos)
        assert held_in_memory(mos) == {mos.caches(user="sam")[0].key}


def test_what_memory_does_not_take_in_stays_on_no_device(
    tmp_path: Path, model: Any, bus: Bus
) -> None:
    settings = Settings(worker=False, extract=False, synchronous="normal", kv_memory_bytes=0)
    with MOS(tmp_path / "none.db", embedder=None, settings=settings) as mos:
        mos.add("maya says " + "the box is blue " * 3, user="maya")
        devices = beside(mos, bus, capacity=9 * ONE)
        for _ in range(3):
            ask(mos, model)
            assert (devices.keys(), devices.bytes_on("cpu")) == (set(), 0)


def test_a_part_that_a_longer_one_holds_leaves_the_device_with_it(
    mos: MOS, model: Any, bus: Bus
) -> None:
    devices = beside(mos, bus, capacity=9 * ONE)
    mos.add("maya says " + "the lid is green " * 9, user="maya")
    seen: list[set[str]] = []
    for letters in (80, 200):
        with mos.activated(
            model, Words(), query="?!", user="maya", rendering=lambda m, q, n=letters: f"{m[:n]}{q}"
        ):
            pass
        seen.append({*devices.keys()})
        assert seen[-1] == held_in_memory(mos)
    assert [len(each) for each in seen] == [1, 1]
    assert seen[0] != seen[1]


@pytest.mark.parametrize("end", ["erase", "private"])
def test_what_is_withdrawn_elsewhere_leaves_the_device_at_the_next_use(
    mos: MOS, model: Any, bus: Bus, end: str
) -> None:
    devices = beside(mos, bus, capacity=9 * ONE)
    ask(mos, model)
    (mine,), item = devices.keys(), mos.list(user="maya")[0].id
    with MOS(mos.path, embedder=None, settings=SETTINGS) as elsewhere:
        if end == "erase":
            elsewhere.erase(item, user="maya")
        else:
            elsewhere.set_visibility("private", item, user="maya")
    ask(mos, model, "sam")
    assert not devices.holds(mine)


def test_a_file_is_made_of_what_lies_on_the_host(mos: MOS, model: Any, bus: Bus) -> None:
    beside(mos, bus, capacity=ONE)
    for _ in range(3):
        ask(mos, model)
    mos.demote_cache(mos.caches(user="maya")[0].key, user="maya")
    assert ask(mos, model) == 64
    assert bus.to == ["host", "cpu"]
    assert mos.verify_caches().sound
