"""mem0: what ``get_all()`` gives, saved as JSON, or the history database that it keeps.

The history tells every wording a memory had; it names neither users nor metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from memos_integrations.cube.errors import InvalidInput
from memos_integrations.interface.importing.files import (
    ImportLimits,
    columns_of,
    database,
    is_database,
    json_values,
    rows,
)
from memos_integrations.interface.importing.foreign import (
    Foreign,
    Left,
    Record,
    Records,
    moment,
    told,
    word,
)

_ROLES = frozenset({"user", "assistant", "system", "tool"})
_NEEDED = frozenset({"memory_id", "old_memory", "new_memory", "event", "created_at", "updated_at"})
_HISTORY = "SELECT memory_id, new_memory, event, created_at, updated_at FROM history ORDER BY rowid"


def read(path: Path, limits: ImportLimits) -> Records:
    """The memories of the file. Raises ``InvalidInput`` for a file of another kind."""
    return _of_history(path, limits) if is_database(path) else _of_json(path, limits)


def _of_json(path: Path, limits: ImportLimits) -> Records:
    values = json_values(path, limits)
    found: Any = values
    if len(values) == 1 and isinstance(values[0], Mapping) and "results" in values[0]:
        found = values[0]["results"]
        if values[0].get("relations"):
            yield Left("relations of a graph")
    elif len(values) == 1 and isinstance(values[0], list):
        found = values[0]
    if not isinstance(found, list):
        raise InvalidInput(f"{path.name} must hold what mem0's get_all() gives")
    for each in found:
        yield _memory(each)


def _memory(each: object) -> Record:
    if not isinstance(each, Mapping):
        return Left("something that is no memory")
    identity, text = word(each.get("id")), word(each.get("memory"))
    if identity is None or text is None:
        return Left("a memory without an id or without words")
    ends = moment(each.get("expiration_date"))
    if ends is not None and ends <= datetime.now(UTC):
        return Left("a memory whose time had run out")
    metadata = each.get("metadata")
    role = each.get("role")
    return Foreign(
        id=identity,
        text=text,
        owner=word(each.get("user_id")),
        time=moment(each.get("created_at")),
        role=role if role in _ROLES else "user",
        speaker=word(each.get("actor_id")),
        session=word(each.get("run_id")),
        agent=word(each.get("agent_id")),
        tags=_categories(each.get("categories")),
        info={
            **(metadata if isinstance(metadata, Mapping) else {}),
            **told(
                user_id=word(each.get("user_id")),
                agent_id=word(each.get("agent_id")),
                created_at=word(each.get("created_at")),
                updated_at=word(each.get("updated_at")),
            ),
        },
        expires=ends,
    )


def _categories(value: object) -> tuple[str, ...]:
    names = value if isinstance(value, list) else []
    return tuple(name for name in names if word(name) and len(name) <= 200)[:50]


def _of_history(path: Path, limits: ImportLimits) -> Records:
    with database(path, limits) as connection:
        if not columns_of(connection, "history") >= _NEEDED:
            raise InvalidInput(f"{path.name} has no table `history` as mem0's database has")
        told_of: dict[str, list[tuple[Any, ...]]] = {}
        for identity, *step in rows(connection, _HISTORY, limits):
            told_of.setdefault(str(identity), []).append(tuple(step))
    for identity, steps in told_of.items():
        yield _at_last(identity, steps)


def _at_last(identity: str, steps: list[tuple[Any, ...]]) -> Record:
    """A memory as its steps left it, with the wordings it had before."""
    if steps[-1][1] == "DELETE":
        return Left("a memory that was deleted there")
    wordings = list(dict.fromkeys(text for text, *_ in steps if word(text)))
    if not wordings or not identity.strip():
        return Left("a memory without an id or without words")
    return Foreign(
        id=identity,
        text=wordings[-1],
        earlier=tuple(wordings[:-1]),
        time=moment(steps[0][2]),
        info=told(created_at=word(steps[0][2]), updated_at=word(steps[-1][3])),
        words_only=True,
    )
