"""The promises of a memory as tests: subclass ``VaultTests`` and give it ``make``.

    class TestMyMemory(VaultTests):
        def make(self, tmp_path: Path) -> MOS: ...

Everything goes through the public verbs. A second ``make`` with the same ``tmp_path`` must open
the same memory, so that durability can be tested; the suite closes what it opens.
"""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from memos_integrations.cube.acl import Principal
from memos_integrations.cube.errors import (
    AccessDenied,
    IdempotencyConflict,
    InvalidFilter,
    InvalidInput,
    MergeConflict,
    NotFound,
    UsageError,
    VersionConflict,
)
from memos_integrations.cube.header import Relation, State
from memos_integrations.interface.mos import MOS, MemoryView
from memos_integrations.interface.reads import Reads

ALICE, BOB = "alice", "bob"
HOME = "users/alice"
UNICODE = (
    "Zoë prefers crème brûlée",
    "寿司が好きです",
    "اللغة العربية",
    "emoji 👩‍👩‍👧‍👦 family",
    "combining e\u0301 and \u202eright-to-left\u202c",
    "quote ' \" ; -- DROP TABLE item; \\ %_*",
)


class VaultTests:
    """Every promise that does not depend on how the memory is set up."""

    def make(self, tmp_path: Path) -> MOS:
        """The memory kept under ``tmp_path``; made on the first call, opened again later."""
        raise NotImplementedError

    @pytest.fixture
    def mos(self, tmp_path: Path) -> Iterator[MOS]:
        with self.make(tmp_path) as made:
            yield made

    # -- durability -----------------------------------------------------------------------------

    def test_everything_acknowledged_is_there_after_reopening(self, tmp_path: Path) -> None:
        with self.make(tmp_path) as first:
            kept, gone = first.add(["the lamp is green", "the lamp is blue"], user=ALICE).ids
            first.update(kept, "the lamp is amber", user=ALICE)
            first.delete(gone, user=ALICE)
            first.share(to=BOB, user=ALICE)
            first.wait()
            before = _steps(first, kept)
        with self.make(tmp_path) as again:
            assert _steps(again, kept) == before
            assert _texts(again) == ["the lamp is amber"]
            assert [h.id for h in again.search("amber lamp", user=BOB, cube=HOME)] == [kept]
            assert again.check().sound
            assert again.audit_verify().intact

    def test_memory_is_found_at_once_and_after_its_fine_stage(self, mos: MOS) -> None:
        added = mos.add("the password hint is a heron", user=ALICE)
        assert [hit.id for hit in mos.search("heron", user=ALICE)] == [added.id]
        mos.wait(added)
        assert [hit.id for hit in mos.search("heron", user=ALICE)] == [added.id]
        assert mos.get(added.id, user=ALICE).header.state is State.ACTIVATED
        assert mos.check().sound

    def test_words_are_kept_letter_by_letter(self, mos: MOS) -> None:
        ids = mos.add(list(UNICODE), user="Zoë/ø %_*'").ids
        mine = mos.acting(Principal(user="Zoë/ø %_*'"))
        assert [mine.get(each).text for each in ids] == list(UNICODE)
        assert [hit.text for hit in mine.search("crème brûlée")][:1] == [UNICODE[0]]
        assert mos.list(user="Zoë") == []

    # -- idempotency ------------------------------------------------------------------------------

    def test_same_key_writes_once_and_gives_the_same_result(self, mos: MOS) -> None:
        first = mos.add("one heron", user=ALICE, idempotency_key="k")
        assert mos.add("one heron", user=ALICE, idempotency_key="k") == first
        assert mos.count(user=ALICE) == 1
        changed = mos.update(first.id, "two herons", user=ALICE, idempotency_key="u")
        assert mos.update(first.id, "two herons", user=ALICE, idempotency_key="u") == changed

    def test_same_key_survives_reopening(self, tmp_path: Path) -> None:
        with self.make(tmp_path) as mos:
            first = mos.add("one heron", user=ALICE, idempotency_key="k")
        with self.make(tmp_path) as mos:
            assert mos.add("one heron", user=ALICE, idempotency_key="k") == first

    def test_same_key_with_another_request_is_a_conflict_and_changes_nothing(
        self, mos: MOS
    ) -> None:
        mos.add("one heron", user=ALICE, idempotency_key="k")
        with pytest.raises(IdempotencyConflict):
            mos.add("another heron", user=ALICE, idempotency_key="k")
        assert _texts(mos) == ["one heron"]

    def test_keys_of_two_users_do_not_meet(self, mos: MOS) -> None:
        one = mos.add("a heron", user=ALICE, idempotency_key="k")
        two = mos.add("a stork", user=BOB, idempotency_key="k")
        assert one.id != two.id

    def test_same_key_at_the_same_moment_writes_once(self, mos: MOS) -> None:
        def add(_: int) -> str:
            return mos.add("one heron", user=ALICE, idempotency_key="k").id

        with ThreadPoolExecutor(4) as pool:
            ids = set(pool.map(add, range(8)))
        assert len(ids) == 1
        assert mos.count(user=ALICE) == 1

    def test_update_against_an_old_version_is_refused(self, mos: MOS) -> None:
        item = mos.add("one heron", user=ALICE).id
        version = mos.update(item, "two herons", user=ALICE).version
        with pytest.raises(VersionConflict):
            mos.update(item, "three herons", user=ALICE, expected_version=version - 1)
        assert mos.get(item, user=ALICE).text == "two herons"

    # -- one unit ---------------------------------------------------------------------------------

    def test_pipeline_commits_as_one_and_gives_one_result_each(self, mos: MOS) -> None:
        old = mos.add("one heron", user=ALICE).id
        with mos.pipeline(user=ALICE) as pipe:
            pipe.add("a stork")
            pipe.update(old, "two herons")
        assert len(pipe.results) == 2
        assert sorted(_texts(mos)) == ["a stork", "two herons"]

    def test_pipeline_with_one_refused_step_changes_nothing(self, mos: MOS) -> None:
        item = mos.add("one heron", user=ALICE).id
        mos.wait()
        before = _steps(mos, item)

        def unit() -> None:
            with mos.pipeline(user=ALICE) as pipe:
                pipe.add("never stored")
                pipe.update(item, "never corrected")
                pipe.delete("00000000-0000-7000-8000-000000000000")

        with pytest.raises(NotFound):
            unit()
        assert _steps(mos, item) == before
        assert _texts(mos) == ["one heron"]

    def test_error_inside_the_block_of_a_pipeline_runs_nothing(self, mos: MOS) -> None:
        def unit() -> None:
            with mos.pipeline(user=ALICE) as pipe:
                pipe.add("never stored")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            unit()
        assert mos.list(user=ALICE) == []

    # -- the time machine -------------------------------------------------------------------------

    @pytest.mark.parametrize("axis", ["position", "time"])
    def test_every_reading_verb_answers_as_of_then(self, axis: str, mos: MOS) -> None:
        item, other = mos.add(["the lamp is green", "a heron stands"], user=ALICE).ids
        mos.link(item, Relation.RELATES_TO, other, user=ALICE)
        mos.wait()
        alice = mos.acting(Principal(user=ALICE))
        then = _answers(alice, item)
        time.sleep(0.005)
        moment = datetime.now(UTC)
        time.sleep(0.005)
        mos.add("a marker", user=BOB)
        position = mos.list(user=BOB)[0].header.seq - 1
        mos.unlink(item, Relation.RELATES_TO, other, user=ALICE)
        mos.update(item, "the lamp is amber", user=ALICE)
        mos.delete(other, user=ALICE)
        mos.add("the lamp is new", user=ALICE)
        mos.wait()
        view = alice.as_of(position if axis == "position" else moment)
        assert _answers(view, item) == then
        assert _answers(alice, item) != then

    def test_rights_on_the_past_are_the_rights_held_now(self, mos: MOS) -> None:
        item = mos.add("the lamp is green", user=ALICE).id
        mos.share(to=BOB, user=ALICE)
        seq = mos.get(item, user=ALICE).header.seq
        bob = mos.acting(Principal(user=BOB))
        assert [i.id for i in bob.as_of(seq).list(cube=HOME)] == [item]
        mos.revoke(to=BOB, user=ALICE)
        with pytest.raises(AccessDenied):
            bob.as_of(seq).list(cube=HOME)

    def test_rollback_writes_a_new_version_equal_to_the_old_one(self, mos: MOS) -> None:
        item = mos.add("the lamp is green", user=ALICE).id
        mos.wait()
        before = _steps(mos, item)
        mos.update(item, "the lamp is amber", user=ALICE)
        mos.rollback(item, version=before[-1][0], user=ALICE)
        steps = _steps(mos, item)
        assert steps[: len(before)] == before
        assert steps[-1][1:] == before[-1][1:]
        assert [hit.id for hit in mos.search("green", user=ALICE)] == [item]

    def test_rollback_of_a_cube_equals_its_past(self, mos: MOS) -> None:
        kept, lost = mos.add(["the lamp is green", "a heron stands"], user=ALICE).ids
        mos.wait()
        derived = mos.add("lamps are green", user=ALICE, derived_from=[kept]).id
        mos.wait()
        seq = mos.get(derived, user=ALICE).header.seq
        then = _faces(mos)
        mos.update(kept, "the lamp is amber", user=ALICE)
        mos.update(derived, "lamps are amber", user=ALICE)
        mos.delete(lost, user=ALICE)
        mos.add("never mind", user=ALICE)
        mos.wait()
        mos.rollback(to=seq, user=ALICE)
        assert _faces(mos) == then
        assert mos.check().sound

    def test_fork_is_apart_until_it_is_merged(self, mos: MOS) -> None:
        item = mos.add("the lamp is green", user=ALICE).id
        branch = mos.fork(f"{HOME}/what-if", user=ALICE)
        (copy,) = mos.list(user=ALICE, cube=branch)
        mos.update(copy.id, "the lamp is amber", user=ALICE)
        new = mos.add("a heron stands", user=ALICE, cube=branch).id
        assert _texts(mos) == ["the lamp is green"]
        diff = mos.diff(branch, user=ALICE)
        assert (diff.added, diff.removed) == ((new,), ())
        assert [(pair.base, pair.branch) for pair in diff.changed] == [(item, copy.id)]
        assert mos.merge_branch(branch, user=ALICE)[0] == item
        assert sorted(_texts(mos)) == ["a heron stands", "the lamp is amber"]
        assert not mos.diff(branch, user=ALICE)

    @pytest.mark.parametrize(("side", "text"), [("ours", "blue"), ("theirs", "amber")])
    def test_both_sides_changed_is_a_conflict_until_a_side_is_named(
        self, side: str, text: str, mos: MOS
    ) -> None:
        item = mos.add("green", user=ALICE).id
        branch = mos.fork(f"{HOME}/what-if", user=ALICE)
        (copy,) = mos.list(user=ALICE, cube=branch)
        mos.update(copy.id, "amber", user=ALICE)
        mos.update(item, "blue", user=ALICE)
        with pytest.raises(MergeConflict) as conflict:
            mos.merge_branch(branch, user=ALICE)
        assert conflict.value.items == [item]
        assert mos.get(item, user=ALICE).text == "blue"
        mos.merge_branch(branch, user=ALICE, on_conflict="ours" if side == "ours" else "theirs")
        assert mos.get(item, user=ALICE).text == text

    # -- truth maintenance ------------------------------------------------------------------------

    def test_merge_keeps_its_sources_and_split_brings_them_back(self, mos: MOS) -> None:
        one, two = mos.add(["lives in Lyon", "lives in France"], user=ALICE).ids
        both = mos.merge([one, two], "lives in Lyon, France", user=ALICE).id
        assert [item.id for item in mos.list(user=ALICE)] == [both]
        source = mos.get(one, user=ALICE)
        assert (source.text, source.header.state) == ("lives in Lyon", State.MERGED)
        assert source.header.merged_into == both
        assert {i.id for i in mos.provenance(both, user=ALICE).sources} == {one, two}
        mos.split(both, user=ALICE)
        assert {hit.id for hit in mos.search("lives", user=ALICE)} == {one, two}

    def test_staleness_spreads_over_every_step_and_a_confirmation_ends_it(self, mos: MOS) -> None:
        fact = mos.add("the lamp is green", user=ALICE).id
        digest = mos.add("lamps: green", user=ALICE, derived_from=[fact]).id
        plan = mos.add("buy green bulbs", user=ALICE, derived_from=[digest]).id
        mos.wait()
        changed = mos.update(fact, "the lamp is amber", user=ALICE)
        assert set(changed.stale) == {digest, plan}
        assert {hit.id for hit in mos.search("green lamp bulbs", user=ALICE)} <= {fact}
        mos.activate(plan, user=ALICE)
        mos.update(digest, "lamps: amber", user=ALICE)
        header = mos.get(digest, user=ALICE).header
        assert not header.stale
        # Its own source was just corrected, so what was confirmed before is in doubt again.
        assert mos.get(plan, user=ALICE).header.stale
        mos.activate(plan, user=ALICE)
        assert not mos.get(plan, user=ALICE).header.stale
        assert plan in {hit.id for hit in mos.search("bulbs", user=ALICE)}

    def test_hits_are_counted_without_a_commit_for_each_read(self, mos: MOS) -> None:
        item = mos.add("a heron stands", user=ALICE).id
        mos.wait()
        mos.flush()
        used = mos.get(item, user=ALICE).header.usage_count
        mos.flush()
        with closing(sqlite3.connect(mos.path)) as other:
            commits = _commits_seen(other, lambda: mos.search("heron", user=ALICE), times=40)
        assert commits <= 5, "read traces are written in batches"
        mos.flush()
        header = mos.get(item, user=ALICE).header
        assert header.usage_count == used + 41
        assert header.last_used is not None

    # -- forgetting -------------------------------------------------------------------------------

    def test_time_to_live_hides_at_the_instant_it_ends(self, mos: MOS) -> None:
        item = mos.add("a heron stands", user=ALICE, ttl_seconds=0.4).id
        seq = mos.get(item, user=ALICE).header.seq
        assert [hit.id for hit in mos.search("heron", user=ALICE)] == [item]
        time.sleep(0.45)
        assert mos.search("heron", user=ALICE) == []
        assert mos.list(user=ALICE) == mos.acting(Principal(user=ALICE)).as_of(seq).list() == []
        with pytest.raises(NotFound):
            mos.get(item, user=ALICE)
        mos.wait()
        assert mos.expire_due() == 1
        assert mos.check().sound

    def test_erased_words_are_in_no_file_any_more(self, mos: MOS) -> None:
        words = "the safe opens with 7731-quetzal"
        item = mos.add(words, user=ALICE, info={"hint": "quetzal-feather"}).id
        seq = mos.get(item, user=ALICE).header.seq
        derived = mos.add("digest: 7731-quetzal", user=ALICE, derived_from=[item]).id
        mos.fork(f"{HOME}/what-if", user=ALICE)
        mos.wait()
        mos.search("quetzal", user=ALICE)
        mos.update(item, "the safe opens with 7732-quetzal", user=ALICE)
        mos.wait()
        assert _holding(mos, b"quetzal"), "or the scan below proves nothing"
        receipt = mos.erase(item, user=ALICE)
        assert {item, derived} <= set(receipt.erased)
        assert receipt.scan.found == 0
        assert _holding(mos, b"quetzal") == []
        alice = mos.acting(Principal(user=ALICE))
        assert alice.search("quetzal") == alice.as_of(seq).search("quetzal") == []
        assert mos.check().sound
        assert mos.audit_verify().intact

    # -- governance -------------------------------------------------------------------------------

    def test_wrong_principal_is_refused_by_every_verb(self, mos: MOS) -> None:
        item, other = mos.add(["a heron stands", "a stork stands"], user=ALICE).ids
        bob = mos.acting(Principal(user=BOB))
        elsewhere = mos.acting(Principal("elsewhere", user=ALICE))
        for stranger in (bob, elsewhere):
            for verb in _item_verbs(stranger, item, other):
                with pytest.raises(NotFound):
                    verb()
            for verb in _cube_verbs(stranger, HOME):
                with pytest.raises((AccessDenied, NotFound)):
                    verb()
        assert sorted(_texts(mos)) == ["a heron stands", "a stork stands"]

    def test_denied_reads_are_in_the_audit_log(self, mos: MOS) -> None:
        item = mos.add("a heron stands", user=ALICE).id
        with pytest.raises(NotFound):
            mos.get(item, user=BOB)
        with pytest.raises(AccessDenied):
            mos.search("heron", user=BOB, cube=HOME)
        denied = [line for line in mos.audit(user=BOB) if line.outcome == "denied"]
        assert {line.action for line in denied} == {"get", "search"}
        assert mos.audit_verify().intact

    def test_revoked_grant_ends_at_once(self, mos: MOS) -> None:
        item = mos.add("a heron stands", user=ALICE).id
        mos.share(to=BOB, user=ALICE)
        assert [hit.id for hit in mos.search("heron", user=BOB, cube=HOME)] == [item]
        mos.revoke(to=BOB, user=ALICE)
        with pytest.raises(AccessDenied):
            mos.search("heron", user=BOB, cube=HOME)

    def test_denial_beats_a_grant(self, mos: MOS) -> None:
        item, other = mos.add(["a heron stands", "a stork stands"], user=ALICE).ids
        mos.share(to=BOB, user=ALICE)
        mos.deny(item, to=BOB, user=ALICE)
        assert [hit.id for hit in mos.search("stands", user=BOB, cube=HOME)] == [other]

    # -- wrong calls ------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "where",
        [{"nonsense": 1}, {"tags": {"almost": "x"}}, {"time": {"gte": "not a date"}}, {"and": 3}],
        ids=["field", "operator", "value", "shape"],
    )
    def test_filter_that_makes_no_sense_is_an_error_never_ignored(
        self, where: dict[str, object], mos: MOS
    ) -> None:
        mos.add("a heron stands", user=ALICE)
        for read in (mos.list, mos.count):
            with pytest.raises(InvalidFilter):
                read(user=ALICE, filter=where)
        with pytest.raises(InvalidFilter):
            mos.search("heron", user=ALICE, filter=where)

    @pytest.mark.parametrize("text", ["", "  \n", "nul \x00 byte", "lone \ud800 surrogate"])
    def test_words_that_cannot_be_kept_are_refused_whole(self, text: str, mos: MOS) -> None:
        with pytest.raises(InvalidInput):
            mos.add(text, user=ALICE)
        item = mos.add("a heron stands", user=ALICE).id
        with pytest.raises(InvalidInput):
            mos.update(item, text, user=ALICE)
        assert _texts(mos) == ["a heron stands"]

    def test_closed_memory_says_so(self, tmp_path: Path) -> None:
        mos = self.make(tmp_path)
        mos.close()
        mos.close()
        with pytest.raises(UsageError):
            mos.add("too late", user=ALICE)
        with pytest.raises(UsageError):
            mos.list(user=ALICE)


def _steps(mos: MOS, item: str) -> list[tuple[int, State, str]]:
    found = mos.history(item, user=ALICE)
    return [(each.version, each.item.header.state, each.item.text) for each in found]


def _texts(mos: MOS) -> list[str]:
    return [item.text for item in mos.list(user=ALICE)]


def _faces(mos: MOS) -> list[tuple[str, str, State, bool]]:
    found = mos.list(user=ALICE)
    return [(each.id, each.text, each.header.state, each.header.stale) for each in found]


def _answers(view: MOS | MemoryView, item: str) -> dict[str, object]:
    """What every reading verb says, without the traces that reading itself leaves."""
    reads: Reads = view
    known = reads.provenance(item)
    stats = reads.stats()
    return {
        "search": {hit.text for hit in reads.search("lamp heron")},
        "context": {hit.text for hit in reads.context("lamp heron").hits},
        "get": (reads.get(item).text, reads.get(item).version),
        "list": [each.text for each in reads.list()],
        "count": reads.count(),
        "history": [(step.version, step.item.text) for step in reads.history(item)],
        "provenance": [known.item.text, *(step.action for step in known.steps)],
        "links": [(link.relation, link.target) for link in reads.links(item)],
        "explain": reads.explain("green", item).rank,
        "stats": (stats["memories"], stats["state"]),
    }


def _commits_seen(other: sqlite3.Connection, read: Callable[[], object], *, times: int) -> int:
    """How often another connection saw the file change between reads."""
    versions: list[int] = []
    for _ in range(times):
        read()
        versions.append(other.execute("PRAGMA data_version").fetchone()[0])
    return sum(one != two for one, two in itertools.pairwise(versions))


def _holding(mos: MOS, needle: bytes) -> list[str]:
    """The files of the memory whose raw bytes hold the needle."""
    main = Path(mos.path)
    files = [each for each in main.parent.rglob("*") if each.is_file()]
    return [each.name for each in files if needle in each.read_bytes()]


def _item_verbs(mos: MOS, item: str, other: str) -> list[Callable[[], object]]:
    return [
        lambda: mos.get(item),
        lambda: mos.history(item),
        lambda: mos.provenance(item),
        lambda: mos.links(item),
        lambda: mos.explain("heron", item),
        lambda: mos.update(item, "mine now"),
        lambda: mos.delete(item),
        lambda: mos.archive(item),
        lambda: mos.activate(item),
        lambda: mos.merge([item, other], "mine now"),
        lambda: mos.split(item),
        lambda: mos.freeze(item),
        lambda: mos.thaw(item),
        lambda: mos.link(item, Relation.MENTIONS, other),
        lambda: mos.unlink(item, Relation.MENTIONS, other),
        lambda: mos.rollback(item, version=1),
        lambda: mos.share(item, to=BOB),
        lambda: mos.deny(item, to=BOB),
        lambda: mos.revoke(item, to=BOB),
        lambda: mos.set_visibility("public", item),
        lambda: mos.erase(item),
        lambda: mos.add("derived", derived_from=[item]),
    ]


def _cube_verbs(mos: MOS, cube: str) -> list[Callable[[], object]]:
    return [
        lambda: mos.list(cube=cube),
        lambda: mos.count(cube=cube),
        lambda: mos.search("heron", cube=cube),
        lambda: mos.context("heron", cube=cube),
        lambda: mos.stats(cube=cube),
        lambda: mos.rollback(to=1, cube=cube),
        lambda: mos.fork("copies/mine", cube=cube),
        lambda: mos.quarantine("shop", cube=cube),
        lambda: mos.release("shop", cube=cube),
        lambda: mos.grants(cube=cube),
        lambda: mos.audit(cube=cube),
    ]
