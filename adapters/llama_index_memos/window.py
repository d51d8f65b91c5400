"""The part of a conversation that fits into a prompt: pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llama_index.core.base.llms.types import ChatMessage, MessageRole

from llama_index_memos.chat_records import Put

_OPENS = (MessageRole.USER, MessageRole.SYSTEM)


def window(puts: Sequence[Put], *, limit: int, cost: Callable[[ChatMessage], int]) -> list[Put]:
    """The newest messages that cost at most ``limit`` tokens, in order.

    It begins with what a person said, so that no answer and no tool result stands without its
    question. The last turn is kept whole even where it alone costs more: a prompt without the
    question would be none.
    """
    turn = _last_turn(puts)
    start, spent = len(puts), 0
    while start > 0:
        spent += cost(puts[start - 1].message)
        if spent > limit and start <= turn:
            break
        start -= 1
    while start < turn and puts[start].message.role not in _OPENS:
        start += 1
    return list(puts[start:])


def _last_turn(puts: Sequence[Put]) -> int:
    """Where the last person spoke; the newest message where nobody did."""
    spoken = [n for n, put in enumerate(puts) if put.message.role is MessageRole.USER]
    return spoken[-1] if spoken else max(len(puts) - 1, 0)
