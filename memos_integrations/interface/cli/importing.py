"""The commands that bring memories in from other systems."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from memos_integrations.cube.errors import UsageError
from memos_integrations.interface.cli.asked import asked_by
from memos_integrations.interface.cli.screen import facts, many, table, words
from memos_integrations.interface.cli.toolkit import RenderableType, typer
from memos_integrations.interface.import_verb import ImportReport, System

_File = Annotated[Path, typer.Argument(help="The file to read; it is left as it is.")]
_Of = Annotated[str | None, typer.Option("--of", help="Take one owner's memories only.")]
_Trust = Annotated[str, typer.Option(help="How far they are believed: import, user, ...")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would come; change nothing.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    group = typer.Typer(
        name="import",
        help="Bring memories in from another system's file.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    for command in (langgraph, mem0, letta):
        group.command()(command)
    app.add_typer(group)


def langgraph(
    context: typer.Context,
    file: _File,
    *,
    of: _Of = None,
    trust: _Trust = "import",
    dry_run: _DryRun = False,
) -> None:
    """Take over LangGraph's store: its SqliteStore file, or items as JSON or JSON Lines."""
    _import(context, "langgraph", file, of, trust, dry_run)


def mem0(
    context: typer.Context,
    file: _File,
    *,
    of: _Of = None,
    trust: _Trust = "import",
    dry_run: _DryRun = False,
) -> None:
    """Take over mem0: what get_all() gives as JSON, or its history database."""
    _import(context, "mem0", file, of, trust, dry_run)


def letta(
    context: typer.Context,
    file: _File,
    *,
    of: _Of = None,
    trust: _Trust = "import",
    dry_run: _DryRun = False,
) -> None:
    """Take over Letta: an agent file (.af), or its archival passages as JSON."""
    _import(context, "letta", file, of, trust, dry_run)


def _import(
    context: typer.Context, system: System, file: Path, of: str | None, trust: str, dry_run: bool
) -> None:
    asked = asked_by(context)
    if not file.is_file():  # or an empty memory file would be left behind
        raise UsageError(f"there is no file {file}")
    with asked.memory(create=True) as mos, asked.screen.progress(f"reading {system}") as show:
        report = mos.import_from(
            system, file, of=of, trust=trust, dry_run=dry_run, progress=show, **asked.scope
        )
    asked.screen.answer(report, *_pictures(report))
    if report.task_ids:
        asked.screen.remark("`memos worker --once` makes what is still missing for search")


def _pictures(report: ImportReport) -> list[RenderableType]:
    counts = {name: getattr(report, name) for name in ("new", "changed", "unchanged")}
    lines = {name: count for name, count in counts.items() if count}
    head = "would come into" if report.dry_run else "came into"
    shown: list[RenderableType] = [facts(**{head: report.cube}, **(lines or {"memories": "none"}))]
    if report.left:
        made = table("left", "why")
        for why, count in sorted(report.left.items(), key=lambda pair: -pair[1]):
            made.add_row(many(count, "record", "records"), words(why))
        shown.append(made)
    return shown
