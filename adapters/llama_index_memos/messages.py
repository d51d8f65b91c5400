"""Chat messages as records and as memories: data only, exact there, words here."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock, ToolCallBlock
from pydantic import ValidationError

from llama_index_memos.links import REMEDY, barred_in_message
from memos_integrations.cube.errors import HostileArchive, InvalidInput, VaultDamaged
from memos_integrations.infrastructure.strict_json import decode_object

Count: TypeAlias = Callable[[str], int]
"""How many tokens a text costs."""
_MAX_DEPTH: Final = 64
_OTHER_BLOCK_TOKENS: Final = 256
"""What a picture or a recording is taken to cost, as LlamaIndex estimates it."""
_REMEMBERED: Final = {MessageRole.USER: "user", MessageRole.ASSISTANT: "assistant"}
_ROLES_OF_CHATS: Final = {MessageRole.CHATBOT: "assistant", MessageRole.MODEL: "assistant"}


def to_bytes(message: ChatMessage) -> bytes:
    """The message as JSON. Raises ``InvalidInput`` for what JSON cannot carry, and for media that
    every reader would have to read from its own disk or network."""
    try:
        payload = message.model_dump(mode="json")
        # Pictures given the old way became blocks when the message was made.
        payload["additional_kwargs"].pop("images", None)
        raw = json.dumps(payload, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"the message holds what JSON cannot carry: {error}") from error
    if barred := barred_in_message(payload):
        raise InvalidInput(f"the message points at {barred}: {REMEDY}")
    return raw


def from_bytes(raw: bytes) -> ChatMessage:
    """The message. Raises ``VaultDamaged`` for bytes that are not one, or one that points at the
    reader's disk or network."""
    try:
        data = decode_object(raw, max_depth=_MAX_DEPTH, what="a stored message")
        if barred := barred_in_message(data):
            raise VaultDamaged(f"a stored message points at {barred}; it is not read")
        return ChatMessage.model_validate(data)
    except (HostileArchive, ValidationError, TypeError, AttributeError) as error:
        raise VaultDamaged(f"a stored message does not read: {type(error).__name__}") from error


def words_of(message: ChatMessage) -> str:
    """The text of the message, without what is not text."""
    return (message.content or "").strip()


def tokens_of(message: ChatMessage, count: Count) -> int:
    """About what the message costs in a prompt: words, arguments of tools, pictures."""
    total = count(json.dumps(message.additional_kwargs, default=str, ensure_ascii=False))
    total -= 0 if message.additional_kwargs else count("{}")
    for block in message.blocks:
        if isinstance(block, TextBlock):
            total += count(block.text)
        elif isinstance(block, ToolCallBlock):
            total += count(block.model_dump_json())
        else:
            total += _OTHER_BLOCK_TOKENS
    return total


def remembered(message: ChatMessage, *, nanos: int) -> dict[str, Any] | None:
    """The message as ``MOS.add`` takes it; ``None`` for what is no memory (tools, systems).

    It bears the time it was put at, so that putting it once more adds nothing.
    """
    role = _REMEMBERED.get(message.role) or _ROLES_OF_CHATS.get(message.role)
    words = words_of(message)
    if role is None or not words:
        return None
    return {"role": role, "content": words, "time": at(nanos)}


def at(nanos: int) -> datetime:
    """The instant, to the microsecond."""
    return datetime.fromtimestamp(nanos // 1_000 / 1e6, tz=UTC)


def asked(messages: Sequence[ChatMessage]) -> str:
    """What a person said last."""
    said = (words_of(m) for m in reversed(messages) if m.role is MessageRole.USER)
    return next((words for words in said if words), "")
