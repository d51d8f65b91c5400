"""A tokenizer is hashed once, and again when anything about it changes that its ids hang on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra activation")

from tokenizers import AddedToken, normalizers, pre_tokenizers, processors  # noqa: E402

from memos_integrations.infrastructure.activation import model_identity  # noqa: E402
from tests.unit.parametric_toys import a_model, a_tokenizer  # noqa: E402

MODEL = a_model()
Change = Callable[[Any], object]


def digest(tokenizer: Any) -> str:
    return model_identity.identify(MODEL, tokenizer).tokenizer


def normalised(tokenizer: Any) -> None:
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()


def split_otherwise(tokenizer: Any) -> None:
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Punctuation()


def framed(tokenizer: Any) -> None:
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 2)]
    )


def unknown_otherwise(tokenizer: Any) -> None:
    tokenizer.backend_tokenizer.model.unk_token = "<pad>"


CHANGES: list[Change] = [
    lambda tokenizer: tokenizer.add_tokens(["xyzzy"]),
    lambda tokenizer: tokenizer.add_tokens([AddedToken("the", lstrip=True)]),
    normalised,
    split_otherwise,
    framed,
    unknown_otherwise,
]


@pytest.mark.parametrize("change", range(len(CHANGES)))
def test_a_tokenizer_that_was_changed_is_another(change: int) -> None:
    tokenizer = a_tokenizer()
    before = digest(tokenizer)
    CHANGES[change](tokenizer)
    assert digest(tokenizer) != before


def test_it_is_hashed_once_and_equals_another_that_is_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hashed: list[Any] = []
    real = model_identity._backend_digest  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(
        model_identity, "_backend_digest", lambda backend: hashed.append(backend) or real(backend)
    )
    tokenizer, twin = a_tokenizer(), a_tokenizer()
    assert len({digest(tokenizer) for _ in range(5)}) == 1
    assert len(hashed) == 1
    assert digest(twin) == digest(tokenizer)


def test_how_it_was_last_called_changes_nothing_and_is_hashed_at_most_once_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hashed: list[Any] = []
    real = model_identity._backend_digest  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(
        model_identity, "_backend_digest", lambda backend: hashed.append(backend) or real(backend)
    )
    tokenizer = a_tokenizer()
    plain = digest(tokenizer)
    for _ in range(4):
        tokenizer(["the"] * 9, truncation=True, max_length=3)
        assert digest(tokenizer) == plain
        tokenizer(["the"] * 9)
        assert digest(tokenizer) == plain
    assert len(hashed) <= 2
