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


def test_what_another_package_would_have_to_load_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ImportError"):
        load(folder(tmp_path, quantization_config={"quant_method": "gptq", "bits": 4}))
