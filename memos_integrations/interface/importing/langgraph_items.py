"""LangGraph's long-term store: the file of its ``SqliteStore``, or items exported as JSON.

An item is ``{namespace, key, value, created_at, updated_at}``, as ``Item.dict()`` of LangGraph
gives it; a document is a list of them or one on each line. Items become entries of the same
namespace and key, which ``MemOSStore`` finds as its own. Vectors are made anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from memos_integrations.cube.entries import Namespace, clean_key, clean_namespace
from memos_integrations.cube.errors import HostileArchive, InvalidInput
from memos_integrations.infrastructure.strict_json import decode_value
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
)

_STORE = "SELECT prefix, key, value, created_at, updated_at, expires_at FROM store ORDER BY rowid"
_STORE_WITHOUT_ENDS = (
    "SELECT prefix, key, value, created_at, updated_at, NULL FROM store ORDER BY rowid"
)
_NEEDED = frozenset({"prefix", "key", "value", "created_at", "updated_at"})


def read(path: Path, limits: ImportLimits) -> Records:
    """The items of the file. Raises ``InvalidInput`` for a file of another kind."""
    return _of_database(path, limits) if is_database(path) else _of_json(path, limits)


def _of_database(path: Path, limits: ImportLimits) -> Records:
    with database(path, limits) as connection:
        columns = columns_of(connection, "store")
        if not columns >= _NEEDED:
            raise InvalidInput(f"{path.name} has no table `store` as LangGraph's SqliteStore has")
        sql = _STORE if "expires_at" in columns else _STORE_WITHOUT_ENDS
        for prefix, key, value, created, updated, expires in rows(connection, sql, limits):
            try:
                raw = value if isinstance(value, bytes) else str(value).encode()
                held = decode_value(raw, max_depth=limits.max_depth, what="an item")
                # The file keeps a namespace as one text, so a full stop always parts segments.
                names = str(prefix).split(".")
            except (HostileArchive, UnicodeEncodeError):
                yield Left("an item whose value is no strict JSON")
                continue
            yield _item(names, key, held, created, updated, expires)


def _of_json(path: Path, limits: ImportLimits) -> Records:
    values = json_values(path, limits)
    items = values[0] if len(values) == 1 and isinstance(values[0], list) else values
    if isinstance(items[0] if items else None, dict) and "items" in items[0]:
        items = items[0]["items"]
    if not isinstance(items, list):
        raise InvalidInput(f"{path.name} must hold items, as a list or one on each line")
    for each in items:
        if not isinstance(each, Mapping):
            yield Left("something that is no item")
            continue
        names, times = each.get("namespace"), (each.get("created_at"), each.get("updated_at"))
        split = names.split(".") if isinstance(names, str) else names
        yield _item(split, each.get("key"), each.get("value"), *times, None)


def _item(
    names: object, key: object, value: object, created: object, updated: object, expires: object
) -> Record:
    if not isinstance(value, Mapping):
        return Left("an item whose value is no JSON object")
    try:
        namespace = clean_namespace(names)
        name = clean_key(key)
    except InvalidInput:
        return Left("an item without a namespace and a key")
    ends = moment(expires)
    if ends is not None and ends <= datetime.now(UTC):
        return Left("an item whose time had run out")
    return Foreign(
        id=_id(namespace, name),
        name=(namespace, name),
        value=value,
        time=moment(created),
        expires=ends,
        info=told(created_at=_text(created), updated_at=_text(updated)),
    )


def _id(namespace: Namespace, key: str) -> str:
    return json.dumps([*namespace, key], ensure_ascii=False)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)[:64]
