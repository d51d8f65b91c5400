"""How the demo talks: short sections, 80 columns, foreign words never read as markup."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from demo_replay import Correction, Fate, Replay
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from langgraph_memos import Answer, Recalled
from memos_integrations.cube.provenance import ProvenanceStep

_WIDTH = 80


def plain(text: str, most: int = 400) -> str:
    """``text`` on one line without control characters, cut at ``most`` characters."""
    clean = "".join(" " if unicodedata.category(c)[0] == "C" else c for c in text)
    line = " ".join(clean.split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def many(count: int, what: str) -> str:
    """``1 session``, ``5 sessions``."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def day(when: datetime) -> str:
    return f"{when.day} {when:%B %Y}"


class Report:
    """Prints the parts of the story."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        if self.console.width > _WIDTH:
            self.console.width = _WIDTH
        self._sections = 0

    def section(self, title: str, about: str = "") -> None:
        self._sections += 1
        self.console.print()
        self.console.rule(Text(f"{self._sections}. {title}", style="bold"), align="left")
        if about:
            self.console.print(Text(about, style="dim"))
            self.console.print()

    def say(self, label: str, text: str, *, style: str = "") -> None:
        """One labelled line; longer text hangs under its own beginning."""
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=10, style="cyan")
        grid.add_column(overflow="fold")
        grid.add_row(label, Text(text, style=style))
        self.console.print(Padding(grid, (0, 0, 0, 2)))

    def note(self, text: str) -> None:
        self.console.print(Padding(Text(text, style="dim"), (0, 0, 0, 2)))

    def gap(self) -> None:
        self.console.print()

    # -- the parts ----------------------------------------------------------------------------

    def sessions(self, fates: Sequence[Fate], merged: set[str]) -> None:
        """One line per session with what became of its turns."""
        table = Table(box=None, padding=(0, 2, 0, 0))
        table.add_column("session")
        for name in ("turns", "stored", "folded", "refused", "masked"):
            table.add_column(name, justify="right")
        names = list(dict.fromkeys(fate.turn.session for fate in fates))
        shown = names if len(names) <= 12 else [*names[:5], "", *names[-5:]]
        for name in shown:
            row = [f for f in fates if f.turn.session == name]
            table.add_row(plain(name, 40), *_counts(row, merged)) if name else table.add_row("…")
        table.add_row(Text("together", style="bold"), *_counts(fates, merged))
        self.console.print(Padding(table, (0, 0, 0, 2)))

    def exceptions(self, fates: Sequence[Fate], merged: dict[str, str]) -> None:
        """The turns that were not simply stored, a few of each kind."""
        folded = [f for f in fates if f.written["id"] in merged or _repeats(f)]
        refused = [f for f in fates if f.written["status"] == "rejected"]
        masked = [f for f in fates if f.written["masked"]]
        for fate in folded[:3]:
            self.say("folded", f"turn {fate.number} repeats an earlier one: {_words(fate)}")
        for fate in refused[:3]:
            self.say("refused", f"turn {fate.number}: {fate.written['reason']}")
        for fate in masked[:3]:
            kinds = ", ".join(f"{n} {kind}" for kind, n in fate.written["masked"].items())
            self.say("masked", f"turn {fate.number}, before anything was stored: {kinds}")

    def answer(self, question: str, answer: Answer) -> None:
        self.say("question", plain(question, 200), style="bold")
        style = "" if answer["by"] == "nothing" else "green"
        for line in answer["text"].splitlines() or [""]:
            self.say("answer", plain(line), style=style)

    def evidence(self, memory: Recalled, steps: Sequence[ProvenanceStep], *, words: bool) -> None:
        """A memory an answer rests on: where it comes from and why it was found."""
        if words:
            self.say("rests on", f"“{plain(memory['text'], 120)}”", style="dim")
        first, *later = steps
        told = [f"said by {plain(memory['speaker'], 40)} on {day(first.at)}"]
        told += [f"{s.action} by {plain(s.actor, 40)} on {day(s.at)}" for s in later]
        self.say("from", f"{'; '.join(told)} ({plain(first.source, 40)})", style="dim")
        found = {"cosine": "meaning", "words": "shared words"}
        terms = (f"{found.get(n, n)} {value:.2f}" for n, value in memory["signals"].items())
        self.say("found by", f"{', '.join(terms)}; score {memory['score']:.2f}", style="dim")

    def correction(self, change: Correction) -> None:
        if change.asked_by is not None:
            asked = f"turn {change.asked_by.number} asks for a correction"
            self.say("rule", f"{asked}: the closest earlier memory of the speaker is corrected")
        self.say("before", plain(change.before, 200))
        self.say("after", plain(change.after, 200))

    def audit(self, line: Any) -> None:
        self.say(
            "audit",
            f"line {line.n}: {line.outcome}, {plain(line.actor or '-', 40)}, {line.action}, "
            f"{plain(line.cube or '-', 40)}",
        )


def _repeats(fate: Fate) -> bool:
    return fate.written["status"] in ("duplicate", "merged")


def _counts(fates: Sequence[Fate], merged: set[str]) -> list[str]:
    folded = sum(f.written["id"] in merged or _repeats(f) for f in fates)
    refused = sum(f.written["status"] == "rejected" for f in fates)
    masked = sum(bool(f.written["masked"]) for f in fates)
    numbers = (len(fates), len(fates) - folded - refused, folded, refused, masked)
    return [str(n) if n else "." for n in numbers]


def _words(fate: Fate) -> str:
    return f"“{plain(fate.turn.content, 60)}”"


def stored_ids(done: Replay) -> list[str]:
    """The memories of the replay, in order."""
    return [f.written["id"] for f in done.fates if f.written["id"] is not None]
