"""The figures of a memory as one page: a file of its own, without scripts and outside resources.

Called by ``memos stats --html``. Everything that comes from memory is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from memos_integrations.interface.cli.charts import Series, bars, columns, line
from memos_integrations.operation.analytics.figures import Figures

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2733; --dim: #5f6b7a; --paper: #ffffff; --card: #f6f8fa;
  --rule: #d8dee6; --c0: #2f6fdf; --c1: #e2872c; --c2: #2a9d76; --c3: #c2447e; --c4: #7a5bd0;
  --c5: #8a8f98; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --dim: #9aa5b4; --paper: #12161c;
  --card: #1a2028; --rule: #323b47; --c0: #6ea2ff; --c1: #f0a860; --c2: #5cc9a2; --c3: #ec7fb0;
  --c4: #a78bf0; --c5: #9aa1ab; } }
body { margin: 0 auto; max-width: 1360px; padding: 24px; background: var(--paper);
  color: var(--ink); font: 15px/1.45 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 16px; margin: 0 0 8px; }
p.sub { color: var(--dim); margin: 0 0 20px; overflow-wrap: anywhere; }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; margin-bottom: 20px; }
.tile { background: var(--card); border-radius: 8px; padding: 10px 16px; min-width: 110px; }
.tile b { display: block; font-size: 22px; } .tile span { color: var(--dim); }
.grid-of { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 520px), 1fr));
  gap: 16px; }
section { background: var(--card); border-radius: 8px; padding: 14px 16px; }
section p { margin: 6px 0 0; color: var(--dim); }
svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--dim); font: 13px system-ui, sans-serif; }
svg .name { text-anchor: end; fill: var(--ink); } svg .figure { fill: var(--ink); }
svg .tick { text-anchor: end; } svg .end { text-anchor: end; }
svg .grid { stroke: var(--rule); stroke-width: 1; }
svg .line { fill: none; stroke: var(--c0); stroke-width: 2; }
svg .area { fill: var(--c0); opacity: 0.18; }
.s0 { fill: var(--c0); background: var(--c0); } .s1 { fill: var(--c1); background: var(--c1); }
.s2 { fill: var(--c2); background: var(--c2); } .s3 { fill: var(--c3); background: var(--c3); }
.s4 { fill: var(--c4); background: var(--c4); } .s5 { fill: var(--c5); background: var(--c5); }
.legend span { margin-right: 14px; white-space: nowrap; }
.legend i { display: inline-block; width: 10px; height: 10px; border-radius: 2px;
  margin-right: 5px; }
"""


def page(found: Figures, *, title: str, about: str) -> str:
    """The whole page as HTML."""
    sections = "".join(_section(*each) for each in _charts(found))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>"
        f'<h1>{escape(title)}</h1><p class="sub">{escape(about)}</p>'
        f'{_tiles(found)}<div class="grid-of">{sections}</div></body></html>\n'
    )


def _tiles(found: Figures) -> str:
    never = found.used.get("never", 0)
    told: Mapping[str, str] = {
        "memories": f"{found.memories:,}",
        "new in this time": f"{sum(map(sum, found.growth.values())):,}",
        "reads": f"{sum(found.reads):,}",
        "never shown": f"{never / found.memories:.0%}" if found.memories else "0 %",
        "stale": f"{found.stale:,}",
        "tasks open": f"{found.tasks_open:,}",
        "tasks failed": f"{sum(found.tasks_failed):,}",
    }
    tiles = (
        f'<div class="tile"><b>{value}</b><span>{name}</span></div>' for name, value in told.items()
    )
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _charts(found: Figures) -> list[tuple[str, str, str]]:
    """(heading, picture, remark) of each section."""
    days = found.days
    growth = [Series(name, values) for name, values in found.growth.items()]
    tasks = [Series("completed", found.tasks_done), Series("failed", found.tasks_failed)]
    shares = (
        ("By type", found.types),
        ("By state", found.states),
        ("Tiers", found.tiers),
        ("Forms", found.forms),
        ("Trust", found.trust),
    )
    return [
        ("New memories per day", columns(days, growth, label="new memories per day"), ""),
        (
            "Memories",
            line(days, found.total, label="memories over time"),
            "Of those there are today, how many there were then.",
        ),
        ("Reads per day", columns(days, [Series("reads", found.reads)], label="reads per day"), ""),
        (
            "How often a memory was shown",
            bars(found.used, label="memories by how often they were shown"),
            "",
        ),
        (
            "Since it was last shown, or came",
            bars(found.since_use, label="memories by the time since they were shown"),
            f"{found.stale:,} memories are stale: a source of theirs changed.",
        ),
        *((name, bars(counts, label=name), "") for name, counts in shares),
        (
            "Bytes by form",
            bars(found.form_bytes, label="bytes by form", unit=" B"),
            "Of KV-caches and adapters made of these memories alone.",
        ),
        (
            "Forms changed per day",
            columns(days, [Series("cubes", found.form_moves)], label="cubes whose form changed"),
            "Promoted, refreshed or demoted by the scheduler.",
        ),
        ("Tasks ended per day", columns(days, tasks, label="tasks ended per day"), ""),
        (
            "Seconds until a task is done (median)",
            bars(found.task_seconds, label="median seconds of tasks", unit=" s"),
            "From queueing to completion.",
        ),
    ]


def _section(heading: str, picture: str, remark: str) -> str:
    said = f"<p>{escape(remark)}</p>" if remark else ""
    return f"<section><h2>{escape(heading)}</h2>{picture}{said}</section>"
