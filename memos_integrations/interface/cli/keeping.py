"""The commands that look after a memory file: worker, check, dump and load."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Annotated

from memos_integrations.cube.errors import TaskTimeout, UsageError
from memos_integrations.interface.cli.asked import asked_by
from memos_integrations.interface.cli.screen import facts, table, words
from memos_integrations.interface.cli.toolkit import typer
from memos_integrations.interface.mos import MOS

_HOUSEKEEPING_SECONDS = 30.0
_SLICE_SECONDS = 0.5
_PHASES = ("file", "projections", "log", "tasks", "audit", "blobs")
_INVARIANTS = (
    "no index holds what the truth does not",
    "indexes equal the truth",
    "the log rebuilds the present",
    "each task's effect happened once",
    "the audit chain is unbroken",
    "no blob is missing",
)


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command()(worker)
    app.command()(check)
    app.command()(dump)
    app.command()(load)


def worker(
    context: typer.Context,
    *,
    once: Annotated[bool, typer.Option("--once", help="End when nothing is due.")] = False,
) -> None:
    """Work the queue until Ctrl-C, finishing the task in hand."""
    asked = asked_by(context)
    with _stopped_by_signals() as stop, asked.memory(worker=not once) as mos:
        if once:
            _work_until_idle(mos, stop)
        else:
            asked.screen.remark(f"working the queue of {asked.file}; Ctrl-C ends it")
            while not stop.wait(_HOUSEKEEPING_SECONDS):
                mos.expire_due()
                mos.prune_tasks()
    ended = "stopped" if stop.is_set() else "idle"
    asked.screen.answer({"ended": ended}, words(f"worker ended: {ended}"))


@contextmanager
def _stopped_by_signals() -> Generator[threading.Event]:
    """An event that SIGINT and SIGTERM set, in place of what they did before."""
    stop = threading.Event()

    def heard(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    kinds = (signal.SIGINT, signal.SIGTERM)
    before = {kind: signal.signal(kind, heard) for kind in kinds}
    try:
        yield stop
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def _work_until_idle(mos: MOS, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            mos.work(timeout_seconds=_SLICE_SECONDS)
        except TaskTimeout:  # more is due; between two slices the signals are heard
            continue
        return


def check(context: typer.Context) -> None:
    """Prove the six invariants of the file, or exit with 1."""
    asked = asked_by(context)
    with asked.memory() as mos, asked.screen.progress("checking") as show:

        def reached(phase: str) -> None:
            show(_PHASES.index(phase) / len(_PHASES) if phase in _PHASES else 0.0)

        report = mos.check(progress=reached)
    made = table("", "invariant")
    for number, invariant in enumerate(_INVARIANTS, 1):
        wrong = [f for f in report.findings if f.invariant == number]
        made.add_row(words("no", "red") if wrong else words("ok", "green"), words(invariant))
        for finding in wrong:
            made.add_row("", words(finding.text, style="red"))
    names = ("items", "versions", "events", "tasks", "audit_lines", "blobs")
    counted = {name: getattr(report, name) for name in names}
    data = {"sound": report.sound, **counted, "findings": report.findings}
    verdict = words("sound" if report.sound else "NOT SOUND")
    asked.screen.answer(data, made, facts(**counted), verdict)
    if not report.sound:
        raise typer.Exit(1)


def dump(
    context: typer.Context,
    archive: Annotated[Path, typer.Argument(help="The archive to write.")],
    *,
    replace: Annotated[bool, typer.Option("--replace", help="Write over an old one.")] = False,
) -> None:
    """Write a cube with its history into one archive file."""
    asked = asked_by(context)
    with asked.memory() as mos, asked.screen.progress("dumping") as show:
        report = mos.dump(archive, **asked.scope, replace=replace, progress=show)
    lines = {name: value for name, value in asdict(report).items() if value != 0}
    asked.screen.answer(report, facts(**lines))


def load(
    context: typer.Context,
    archive: Annotated[Path, typer.Argument(help="The archive to read.")],
    *,
    trusted: Annotated[
        bool, typer.Option("--trusted", help="Vouch that it is an own dump, unchanged.")
    ] = False,
    with_grants: Annotated[
        bool, typer.Option("--with-grants", help="Take over who else may see it.")
    ] = False,
) -> None:
    """Make a new cube from an archive; --cube names it."""
    asked = asked_by(context)
    if not archive.is_file():  # or an empty memory file would be left behind
        raise UsageError(f"there is no archive {archive}")
    with asked.memory(create=True) as mos, asked.screen.progress("loading") as show:
        report = mos.load(
            archive, **asked.scope, trusted=trusted, with_grants=with_grants, progress=show
        )
    names = ("items", "versions", "links", "grants", "blobs", "vectors")
    lines = {name: getattr(report, name) for name in names if getattr(report, name)}
    asked.screen.answer(report, facts(cube=report.cube.path, **lines))
    if report.task_ids:
        asked.screen.remark("`memos worker --once` makes what is still missing for search")
