"""In which form each cube should live for each hosted model: cost held against benefit. Pure.

A form is entered where the seconds that it will save until the heat has halved are a multiple of
what building it, and building it again after changes, takes; it is left at a share of that, so
that nothing flaps. A better form is made before the other is left. Bytes and seconds are reserved
within each tenant's fair share. Called by the scheduler with what was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from memos_integrations.cube.usage import MICROS, Form
from memos_integrations.operation.scheduler.budget import NOTHING, Allowance, Budget, Ledger
from memos_integrations.operation.scheduler.cube_use import CubeUse
from memos_integrations.operation.scheduler.decision import Spending
from memos_integrations.operation.scheduler.placement import (
    NOWHERE,
    Host,
    Key,
    Placement,
    PlacementRules,
    Standing,
    Step,
    Weighed,
)
from memos_integrations.operation.scheduler.weighing import best_of, weigh


def _depth(form: Form) -> int:
    return ("parametric", "activation", "plaintext").index(form)


def place_cubes(
    uses: Sequence[CubeUse],
    hosts: Sequence[Host],
    standings: Mapping[Key, Standing],
    *,
    rules: PlacementRules,
    budget: Budget,
) -> tuple[tuple[Placement, ...], dict[str, Spending]]:
    """What becomes of each cube for each model, and what each tenant's share is spent on.

    A cube that leaves a form for a better one has two placements. Deterministic: ties go by cube
    and model. Moves come first, and room is made before it is taken.
    """
    wished = [
        wish
        for use in uses
        for host in hosts
        for wish in _wishes(use, host, standings.get((use.cube, host.name), NOWHERE), rules)
    ]
    demands: dict[str, Allowance] = {}
    for each in wished:
        demands[each.tenant] = demands.get(each.tenant, NOTHING).plus(each.cost)
    shares = budget.shares(demands)
    ledgers = {name: Ledger(share) for name, share in shares.items()}
    in_turn = sorted(wished, key=lambda each: _turn(each, rules))
    placed = [_within(each, ledgers[each.tenant]) for each in in_turn]
    spending = {name: Spending(shares[name], ledgers[name].spent) for name in sorted(ledgers)}
    return tuple(sorted(placed, key=_in_order)), spending


def _wishes(use: CubeUse, host: Host, standing: Standing, rules: PlacementRules) -> list[Placement]:
    """What should become of this cube for this model, before any budget."""
    forms = sorted(host.prices, key=_depth)
    weighed = tuple(weigh(use, host, form, standing, rules) for form in forms)
    made = _as_it_stands(use, host, standing, weighed)
    if standing.waiting is not None:
        return [_waiting(made, standing.waiting)]
    rests = _rests(use, standing, rules)
    best = best_of(weighed, standing.decided, rules)
    ours = sorted(standing.decided, key=_depth)
    if best is None:
        left = [_left(made, form, standing, rests) for form in ours]
        return left or [replace(made, reasons=tuple(f"{w.form}: {w.why_not}" for w in weighed))]
    entered = _entered(made, best, standing, rests)
    if best.missing:
        return [entered]
    return [entered, *(_outdone(made, f, standing, best.form) for f in ours if f != best.form)]


def _as_it_stands(
    use: CubeUse, host: Host, standing: Standing, weighed: tuple[Weighed, ...]
) -> Placement:
    there = min(standing.held, key=_depth) if standing.held else "plaintext"
    return Placement(
        tenant=use.tenant,
        cube=use.cube,
        path=use.path,
        model=host.name,
        step="stay",
        from_form=there,
        form=there,
        fate="stay",
        reasons=(),
        asks=use.asks,
        text_seconds=use.read_tokens(use.items) * host.text_seconds_per_token,
        weighed=weighed,
    )


def _rests(use: CubeUse, standing: Standing, rules: PlacementRules) -> str | None:
    """Why its form is left alone for now, if it is."""
    span = rules.rest_seconds(standing.failures)
    if standing.moved is None or use.now - standing.moved >= span * MICROS:
        return None
    after = f" after {standing.failures} builds that came to nothing" if standing.failures else ""
    return f"its form was decided less than {span:g} s ago{after}"


def _entered(made: Placement, best: Weighed, standing: Standing, rests: str | None) -> Placement:
    kept = best.form in standing.decided
    step: Step = "stay"
    if best.missing:
        step = "refresh" if kept else "promote"
    said = [
        f"{best.form} saves {best.saves_seconds:.3g} s for {best.costs_seconds:.3g} s until its "
        f"heat has halved, {best.enters:.3g} s are asked for"
    ]
    if best.missing and best.form in standing.held:
        said.append(f"{len(best.missing)} of {len(best.items)} memories are new or changed")
    elif not best.missing and not kept:
        said.append("it is there already, made by use or by hand")
    done = replace(
        made,
        step=step,
        form=best.form,
        fate="stay" if step == "stay" else "move",
        items=best.items,
        reasons=tuple(said),
        cost=Allowance(0.0, best.bytes if kept or best.missing else 0.0, best.build_seconds),
        benefit_seconds=best.net_seconds,
    )
    waits = rests is not None and (step == "promote" or (step == "refresh" and standing.failures))
    return _hold(done, rests or "") if waits else done


def _left(made: Placement, form: Form, standing: Standing, rests: str | None) -> Placement:
    """Leave a form that does not pay any more, once its residence is over."""
    why = next((w.why_not for w in made.weighed if w.form == form), None)
    held = standing.held.get(form)
    done = replace(
        made,
        step="demote",
        from_form=form,
        form="plaintext",
        fate="move",
        items=frozenset() if held is None else held.items,
        reasons=(f"{form}: {why or 'it can no longer be made here'}",),
    )
    if rests is None or held is None:
        return done
    return replace(_hold(done, rests), cost=Allowance(0.0, held.bytes, 0.0), committed=True)


def _outdone(made: Placement, form: Form, standing: Standing, better: Form) -> Placement:
    """Leave a form for a better one that is there."""
    held = standing.held.get(form)
    return replace(
        made,
        step="demote",
        from_form=form,
        form=better,
        fate="move",
        items=frozenset() if held is None else held.items,
        reasons=(f"{better} serves it better",),
    )


def _waiting(made: Placement, form: Form) -> Placement:
    """A task is at it: its cost is taken out of the budget, and nothing is queued again."""
    done = next((each for each in made.weighed if each.form == form), None)
    cost = NOTHING if done is None else Allowance(0.0, done.bytes, done.build_seconds)
    step: Step = "promote" if form != made.from_form else "refresh"
    waiting = replace(made, step=step, form=form, cost=cost, committed=True)
    return _hold(waiting, "a task for it is queued or at work")


def _hold(placement: Placement, why: str) -> Placement:
    return replace(placement, fate="held", reasons=(*placement.reasons, why))


def _within(each: Placement, ledger: Ledger) -> Placement:
    """The placement within its tenant's share. A promotion that does not fit waits; what is kept
    beyond the share goes."""
    if ledger.reserve(each.cost):
        return each
    why = (
        f"its {each.cost.seconds:.3g} s and {each.cost.bytes:.0f} bytes are over what is left of "
        "its tenant's share"
    )
    if each.step == "promote":
        return replace(_hold(each, why), cost=NOTHING)
    kept = Allowance(0.0, each.cost.bytes, 0.0)
    if each.step == "refresh" and ledger.reserve(kept):
        return replace(_hold(each, why), cost=kept)
    done = replace(each, step="demote", form="plaintext", fate="move", cost=NOTHING)
    left = each.from_form if each.step == "demote" else each.form
    return replace(done, from_form=left, reasons=(*each.reasons, why), committed=False)


def _turn(each: Placement, rules: PlacementRules) -> tuple[bool, float, int, str]:
    """Whose cost is reserved first: what is committed, then what gains most for its bytes, in
    which what is kept has its margin."""
    lead = 1.0 + rules.margin if each.step in ("stay", "refresh") else 1.0
    worth = each.benefit_seconds * lead / max(1.0, each.cost.bytes)
    return not each.committed, -worth, each.cube, each.model


def _in_order(each: Placement) -> tuple[int, int, int, str, int]:
    fate = ("move", "held", "stay").index(each.fate)
    step = ("demote", "refresh", "promote", "stay").index(each.step)
    return fate, step, each.cube, each.model, _depth(each.from_form)
