"""A cube out and in: what travels, what does not, and that both sides tell the same."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memos_integrations import MOS, MemoryItem, Principal, Settings
from memos_integrations.cube.errors import AccessDenied, Conflict, InvalidInput, NotFound
from memos_integrations.cube.item import BlobRef
from memos_integrations.infrastructure.archive import ArchiveReader
from memos_integrations.testing.fakes import FakeEmbedder, ManualClock

QUIET = Settings(worker=False, synchronous="normal")


@contextmanager
def two_vaults(folder: Path, **given: Any) -> Iterator[tuple[MOS, MOS]]:
    with ExitStack() as stack:
        options: dict[str, Any] = {"embedder": FakeEmbedder(32), "settings": QUIET, **given}
        yield (
            stack.enter_context(MOS(folder / "a.db", **options)),
            stack.enter_context(MOS(folder / "b.db", **options)),
        )


def _told(mos: MOS, item: MemoryItem, ids: dict[str, str]) -> dict[str, Any]:
    """What must be the same on both sides, with ids of the first side."""
    header = item.header.model_dump(
        exclude={"id", "seq", "usage_count", "last_used", "provenance", "merged_into", "cube"}
    )
    steps = [s for s in item.header.provenance if s.source_kind != "import"]
    merged = item.header.merged_into
    blobs = [blob.sha256 for blob in item.blobs]
    return {
        **header,
        "id": ids[item.id],
        "text": item.text,
        "data": item.data,
        "steps": steps,
        "merged": merged and ids[merged],
        "blobs": blobs,
    }


def _cube_told(mos: MOS, ids: dict[str, str]) -> dict[str, Any]:
    """Listing, histories and links of alice's home."""
    items = mos.list(user="alice", limit=1000)
    histories = {
        new: [
            (v.version, v.actor, v.reason, _told(mos, v.item, ids))
            for v in mos.history(item, user="alice")
        ]
        for item, new in ids.items()
    }
    links = {
        new: sorted(
            (ids[e.source], e.relation.value, ids[e.target], e.target_version)
            for e in mos.links(item, user="alice")
        )
        for item, new in ids.items()
    }
    return {"list": [_told(mos, i, ids) for i in items], "histories": histories, "links": links}


def _fill(mos: MOS) -> dict[str, str]:
    ref = mos.put_blob(b"x" * 100, media_type="image/png", user="alice")
    tea = mos.add("Alice likes tea", user="alice", tags=["drink"], info={"n": {"m": [1, 2]}}).id
    green = mos.add("Alice likes green tea", user="alice", blobs=[ref], data={"cup": "blue"}).id
    home = mos.add("Alice lives in Lyon, a@example.com", user="alice", session="s1").id
    gone = mos.add("Alice has a cat", user="alice").id
    private = mos.add("Alice's diary", user="alice", visibility="private", labels=["health"]).id
    mos.work()
    digest = mos.add("Alice: tea, Lyon", user="alice", derived_from=[tea, home]).id
    mos.update(home, "Alice lives in Nice, a@example.com", user="alice", reason="moved")
    mos.link(green, "relates_to", tea, user="alice")
    mos.link(private, "mentions", home, user="alice")
    mos.unlink(private, "mentions", home, user="alice")
    both = mos.merge([tea, green], "Alice likes tea, green above all", user="alice").id
    mos.delete(gone, user="alice")
    mos.archive(private, user="alice")
    mos.freeze(home, user="alice")
    mos.work()
    names = ("tea", "green", "home", "gone", "private", "digest", "both")
    return dict(zip(names, (tea, green, home, gone, private, digest, both), strict=True))


def test_trusted_round_trip_tells_the_same(tmp_path: Path) -> None:
    with two_vaults(tmp_path) as (a, b):
        ids = _fill(a)
        out = a.dump(tmp_path / "c.memcube", user="alice")
        back = b.load(tmp_path / "c.memcube", user="alice", trusted=True)
        facts = a.facts(user="alice", history=True)
        assert back.items == out.items == len(ids) + len(facts)
        assert back.vectors == out.vectors > 0
        assert not set(back.ids.values()) & set(ids.values())
        b.work()
        assert _cube_told(a, back.ids) == _cube_told(b, {v: v for v in back.ids.values()})
        assert b.check().sound
        found = [[back.ids.get(h.id, h.id) for h in m.search("tea", user="alice")] for m in (a, b)]
        assert found[0] == found[1] != []


def test_the_past_of_a_loaded_cube_answers_as_it_did(tmp_path: Path) -> None:
    with two_vaults(tmp_path, embedder=None) as (a, b):
        ids = _fill(a)
        a.dump(tmp_path / "c.memcube", user="alice")
        back = b.load(tmp_path / "c.memcube", user="alice", trusted=True)
        checked = 0
        for old, new in back.ids.items():
            pairs = zip(a.history(old, user="alice"), b.history(new, user="alice"), strict=True)
            for mine, theirs in pairs:
                then, there = (m.as_of(v.item.header.seq) for m, v in ((a, mine), (b, theirs)))
                left = [back.ids[i.id] for i in then.list(user="alice")]
                assert left == [i.id for i in there.list(user="alice")]
                words = [[h.text for h in m.search("Lyon", user="alice")] for m in (then, there)]
                assert words[0] == words[1]
                checked += 1
        assert checked > len(ids)


def test_untrusted_load_brings_words_but_no_standing(tmp_path: Path) -> None:
    with two_vaults(tmp_path) as (a, b):
        ids = _fill(a)
        a.dump(tmp_path / "c.memcube", user="alice")
        back = b.load(tmp_path / "c.memcube", user="mallory", cube="users/mallory/import")
        home = b.get(back.ids[ids["home"]], user="mallory").header
        assert (home.trust, home.origin, home.owner) == ("import", "import", "user:mallory")
        assert home.state == "activated"
        assert not home.legal_hold
        last = home.provenance[-1]
        assert (last.source_kind, last.source, last.actor) == (
            "import",
            ids["home"],
            "user:mallory",
        )
        assert {v.actor for v in b.history(home.id, user="mallory")} == {"user:mallory"}
        assert back.vectors == 0
        assert back.task_ids
        b.work()
        assert b.get(home.id, user="mallory").header.embedding == FakeEmbedder(32).fingerprint
        assert b.check().sound


def test_restrictions_travel_and_privileges_only_when_asked(tmp_path: Path) -> None:
    with two_vaults(tmp_path, embedder=None) as (a, b):
        a.set_visibility("tenant", user="alice", cube=a.create_cube("team", user="alice"))
        item = a.add("held back", user="alice", cube="team", visibility="private", ttl_seconds=60)
        seen = a.add("for all", user="alice", cube="team", visibility="tenant", source="web")
        a.quarantine("web", user="alice", cube="team")
        a.share(to="bob", user="alice", cube="team")
        assert a.dump(tmp_path / "c.memcube", user="alice", cube="team").grants == 1
        plain = b.load(tmp_path / "c.memcube", user="alice", cube="plain")
        full = b.load(tmp_path / "c.memcube", user="alice", cube="full", with_grants=True)
        for report, visibility in ((plain, "inherit"), (full, "tenant")):
            held, open_ = (b.get(report.ids[n.id], user="alice").header for n in (item, seen))
            assert held.visibility == "private"
            assert held.expires == a.get(item.id, user="alice").header.expires
            assert open_.visibility == visibility
            assert open_.quarantined
        assert (plain.cube.visibility, plain.grants) == ("private", 0)
        assert (full.cube.visibility, full.grants) == ("tenant", 1)
        with pytest.raises(AccessDenied):
            b.list(user="bob", cube="plain")
        assert b.list(user="bob", cube="full")
        assert b.check().sound


def _raw(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return b"\n".join(archive.read(name) for name in archive.namelist())


def test_dump_of_a_lesser_principal_holds_no_byte_it_may_not_read(tmp_path: Path) -> None:
    with MOS(tmp_path / "a.db", embedder=FakeEmbedder(32), settings=QUIET) as mos:
        item = mos.add("write to carol@example.com", user="alice", info={"cc": "dave@example.com"})
        mos.work()
        mos.update(item.id, "write to erin@example.com now", user="alice")
        mos.update(item.id, "write to nobody", user="alice")
        mos.add("the diary of alice", user="alice", visibility="private")
        mos.add("the ailment of alice", user="alice", labels=["health"])
        denied = mos.add("the denied of alice", user="alice")
        mos.deny(denied.id, to="bob", user="alice")
        mos.link(item.id, "mentions", denied.id, user="alice")
        mos.share(to="bob", user="alice")
        mos.share(to="role:auditor", user="alice")
        mos.work()
        own = mos.dump(tmp_path / "own.memcube", user="alice")
        less = mos.dump(tmp_path / "less.memcube", user="bob", cube="users/alice")
        hidden = (b"carol@", b"dave@", b"erin@", b"diary", b"ailment", b"denied", b"auditor")
        assert all(word in _raw(tmp_path / "own.memcube") for word in hidden)
        assert not any(word in _raw(tmp_path / "less.memcube") for word in hidden)
        assert (own.items, less.items, own.grants, less.grants) == (4, 1, 3, 0)
        assert (less.masked_versions, own.masked_versions, less.links) == (3, 0, 0)
        back = mos.load(tmp_path / "less.memcube", user="bob", cube="users/bob/copy")
        texts = [v.item.text for v in mos.history(back.ids[item.id], user="bob")]
        assert texts[0] == "write to [personal:email]"


def test_dump_needs_read_rights_on_the_cube_and_refusals_are_audited(tmp_path: Path) -> None:
    with MOS(tmp_path / "a.db", embedder=None, settings=QUIET) as mos:
        item = mos.add("only this one is shared", user="alice")
        mos.share(item.id, to="bob", user="alice")
        with pytest.raises(AccessDenied):
            mos.dump(tmp_path / "c.memcube", user="bob", cube="users/alice")
        with pytest.raises(AccessDenied):
            mos.dump(tmp_path / "c.memcube", user="bob", cube="no/such/cube")
        with pytest.raises(NotFound):
            mos.dump(tmp_path / "c.memcube", user="bob")
        with pytest.raises(InvalidInput):
            mos.dump(tmp_path / "c.memcube", user="alice", session="s1")
        assert [p.name for p in tmp_path.iterdir() if "memcube" in p.name] == []
        lines = mos.audit(user="bob")
        assert [line.outcome for line in lines if line.action == "dump"] == ["denied", "denied"]


def test_every_dump_and_load_is_audited_with_what_it_held(tmp_path: Path) -> None:
    with MOS(tmp_path / "a.db", embedder=None, settings=QUIET) as mos:
        item = mos.add("a fact", user="alice").id
        mos.share(to="bob", user="alice")
        mos.dump(tmp_path / "c.memcube", user="bob", cube="users/alice")
        back = mos.load(tmp_path / "c.memcube", user="bob", cube="users/bob/copy")
        by_item = mos.audit(user="alice", cube="users/alice", item=item)
        assert ("dump", "user:bob") in [(line.action, line.actor) for line in by_item]
        (line,) = [line for line in mos.audit(user="bob") if line.action == "load"]
        assert list(line.items) == list(back.ids.values())
        assert mos.audit_verify().intact


def test_what_was_erased_is_in_no_later_dump(tmp_path: Path) -> None:
    with MOS(tmp_path / "a.db", embedder=FakeEmbedder(32), settings=QUIET) as mos:
        gone = mos.add("the unspeakable truth", user="alice")
        mos.add("small talk", user="alice")
        mos.work()
        mos.update(gone.id, "unspeakable still", user="alice")
        mos.erase(gone.id, user="alice")
        assert mos.dump(tmp_path / "c.memcube", user="alice").items == 1
        raw = _raw(tmp_path / "c.memcube")
        assert b"unspeakable" not in raw
        assert gone.id.encode() not in raw


def test_an_erase_during_a_dump_makes_it_fail(tmp_path: Path) -> None:
    with MOS(tmp_path / "a.db", embedder=None, settings=QUIET) as mos:
        gone = mos.add("the unspeakable truth", user="alice").id
        erased: list[str] = []

        def erase(share: float) -> None:
            if not erased:
                erased.append(gone)
                # Not the verb: it would wait for this very dump to let go of the old pages.
                mos._rooms.vault.write(
                    Principal(user="alice"), lambda tx: _carry_out(tx, gone), action="erase"
                )

        with pytest.raises(Conflict, match="erased"):
            mos.dump(tmp_path / "c.memcube", user="alice", progress=erase)
        assert not (tmp_path / "c.memcube").exists()


def _carry_out(tx: Any, item: str) -> None:
    from memos_integrations.infrastructure.vault import erase

    erase.carry_out(tx, [tx.item(item)])


def test_the_same_state_gives_the_same_bytes(tmp_path: Path) -> None:
    with MOS(
        tmp_path / "a.db", embedder=FakeEmbedder(32), settings=QUIET, clock=ManualClock()
    ) as mos:
        _fill(mos)
        for name in ("one", "two"):
            mos.dump(tmp_path / name, user="alice")
        assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_existing_file_and_existing_cube_are_conflicts(tmp_path: Path) -> None:
    with MOS(tmp_path / "a.db", embedder=None, settings=QUIET) as mos:
        mos.add("a fact", user="alice")
        mos.dump(tmp_path / "c.memcube", user="alice")
        with pytest.raises(Conflict):
            mos.dump(tmp_path / "c.memcube", user="alice")
        mos.dump(tmp_path / "c.memcube", user="alice", replace=True)
        with pytest.raises(Conflict):
            mos.load(tmp_path / "c.memcube", user="alice")


def test_vectors_of_another_embedder_are_made_anew(tmp_path: Path) -> None:
    with (
        MOS(tmp_path / "a.db", embedder=FakeEmbedder(32), settings=QUIET) as a,
        MOS(tmp_path / "b.db", embedder=FakeEmbedder(16), settings=QUIET) as b,
    ):
        a.add("Alice likes tea", user="alice")
        a.work()
        a.dump(tmp_path / "c.memcube", user="alice")
        report = b.load(tmp_path / "c.memcube", user="alice", trusted=True)
        assert (report.vectors, len(report.task_ids)) == (0, 1)
        b.wait(report.task_ids[0], user="alice")
        assert [h.text for h in b.search("tea", user="alice")] == ["Alice likes tea"]
        assert b.check().sound


def test_progress_goes_from_zero_to_one(tmp_path: Path) -> None:
    with two_vaults(tmp_path, embedder=None) as (a, b):
        a.add([f"fact {n}" for n in range(1200)], user="alice")
        out: list[float] = []
        back: list[float] = []
        a.dump(tmp_path / "c.memcube", user="alice", progress=out.append)
        b.load(tmp_path / "c.memcube", user="alice", progress=back.append)
        for shares in (out, back):
            assert len(shares) > 1
            assert shares == sorted(shares)
            assert shares[-1] == 1.0


# -- blobs ------------------------------------------------------------------------------------


def test_blob_is_read_through_a_memory_one_may_read_only(tmp_path: Path) -> None:
    with MOS(tmp_path / "a.db", embedder=None, settings=QUIET) as mos:
        ref = mos.put_blob(io.BytesIO(b"scan"), media_type="image/png", user="alice")
        item = mos.add("the scan", user="alice", blobs=[ref]).id
        assert mos.get_blob(item, ref.sha256, user="alice") == b"scan"
        other = mos.add("no scan", user="bob").id
        for asked in (item, other):
            with pytest.raises(NotFound):
                mos.get_blob(asked, ref.sha256, user="bob")
        mos.share(item, to="bob", user="alice")
        assert mos.get_blob(item, ref.sha256, user="bob") == b"scan"
        with pytest.raises(InvalidInput):
            mos.get_blob(item, "../../etc/passwd", user="alice")


def test_knowing_a_hash_is_not_enough_to_name_a_blob(tmp_path: Path) -> None:
    with MOS(tmp_path / "a.db", embedder=None, settings=QUIET) as mos:
        ref = mos.put_blob(b"scan", user="alice")
        item = mos.add("the scan", user="alice", blobs=[ref]).id
        with pytest.raises(NotFound):
            mos.add("mine now", user="bob", blobs=[ref])
        with pytest.raises(NotFound), mos.pipeline(user="bob") as pipe:
            pipe.add("mine now", blobs=(ref,))
        mos.share(item, to="bob", user="alice")
        assert mos.add("seen by me", user="bob", blobs=[ref]).id
        assert mos.put_blob(b"scan", user="carol") == BlobRef(sha256=ref.sha256, bytes=4)
        assert mos.add("I have it as well", user="carol", blobs=[ref]).id


def test_blob_must_be_there_and_as_long_as_it_says(tmp_path: Path) -> None:
    with MOS(tmp_path / "a.db", embedder=None, settings=QUIET) as mos:
        ref = mos.put_blob(b"scan", user="alice")
        with pytest.raises(InvalidInput):
            mos.add("x", user="alice", blobs=[BlobRef(sha256=ref.sha256, bytes=5)])
        with pytest.raises(NotFound):
            mos.add("x", user="alice", blobs=[BlobRef(sha256="0" * 64, bytes=4)])


def test_collector_takes_what_no_memory_names_and_nothing_else(tmp_path: Path) -> None:
    with MOS(tmp_path / "a.db", embedder=None, settings=QUIET) as mos:
        kept, loose = (mos.put_blob(data, user="alice") for data in (b"kept", b"loose"))
        item = mos.add("a file", user="alice", blobs=[kept]).id
        mos.delete(item, user="alice")
        assert mos.collect_blobs() == []
        assert mos.collect_blobs(older_than_seconds=-1) == [loose.sha256]
        with pytest.raises(NotFound):
            mos.add("too late", user="alice", blobs=[loose])
        assert mos.check().sound


# -- any cube ---------------------------------------------------------------------------------

_WORDS = st.text(
    st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=30
).filter(str.strip)
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["add", "add", "update", "delete", "archive", "link", "merge", "freeze", "work"]
        ),
        st.integers(0, 9),
        st.integers(0, 9),
        _WORDS,
    ),
    min_size=1,
    max_size=12,
)


def _step(mos: MOS, ids: list[str], step: tuple[str, int, int, str]) -> None:
    action, one, two, words = step
    if action == "work":
        mos.work()
    elif action == "add" or not ids:
        info = {words: [one, {"x": words}]}
        ids.append(mos.add(words, user="alice", tags=[f"t{one}"], info=info, priority=two / 7).id)
    elif action == "update":
        mos.update(ids[one % len(ids)], words, user="alice", info={"n": two})
    elif action == "merge":
        ids.append(mos.merge([ids[one % len(ids)], ids[two % len(ids)]], words, user="alice").id)
    elif action == "link":
        mos.link(ids[one % len(ids)], "relates_to", ids[two % len(ids)], user="alice")
    else:
        getattr(mos, action)(ids[one % len(ids)], user="alice")


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=_STEPS)
def test_any_cube_comes_back_as_it_was(steps: list[tuple[str, int, int, str]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with two_vaults(folder) as (a, b):
            ids: list[str] = []
            for step in [("add", 0, 0, "first"), *steps]:
                try:
                    _step(a, ids, step)
                except (InvalidInput, ValueError):
                    continue  # the drawn step is not legal here
            a.work()
            a.dump(folder / "c.memcube", user="alice")
            with ArchiveReader(folder / "c.memcube") as reader:
                reader.verify()
            back = b.load(folder / "c.memcube", user="alice", trusted=True)
            same = {new: new for new in back.ids.values()}
            assert _cube_told(a, back.ids) == _cube_told(b, same)
            assert b.check().sound
