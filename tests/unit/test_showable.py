"""What may be shown now of what was found before: the rule is that of a search."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from memos_integrations import MOS, Settings, errors
from memos_integrations.testing.fakes import ManualClock

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
Hide = Callable[[MOS, str], object]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def mos(clock: ManualClock) -> Iterator[MOS]:
    with MOS(None, embedder=None, clock=clock, settings=Settings(worker=False)) as mos:
        yield mos


def shown(mos: MOS, *items: str, user: str = "ann") -> list[str]:
    found = [item.id for item in mos.showable(items, user=user)]
    # The list of all has one rule with it.
    listed = {item.id for item in mos.list_showable(user="ann", limit=99)}
    assert user != "ann" or set(found) == listed & set(items)
    return found


def stale(mos: MOS, item: str) -> str:
    drawn = mos.add("so the boats lie there", user="ann", derived_from=[item]).id
    mos.update(item, "the harbour is closed", user="ann")
    return drawn


HIDE: dict[str, Hide] = {
    "quarantined": lambda m, i: m.quarantine("web", user="ann"),
    "archived": lambda m, i: m.archive(i, user="ann"),
    "deleted": lambda m, i: m.delete(i, user="ann"),
    "erased": lambda m, i: m.erase(i, user="ann"),
    "no longer valid": lambda m, i: m.update(i, valid_to=START, user="ann"),
    "merged": lambda m, i: m.merge(
        [i, m.add("boats", user="ann").id], "the harbour and its boats", user="ann"
    ),
}


@pytest.mark.parametrize("how", HIDE)
def test_what_a_search_may_not_show_is_left_out(mos: MOS, clock: ManualClock, how: str) -> None:
    kept = mos.add("the baker bakes rye bread", user="ann").id
    item = mos.add("the harbour keeps the boats", user="ann", source="web").id
    assert shown(mos, item, kept) == [item, kept]
    HIDE[how](mos, item)
    clock.advance(seconds=1)
    assert shown(mos, item, kept) == [kept]
    assert item not in [hit.id for hit in mos.search("harbour boats", user="ann")]


def test_what_expired_is_left_out_before_it_is_swept(mos: MOS, clock: ManualClock) -> None:
    item = mos.add("the code of the day is 4711", user="ann", ttl_seconds=60).id
    assert shown(mos, item) == [item]
    clock.advance(seconds=61)
    assert shown(mos, item) == []


def test_what_was_drawn_from_a_corrected_memory_is_left_out(mos: MOS) -> None:
    item = mos.add("the harbour keeps the boats", user="ann").id
    drawn = stale(mos, item)
    mos.work()
    assert shown(mos, drawn, item) == [item]
    assert mos.showable([item], user="ann")[0].text == "the harbour is closed"


def test_what_was_released_is_shown_again(mos: MOS) -> None:
    item = mos.add("the harbour keeps the boats", user="ann", source="web").id
    mos.quarantine("web", user="ann")
    mos.release("web", user="ann")
    assert shown(mos, item) == [item]


def test_others_see_what_was_shared_with_them_until_it_is_revoked(mos: MOS) -> None:
    item = mos.add("the harbour keeps the boats", user="ann").id
    assert shown(mos, item, user="ben") == []
    mos.share(to="ben", user="ann")
    assert shown(mos, item, user="ben") == [item]
    mos.revoke(to="ben", user="ann")
    assert shown(mos, item, user="ben") == []


def test_a_cube_and_a_session_narrow_what_is_shown(mos: MOS) -> None:
    mos.create_cube("teams/port", user="ann")
    home = mos.add("the harbour keeps the boats", user="ann", session="s").id
    team = mos.add("the crane is broken", user="ann", cube="teams/port").id
    both = mos.showable([home, team, home, "unknown"], user="ann")
    assert [item.id for item in both] == [home, team]
    only = mos.showable([home, team], user="ann", cube="teams/port")
    assert [item.id for item in only] == [team]
    assert [i.id for i in mos.showable([home, team], user="ann", session="s")] == [home]
    with pytest.raises(errors.AccessDenied):
        mos.showable([home], user="ann", cube="teams/none")


def test_what_may_be_shown_is_listed_newest_first_page_by_page(
    mos: MOS, clock: ManualClock
) -> None:
    kept: list[str | None] = []
    for n in range(5):
        clock.advance(seconds=1)
        kept.append(mos.add(f"note {n}", user="ann", source="web" if n == 3 else None).id)
    mos.quarantine("web", user="ann")
    named = {"text": {"contains": "note"}}
    found = mos.list_showable(user="ann", filter=named, limit=2, offset=1)
    assert [item.id for item in found] == [kept[2], kept[1]]
    with pytest.raises(errors.AccessDenied):
        mos.list_showable(user="ben", cube="users/ann")


def test_the_past_shows_what_was_valid_then(mos: MOS, clock: ManualClock) -> None:
    item = mos.add("the harbour keeps the boats", user="ann").id
    clock.advance(seconds=60)
    then = clock.now()
    clock.advance(seconds=60)
    mos.archive(item, user="ann")
    assert shown(mos, item) == []
    past = mos.as_of(then).showable([item], user="ann")
    assert [each.text for each in past] == ["the harbour keeps the boats"]
    assert mos.as_of(START - timedelta(days=1)).showable([item], user="ann") == []


def test_a_bare_text_or_what_is_no_text_is_refused(mos: MOS) -> None:
    for wrong in ("abc", 7, [7], ["a\x00b"]):
        with pytest.raises(errors.InvalidInput):
            mos.showable(wrong, user="ann")  # type: ignore[arg-type]
