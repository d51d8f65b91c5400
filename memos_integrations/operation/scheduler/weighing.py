"""What a form would save and cost a cube for a model until its heat has halved. Pure.

Called by ``placing``. Figures are those measured for this model; where nothing was measured yet
they are estimates and say so.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from memos_integrations.cube.usage import MICROS, Form
from memos_integrations.operation.scheduler.cube_use import CubeUse
from memos_integrations.operation.scheduler.placement import (
    Held,
    Host,
    PlacementRules,
    Standing,
    Weighed,
)


def weigh(
    use: CubeUse, host: Host, form: Form, standing: Standing, rules: PlacementRules
) -> Weighed:
    """One form for this cube and model. ``why_not`` says what keeps it from paying, if anything."""
    price, kept = host.prices[form], form in standing.decided
    settles = 0.0 if form == "activation" else rules.long_stable_seconds
    items = use.items if form == "activation" else use.unchanged(seconds=settles)
    if not items:
        none = frozenset[int]()
        why = "no memory of it has stood long enough"
        return Weighed(form, none, none, 0.0, 0.0, 0.0, 0.0, 0.0, why, price.source)
    missing, tokens = _missing(use, items, standing.held.get(form), settles), use.tokens_of(items)
    costs = price.build_seconds(tokens=tokens, memories=len(items))
    costs *= 1.0 + price.rebuilt_share(len(items)) * use.changes
    text = use.read_tokens(items) * host.text_seconds_per_token
    saves = max(0.0, text - use.asks * price.use_seconds)
    enters = rules.payback * costs * (rules.leave_share if kept else 1.0)
    return Weighed(
        form=form,
        items=items,
        missing=missing,
        saves_seconds=saves,
        costs_seconds=costs,
        build_seconds=price.build_seconds(tokens=use.tokens_of(missing), memories=len(missing)),
        bytes=price.bytes(tokens=tokens, memories=len(items)),
        enters=enters,
        why_not=_why_not(use, form, saves, enters, kept, rules),
        source=price.source,
    )


def _missing(
    use: CubeUse, items: frozenset[int], held: Held | None, settles: float
) -> frozenset[int]:
    """What has come or changed since the form was built."""
    if held is None:
        return items
    since = held.built - settles * MICROS
    return frozenset(i for i in items - held.items if use.shares[i].changed > since)


def best_of(
    weighed: Sequence[Weighed], decided: Collection[Form], rules: PlacementRules
) -> Weighed | None:
    """The form of the greatest net gain, in which one that is decided on has its margin."""
    able = [each for each in weighed if each.why_not is None]

    def worth(each: Weighed) -> tuple[float, Form]:
        lead = 1.0 + rules.margin if each.form in decided and each.net_seconds > 0 else 1.0
        return each.net_seconds * lead, each.form

    return max(able, key=worth, default=None)


def _why_not(
    use: CubeUse,
    form: Form,
    saves: float,
    enters: float,
    kept: bool,
    rules: PlacementRules,
) -> str | None:
    if form == "activation" and use.rest_seconds < rules.stable_seconds:
        return f"changed {use.rest_seconds:.0f} s ago, {rules.stable_seconds:g} s are asked for"
    least = rules.least_asks * (rules.leave_share if kept else 1.0)
    if use.asks < least:
        return f"{use.asks:.2f} asks are expected, {least:g} are asked for"
    if saves < enters:
        return f"saves {saves:.3g} s, {enters:.3g} s are asked for"
    return None
