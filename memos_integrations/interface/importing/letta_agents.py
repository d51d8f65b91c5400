"""Letta: an agent file (``.af``) of the old form for one agent or the new one for several, or the
passages of its archival memory as its server lists them.

Memory blocks, what was said, and passages become memories. Thoughts, system messages, tools with
their code, environment variables and settings are left where they are, and counted. Ids in agent
files are numbers of one file (``block-0``), so a block is known by agent and label, and a message
by who said what when.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from memos_integrations.cube.errors import InvalidInput
from memos_integrations.interface.importing.files import ImportLimits, json_values
from memos_integrations.interface.importing.foreign import (
    Foreign,
    Left,
    Record,
    Records,
    moment,
    told,
    word,
)

_LEFT = (
    "tools",
    "sources",
    "files",
    "groups",
    "mcp_servers",
    "tool_exec_environment_variables",
    "secrets",
)
_SPOKEN = {"user": "user", "assistant": "assistant"}
_SAY = "send_message"
_SPEAKS_PLAINLY = "letta_v1_agent"
"""The kind of agent whose content is what it said, beside calls of tools too."""


def read(path: Path, limits: ImportLimits) -> Records:
    """The memories of the file. Raises ``InvalidInput`` for a file of another kind."""
    (document, *more) = json_values(path, limits)
    if isinstance(document, Mapping) and not more:
        if "agents" in document:
            return _of_agents(document)
        if "core_memory" in document:
            return _of_agent(document)
        if "passages" in document:
            return _passages(document["passages"], None)
    listed = document if isinstance(document, list) else [document, *more]
    if all(isinstance(each, Mapping) and "text" in each for each in listed):
        return _passages(listed, None)
    raise InvalidInput(f"{path.name} is neither a Letta agent file nor a list of its passages")


def _of_agents(document: Mapping[str, Any]) -> Records:
    """The form with agents, blocks and all else side by side."""
    agents = _objects(document.get("agents"))
    holders = {block: agent for agent in agents for block in _listed(agent.get("block_ids"))}
    for block in _objects(document.get("blocks")):
        holder = holders.get(str(block.get("id")), {})
        yield _block(block, word(holder.get("name")), document.get("created_at"))
    for agent in agents:
        name = word(agent.get("name"))
        yield from _messages(agent, name)
        yield from _passages(agent.get("passages"), name)
        yield from _left(agent)
    yield from _passages(document.get("passages"), None)
    yield from _left(document)


def _of_agent(agent: Mapping[str, Any]) -> Records:
    """The form with everything inside one agent."""
    name = word(agent.get("name"))
    for block in _objects(agent.get("core_memory")):
        yield _block(block, name, agent.get("created_at"))
    yield from _messages(agent, name)
    yield from _passages(agent.get("passages"), name)
    yield from _left(agent)


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _listed(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _left(holder: Mapping[str, Any]) -> Iterator[Left]:
    for name in _LEFT:
        held = holder.get(name)
        if isinstance(held, list | dict):
            yield from (Left(name.replace("_", " ")) for _ in held)
    if word(holder.get("system")):
        yield Left("a system prompt")


def _block(block: Mapping[str, Any], agent: str | None, made: object) -> Record:
    text = word(block.get("value"))
    if text is None:
        return Left("a memory block without words")
    label = word(block.get("label"))
    return Foreign(
        id=f"block {agent or block.get('id')}/{label}",
        text=text,
        time=moment(block.get("created_at")) or moment(made),
        agent=agent,
        memory_type="user" if label == "human" else "long_term",
        info=told(
            kind="block",
            label=label,
            description=word(block.get("description")),
            metadata=block.get("metadata") or block.get("metadata_"),
            updated_at=word(block.get("updated_at")),
        ),
    )


def _messages(agent: Mapping[str, Any], name: str | None) -> Records:
    home = name or str(agent.get("id"))
    plainly = agent.get("agent_type") == _SPEAKS_PLAINLY
    for message in _objects(agent.get("messages")):
        role = _SPOKEN.get(str(message.get("role")))
        if role is None:
            yield Left(f"a message of the role {str(message.get('role'))[:20]}")
            continue
        said = _heard(message) if role == "user" else _spoken(message, plainly=plainly)
        if not said:
            yield Left("an event of the system" if role == "user" else "a thought")
        for place, text in enumerate(said):
            yield Foreign(
                id=f"message {_identity(message, home)}/{place}",
                text=text,
                time=moment(message.get("created_at")),
                role=role,
                speaker=word(message.get("name")),
                session=f"letta:{home}"[:500],
                agent=name,
                info=told(kind="message", created_at=word(message.get("created_at"))),
            )


def _identity(message: Mapping[str, Any], home: str) -> str:
    """A hash of where, when and by whom what was said."""
    names = ("created_at", "role", "content", "tool_calls")
    whole = json.dumps([home, *(message.get(name) for name in names)], sort_keys=True)
    return hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _heard(message: Mapping[str, Any]) -> list[str]:
    """What a person said. Letta wraps it into JSON, as it does with its own events."""
    texts: list[str] = []
    for text in _texts(message.get("content")):
        wrapped = _object_of(text)
        if "type" not in wrapped:
            texts.append(text)
        elif wrapped["type"] == "user_message" and word(wrapped.get("message")):
            texts.append(str(wrapped["message"]))
    return texts


def _spoken(message: Mapping[str, Any], *, plainly: bool) -> list[str]:
    """What an agent said. Beside calls of tools, the content of most is what they thought, and a
    call of ``send_message`` is how they speak."""
    calls = _objects(message.get("tool_calls"))
    if plainly or not calls:
        return _texts(message.get("content"))
    functions = [call.get("function") for call in calls]
    said = [f for f in functions if isinstance(f, Mapping) and f.get("name") == _SAY]
    texts = [_object_of(f.get("arguments")).get("message") for f in said]
    return [text for text in texts if isinstance(text, str) and text.strip()]


def _texts(content: object) -> list[str]:
    if isinstance(content, str):
        return [content] if content.strip() else []
    parts = [part for part in _objects(content) if part.get("type", "text") == "text"]
    return [text for part in parts if (text := word(part.get("text"))) is not None]


def _object_of(text: object) -> Mapping[str, Any]:
    try:
        found = json.loads(text) if isinstance(text, str) else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, Mapping) else {}


def _passages(value: object, agent: str | None) -> Records:
    for each in _objects(value):
        text = word(each.get("text"))
        if text is None or each.get("is_deleted"):
            yield Left("a passage without words" if text is None else "a deleted passage")
            continue
        identity = word(each.get("id")) or hashlib.sha256(text.encode()).hexdigest()[:32]
        yield Foreign(
            id=f"passage {identity}",
            text=text,
            time=moment(each.get("created_at")),
            agent=agent,
            tags=tuple(filter(word, _listed(each.get("tags"))))[:50],
            info=told(
                kind="passage",
                archive_id=word(each.get("archive_id")),
                metadata=each.get("metadata"),
                created_at=word(each.get("created_at")),
                updated_at=word(each.get("updated_at")),
            ),
        )
