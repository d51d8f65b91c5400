"""Adapter files: equal bytes for equal adapters, and never a load of what was tampered with."""

from __future__ import annotations

import json
import pickle
import random
import stat
import struct
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra parametric")
peft = pytest.importorskip("peft", reason="needs the extra parametric")

from safetensors.torch import save  # noqa: E402

from memos_integrations.cube.errors import InvalidInput  # noqa: E402
from memos_integrations.infrastructure.activation.identity import Digest  # noqa: E402
from memos_integrations.infrastructure.parametric import adapter_file  # noqa: E402
from memos_integrations.infrastructure.parametric.errors import AdapterRefused  # noqa: E402
from memos_integrations.infrastructure.parametric.lora import linear_shapes  # noqa: E402
from memos_integrations.infrastructure.parametric.manifest import (  # noqa: E402
    decode_manifest,
    encode_manifest,
    invocation_start,
)
from tests.unit.parametric_toys import (  # noqa: E402
    INVOCATION,
    RECIPE,
    a_model,
    an_adapter,
    manifest,
    tensors,
)

MODEL = a_model()
SHAPES = linear_shapes(MODEL)
BASE = manifest(MODEL).base
FIRST = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


def loaded(data: bytes, folder: Path, **about: Any) -> adapter_file.Adapter:
    path = folder / "adapter.safetensors"
    path.write_bytes(data)
    return adapter_file.load(path, **{"base": BASE, "shapes": SHAPES} | about)


def forged(change: Callable[[dict[str, Any], dict[str, Any]], None]) -> bytes:
    """A file whose digest was computed anew by whoever changed it."""
    numbers, told = tensors(MODEL), json.loads(encode_manifest(manifest(MODEL)))
    change(numbers, told)
    raw = json.dumps(told).encode()
    digest = adapter_file._digest(dict(sorted(numbers.items())), raw)
    outer = {"format": adapter_file.FORMAT, "manifest": raw.decode(), "digest": digest}
    return bytes(save(numbers, {"memos": json.dumps(outer)}))


def outer(**changed: Any) -> bytes:
    raw = encode_manifest(manifest(MODEL)).decode()
    digest = adapter_file._digest(dict(sorted(tensors(MODEL).items())), raw.encode())
    told = {"format": adapter_file.FORMAT, "manifest": raw, "digest": digest, **changed}
    return bytes(save(tensors(MODEL), {"memos": json.dumps(told)}))


def header(change: Callable[[dict[str, Any]], Any]) -> bytes:
    """A file with another safetensors header before the same numbers."""
    data = adapter_file.dump(tensors(MODEL), manifest(MODEL))
    size = int.from_bytes(data[:8], "little")
    head = json.loads(data[8 : 8 + size])
    text = change(head) or json.dumps(head)
    return struct.pack("<Q", len(text.encode())) + text.encode() + data[8 + size :]


def recipe(**changed: Any) -> Callable[[Any, Any], None]:
    return lambda numbers, told: told["recipe"].update(changed)


def told(**changed: Any) -> Callable[[Any, Any], None]:
    return lambda numbers, manifest: manifest.update(changed)


def number(name: str, value: Any) -> Callable[[Any, Any], None]:
    return lambda numbers, told: numbers.__setitem__(name, value)


def twice(text: str) -> str:
    return text[:-1] + ',"rank":4}'


class Bomb:
    def __reduce__(self) -> Any:
        return (pytest.fail, ("the file was unpickled",))


BAD = torch.zeros(4, 32)
TAMPERED: dict[str, Callable[[], bytes]] = {
    "another base": lambda: forged(told(base="e" * 64)),
    "a base that is no digest": lambda: forged(told(base="base")),
    "no base": lambda: forged(lambda n, t: t.pop("base")),
    "a tensor too many": lambda: forged(number("extra", BAD)),
    "a tensor of the base": lambda: forged(number("model.embed_tokens.weight", BAD)),
    "a tensor too few": lambda: forged(lambda n, t: n.pop(FIRST)),
    "another shape": lambda: forged(number(FIRST, torch.zeros(4, 31))),
    "another rank of one tensor": lambda: forged(number(FIRST, torch.zeros(5, 32))),
    "three dimensions": lambda: forged(number(FIRST, torch.zeros(1, 4, 32))),
    "half precision": lambda: forged(number(FIRST, BAD.half())),
    "whole numbers": lambda: forged(number(FIRST, BAD.int())),
    "not a number": lambda: forged(number(FIRST, BAD.fill_diagonal_(float("nan")))),
    "infinity": lambda: forged(number(FIRST, torch.full((4, 32), float("inf")))),
    "a huge rank": lambda: forged(recipe(rank=2**20)),
    "another rank": lambda: forged(recipe(rank=8)),
    "rank as text": lambda: forged(recipe(rank="4")),
    "rank as truth": lambda: forged(recipe(rank=True)),
    "a rank of nothing": lambda: forged(recipe(rank=0)),
    "other layers": lambda: forged(recipe(targets=["k_proj"])),
    "a layer that is a pattern": lambda: forged(recipe(targets=[".*"])),
    "a layer twice": lambda: forged(recipe(targets=["q_proj"] * 2)),
    "no layers": lambda: forged(recipe(targets=[])),
    "an unknown objective": lambda: forged(recipe(objective="eval")),
    "code in the recipe": lambda: forged(recipe(auto_mapping={"base_model_class": "os.system"})),
    "an unknown key": lambda: forged(told(modules_to_save=["lm_head"])),
    "no invocation": lambda: forged(told(invocation=[])),
    "an invocation of text": lambda: forged(told(invocation=["question", ":"])),
    "an endless invocation": lambda: forged(told(invocation=[1] * 1000)),
    "a token below zero": lambda: forged(told(invocation=[-1])),
    "a figure that is none": lambda: forged(lambda n, t: t["figures"].update(recall=None)),
    "a verdict that is no truth": lambda: forged(lambda n, t: t["verdict"].update(published=1)),
    "a manifest that is no JSON": lambda: outer(manifest="{'a': 1}"),
    "a manifest that is a list": lambda: outer(manifest="[]"),
    "a manifest with NaN": lambda: outer(manifest='{"base": NaN}'),
    "a key twice": lambda: outer(
        manifest=json.dumps(asdict(manifest(MODEL))).replace('"rank": 4', '"rank": 4, "rank": 4')
    ),
    "depth without end": lambda: outer(manifest="[" * 100_000),
    "another format": lambda: outer(format="memos-adapter/2"),
    "another digest": lambda: outer(digest="0" * 64),
    "a digest that is no text": lambda: outer(digest=None),
    "a key beside ours": lambda: outer(code="import os"),
    "metadata beside ours": lambda: header(lambda h: h["__metadata__"].update(pt="x")),
    "no metadata": lambda: header(lambda h: h.pop("__metadata__") and None),
    "metadata that is no map": lambda: header(lambda h: h.update(__metadata__=["memos"])),
    "a header that is no JSON": lambda: header(lambda h: "{" + json.dumps(h)),
    "a tensor twice": lambda: header(
        lambda h: json.dumps(h)[:-1] + "," + json.dumps({FIRST: h[FIRST]})[1:]
    ),
    "a pickle": lambda: pickle.dumps(Bomb()),
    "a checkpoint of torch": lambda: b"PK\x03\x04" + bytes(200),
    "nothing": lambda: b"",
    "a header longer than the file": lambda: struct.pack("<Q", 2**40) + b"{}",
}


@pytest.mark.parametrize("how", TAMPERED)
def test_what_was_tampered_with_is_refused(how: str, tmp_path: Path) -> None:
    with pytest.raises(AdapterRefused):
        loaded(TAMPERED[how](), tmp_path)


def test_every_cut_and_every_changed_bit_is_refused(tmp_path: Path) -> None:
    data = adapter_file.dump(tensors(MODEL), manifest(MODEL))
    rng = random.Random(5)
    for _ in range(60):
        with pytest.raises(AdapterRefused):
            loaded(data[: rng.randrange(len(data))], tmp_path)
        changed = bytearray(data)
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        with pytest.raises(AdapterRefused):
            loaded(bytes(changed), tmp_path)
    with pytest.raises(AdapterRefused):
        loaded(data + b"\x00", tmp_path)


def test_a_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    numbers, about = tensors(MODEL), manifest(MODEL)
    data = adapter_file.dump(numbers, about)
    assert data == adapter_file.dump(dict(reversed(numbers.items())), about)
    back = loaded(data, tmp_path)
    assert back.manifest == about
    assert all(torch.equal(back.tensors[name], each) for name, each in numbers.items())
    assert adapter_file.read_manifest(tmp_path / "adapter.safetensors") == about


def test_a_manifest_comes_back_as_it_was_written() -> None:
    about = manifest(MODEL, replace(RECIPE, seed=7, replay_weight=0.5))
    assert decode_manifest(encode_manifest(about)) == about


@pytest.mark.parametrize(
    "changed", [{"base": Digest("x")}, {"invocation": ()}, {"recipe": replace(RECIPE, rank=10**6)}]
)
def test_no_file_is_written_that_would_not_be_read(changed: Any) -> None:
    with pytest.raises(AdapterRefused):
        adapter_file.dump(tensors(MODEL), manifest(MODEL, **changed))


def test_an_adapter_of_another_model_is_refused(tmp_path: Path) -> None:
    wider = a_model(hidden_size=64)
    data = adapter_file.dump(tensors(wider), manifest(MODEL))
    with pytest.raises(AdapterRefused, match="shape"):
        loaded(data, tmp_path)
    with pytest.raises(AdapterRefused, match="another model"):
        loaded(data, tmp_path, base=Digest("f" * 64))


def test_the_invocation_is_found_where_it_stands_last() -> None:
    assert invocation_start([3, 4, 9, 3, 4, 5], INVOCATION) == 3
    assert invocation_start([3, 4], INVOCATION) == 0
    assert invocation_start([3, 5, 4, 3], INVOCATION) is None
    assert invocation_start([], INVOCATION) is None


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft asks transformers by an old name
def test_an_export_is_what_peft_loads(tmp_path: Path) -> None:
    model, path = a_model(), an_adapter(MODEL, tmp_path)
    adapter_file.export(path, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    written = [tmp_path / "out", *(tmp_path / "out").iterdir()]
    assert [stat.S_IMODE(each.stat().st_mode) for each in written] == [0o700, 0o600, 0o600]
    fresh = peft.PeftModel.from_pretrained(a_model(), tmp_path / "out").eval()
    ids = torch.tensor([[2, 20, 3, 4, 6, 7, 21]])
    plain = model(ids).logits
    with torch.no_grad():
        given = fresh(ids).logits
    assert torch.equal(given[:, :2], plain[:, :2])
    assert not torch.allclose(given[:, 2:], plain[:, 2:], atol=1e-2)
    with pytest.raises(InvalidInput, match="holds an adapter"):
        adapter_file.export(path, tmp_path / "out")


def test_a_broken_file_is_not_exported(tmp_path: Path) -> None:
    data = bytearray(adapter_file.dump(tensors(MODEL), manifest(MODEL)))
    data[-1] ^= 1
    with pytest.raises(AdapterRefused):
        adapter_file.export(bytes(data), tmp_path / "out")
    assert not (tmp_path / "out").exists()
