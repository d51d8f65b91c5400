"""The commands about adapters: what was distilled, whether it is sound, a copy, an end."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from memos_integrations.cube.errors import NotFound
from memos_integrations.interface.adapter_info import AdapterInfo
from memos_integrations.interface.cli.asked import asked_by
from memos_integrations.interface.cli.screen import facts, many, moment, table, words
from memos_integrations.interface.cli.toolkit import typer
from memos_integrations.interface.mos import MOS

_Id = Annotated[str, typer.Argument(help="The id of an adapter.")]
_KEPT = ("published", "candidate")


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    group = typer.Typer(no_args_is_help=True, help="Memories learnt into adapters of local models.")
    group.command("ls")(ls)
    group.command()(show)
    group.command()(verify)
    group.command()(export)
    group.command()(drop)
    app.add_typer(group, name="adapters")


def ls(
    context: typer.Context,
    *,
    every: Annotated[
        bool, typer.Option("--all", help="Also those that are withdrawn or were discarded.")
    ] = False,
    model: Annotated[str | None, typer.Option(help="Only those of this model.")] = None,
) -> None:
    """List the adapters made of a cube."""
    asked = asked_by(context)
    with asked.memory() as mos:
        made = mos.adapters(model=model, **asked.scope)
    found = [each for each in made if every or each.state in _KEPT]
    listed = table("model", "shard", "version", "facts", "recall", "state", "adapter")
    for each in found:
        recall = "" if each.figures is None else f"{each.figures.held_out_recall:.2f}"
        facts = "" if each.facts is None else each.facts
        hidden = each.state == "published" and not each.usable
        state = "not yours to use" if hidden else each.state
        listed.add_row(
            words(each.model),
            *map(str, (each.shard, each.version, facts, recall)),
            state,
            words(each.id),
        )
    tail = words(many(len(found), "adapter", "adapters"), style="dim")
    asked.screen.answer({"adapters": found}, *([listed] if found else []), tail)


def show(context: typer.Context, adapter: _Id) -> None:
    """Tell how an adapter was made and what was measured of it."""
    asked = asked_by(context)
    with asked.memory() as mos:
        found = _one(mos, adapter, **asked.scope)
    lines = {**asdict(found), "created": moment(found.created), "figures": None, "verdict": None}
    measured = {} if found.figures is None else asdict(found.figures)
    told = facts(**lines, **{n: f"{v:.3f}" for n, v in measured.items()}, gates=found.verdict)
    asked.screen.answer(found, told)


def verify(context: typer.Context, adapter: _Id) -> None:
    """Check that the file of an adapter is as it was written, or exit with 1."""
    asked = asked_by(context)
    with asked.memory() as mos:
        done = mos.verify_adapter(adapter, **asked.who)
    lines = [words(each, style="red") for each in done.findings]
    verdict = words("sound" if done.sound else "NOT SOUND")
    asked.screen.answer({**asdict(done), "sound": done.sound}, *lines, verdict)
    if not done.sound:
        raise typer.Exit(1)


def export(
    context: typer.Context,
    adapter: _Id,
    folder: Annotated[Path, typer.Argument(help="The new folder to write.")],
) -> None:
    """Copy an adapter out, as peft and vLLM load it. No erase reaches the copy."""
    asked = asked_by(context)
    with asked.memory() as mos:
        done = mos.export_adapter(adapter, folder, **asked.who)
    asked.screen.answer(done, facts(**asdict(done)))
    asked.screen.remark("the copy is yours to look after: no correction or erase reaches it")


def drop(
    context: typer.Context,
    adapter: _Id,
    *,
    reason: Annotated[str, typer.Option(help="Why; stands in the audit log.")] = "withdrawn",
) -> None:
    """Take an adapter out of use for good; its memories stay as they are."""
    asked = asked_by(context)
    with asked.memory() as mos:
        mos.withdraw_adapter(adapter, **asked.who, reason=reason)
    asked.screen.answer({"withdrawn": adapter}, words(f"withdrew {adapter}"))


def _one(
    mos: MOS,
    adapter: str,
    *,
    user: str | None,
    agent: str | None,
    session: str | None,
    cube: str | None,
) -> AdapterInfo:
    for each in mos.adapters(user=user, agent=agent, session=session, cube=cube):
        if each.id == adapter:
            return each
    raise NotFound(f"no adapter {adapter} of this cube is visible; name its cube with --cube")
