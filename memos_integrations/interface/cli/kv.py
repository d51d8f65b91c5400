"""The commands that look after stored KV-caches: kv ls, stats, verify, evict, pin and unpin."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from memos_integrations.cube.errors import UsageError
from memos_integrations.interface.cli.asked import Asked, Who, asked_by
from memos_integrations.interface.cli.screen import facts, many, moment, table, words
from memos_integrations.interface.cli.toolkit import RenderableType, typer
from memos_integrations.operation.transform.cache_files import CacheReport
from memos_integrations.operation.transform.records import CacheRecord

_SHOWN_DIGITS = 12
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")

Key = Annotated[str, typer.Argument(help="The key of a cache, or how it begins.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    group = typer.Typer(
        help="List, verify, pin and evict the KV-caches of local models.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command("ls")(ls)
    group.command("stats")(stats)
    group.command("verify")(verify)
    group.command("evict")(evict)
    group.command("pin")(pin)
    group.command("unpin")(unpin)
    app.add_typer(group, name="kv")


def ls(context: typer.Context) -> None:
    """List the caches made only of memories that the asker may read; --cube limits it."""
    asked = asked_by(context)
    with asked.memory() as mos:
        found = mos.caches(**asked.scope)
    asked.screen.answer({"caches": found}, *_listing(found))


def stats(context: typer.Context) -> None:
    """Sum up the caches; with --role admin the lookups of the whole tenant, misses too."""
    asked = asked_by(context)
    with asked.memory() as mos:
        found = mos.cache_stats(**asked.scope)
    asked.screen.answer(
        found,
        facts(
            tenant=found.tenant,
            caches=str(found.caches),
            on_disk=_size(found.disk_bytes),
            hits=str(found.hits),
            misses=None if found.misses is None else str(found.misses),
            saved=f"{found.saved_seconds:.1f} s of prefill",
        ),
    )


def verify(
    context: typer.Context,
    *,
    repair: Annotated[bool, typer.Option("--repair", help="Remove what is wrong.")] = False,
) -> None:
    """Hash every file again and hold it against its row; exits with 1 when something is wrong.

    With --repair what is wrong, withdrawn or named by nothing is removed, and the end is 0.
    """
    asked = asked_by(context)
    with asked.memory() as mos, asked.screen.progress("verifying") as show:
        look = mos.repair_caches if repair else mos.verify_caches
        report = look(progress=show)
    data = {"sound": report.sound, **asdict(report)}
    asked.screen.answer(data, *_verified(report))
    if not report.sound and not repair:
        raise typer.Exit(1)


def evict(
    context: typer.Context,
    key: Annotated[str | None, typer.Argument(help="Of a cache, or how it begins.")] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="All but pinned ones.")] = False,
    older_than: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Unused for so long.")
    ] = None,
) -> None:
    """Remove caches: by key, --older-than, of a --cube, or --all. They are computed anew."""
    asked = asked_by(context)
    if key is None and older_than is None and asked.cube is None and not everything:
        raise UsageError("name a key, --older-than, --cube or --all")
    with asked.memory() as mos:
        gone = mos.evict_caches(key, older_than_seconds=older_than, **asked.scope)
    told = many(len(gone), "cache", "caches")
    asked.screen.answer({"evicted": gone}, words(f"{told} evicted"), *_listing(gone, quiet=True))


def pin(context: typer.Context, key: Key) -> None:
    """Keep a cache whatever else is asked for."""
    asked = asked_by(context)
    with asked.memory() as mos:
        found = mos.pin_cache(key, **_who(asked))
    asked.screen.answer({"pinned": found.key}, words(f"{found.key[:_SHOWN_DIGITS]} is pinned"))


def unpin(context: typer.Context, key: Key) -> None:
    """Let a pinned cache compete for its place again."""
    asked = asked_by(context)
    with asked.memory() as mos:
        found = mos.unpin_cache(key, **_who(asked))
    asked.screen.answer(
        {"unpinned": found.key}, words(f"{found.key[:_SHOWN_DIGITS]} is not pinned")
    )


def _who(asked: Asked) -> Who:
    """A cache is named by its key, wherever its memories lie."""
    if asked.cube is not None:
        raise UsageError("a cache is named by its key; leave out --cube")
    return asked.who


def _listing(found: list[CacheRecord], *, quiet: bool = False) -> list[RenderableType]:
    if not found:
        return [] if quiet else [words("there are no caches", style="dim")]
    made = table("key", "tokens", "size", "hits", "saved", "about")
    for each in found:
        marks = [
            each.architecture,
            " and ".join(each.tiers),
            f"of {many(each.sources, 'memory', 'memories')}",
            f"built in {each.build_seconds:.2f} s on {moment(each.created)}",
        ]
        marks += ["pinned"] if each.pinned else []
        marks += ["withdrawn"] if each.withdrawn else []
        made.add_row(
            words(each.key[:_SHOWN_DIGITS], style="cyan"),
            f"{each.tokens:,}",
            _size(each.bytes),
            f"{each.hits:,}",
            f"{each.saved_seconds:.1f} s",
            words(", ".join(mark for mark in marks if mark)),
        )
    return [made]


def _verified(report: CacheReport) -> list[RenderableType]:
    looked = f"{many(report.caches, 'cache', 'caches')}, {_size(report.bytes)}"
    if report.sound:
        return [words(f"nothing is wrong with {looked}", style="green")]
    made = table("key", "what is wrong")
    for each in report.findings:
        made.add_row(words(each.key[:_SHOWN_DIGITS], style="cyan"), words(each.what))
    end = f"{report.removed} removed" if report.removed else "remove them with --repair"
    return [made, words(f"{looked}: {len(report.findings)} wrong; {end}", style="yellow")]


def _size(count: int) -> str:
    size, unit = float(count), 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"
