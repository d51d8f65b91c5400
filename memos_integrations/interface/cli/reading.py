"""The commands that read: search, context, list, get, history, as-of and cubes."""

from __future__ import annotations

from typing import Annotated

from memos_integrations.cube.item import Hit
from memos_integrations.interface.cli.asked import Asked, asked_by, parsed_object
from memos_integrations.interface.cli.screen import facts, found, memory, moment, table, words
from memos_integrations.interface.cli.toolkit import Group, Panel, typer
from memos_integrations.interface.mos import MOS
from memos_integrations.interface.reads import Reads

Query = Annotated[str, typer.Argument(help="The question, in plain words.")]
ItemId = Annotated[str, typer.Argument(help="The id of the memory.")]
Filter = Annotated[
    str | None,
    typer.Option("--filter", help='A filter as JSON, such as \'{"tags": {"contains": "work"}}\'.'),
]
Limit = Annotated[int, typer.Option(help="How many to show at most.")]
Explain = Annotated[bool, typer.Option("--explain", help="Show what each score is made of.")]
AsOf = Annotated[
    str | None,
    typer.Option("--as-of", help="As it was at a time (2026-01-31T12:00) or log position (812)."),
]


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command()(search)
    app.command()(context)
    app.command("list")(list_memories)
    app.command()(get)
    app.command()(history)
    app.command("as-of")(as_of)
    app.command()(cubes)


def search(
    context: typer.Context,
    query: Query,
    *,
    limit: Limit = 10,
    filter: Filter = None,  # noqa: A002  -- the field's word
    explain: Explain = False,
    as_of: AsOf = None,
    valid_at: Annotated[
        str | None, typer.Option(help="Only what held in the world at this time.")
    ] = None,
) -> None:
    """Find the memories that fit a question, best first."""
    asked = asked_by(context)
    with asked.memory() as mos:
        hits = _at(mos, as_of).search(
            query,
            **asked.scope,
            filter=parsed_object(filter, "--filter"),
            limit=limit,
            explain=explain,
            valid_at=valid_at,
        )
    _show_hits(asked, query, hits, explain=explain)


def as_of(
    context: typer.Context,
    time: Annotated[str, typer.Argument(help="A time, or a log position as a number.")],
    query: Query,
    *,
    limit: Limit = 10,
    filter: Filter = None,  # noqa: A002
    explain: Explain = False,
) -> None:
    """Search memory as it was at a time or log position."""
    search(context, query, limit=limit, filter=filter, explain=explain, as_of=time)


def context(
    context: typer.Context,
    query: Query,
    *,
    budget: Annotated[int, typer.Option(help="The most tokens it may take.")] = 1000,
    limit: Limit = 20,
    filter: Filter = None,  # noqa: A002
    as_of: AsOf = None,
) -> None:
    """Print a block of memories for a prompt, under a token budget."""
    asked = asked_by(context)
    with asked.memory() as mos:
        block = _at(mos, as_of).context(
            query,
            budget_tokens=budget,
            **asked.scope,
            filter=parsed_object(filter, "--filter"),
            limit=limit,
        )
    data = {
        "text": block.text,
        "tokens": block.tokens,
        "left_out": block.left_out,
        "ids": [hit.id for hit in block.hits],
    }
    asked.screen.verbatim(data, block.text or "nothing was found or fits")


def list_memories(
    context: typer.Context,
    *,
    limit: Limit = 100,
    offset: Annotated[int, typer.Option(help="How many to skip.")] = 0,
    filter: Filter = None,  # noqa: A002
    as_of: AsOf = None,
) -> None:
    """List memories, newest first."""
    asked = asked_by(context)
    with asked.memory() as mos:
        where = parsed_object(filter, "--filter")
        view = _at(mos, as_of)
        items = view.list(**asked.scope, filter=where, limit=limit, offset=offset)
        total = view.count(**asked.scope, filter=where)
    made = table("#", "memory")
    for place, item in enumerate(items, offset + 1):
        made.add_row(str(place), memory(item))
    tail = words(f"{len(items)} of {total} memories", style="dim")
    data = {"total": total, "offset": offset, "memories": items}
    asked.screen.answer(data, *([made] if items else []), tail)


def get(
    context: typer.Context,
    item: ItemId,
    *,
    version: Annotated[int | None, typer.Option(help="An earlier version.")] = None,
    as_of: AsOf = None,
) -> None:
    """Show one memory with its header and where it comes from."""
    asked = asked_by(context)
    with asked.memory() as mos:
        seen = _at(mos, as_of).get(item, version=version, **asked.scope)
    head = seen.header
    lines = facts(
        id=seen.id,
        cube=seen.cube,
        version=f"{seen.version} (log position {head.seq})",
        state=head.state.value + (", stale" if head.stale else ""),
        type=head.memory_type.value,
        said=f"{moment(head.time)} by {head.speaker or head.role or 'unknown'}",
        recorded=moment(head.updated),
        valid=_interval(head.valid_from, head.valid_to),
        session=head.conversation,
        source=head.source,
        trust=head.trust.value,
        owner=head.owner,
        tags=", ".join(head.tags),
        labels=", ".join(head.labels),
        info=head.info or None,
        expires=head.expires and moment(head.expires),
        legal_hold="yes" if head.legal_hold else None,
        used=f"{head.usage_count} times",
    )
    steps = [
        words(f"{moment(s.at)}  {s.actor} {s.action} ({s.source_kind.value} {s.source})")
        for s in head.provenance
    ]
    asked.screen.answer(seen, Panel(words(seen.text), title="memory"), lines, *steps)


def history(context: typer.Context, item: ItemId) -> None:
    """Show every version of a memory: who, when and why."""
    asked = asked_by(context)
    with asked.memory() as mos:
        records = mos.history(item, **asked.scope)
    made = table("version", "when", "what")
    for record in records:
        why = words(f"{record.actor}: {record.reason} ({record.item.header.state.value})", "dim")
        what = Group(words(record.item.text), why) if record.item.text else why
        made.add_row(str(record.version), moment(record.at), what)
    asked.screen.answer({"id": item, "versions": records}, made)


def cubes(context: typer.Context) -> None:
    """List the cubes that may be read as a whole."""
    asked = asked_by(context)
    with asked.memory() as mos:
        seen = mos.cubes(**asked.who)
    made = table("owner", "visibility", "created", "cube")
    for cube in seen:
        origin = f" (fork of {cube.forked_from})" if cube.forked_from else ""
        made.add_row(
            words(cube.owner),
            cube.visibility.value,
            moment(cube.created),
            words(cube.path + origin),
        )
    asked.screen.answer({"cubes": seen}, made if seen else words("no cube is visible", style="dim"))


def _at(mos: MOS, when: str | None) -> Reads:
    if when is None:
        return mos
    return mos.as_of(int(when) if when.isdecimal() else when)


def _show_hits(asked: Asked, query: str, hits: list[Hit], *, explain: bool) -> None:
    asked.screen.answer({"query": query, "hits": hits}, found(hits, explain=explain))


def _interval(start: object, end: object) -> str | None:
    return None if end is None else f"{start} to {end}"
