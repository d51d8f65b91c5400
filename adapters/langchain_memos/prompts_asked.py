"""A prompt as a cache sees it: the last question, and everything that must be the same beside it.

Pure. Chat models hand a cache their messages as serialised JSON; plain models hand it the text.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from memos_integrations.interface.context import holds_memory


@dataclass(frozen=True, slots=True)
class Asked:
    """What may differ a little, and what may not at all."""

    question: str
    setting: str
    """Hash of the model's configuration, the instructions and the conversation before."""


def asked_of(prompt: str, llm_string: str) -> Asked:
    """The last message of a chat prompt as the question; all of a text prompt."""
    messages = _messages(prompt)
    if messages is None:
        return Asked(prompt, digest(llm_string))
    question, before = _text(messages[-1]), json.dumps([_bare(m) for m in messages[:-1]])
    if question is None:  # a picture, an answer of a tool: nothing that may be only alike
        return Asked("", digest(llm_string, prompt))
    return Asked(question, digest(llm_string, before))


def rests_on_memory(prompt: str) -> bool:
    """Whether memories stand in it: in a block of them, or as what the ``recall`` tool brought."""
    return holds_memory(prompt) or any(_recalled(each) for each in _messages(prompt) or ())


def digest(*parts: str) -> str:
    """One hash of several texts; where one ends and the next begins counts."""
    told = json.dumps(parts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(told).hexdigest()


def _messages(prompt: str) -> list[dict[str, Any]] | None:
    try:
        found = json.loads(prompt)
    except (ValueError, RecursionError):
        return None
    chat = isinstance(found, list) and found and all(_is_message(each) for each in found)
    return found if chat else None


def _is_message(each: object) -> bool:
    return isinstance(each, dict) and isinstance(each.get("kwargs"), dict) and "id" in each


def _recalled(message: dict[str, Any]) -> bool:
    kwargs = message["kwargs"]
    return (kwargs.get("type"), kwargs.get("name")) == ("tool", "recall")


def _text(message: dict[str, Any]) -> str | None:
    """The words of a person's message that has nothing but words."""
    kwargs = message["kwargs"]
    content = kwargs.get("content")
    human = kwargs.get("type") == "human"
    return content if human and isinstance(content, str) and content.strip() else None


def _bare(message: dict[str, Any]) -> dict[str, Any]:
    """Without the message's own id, which is another one in every run."""
    return {**message, "kwargs": {k: v for k, v in message["kwargs"].items() if k != "id"}}
