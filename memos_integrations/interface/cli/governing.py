"""The commands of governance: share, revoke, erase and the audit log."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from memos_integrations.cube.errors import UsageError
from memos_integrations.infrastructure.governance.audit import AuditLine
from memos_integrations.interface.cli.asked import asked_by
from memos_integrations.interface.cli.plain import on_one_line
from memos_integrations.interface.cli.screen import as_json, facts, many, moment, save, table, words
from memos_integrations.interface.cli.toolkit import Group, Panel, RenderableType, typer
from memos_integrations.interface.erase_verb import Receipt

To = Annotated[str, typer.Option(help="Who: bob, agent:planner, role:auditor or group:ops.")]
Item = Annotated[str | None, typer.Argument(help="The id of a memory; without it, the whole cube.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command()(share)
    app.command()(revoke)
    app.command()(erase)
    group = typer.Typer(
        help="Read, verify and anchor the audit log.", no_args_is_help=True, rich_markup_mode=None
    )
    group.command("list")(audit_list)
    group.command("verify")(audit_verify)
    group.command("head")(audit_head)
    app.add_typer(group, name="audit")


def share(
    context: typer.Context,
    item: Item = None,
    *,
    to: To,
    permission: Annotated[str, typer.Option(help="read, write, share or admin.")] = "read",
    ttl: Annotated[float | None, typer.Option(help="Seconds until it ends by itself.")] = None,
) -> None:
    """Grant somebody a permission on a memory or on a cube."""
    asked = asked_by(context)
    with asked.memory() as mos:
        mos.share(item, to=to, permission=permission, ttl_seconds=ttl, **asked.scope)
    what = item or asked.cube or "the cube"
    data = {"shared": item, "cube": asked.cube, "to": to, "permission": permission}
    asked.screen.answer(data, words(f"{to} may now {permission} {what}"))


def revoke(
    context: typer.Context,
    item: Item = None,
    *,
    to: To,
    denial: Annotated[bool, typer.Option("--denial", help="Lift a denial instead.")] = False,
) -> None:
    """Take a grant back; it takes effect at once."""
    asked = asked_by(context)
    with asked.memory() as mos:
        mos.revoke(item, to=to, denial=denial, **asked.scope)
    what = "denial" if denial else "grant"
    data = {"revoked": what, "item": item, "cube": asked.cube, "to": to}
    asked.screen.answer(
        data, words(f"the {what} of {to} on {item or asked.cube or 'the cube'} ended")
    )


def erase(
    context: typer.Context,
    *,
    item: Annotated[str | None, typer.Option(help="One memory, by its id.")] = None,
    source: Annotated[str | None, typer.Option(help="Everything one source brought.")] = None,
    subject: Annotated[str | None, typer.Option(help="Everything of one user.")] = None,
    reason: Annotated[str, typer.Option(help="Why, for the audit log.")] = "erased on request",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    receipt: Annotated[
        Path | None, typer.Option(help="Write the receipt to a new file, as JSON.")
    ] = None,
) -> None:
    """Remove memories for good, everywhere, with a receipt."""
    asked = asked_by(context)
    given = {"item": item, "source": source, "subject": subject}
    named = [f"{name} {value}" for name, value in given.items() if value is not None]
    if len(named) != 1:
        raise UsageError("erase takes exactly one of --item, --source or --subject")
    if receipt is not None and receipt.exists():
        raise UsageError(f"{receipt} exists already; name a new file")
    with asked.memory() as mos:
        if not yes:
            question = f"Erase {on_one_line(named[0])} and all derived from it, for good?"
            typer.confirm(question, abort=True, err=True)
        done = mos.erase(item, source=source, subject=subject, reason=reason, **asked.scope)
    asked.screen.answer(done.to_dict(), _receipt(done))
    if receipt is not None:
        save(receipt, done.to_dict())


def _receipt(done: Receipt) -> RenderableType:
    lines = facts(
        asked=done.asked,
        at=moment(done.at),
        erased=many(len(done.erased), "memory", "memories"),
        kept=f"{len(done.kept)} under legal hold" if done.kept else None,
        not_allowed=done.not_allowed or None,
        revived=many(len(done.revived), "memory", "memories") if done.revived else None,
        removed=", ".join(f"{count} {kind}" for kind, count in done.counts.items() if count),
        scan=f"{done.scan.found} of {done.scan.searched} erased texts are still in the files",
        audit_line=done.audit_line,
        covered="\n".join(done.covered),
        not_covered="\n".join(done.not_covered),
    )
    return Panel(lines, title="receipt")


def audit_list(
    context: typer.Context,
    *,
    item: Annotated[str | None, typer.Option(help="Only lines about this memory.")] = None,
    limit: Annotated[int, typer.Option(help="How many lines at most.")] = 50,
) -> None:
    """Show the newest lines: one's own, or with admin rights everybody's on --cube."""
    asked = asked_by(context)
    with asked.memory() as mos:
        lines = mos.audit(item=item, limit=limit, **asked.scope)
    made = table("line", "when", "outcome", "who and what")
    for line in lines:
        outcome = words(line.outcome, style="red" if line.outcome == "denied" else "")
        made.add_row(str(line.n), moment(line.at), outcome, _deed(line))
    asked.screen.answer({"lines": lines}, made if lines else words("no lines", style="dim"))


def audit_verify(
    context: typer.Context,
    *,
    anchor: Annotated[
        Path | None, typer.Option(help="A head saved earlier with `memos audit head --out`.")
    ] = None,
) -> None:
    """Check that the audit chain is unbroken; exits with 1 when it is not."""
    asked = asked_by(context)
    held = None if anchor is None else _anchor(anchor)
    with asked.memory() as mos:
        report = mos.audit_verify(anchor=held)
    said = [words(f"line {p.n or '-'}: {p.reason}", style="red") for p in report.problems]
    verdict = "the audit chain is intact" if report.intact else "the audit chain is BROKEN"
    against = " and holds the anchored head" if report.intact and held is not None else ""
    data = {"intact": report.intact, **asdict(report)}
    asked.screen.answer(data, *said, words(f"{verdict}{against}: {report.entries} lines"))
    if not report.intact:
        raise typer.Exit(1)


def audit_head(
    context: typer.Context,
    *,
    out: Annotated[Path | None, typer.Option(help="Write it to a new file.")] = None,
) -> None:
    """Print the head of the chain, to be kept where the file's owner cannot change it."""
    asked = asked_by(context)
    with asked.memory() as mos:
        head = mos.audit_head()
    if out is not None:
        save(out, head)
    asked.screen.verbatim(head, as_json(head))


def _deed(line: AuditLine) -> RenderableType:
    told = words(f"{line.actor or '(erased)'}  {line.action}  {line.cube or ''}")
    reach = many(len(line.items), "memory", "memories") if line.items else ""
    more = ", ".join(part for part in (line.reason, reach) if part)
    return Group(told, words(more, style="dim")) if more else told


def _anchor(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not a saved head: {error}") from error
    if not isinstance(value, dict):
        raise UsageError(f"{path} is not a saved head: it holds no JSON object")
    return value
