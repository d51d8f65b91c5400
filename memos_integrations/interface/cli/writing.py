"""The command that remembers: text, standard input, or a file of conversations."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypedDict

from memos_integrations.cube.errors import InvalidInput, UsageError
from memos_integrations.cube.outcomes import AddResult, Outcome
from memos_integrations.interface.cli.asked import Asked, Scoping, asked_by, parsed_object
from memos_integrations.interface.cli.screen import Screen, table, words
from memos_integrations.interface.cli.toolkit import typer
from memos_integrations.interface.conversations import Session, read_conversation
from memos_integrations.interface.mos import MOS
from memos_integrations.interface.reader import as_datetime

_MESSAGES_PER_CALL = 64
_LONGEST_WAIT_SECONDS = 7 * 24 * 3600.0
_EMPTY = Outcome("rejected", reason="empty")


class _About(TypedDict):
    """What the options say of everything that is added in this call."""

    tags: Sequence[str]
    info: Mapping[str, Any] | None
    memory_type: str | None
    source: str | None
    time: datetime | None
    ttl_seconds: float | None


@dataclass(slots=True)
class _Added:
    """What became of everything so far."""

    results: list[AddResult] = field(default_factory=list[AddResult])
    skipped: int = 0

    @property
    def outcomes(self) -> list[Outcome]:
        told = [outcome for result in self.results for outcome in result.outcomes]
        return told + [_EMPTY] * self.skipped

    @property
    def tasks(self) -> list[str]:
        return [task for result in self.results for task in result.task_ids]


def register(app: typer.Typer) -> None:
    """Add this command to the program."""
    app.command()(add)


def add(
    context: typer.Context,
    text: Annotated[
        str | None, typer.Argument(help="What to remember; - reads it from standard input.")
    ] = None,
    *,
    input: Annotated[  # noqa: A002  -- the option's name
        Path | None, typer.Option("--input", help="A file of conversations (JSON or JSON Lines).")
    ] = None,
    role: Annotated[str, typer.Option("--said-by", help="user, assistant or tool.")] = "user",
    tag: Annotated[list[str] | None, typer.Option(help="A tag; may be repeated.")] = None,
    info: Annotated[str | None, typer.Option(help="Free facts about it, as a JSON object.")] = None,
    type: Annotated[str | None, typer.Option("--type", help="preference, event ...")] = None,  # noqa: A002
    source: Annotated[str | None, typer.Option(help="Where it comes from.")] = None,
    time: Annotated[str | None, typer.Option(help="When it was said (ISO 8601).")] = None,
    ttl: Annotated[float | None, typer.Option(help="Seconds until it expires.")] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Refine at once, or leave it to a worker.")
    ] = True,
) -> None:
    """Remember a text, or every message of a file of conversations."""
    asked = asked_by(context)
    if (text is None) == (input is None):
        raise UsageError("add takes a text, - for standard input, or --input FILE")
    about = _About(
        tags=tag or (),
        info=parsed_object(info, "--info"),
        memory_type=type,
        source=source,
        time=as_datetime(time, "--time"),
        ttl_seconds=ttl,
    )
    # Read before the file is opened: a wrong input must not leave an empty memory behind.
    sessions = None if input is None else read_conversation(input)
    message = {"role": role, "content": _standard_input() if text == "-" else text}
    added = _Added()
    with asked.memory(create=True) as mos:
        try:
            if sessions is None:
                added.results.append(mos.add(message, **asked.scope, **about))
            else:
                _add_sessions(mos, asked, sessions, about, added)
            if wait:
                _refine(mos, asked.screen, added.results)
        finally:
            if added.results or added.skipped:
                _show(asked, added)


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput("standard input is not UTF-8 text") from error


def _add_sessions(
    mos: MOS, asked: Asked, sessions: Sequence[Session], about: _About, added: _Added
) -> None:
    total = sum(len(session.turns) for session in sessions)
    scope = asked.scope
    done = 0
    with asked.screen.progress(f"adding {total} messages") as show:
        for name, messages in _batches(sessions):
            worded = [m for m in messages if m["content"].strip()]
            added.skipped += len(messages) - len(worded)
            if worded:
                there: Scoping = {**scope, "session": scope["session"] or name}
                added.results.append(mos.add(worded, **there, **about))
            done += len(messages)
            show(done / total)


def _batches(sessions: Sequence[Session]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The messages of each session by the batch: a batch is one durable commit."""
    for session in sessions:
        for start in range(0, len(session.turns), _MESSAGES_PER_CALL):
            turns = session.turns[start : start + _MESSAGES_PER_CALL]
            yield (
                session.name,
                [
                    {
                        "role": t.role,
                        "content": t.content,
                        "time": t.time,
                        "name": t.name,
                        "id": t.id,
                    }
                    for t in turns
                ],
            )


def _refine(mos: MOS, screen: Screen, results: Sequence[AddResult]) -> None:
    with screen.progress("refining") as show:
        for place, result in enumerate(results):
            mos.wait(
                result,
                timeout_seconds=_LONGEST_WAIT_SECONDS,
                progress=_share_of(show, place, len(results)),
            )


def _share_of(show: Callable[[float], None], place: int, total: int) -> Callable[[float], None]:
    return lambda share: show((place + share) / total)


def _show(asked: Asked, added: _Added) -> None:
    outcomes = added.outcomes
    counts = dict(Counter(outcome.status for outcome in outcomes))
    cubes = sorted({result.cube for result in added.results})
    data = {"cubes": cubes, "counts": counts, "outcomes": outcomes, "tasks": added.tasks}
    said = ", ".join(f"{count} {status}" for status, count in counts.items())
    where = f" in {', '.join(cubes)}" if cubes else ""
    if len(outcomes) == 1:
        outcome = outcomes[0]
        line = " ".join(filter(None, [said.removeprefix("1 "), outcome.id, outcome.reason]))
        asked.screen.answer(data, words(line + where), *_masked(outcomes))
        return
    made = table("status", "count", "reason")
    reasons = Counter((o.status, o.reason or "") for o in outcomes)
    for (status, reason), count in sorted(reasons.items()):
        made.add_row(status, str(count), words(reason))
    asked.screen.answer(data, made, words(said + where), *_masked(outcomes))


def _masked(outcomes: Sequence[Outcome]) -> list[Any]:
    """A line about what was taken out before storing, where something was."""
    total: Counter[str] = Counter()
    for outcome in outcomes:
        total.update(outcome.masked or {})
    if not total:
        return []
    told = ", ".join(f"{count} {label}" for label, count in sorted(total.items()))
    return [words(f"masked before storing: {told}", style="yellow")]
