"""The commands that look at memory as a whole: doctor and stats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from memos_integrations.cube.errors import UsageError
from memos_integrations.interface.checkup import Checkup, Fixed
from memos_integrations.interface.cli.asked import Asked, asked_by
from memos_integrations.interface.cli.charts import bar, grouped, spark
from memos_integrations.interface.cli.plain import on_one_line
from memos_integrations.interface.cli.screen import facts, many, table, words
from memos_integrations.interface.cli.stats_page import page
from memos_integrations.interface.cli.toolkit import RenderableType, Table, typer
from memos_integrations.operation.analytics.figures import Figures
from memos_integrations.operation.analytics.findings import Finding

_SHOWN_IDS = 3
_BAR = 30
_MOST_SPARKS = 60
_COLOURS = {"critical": "bold red", "warning": "yellow", "notice": "dim"}


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command()(doctor)
    app.command()(stats)


# -- doctor ----------------------------------------------------------------------------------------


def doctor(
    context: typer.Context,
    *,
    only: Annotated[
        list[str] | None, typer.Option(metavar="KIND", help="Look for this only; may be repeated.")
    ] = None,
    fix: Annotated[
        str | None, typer.Option(metavar="KIND", help="Mend what was found of this kind.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before mending.")] = False,
    unread_days: Annotated[
        float, typer.Option(help="From when on a memory that was never shown is told of.")
    ] = 90.0,
) -> None:
    """Look for what is wrong with memories; mend it with --fix. Exits with 1 on a warning.

    Nothing is changed without --fix, and nothing is ever destroyed: what is archived, merged or
    masked can be brought back.
    """
    asked = asked_by(context)
    with asked.memory() as mos:
        kinds = [fix] if fix is not None else only
        found = mos.doctor(kinds=kinds, unread_days=unread_days, **asked.scope)
        if fix is not None:
            _fix(asked, found, fix, yes=yes)
            return
    asked.screen.answer(_checkup_data(found), *_checkup(found))
    if not found.healthy:
        raise typer.Exit(1)


def _fix(asked: Asked, found: Checkup, kind: str, *, yes: bool) -> None:
    """Show the plan, ask, and do it."""
    planned = found.fix(kind)
    if not planned.repairs:
        needs = "a person has to decide" if found.of(kind) else "there is none"
        asked.screen.answer(_fixed_data(planned), words(f"nothing to do about {kind}: {needs}"))
        return
    if not yes:
        counts = ", ".join(f"{n} x {name}" for name, n in _by_repair(planned).items())
        typer.confirm(f"{on_one_line(kind)}: {counts}. Go on?", abort=True, err=True)
    done = found.fix(kind, dry_run=False)
    lines = [words(f"{n} x {name}") for name, n in _by_repair(done).items()]
    lines += [words(f"left {what}: {why}", style="yellow") for what, why in done.left.items()]
    asked.screen.answer(_fixed_data(done), *lines)


def _by_repair(done: Fixed) -> dict[str, int]:
    counts: dict[str, int] = {}
    for repair in done.repairs:
        name = type(repair).__name__.removesuffix("Op").lower()
        counts[name] = counts.get(name, 0) + 1
    return counts


def _checkup(found: Checkup) -> list[RenderableType]:
    looked = f"{many(found.memories, 'memory', 'memories')} in {found.seconds:.2f} s"
    if not found.findings:
        return [words(f"nothing to complain of in {looked}", style="green")]
    made = table("", "what", "concerns", "mend", "why")
    for each in found.findings:
        severity = each.severity.value
        fixable = str(len(each.plan)) if each.plan else ""
        made.add_row(
            words(severity, _COLOURS[severity]), each.kind.value, _number(each), fixable, _why(each)
        )
    kinds = sorted({each.kind.value for each in found.findings if each.plan})
    told: list[RenderableType] = [made, words(f"looked at {looked}", style="dim")]
    if kinds:
        told.append(words(f"mend with: memos doctor --fix {'|'.join(kinds)}", style="dim"))
    return told


def _number(each: Finding) -> str:
    if each.tasks:
        return many(len(each.tasks), "task", "tasks")
    return many(len(each.items), "memory", "memories") if each.items else "the cube"


def _why(each: Finding) -> RenderableType:
    named = [*each.items, *each.tasks]
    text = words(each.why)
    if each.cube is not None:
        text.append_text(words(f"  {each.cube}", style="dim"))
    if named:
        more = [f"and {len(named) - _SHOWN_IDS} more"] if len(named) > _SHOWN_IDS else []
        text.append_text(words("\n" + "\n".join([*named[:_SHOWN_IDS], *more]), style="cyan"))
    return text


def _checkup_data(found: Checkup) -> dict[str, Any]:
    return {
        "healthy": found.healthy,
        "memories": found.memories,
        "facts": found.facts,
        "cubes": found.cubes,
        "seconds": round(found.seconds, 4),
        "counts": found.counts(),
        "findings": [_finding_data(each) for each in found.findings],
    }


def _finding_data(each: Finding) -> dict[str, Any]:
    plan = [_repair_data(step.repair) for step in each.plan]
    return {**asdict(each), "plan": plan}


def _fixed_data(done: Fixed) -> dict[str, Any]:
    return {
        "kind": done.kind,
        "dry_run": done.dry_run,
        "repairs": [_repair_data(repair) for repair in done.repairs],
        "left": done.left,
    }


def _repair_data(repair: Any) -> dict[str, Any]:
    return {"repair": type(repair).__name__.removesuffix("Op").lower(), **asdict(repair)}


# -- stats -----------------------------------------------------------------------------------------


def stats(
    context: typer.Context,
    *,
    days: Annotated[int, typer.Option(help="How many days to look back.")] = 30,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page with plots to a new file.")
    ] = None,
) -> None:
    """Count what is there, plot how it grew and is used, and say how search works."""
    asked = asked_by(context)
    if html is not None and html.exists():
        raise UsageError(f"{html} exists already; name a new file")
    with asked.memory() as mos:
        counted = mos.stats(**asked.scope)
        found = mos.stats_over_time(days=days, **asked.scope)
    data = {"file": str(asked.file), **counted, "over_time": asdict(found)}
    asked.screen.answer(data, *_stats(asked, counted, found))
    if html is not None:
        about = (
            f"{asked.file}, cubes {', '.join(counted['cubes'])}, {days} days to {found.days[-1]}"
        )
        _write(html, page(found, title="Memory statistics", about=about))
        asked.screen.remark(f"the page is in {html}")


def _stats(asked: Asked, counted: Mapping[str, Any], found: Figures) -> list[RenderableType]:
    lines = {name: _tally(value) for name, value in counted.items()}
    lines["stale"] = str(sum(n for stale, n in counted["stale"].items() if stale != "0"))
    told: list[RenderableType] = [facts(file=asked.file, **lines)]
    told.append(_series(found))
    for name, counts in (
        ("shown how often", found.used),
        ("since last shown", found.since_use),
        ("tier", found.tiers),
        ("form", found.forms),
    ):
        told.append(_bars(name, counts))
    return told


def _series(found: Figures) -> Table:
    """A line a day each; longer times are shown in weeks or more."""
    size = -(-len(found.days) // _MOST_SPARKS)
    unit = "day" if size == 1 else f"{size} days"
    made = table("total", f"per {unit}, to {found.days[-1]}", title="over time")
    rows: list[tuple[str, Sequence[int]]] = [
        (f"new {name}", values) for name, values in found.growth.items()
    ]
    rows += [("reads", found.reads), ("tasks done", found.tasks_done)]
    rows += [("tasks failed", found.tasks_failed)] if any(found.tasks_failed) else []
    rows += [("forms changed", found.form_moves)] if any(found.form_moves) else []
    for name, values in rows:
        picture = words(spark(grouped(values, size)), style="blue")
        made.add_row(f"{sum(values):,}", picture.append_text(words(f"  {name}")))
    return made


def _bars(name: str, counts: Mapping[str, int]) -> Table:
    made = table("memories", "", title=name)
    top = max(counts.values(), default=0)
    for key, count in counts.items():
        picture = words(bar(count, top, width=_BAR).ljust(_BAR), style="blue")
        made.add_row(f"{count:,}", picture.append_text(words(f" {key}")))
    return made


def _tally(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count} {name}" for name, count in value.items()) or "none"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
