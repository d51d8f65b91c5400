"""A model out of a folder that somebody else may have written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra activation")
pytest.importorskip("transformers", reason="needs the extra activation")

from memos_integrations.cube.errors import UsageError  # noqa: E402
from memos_integrations.infrastructure.activation.local_model import load  # noqa: E402

torch.set_num_threads(1)
FOUR = {"load_in_4bit": True}
DATA = Path(__file__).parents[2] / "cookbook" / "data" / "tinyfacts"


def folder(into: Path, **config: Any) -> Path:
    for each in ("model", "tok"):
        shutil.copytree(DATA / each, into, dirs_exist_ok=True)
    told = json.loads((into / "config.json").read_text("utf-8"))
    (into / "config.json").write_text(json.dumps({**told, **config}), "utf-8")
    return into


@pytest.mark.parametrize(
    "config", [{}, {"attn_implementation": "eager"}, {"_attn_implementation": "sdpa"}]
)
def test_attention_is_of_torch(tmp_path: Path, config: dict[str, Any]) -> None:
    model, _ = load(folder(tmp_path, **config))
    assert model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize(
    "config",
    [
        {"attn_implementation": "kernels-community/flash-attn2"},
        {"_attn_implementation": "evil/kernel"},
        {"_attn_implementation_internal": "evil/kernel"},
        {"attn_implementation": "flash_attention_2"},
        {"attn_implementation": {"": "evil/kernel"}},
        {"attn_implementation": ["evil/kernel"]},
        {"text_config": {"attn_implementation": "evil/kernel"}},
        {"layers": [{"attn_implementation": "evil/kernel"}]},
        {"experts_implementation": "evil/kernel"},
    ],
)
def test_code_of_a_hub_is_refused(tmp_path: Path, config: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="implementation"):
        load(folder(tmp_path, **config))


@pytest.mark.parametrize("beside", ["with the model", "without one", "with the tokenizer"])
def test_an_adapter_leads_to_no_base_elsewhere(tmp_path: Path, beside: str) -> None:
    base, here = folder(tmp_path / "base"), folder(tmp_path / "here")
    told = {"peft_type": "LORA", "base_model_name_or_path": str(base), "task_type": "CAUSAL_LM"}
    (here / "adapter_config.json").write_text(json.dumps(told), "utf-8")
    if beside == "without one":
        (here / "config.json").unlink()
    with pytest.raises(UsageError, match="holds an adapter"):
        load(base, tokenizer=here) if beside == "with the tokenizer" else load(here)


@pytest.mark.parametrize("text", ["{", '{"a":' + "[" * 100_000, "\udcff"])
def test_a_config_that_is_none_is_told(tmp_path: Path, text: str) -> None:
    (folder(tmp_path) / "config.json").write_text(text, "utf-8", "surrogateescape")
    with pytest.raises(UsageError, match="cannot be"):
        load(tmp_path)


@pytest.mark.parametrize("method", ["fp8", "mxfp4", "gptq", "no such", None, ["fp8"]])
@pytest.mark.parametrize("field", ["quantization_config", "compression_config"])
def test_kernels_of_a_quantisation_are_refused(tmp_path: Path, field: str, method: Any) -> None:
    quantised = {field: {"quant_method": method, "bits": 4}}
    for config in (quantised, {"text_config": quantised}):
        with pytest.raises(UsageError, match="save the model dequantised"):
            load(folder(tmp_path, **config))


def test_what_another_package_would_have_to_load_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ImportError"):
        load(folder(tmp_path, quantization_config={"quant_method": "bitsandbytes", **FOUR}))


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "generation_config.json"])
def test_code_beside_the_weights_is_refused(tmp_path: Path, name: str) -> None:
    told = folder(tmp_path / "m") / name
    (tmp_path / "m" / "evil.py").write_text("raise SystemExit", "utf-8")
    now = json.loads(told.read_text("utf-8")) if told.exists() else {}
    auto = {"AutoModelForCausalLM": "evil.Model", "AutoTokenizer": ["evil.Words", None]}
    told.write_text(json.dumps({**now, "auto_map": auto}), "utf-8")
    with pytest.raises(UsageError, match="take the field out"):
        load(tmp_path / "m")


def sharded(into: Path) -> Path:
    """A model whose weights lie in several files."""
    model, _ = load(folder(into))
    (into / "model.safetensors").unlink()
    model.save_pretrained(into, max_shard_size="20KB")
    assert (into / "model.safetensors.index.json").exists()
    return into


def test_weights_in_several_files_are_loaded(tmp_path: Path) -> None:
    whole, _ = load(folder(tmp_path / "whole"))
    parts, _ = load(sharded(tmp_path / "parts"))
    ours, theirs = whole.state_dict(), parts.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("how", ["above", "absolute", "beside", "below", "pickled", "none"])
def test_an_index_names_weights_of_its_own_folder_only(tmp_path: Path, how: str) -> None:
    here = sharded(tmp_path / "here")
    index = here / "model.safetensors.index.json"
    told = json.loads(index.read_text("utf-8"))
    tensor, shard = next(iter(told["weight_map"].items()))
    (tmp_path / "here2").mkdir()
    (here / "sub").mkdir()
    for copy in (tmp_path / shard, tmp_path / "here2" / shard, here / "sub" / shard):
        shutil.copy(here / shard, copy)
    names = {
        "above": f"../{shard}",
        "absolute": str(tmp_path / shard),
        "beside": f"../here2/{shard}",
        "below": f"sub/{shard}",
        "pickled": "weights.bin",
        "none": 7,
    }
    told["weight_map"][tensor] = names[how]
    index.write_text(json.dumps(told), "utf-8")
    with pytest.raises(UsageError, match="save_pretrained"):
        load(here)


@pytest.mark.parametrize("text", ["[]", "{}", '{"weight_map": []}'])
def test_an_index_that_is_none_is_told(tmp_path: Path, text: str) -> None:
    (sharded(tmp_path) / "model.safetensors.index.json").write_text(text, "utf-8")
    with pytest.raises(UsageError, match="save_pretrained"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["../m.safetensors", "/tmp/m.safetensors", "weights.bin", ["a"]])
def test_weights_of_another_name_are_of_the_folder(tmp_path: Path, name: Any) -> None:
    with pytest.raises(UsageError, match="transformers_weights"):
        load(folder(tmp_path, transformers_weights=name))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    here, away = folder(tmp_path / "here"), tmp_path / "away"
    shutil.move(here / name, away)
    (here / name).symlink_to(away)
    with pytest.raises(UsageError, match="put a copy in its place"):
        load(here)


def test_a_folder_of_the_hubs_cache_is_loaded(tmp_path: Path) -> None:
    """There every file is a link to a blob beside the snapshots."""
    here = folder(tmp_path / "snapshots" / "abc")
    (tmp_path / "blobs").mkdir()
    for n, each in enumerate(sorted(here.iterdir())):
        shutil.move(each, tmp_path / "blobs" / str(n))
        each.symlink_to(Path("../../blobs") / str(n))
    (tmp_path / "named").symlink_to(here)
    for path in (here, tmp_path / "named"):
        model, _ = load(path)
        assert model.config.model_type
