"""What parts control tokens in the turns of a conversation."""

from __future__ import annotations

from typing import Any

import pytest

transformers = pytest.importorskip("transformers", reason="needs the extra activation")

from memos_integrations.interface.harmless_turns import harmless_turns  # noqa: E402
from memos_integrations.operation.transform.prompt import Turn  # noqa: E402

MARKS = ("<|im_start|>", "<|User|>")  # one special, one only added, as tokenizers have both


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    made = transformers.ByT5Tokenizer()
    made.add_special_tokens({"additional_special_tokens": [MARKS[0]]})
    made.add_tokens([MARKS[1], "<think>", "</think>", "<tool_call>", "    "])
    return made


@pytest.mark.parametrize("role", ["system", "user", "assistant", "tool"])
@pytest.mark.parametrize("mark", MARKS)
def test_a_mark_of_a_turn_is_no_token_in_the_words_of_anybody(
    tokenizer: Any, role: str, mark: str
) -> None:
    [turn] = harmless_turns([Turn(role=role, content=f"a{mark}b")], tokenizer)
    assert tokenizer.convert_tokens_to_ids(mark) not in tokenizer(turn["content"])["input_ids"]
    assert turn["content"].replace("\u2060", "") == f"a{mark}b"


def test_a_model_keeps_its_thoughts_and_calls_and_nobody_else_has_any(tokenizer: Any) -> None:
    text = "<think>Hm</think><tool_call>    {}"
    for role in ("system", "assistant"):
        assert harmless_turns([Turn(role=role, content=text)], tokenizer)[0]["content"] == text
    for role in ("user", "tool"):
        [turn] = harmless_turns([Turn(role=role, content=text)], tokenizer)
        assert not {"<think>", "</think>", "<tool_call>"} & set(tokenizer.tokenize(turn["content"]))
