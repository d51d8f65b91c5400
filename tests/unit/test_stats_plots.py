"""Figures over time and their pictures: right counts, rights kept, nothing of memory obeyed."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from memos_integrations import MOS, Principal, Settings
from memos_integrations.cube.errors import AccessDenied, InvalidInput
from memos_integrations.interface.cli.charts import (
    Series,
    bar,
    bars,
    columns,
    grouped,
    line,
    spark,
)
from memos_integrations.interface.cli.stats_page import page
from memos_integrations.testing.fakes import ManualClock

pytest.importorskip("typer", reason="the command line needs the cli extra")

from typer.testing import CliRunner

from memos_integrations.interface.cli.program import app

DAY = 86_400
EVIL = "</title><script>alert(1)</script>\"'& \x1b[31m"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 3, 1, 12, tzinfo=UTC))


@pytest.fixture
def mos(tmp_path: Path, clock: ManualClock) -> Iterator[MOS]:
    settings = Settings(worker=False)
    with MOS(tmp_path / "m.db", embedder=None, clock=clock, settings=settings) as made:
        yield made


def test_growth_is_counted_by_day_and_type(mos: MOS, clock: ManualClock) -> None:
    mos.add(["The boat is called Petrel.", "It needs paint."], user="ann")
    clock.advance(seconds=2 * DAY)
    mos.add("The harbour closes at nine.", user="ann", memory_type="document")
    found = mos.stats_over_time(days=3, user="ann")
    assert found.days == ("2026-03-01", "2026-03-02", "2026-03-03")
    assert found.growth == {"document": (0, 0, 1), "long_term": (2, 0, 0)}
    assert (found.total, found.memories) == ((2, 2, 3), 3)
    later = mos.stats_over_time(days=1, user="ann")
    assert (later.growth, later.total) == ({"document": (1,)}, (3,))


def test_facts_stand_behind_what_was_told_and_are_not_counted(mos: MOS) -> None:
    mos.add("I live in Berlin and I like jazz.", user="ann")
    mos.work()
    assert len(mos.facts(user="ann")) > 1
    assert mos.stats_over_time(user="ann").memories == mos.stats(user="ann")["memories"] == 1


def test_reads_are_counted_by_day_with_what_they_showed(mos: MOS, clock: ManualClock) -> None:
    mos.add(["The boat is called Petrel.", "The boat needs paint."], user="ann")
    mos.search("boat", user="ann")
    mos.flush()
    clock.advance(seconds=DAY)
    mos.search("paint", user="ann")
    mos.list(user="ann")
    found = mos.stats_over_time(days=2, user="ann")
    assert (found.reads, found.shown) == ((1, 2), (2, 3))
    assert (found.used["2-4"], found.used["never"]) == (2, 0)


def test_ages_are_counted_since_the_last_use_or_the_coming(mos: MOS, clock: ManualClock) -> None:
    mos.add(["The boat is called Petrel.", "Quinces ripen in October."], user="ann")
    clock.advance(seconds=40 * DAY)
    mos.search("boat Petrel", user="ann", limit=1)
    found = mos.stats_over_time(user="ann").since_use
    assert (found["under a day"], found["under 90 days"], sum(found.values())) == (1, 1, 2)


def test_tiers_forms_trust_and_tasks_are_counted(mos: MOS) -> None:
    mos.add("The boat is called Petrel.", user="ann", trust="web")
    open_ = mos.stats_over_time(days=1, user="ann")
    mos.work()
    found = mos.stats_over_time(days=1, user="ann")
    assert (open_.tasks_open, open_.tasks_done) == (1, (0,))
    assert (found.tasks_open, found.tasks_done, found.tasks_failed) == (0, (1,), (0,))
    assert set(found.task_seconds) == {"fine"}
    assert (found.tiers, found.forms, found.trust) == ({"warm": 1}, {"plaintext": 1}, {"web": 1})


def test_figures_are_of_what_the_asker_may_see(mos: MOS) -> None:
    mos.add("The boat is called Petrel.", user="ann")
    mos.search("boat", user="ann")
    assert mos.stats_over_time(user="bob").memories == 0
    with pytest.raises(AccessDenied):
        mos.stats_over_time(user="bob", cube="users/ann")
    mos.share(to="bob", user="ann")
    shared = mos.stats_over_time(user="bob", cube="users/ann", days=1)
    assert (shared.memories, shared.reads) == (1, (0,))  # how much she reads is hers
    admin = mos.acting(Principal(tenant="default", user="root", roles=frozenset({"admin"})))
    assert admin.stats_over_time(cube="users/ann", days=1).reads == (1,)


def test_bad_days_are_told(mos: MOS) -> None:
    for days in (0, -1, 1.5, True, 10**9):
        with pytest.raises(InvalidInput):
            mos.stats_over_time(days=days)  # type: ignore[arg-type]


# --- pictures ----------------------------------------------------------------------------------


def test_a_spark_shows_nothing_as_a_dot_and_the_most_as_a_full_block() -> None:
    assert spark([0, 1, 4, 8]) == "·▁▄█"
    assert spark([]) == ""
    assert spark([0, 0]) == "··"


def test_a_bar_is_as_long_as_its_share_and_never_vanishes() -> None:
    assert bar(10, 10, width=8) == "█" * 8
    assert bar(5, 10, width=8) == "█" * 4
    assert bar(1, 10_000, width=8)
    assert bar(0, 10, width=8) == bar(3, 0, width=8) == ""


def test_days_are_grouped_from_the_end_so_that_the_last_group_is_whole() -> None:
    assert grouped([1, 2, 3, 4, 5], 2) == [1, 5, 9]
    assert sum(grouped(list(range(100)), 7)) == sum(range(100))


@pytest.mark.parametrize("count", [1, 2, 30, 400])
@pytest.mark.parametrize("top", [0, 1, 3, 9, 1234, 10**7])
def test_every_column_stays_within_its_picture(count: int, top: int) -> None:
    days = [f"day {n}" for n in range(count)]
    values = [top if n % 2 == 0 else 0 for n in range(count)]
    svg = columns(days, [Series("a", values), Series("b", values)], label="x").partition("<p")[0]
    for each in ET.fromstring(svg).iter("rect"):
        x, y = float(each.attrib["x"]), float(each.attrib["y"])
        assert 0 <= x <= x + float(each.attrib["width"]) <= 640
        assert 0 <= y <= y + float(each.attrib["height"]) <= 200
    ET.fromstring(line(days, values, label="x"))


def test_more_series_than_colours_are_told_together_and_add_up() -> None:
    many = [Series(f"kind {n}", [n + 1]) for n in range(9)]
    drawn = columns(["today"], many, label="x")
    assert "others" in drawn
    assert drawn.count("<rect") == 6
    assert f"{1 + 2 + 3 + 4} others" in drawn


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def test_the_page_stands_alone_and_obeys_nothing_of_memory(mos: MOS) -> None:
    mos.add("The boat is called Petrel.", user="ann", trust="web")
    found = mos.stats_over_time(days=2, user="ann")
    html = page(found, title=EVIL, about=EVIL) + bars({EVIL: 3}, label=EVIL)
    html += columns([EVIL, EVIL], [Series(EVIL, [1, 2]), Series("b", [1, 0])], label=EVIL)
    tags = Tags()
    tags.feed(html)
    assert "script" not in {name for name, _ in tags.seen}
    attributes = {key for _, given in tags.seen for key in given}
    assert not attributes & {"src", "href", "srcset", "action", "data"}
    assert not any(key.startswith("on") for key in attributes)
    assert "url(" not in html
    assert "default-src 'none'" in html


def run(file: Path, *arguments: str) -> str:
    done = CliRunner().invoke(app, ["--no-embed", "--db", str(file), *arguments])
    assert done.exit_code in (0, 1), (done.output, done.exception)
    return done.stdout


def test_the_command_draws_in_the_terminal_and_writes_the_page_once(tmp_path: Path) -> None:
    file, html = tmp_path / "m.db", tmp_path / "stats.html"
    run(file, "add", "The boat is called Petrel.", "--user", "ann")
    told = run(file, "stats", "--user", "ann", "--html", str(html), "--days", "7")
    assert "new long_term" in told
    assert "█" in told
    assert html.read_text("utf-8").startswith("<!DOCTYPE html>")
    again = CliRunner().invoke(app, ["--db", str(file), "stats", "--html", str(html)])
    assert "exists already" in str(again.exception)


def test_stats_and_doctor_answer_in_json(tmp_path: Path) -> None:
    file = tmp_path / "m.db"
    run(file, "add", "x" * 70, "--user", "ann")
    run(file, "worker", "--once")
    stats = json.loads(run(file, "--json", "stats", "--user", "ann", "--days", "2"))
    assert (stats["memories"], len(stats["over_time"]["days"])) == (1, 2)
    found = json.loads(run(file, "--json", "doctor", "--user", "ann"))
    assert found["counts"] == {"junk": 1}
    assert found["findings"][0]["plan"][0]["repair"] == "archive"
    fixed = json.loads(run(file, "--json", "doctor", "--user", "ann", "--fix", "junk", "--yes"))
    assert (fixed["dry_run"], len(fixed["repairs"])) == (False, 1)
    assert json.loads(run(file, "--json", "doctor", "--user", "ann"))["healthy"]


def test_doctor_asks_before_it_mends(tmp_path: Path) -> None:
    file = tmp_path / "m.db"
    run(file, "add", "x" * 70, "--user", "ann")
    run(file, "worker", "--once")
    asked = ["--no-embed", "--db", str(file), "--user", "ann", "doctor", "--fix", "junk"]
    refused = CliRunner().invoke(app, asked, input="n\n")
    assert refused.exit_code == 1
    assert json.loads(run(file, "--json", "doctor", "--user", "ann"))["counts"] == {"junk": 1}
    assert "1 x archive" in CliRunner().invoke(app, asked, input="y\n").stdout
