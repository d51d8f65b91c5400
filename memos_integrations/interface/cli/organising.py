"""The commands that organise: feedback, consolidate, related and names."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

from memos_integrations.interface.cli.asked import asked_by
from memos_integrations.interface.cli.screen import many, memory, table, words
from memos_integrations.interface.cli.toolkit import typer
from memos_integrations.interface.feedback_verbs import FeedbackResult

_LONGEST_WAIT_SECONDS = 24 * 3600.0


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command()(feedback)
    app.command()(consolidate)
    app.command()(related)
    app.command()(names)


def feedback(
    context: typer.Context,
    text: Annotated[str, typer.Argument(help='"That is wrong", "no, X not Y", "keep this" ...')],
    *,
    about: Annotated[
        list[str] | None, typer.Option(help="The id of a memory it is about; may be repeated.")
    ] = None,
) -> None:
    """Say what memory gets wrong or right; exits with 1 when nothing was changed."""
    asked = asked_by(context)
    with asked.memory() as mos:
        done = mos.feedback(text, about=about or None, **asked.scope)
    asked.screen.answer(asdict(done), *[words(line) for line in _told(done)])
    if not done.actions:
        raise typer.Exit(1)


def _told(done: FeedbackResult) -> list[str]:
    lines = [
        f"{a.did} {a.item} (version {a.old_version} -> {a.new_version})"
        + (f", now {a.successor}" if a.successor else "")
        for a in done.actions
    ]
    for each in done.unresolved:
        lines.append(f"nothing was changed: {each.reason}; {each.needs}")
        lines += [f"  maybe {item}" for item in each.candidates]
    return lines


def consolidate(
    context: typer.Context,
    *,
    min_cluster: Annotated[
        int, typer.Option(help="How many memories make a summary at least.")
    ] = 3,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what would be put together; change nothing.")
    ] = False,
) -> None:
    """Sum up what belongs together; the memories themselves stay as they are."""
    asked = asked_by(context)
    with asked.memory() as mos:
        if plan:
            groups = mos.plan_consolidation(min_cluster=min_cluster, **asked.scope)
            made = table("#", "memories")
            for n, group in enumerate(groups, 1):
                made.add_row(str(n), words("\n".join(group.texts)))
            tail = words(many(len(groups), "cluster", "clusters"), style="dim")
            asked.screen.answer({"clusters": groups}, *([made] if groups else []), tail)
            return
        task = mos.consolidate(min_cluster=min_cluster, **asked.scope)
        mos.wait(task, timeout_seconds=_LONGEST_WAIT_SECONDS, **asked.scope)
        result = json.loads(mos.task_status(task, **asked.scope).result or "{}")
    told = [f"{name}: {len(result[name])}" for name in ("made", "renewed", "withdrawn")]
    told += [f"left: {count} ({reason})" for reason, count in result["left"].items()]
    asked.screen.answer({"task": task, **result}, words(", ".join(told)))


def related(
    context: typer.Context,
    what: Annotated[str, typer.Argument(help="The id of a memory, or a name.")],
    *,
    relation: Annotated[
        list[str] | None, typer.Option(help="Follow only this relation; may be repeated.")
    ] = None,
    depth: Annotated[int, typer.Option(help="How many steps at most.")] = 1,
    limit: Annotated[int, typer.Option(help="How many to show at most.")] = 50,
) -> None:
    """Show what hangs together with a memory or a name."""
    asked = asked_by(context)
    with asked.memory() as mos:
        found = mos.related(
            what, relations=relation or None, depth=depth, limit=limit, **asked.scope
        )
    made = table("depth", "by", "memory")
    for each in found:
        made.add_row(str(each.depth), words(", ".join(each.relations)), memory(each.item))
    data = [
        {"depth": each.depth, "relations": each.relations, "memory": each.item} for each in found
    ]
    asked.screen.answer({"related": data}, made if found else words("nothing", style="dim"))


def names(
    context: typer.Context,
    *,
    limit: Annotated[int, typer.Option(help="How many to show at most.")] = 100,
) -> None:
    """List the names that memories mention, the most mentioned first."""
    asked = asked_by(context)
    with asked.memory() as mos:
        found = mos.entities(limit=limit, **asked.scope)
    made = table("memories", "name")
    for each in found:
        made.add_row(str(each.memories), words(each.name))
    asked.screen.answer({"names": found}, made if found else words("no names", style="dim"))
