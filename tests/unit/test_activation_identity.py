from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos_integrations.cube.errors import InvalidInput
from memos_integrations.infrastructure.activation.identity import (
    Digest,
    Identity,
    block_hashes,
    tagged_digest,
)

QWEN = Identity(
    architecture="Qwen2ForCausalLM",
    config="c",
    weights="w",
    tokenizer="t",
    chat_template=None,
    dtype="torch.bfloat16",
    device="cpu",
    quantisation=None,
    attention="sdpa",
    adapters=(),
    library="transformers 5.24",
)
ID = Digest("0" * 64)

fields = st.dictionaries(
    st.text(max_size=4),
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=4), st.binary(max_size=4)),
    max_size=4,
)


@given(fields, fields)
def test_digests_are_equal_only_for_equal_fields(one: dict, other: dict) -> None:  # type: ignore[type-arg]
    same = {n: (type(v), v) for n, v in one.items()} == {n: (type(v), v) for n, v in other.items()}
    assert (tagged_digest(one) == tagged_digest(other)) == same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": "b", "c": "d"}, {"a": "bcd"}),
        ({"a": "1"}, {"a": 1}),
        ({"a": True}, {"a": 1}),
        ({"a": None}, {"a": ""}),
        ({"a": b"x"}, {"a": "x"}),
        ({"a": None}, {}),
    ],
)
def test_what_an_untagged_hash_would_confuse_differs(one: dict, other: dict) -> None:  # type: ignore[type-arg]
    assert tagged_digest(one) != tagged_digest(other)


@pytest.mark.parametrize("name", [n for n in Identity.__slots__ if n != "adapters"])
def test_each_field_of_an_identity_changes_its_digest(name: str) -> None:
    assert replace(QWEN, **{name: "another"}).digest() != QWEN.digest()


def test_adapters_count_in_their_order() -> None:
    digests = {
        replace(QWEN, adapters=given).digest()
        for given in [(), ("a",), ("a", "b"), ("b", "a"), ("ab",), ("a", "b", "")]
    }
    assert len(digests) == 6


def test_prompts_with_a_common_beginning_share_exactly_its_blocks() -> None:
    one = block_hashes([1, 2, 3, 4, 5, 6, 7], identity=ID, salt="s", block_tokens=2)
    other = block_hashes([1, 2, 3, 4, 9, 6, 7, 8], identity=ID, salt="s", block_tokens=2)
    assert len(one) == 3  # the seventh token has no whole block
    assert len(other) == 4
    assert one[:2] == other[:2]
    assert not set(one[2:]) & set(other[2:])


@pytest.mark.parametrize(
    "changed", [{"identity": Digest("1" * 64)}, {"salt": "t"}, {"block_tokens": 4}]
)
def test_another_model_tenant_or_grain_shares_no_block(changed: dict[str, object]) -> None:
    tokens = list(range(8))
    given: dict[str, object] = {"identity": ID, "salt": "s", "block_tokens": 2}
    one = block_hashes(tokens, **given)  # type: ignore[arg-type]
    other = block_hashes(tokens, **{**given, **changed})  # type: ignore[arg-type]
    assert not set(one) & set(other)


@pytest.mark.parametrize("token", [-1, 2**31, 1.0, True, "1", None])
def test_what_is_no_token_id_is_refused(token: object) -> None:
    with pytest.raises(InvalidInput, match="token id"):
        block_hashes([1, token], identity=ID, salt="", block_tokens=2)  # type: ignore[list-item]
