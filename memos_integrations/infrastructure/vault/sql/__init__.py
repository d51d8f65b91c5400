"""The vault's SQL: forward-only numbered migrations, and queries by name."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


@cache
def queries(module: str) -> dict[str, str]:
    """The named queries of ``module.sql``: each starts with a ``-- name: xyz`` line."""
    text = (files(__name__) / f"{module}.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)[1:]
    return {name: body.strip() for name, body in zip(parts[::2], parts[1::2], strict=True)}


@cache
def migrations() -> list[tuple[int, str]]:
    """Every migration as (number, script), lowest first."""
    folder = files(__name__) / "migrations"
    found = [(int(f.name[:4]), f.read_text("utf-8")) for f in folder.iterdir() if _is_sql(f.name)]
    return sorted(found)


def _is_sql(name: str) -> bool:
    return name.endswith(".sql")
