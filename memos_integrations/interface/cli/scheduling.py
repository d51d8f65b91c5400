"""The commands of the scheduler: what would move and why, moving it, what is in mind."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from memos_integrations.interface.cli.asked import asked_by
from memos_integrations.interface.cli.screen import many, table, words
from memos_integrations.interface.cli.toolkit import RenderableType, typer
from memos_integrations.operation.scheduler.decision import Decision, Plan, Spending


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command()(schedule)
    app.command("working-set")(working_set)


def schedule(
    context: typer.Context,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would move; move nothing.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show every term, threshold and budget.")
    ] = False,
) -> None:
    """Move memories between hot, warm and cold by how they are used."""
    asked = asked_by(context)
    with asked.memory() as mos:
        who = asked.scope
        plan = mos.plan(**who) if dry_run else mos.rebalance(**who)
    asked.screen.answer(_data(plan), *_pictures(plan, explain=explain, dry_run=dry_run))


def working_set(
    context: typer.Context,
    *,
    about: Annotated[str | None, typer.Argument(help="The work in hand, in words.")] = None,
    tokens: Annotated[int, typer.Option(help="The budget in tokens.")] = 1000,
) -> None:
    """Show the memories most worth having at hand now, and why."""
    asked = asked_by(context)
    with asked.memory() as mos:
        chosen = mos.working_set(budget_tokens=tokens, query=about, **asked.scope)
    rows = table("score", "tier", "tokens", "memory")
    for each in chosen:
        cell = words(each.line)
        for term in each.terms:
            cell.append_text(words(f"\n{term.amount:+6.2f} {term.name}: {term.why}", style="dim"))
        rows.add_row(f"{each.score:.2f}", each.tier, str(each.tokens), cell)
    asked.screen.answer(
        [{**asdict(w), "item": w.item.model_dump(mode="json")} for w in chosen], rows
    )


def _data(plan: Plan) -> dict[str, Any]:
    return {
        "considered": plan.considered,
        "decisions": [asdict(d) | {"total": d.score.total} for d in plan.decisions],
        "hot": {name: _spending(each) for name, each in plan.hot.items()},
        "forms": {name: _spending(each) for name, each in plan.forms.items()},
    }


def _spending(each: Spending) -> dict[str, dict[str, float | None]]:
    return {
        name: {k: None if v == float("inf") else v for k, v in asdict(amount).items()}
        for name, amount in (("share", each.share), ("reserved", each.reserved))
    }


def _pictures(plan: Plan, *, explain: bool, dry_run: bool) -> list[RenderableType]:
    verb = "would move" if dry_run else "moved"
    rows = table("step", "fate", "score", "memory and why")
    for each in plan.decisions:
        cell = words(each.item, style="cyan")
        cell.append_text(words(f"\n{_why(each, explain=explain)}"))
        rows.add_row(_step(each), each.fate, f"{each.score.total:.2f}", cell)
    summary = (
        f"{many(len(plan.moves), 'memory', 'memories')} {verb} of {plan.considered} considered"
    )
    shares = [words(_share(name, each), style="dim") for name, each in plan.hot.items()]
    return [*([rows] if plan.decisions else []), words(summary), *(shares if explain else [])]


def _step(each: Decision) -> str:
    if each.migrates:
        return f"{each.from_form} -> {each.form}"
    return f"{each.from_tier} -> {each.to_tier}"


def _why(each: Decision, *, explain: bool) -> str:
    lines = ["; ".join(each.reasons)]
    if explain:
        lines += [
            f"{t.amount:+.3f} = {t.weight:g} x {t.value:.3f} {t.name}: {t.why}"
            for t in each.score.terms
        ]
        lines.append(f"threshold {each.threshold:g}; saves about {each.benefit_seconds:.2f} s")
    return "\n".join(lines)


def _share(tenant: str, each: Spending) -> str:
    return f"hot tier of {tenant}: {each.reserved.bytes:.0f} of {each.share.bytes:.0f} bytes"
