"""The command of the loop between the three forms: what would change its form, why, doing it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from memos_integrations.cube.errors import UsageError
from memos_integrations.interface.cli.asked import asked_by
from memos_integrations.interface.cli.screen import many, table, words
from memos_integrations.interface.cli.toolkit import RenderableType, typer
from memos_integrations.interface.mos import MOS
from memos_integrations.operation.scheduler.decision import Plan, Spending
from memos_integrations.operation.scheduler.placement import Placement, Weighed

_NO_MODEL = (
    "no model is hosted by this process, so no form is decided: name the folder of a local "
    "transformers model with --model"
)
_MIB = 1024 * 1024


def register(app: typer.Typer) -> None:
    """Add this command to the program."""
    app.command()(loop)


def loop(
    context: typer.Context,
    *,
    model: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="A local transformers model; local files only."),
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Its tokenizer, where that lies apart.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The name it is hosted under; by default its folder's.")
    ] = None,
    run: Annotated[bool, typer.Option("--run", help="Carry it out, here and now.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show what every form would save and cost.")
    ] = False,
) -> None:
    """Decide in which form each cube pays for a local model: text, KV-cache or adapter.

    Nothing moves without --run.
    """
    asked = asked_by(context)
    if model is None and (tokenizer is not None or name is not None):
        raise UsageError("--tokenizer and --name go with --model")
    with asked.memory() as mos:
        if model is not None:
            _host(mos, model, tokenizer, name or model.resolve().name)
        who = asked.scope
        plan = mos.rebalance(**who) if run else mos.plan(**who)
        if run and plan.form_moves:
            with asked.screen.progress("building"):
                mos.work()
            plan = _after(plan, mos.plan(**who))
    asked.screen.answer(_data(plan, run=run), *_pictures(plan, run=run, explain=explain))


def _host(mos: MOS, folder: Path, tokenizer: Path | None, name: str) -> None:
    from memos_integrations.infrastructure.activation.local_model import load  # noqa: PLC0415

    mos.host_model(name, *load(folder, tokenizer=tokenizer))


def _after(done: Plan, now: Plan) -> Plan:
    """What was queued, and how it stands now that the queue was worked."""
    moved = {(each.cube, each.model, each.form, each.from_form) for each in done.form_moves}
    left = [p for p in now.placements if (p.cube, p.model, p.form, p.from_form) not in moved]
    return Plan(
        now.at,
        now.decisions,
        now.considered,
        now.hot,
        now.forms,
        (*done.form_moves, *left),
        now.kept,
        now.hosted,
    )


# -- as data ---------------------------------------------------------------------------------------


def _data(plan: Plan, *, run: bool) -> dict[str, Any]:
    return {
        "hosted": list(plan.hosted),
        "carried_out": run,
        "note": None if plan.hosted else _NO_MODEL,
        "placements": [_placement(each) for each in plan.placements],
        "kept": {tenant: _spending(each) for tenant, each in plan.kept.items()},
    }


def _placement(each: Placement) -> dict[str, Any]:
    told = asdict(each)
    told["items"] = sorted(each.items)
    told["cost"] = {k: v for k, v in asdict(each.cost).items() if k != "tokens"}
    told["weighed"] = [_weighed(w) for w in each.weighed]
    return told


def _weighed(each: Weighed) -> dict[str, Any]:
    told = asdict(each)
    told["items"], told["missing"] = len(each.items), len(each.missing)
    return told | {"net_seconds": each.net_seconds}


def _spending(each: Spending) -> dict[str, dict[str, float | None]]:
    return {
        name: {k: None if v == float("inf") else v for k, v in asdict(amount).items()}
        for name, amount in (("share", each.share), ("reserved", each.reserved))
    }


# -- as pictures -----------------------------------------------------------------------------------


def _pictures(plan: Plan, *, run: bool, explain: bool) -> list[RenderableType]:
    if not plan.hosted:
        return [words(_NO_MODEL)]
    rows = table("cube", "model", "step", "asks", "text", "gains", "why")
    for each in plan.placements:
        why = words("; ".join(each.reasons))
        for weighed in each.weighed if explain else ():
            why.append_text(words(f"\n{_line(weighed)}", style="dim"))
        rows.add_row(
            words(each.path, style="cyan"),
            words(each.model),
            _step(each),
            f"{each.asks:.1f}",
            f"{each.text_seconds:.3g} s",
            f"{each.benefit_seconds:.3g} s" if each.benefit_seconds else "",
            why,
        )
    verb = "moved" if run else "would move"
    told = f"{many(len(plan.form_moves), 'cube', 'cubes')} {verb} of {len(plan.placements)}"
    shares = [words(_share(name, each), style="dim") for name, each in plan.kept.items()]
    return [*([rows] if plan.placements else []), words(told), *(shares if explain else [])]


def _step(each: Placement) -> str:
    if each.fate == "stay":
        return f"{each.form} stays"
    step = f"{each.from_form} -> {each.form}" if each.from_form != each.form else each.step
    return step if each.fate == "move" else f"{step} (held)"


def _line(each: Weighed) -> str:
    return (
        f"{each.form}: of {many(len(each.items), 'memory', 'memories')}, saves "
        f"{each.saves_seconds:.3g} s, costs {each.costs_seconds:.3g} s, asks for "
        f"{each.enters:.3g} s, {each.bytes / _MIB:.2f} MiB, {each.source}"
    )


def _share(tenant: str, each: Spending) -> str:
    return (
        f"forms of {tenant}: {each.reserved.bytes / _MIB:.1f} of {each.share.bytes / _MIB:.1f} "
        f"MiB, {each.reserved.seconds:.2f} s of builds"
    )
