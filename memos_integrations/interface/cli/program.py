"""The command itself: its global options and its commands, put together."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from memos_integrations import __version__
from memos_integrations.interface.cli import (
    adapters,
    analytics,
    governing,
    importing,
    ingesting,
    keeping,
    kv,
    looping,
    organising,
    reading,
    scheduling,
    writing,
)
from memos_integrations.interface.cli.asked import Asked, Who
from memos_integrations.interface.cli.screen import Screen
from memos_integrations.interface.cli.toolkit import TyperGroup, typer

_TAKE_A_VALUE = frozenset(
    f"--{name}"
    for name in ("db", "user", "agent", "session", "cube", "tenant", "role", "clearance")
)
_FLAGS = frozenset(("--json", "--no-embed"))


class Anywhere(TyperGroup):
    """Takes the global options behind the command too: ``memos search tea --user ann``."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override,unused-ignore]  # newer Typer carries a Click of its own
        return super().parse_args(ctx, hoisted(args))


def hoisted(arguments: Sequence[str]) -> list[str]:
    """``arguments`` with the global options first; nothing behind ``--`` is touched."""
    first: list[str] = []
    rest: list[str] = []
    waiting = list(arguments)
    while waiting and waiting[0] != "--":
        word = waiting.pop(0)
        name, equals, _ = word.partition("=")
        ours = word in _FLAGS or name in _TAKE_A_VALUE
        (first if ours else rest).append(word)
        if name in _TAKE_A_VALUE and not equals and waiting:
            first.append(waiting.pop(0))
    return first + rest + waiting


app = typer.Typer(
    name="memos",
    cls=Anywhere,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="The options above may stand before or behind the command.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"memos {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    *,
    db: Annotated[
        Path, typer.Option(envvar="MEMOS_DB", help="The memory file.", show_default=True)
    ] = Path("memos.db"),
    user: Annotated[str | None, typer.Option(help="Who asks, and whose memory it is.")] = None,
    agent: Annotated[str | None, typer.Option(help="The agent that asks.")] = None,
    session: Annotated[str | None, typer.Option(help="The conversation it is about.")] = None,
    cube: Annotated[
        str | None, typer.Option(help="Another cube than the asker's own, by its path.")
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="The tenant to act in.")] = None,
    role: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A role held; may be repeated.")
    ] = None,
    clearance: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A clearance held; may be repeated.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Answer with one JSON document on stdout.")
    ] = False,
    no_embed: Annotated[
        bool, typer.Option("--no-embed", help="Search by words only; load no model.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Memory for agents in one file: add, search, see why, go back in time, erase, audit."""
    del version
    context.obj = Asked(
        file=Path(os.path.expanduser(db)),
        who=Who(user=user, agent=agent, session=session),
        cube=cube,
        tenant=tenant,
        roles=frozenset(role or ()),
        clearances=frozenset(clearance or ()),
        embed=not no_embed,
        screen=Screen(as_json=json),
    )


for _part in (
    writing,
    reading,
    governing,
    keeping,
    ingesting,
    importing,
    scheduling,
    organising,
    analytics,
    adapters,
    kv,
    looping,
):
    _part.register(app)
