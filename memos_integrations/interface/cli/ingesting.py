"""The commands of documents: taking files and folders in, listing what is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from memos_integrations.cube.documents import Ingested
from memos_integrations.cube.errors import BrokenDocument, InvalidInput, MemosError
from memos_integrations.interface.cli.asked import Asked, asked_by, parsed_object
from memos_integrations.interface.cli.screen import Screen, many, moment, table, words
from memos_integrations.interface.cli.toolkit import typer
from memos_integrations.interface.mos import MOS

_LONGEST_WAIT_SECONDS = 3600.0


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command()(ingest)
    app.command()(documents)


def ingest(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders with all their files.")],
    *,
    pattern: Annotated[str, typer.Option(help="Which files of a folder.")] = "**/*",
    name: Annotated[
        str | None, typer.Option(help="Name of the document; only with one file.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag; may be repeated.")] = None,
    info: Annotated[str | None, typer.Option(help="Free facts about it, as a JSON object.")] = None,
    trust: Annotated[str | None, typer.Option(help="user, tool, web or import.")] = None,
    keep_original: Annotated[
        bool, typer.Option("--keep-original", help="Keep the file itself as well.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Refine at once, or leave it to a worker.")
    ] = True,
) -> None:
    """Remember documents; the same names again bring their next versions."""
    asked = asked_by(context)
    if name is not None and (len(paths) != 1 or not paths[0].is_file()):
        raise InvalidInput("--name goes with one file")
    for path in paths:  # before a memory file is made
        if not path.exists():
            raise InvalidInput(f"there is no file or folder {path}")
    done: list[Ingested] = []
    facts = parsed_object(info, "--info")
    with asked.memory(create=True) as mos:
        with asked.screen.progress(f"ingesting {many(len(paths), 'path', 'paths')}") as show:
            for place, path in enumerate(paths):
                step = _share_of(show, place, len(paths))
                if path.is_dir():
                    done += mos.ingest_folder(
                        path,
                        pattern=pattern,
                        progress=_files(step),
                        tags=tag,
                        info=facts,
                        trust=trust,
                        keep_original=keep_original,
                        **asked.scope,
                    )
                else:
                    done.append(_one(mos, asked, path, name, tag, facts, trust, keep_original))
                step(1.0)
        if wait:
            _refine(mos, asked.screen, done)
        _show(asked, done)
    if any(each.error for each in done):
        raise typer.Exit(1)


def _one(
    mos: MOS,
    asked: Asked,
    path: Path,
    name: str | None,
    tags: list[str] | None,
    info: object,
    trust: str | None,
    keep_original: bool,
) -> Ingested:
    """What became of one file. A broken one stops none of the others."""
    assert info is None or isinstance(info, dict)  # noqa: S101  -- as parsed_object gives it
    try:
        return mos.ingest(
            path,
            name=name,
            tags=tags,
            info=info,
            trust=trust,
            keep_original=keep_original,
            **asked.scope,
        )
    except (BrokenDocument, InvalidInput) as error:
        return Ingested(name or path.name, None, 0, asked.cube or "", error=str(error))


def _share_of(show: Callable[[float], None], place: int, total: int) -> Callable[[float], None]:
    return lambda share: show((place + share) / total)


def _files(show: Callable[[float], None]) -> Callable[[int, int, str], None]:
    return lambda done, total, _: show(done / total)


def _refine(mos: MOS, screen: Screen, done: list[Ingested]) -> None:
    with screen.progress("refining") as show:
        for place, each in enumerate(done):
            step = _share_of(show, place, len(done))
            try:
                mos.wait(each, timeout_seconds=_LONGEST_WAIT_SECONDS, progress=step)
            except MemosError as error:  # it is stored; the task and its status stay
                screen.remark(f"{each.name}: {error}")


def _show(asked: Asked, done: list[Ingested]) -> None:
    made = table("document", "version", "added", "kept", "changed", "removed", "remarks")
    for each in done:
        said = each.error or ("unchanged" if each.unchanged else "; ".join(each.notes))
        counts = (each.added, each.kept, each.changed, each.removed)
        numbers = [str(len(count)) for count in counts] if each.error is None else ["-"] * 4
        version = str(each.version) if each.error is None else "-"
        style = "red" if each.error else ""
        made.add_row(words(each.name), version, *numbers, words(said, style=style))
    asked.screen.answer({"documents": done}, made)


def documents(context: typer.Context) -> None:
    """List the documents that are remembered."""
    asked = asked_by(context)
    with asked.memory() as mos:
        found = mos.documents(**asked.scope)
    if not found:
        asked.screen.answer({"documents": []}, words("there are no documents", style="dim"))
        return
    made = table("document", "version", "chunks", "ingested", "trust", "title")
    rows: list[dict[str, object]] = []
    for each in found:
        facts = (each.item.data or {}).get("document", {})
        chunks, header = len(facts.get("chunks", ())), each.item.header
        row = {"name": each.name, "id": each.item.id, "version": each.version, "chunks": chunks}
        rows.append({**row, "title": each.title, "media_type": facts.get("media_type")})
        made.add_row(
            words(each.name),
            str(each.version),
            str(chunks),
            moment(header.time),
            header.trust.value,
            words(each.title or ""),
        )
    asked.screen.answer({"documents": rows}, made)
