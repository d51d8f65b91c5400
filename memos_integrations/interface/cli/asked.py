"""What a call of the command is about: which file, whose memory, who asks, how to answer.

Made by ``program`` from the global options, handed to every command.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from memos_integrations.cube.acl import Principal
from memos_integrations.cube.errors import UsageError
from memos_integrations.interface.cli.screen import Screen
from memos_integrations.interface.cli.toolkit import typer
from memos_integrations.interface.mos import MOS
from memos_integrations.interface.settings import Settings


class Who(TypedDict):
    """The scoping keywords of the verbs that make or list cubes."""

    user: str | None
    agent: str | None
    session: str | None


class Scoping(Who):
    """The scoping keywords of every other verb."""

    cube: str | None


@dataclass(frozen=True, slots=True)
class Asked:
    """The global options."""

    file: Path
    who: Who
    cube: str | None
    tenant: str | None
    roles: frozenset[str]
    clearances: frozenset[str]
    embed: bool
    screen: Screen

    @property
    def scope(self) -> Scoping:
        return Scoping(**self.who, cube=self.cube)

    @contextmanager
    def memory(self, *, create: bool = False, worker: bool = False) -> Generator[MOS]:
        """The memory in the file, closed at the end. Only ``create`` makes a file."""
        if not create and not self.file.is_file():
            raise UsageError(
                f"there is no memory file {self.file}; `memos add` makes one, "
                "or name another with --db"
            )
        given: dict[str, Any] = {} if self.tenant is None else {"tenant": self.tenant}
        settings = Settings.from_environment(os.environ, worker=worker, **given)
        principal = Principal(tenant=settings.tenant, roles=self.roles, clearances=self.clearances)
        embedder = "default" if self.embed else None
        with MOS(self.file, principal=principal, embedder=embedder, settings=settings) as mos:
            yield mos


def asked_by(context: typer.Context) -> Asked:
    """The global options of this call."""
    found = context.find_object(Asked)
    if found is None:
        raise UsageError("call this through the memos command")
    return found


def parsed_object(text: str | None, option: str) -> Mapping[str, Any] | None:
    """The JSON object given to an option. Raises ``UsageError`` that names the option."""
    if text is None:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{option} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UsageError(f'{option} must be a JSON object, such as \'{{"tags": "work"}}\'')
    return value
