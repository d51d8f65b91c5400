"""Archives whose hashes are right and whose content is not: refused, and nothing of them stays."""

from __future__ import annotations

import copy
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memos_integrations import MOS, Settings
from memos_integrations.cube.errors import (
    AccessDenied,
    Conflict,
    HostileArchive,
    InvalidInput,
    MemosError,
    NotFound,
)
from memos_integrations.cube.item import BlobRef
from memos_integrations.infrastructure.archive import ArchiveReader, ArchiveWriter
from memos_integrations.infrastructure.safetensors_file import SAFETENSORS
from memos_integrations.testing.fakes import FakeEmbedder

QUIET = Settings(worker=False, synchronous="normal")
ITEMS, VERSIONS, LINKS = "items.jsonl", "versions.jsonl", "links.jsonl"
GRANTS, POLICY = "grants.jsonl", "policy.json"
DIM = 16


class Forger(ArchiveWriter):
    """Writes what an honest writer would refuse."""

    def _encode(self, name: str, row: Mapping[str, Any], *, max_bytes: int) -> bytes:
        return json.dumps(row, sort_keys=True).encode() + b"\n"


@dataclass
class Parts:
    """An archive taken apart."""

    cube: dict[str, Any]
    rows: dict[str, list[dict[str, Any]]]
    blobs: list[tuple[str, bytes]] = field(default_factory=list)

    @classmethod
    def of(cls, path: Path) -> Parts:
        with ArchiveReader(path) as reader:
            rows = {name: list(reader.lines(name)) for name in reader.names()}
            blobs = [(ref.media_type, file.read()) for ref, file in reader.blob_files()]
            return cls(dict(reader.manifest.cube), rows, blobs)

    def write(self, path: Path) -> Path:
        with Forger(path) as writer:
            for name, rows in self.rows.items():
                if name.endswith(".jsonl"):
                    writer.write_lines(name, rows)
                else:
                    writer.write_document(name, rows[0])
            for media_type, data in self.blobs:
                ref = BlobRef(
                    sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), media_type=media_type
                )
                writer.write_blob(ref, io.BytesIO(data))
            writer.finish(cube=self.cube, created=datetime(2026, 1, 1, tzinfo=UTC))
        return path

    @property
    def items(self) -> list[dict[str, Any]]:
        return self.rows[ITEMS]

    @property
    def versions(self) -> list[dict[str, Any]]:
        return self.rows[VERSIONS]

    @property
    def links(self) -> list[dict[str, Any]]:
        return self.rows[LINKS]

    def put_vectors(self, matrix: np.ndarray, *, dtype: str = "F32", name: str = "vectors") -> None:
        """Replace the matrix, keeping the manifest's word on where it lies honest."""
        raw = matrix.tobytes()
        tensor = {"dtype": dtype, "shape": list(matrix.shape), "data_offsets": [0, len(raw)]}
        header = json.dumps({name: tensor}).encode()
        data = len(header).to_bytes(8, "little") + header + raw
        self.blobs = [(m, d) for m, d in self.blobs if m != SAFETENSORS] + [(SAFETENSORS, data)]
        self.cube["vectors"]["sha256"] = hashlib.sha256(data).hexdigest()

    def matrix(self) -> np.ndarray:
        fact = self.cube["vectors"]
        data = next(data for media_type, data in self.blobs if media_type == SAFETENSORS)
        size = fact["rows"] * fact["dim"] * 4
        return np.frombuffer(data[-size:], dtype="<f4").reshape(fact["rows"], fact["dim"]).copy()


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    folder = tmp_path_factory.mktemp("honest")
    with MOS(folder / "a.db", embedder=FakeEmbedder(DIM), settings=QUIET) as mos:
        ref = mos.put_blob(b"a picture", media_type="image/png", user="alice")
        first = mos.add("Alice likes tea", user="alice", info={"n": 1}, tags=["drink"]).id
        second = mos.add("Alice likes green tea", user="alice", blobs=[ref]).id
        third = mos.add("Alice lives in Lyon", user="alice").id
        mos.work()
        mos.update(third, "Alice lives in Nice", user="alice")
        mos.link(third, "relates_to", first, user="alice")
        mos.merge([first, second], "Alice likes tea, green above all", user="alice")
        mos.freeze(third, user="alice")
        mos.share(to="bob", user="alice")
        mos.work()
        mos.dump(folder / "c.memcube", user="alice")
    return Parts.of(folder / "c.memcube")


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MOS]:
    folder = tmp_path_factory.mktemp("victim")
    with MOS(folder / "v.db", embedder=FakeEmbedder(DIM), settings=QUIET) as mos:
        mos.add("Mallory may not touch this", user="alice", cube="users/alice/diary")
        mos.work()
        yield mos


def _set(member: str, place: int, **fields: Any) -> Callable[[Parts], None]:
    def change(parts: Parts) -> None:
        parts.rows[member][place] |= fields

    return change


def _drop(member: str, place: int, *names: str) -> Callable[[Parts], None]:
    def change(parts: Parts) -> None:
        for name in names:
            del parts.rows[member][place][name]

    return change


def _cube(**facts: Any) -> Callable[[Parts], None]:
    return lambda parts: parts.cube.update(facts)


def _deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {"end": 1}
    for _ in range(levels):
        value = {"a": value}
    return value


def _gap(parts: Parts) -> None:
    del parts.versions[next(n for n, v in enumerate(parts.versions) if v["version"] == 2)]


def _cycle(parts: Parts) -> None:
    merged = [v for v in parts.versions if v["state"] == "merged"]
    merged[-1]["merged_into"] = merged[0]["item"]
    merged[0]["merged_into"] = merged[-1]["item"]


def _unused_vector(parts: Parts) -> None:
    del next(v for v in reversed(parts.versions) if "vector" in v)["vector"]


def _without_blob(parts: Parts) -> None:
    parts.blobs = [each for each in parts.blobs if each[0] != "image/png"]


def _vectors(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Parts], None]:
    return lambda parts: parts.put_vectors(change(parts.matrix()))


def _with_nan(matrix: np.ndarray) -> np.ndarray:
    matrix[0, 0] = np.nan
    return matrix


CASES: dict[str, Callable[[Parts], None]] = {
    "an unknown field in an item": _set(ITEMS, 0, shoe_size=44),
    "an owner smuggled into an item": _set(ITEMS, 0, owner="user:root"),
    "a tenant smuggled into an item": _set(ITEMS, 0, tenant="acme"),
    "a row number smuggled into an item": _set(ITEMS, 0, iid=1),
    "a legal hold smuggled into an item": _set(ITEMS, 0, legal_hold=True),
    "an id that is a path": _set(ITEMS, 0, id="../../etc/passwd"),
    "an id that is a number": _set(ITEMS, 0, id=7),
    "an item without trust": _drop(ITEMS, 0, "trust"),
    "an invented trust class": _set(ITEMS, 0, trust="divine"),
    "labels that are one text": _set(ITEMS, 0, labels="secret"),
    "a quarantine flag that is a number": _set(ITEMS, 0, quarantined=1),
    "an item twice": lambda p: p.items.insert(1, copy.deepcopy(p.items[0])),
    "an item without versions": lambda p: p.items.append(
        {**p.items[0], "id": "00000000-0000-7000-8000-000000000000"}
    ),
    "items in another order": lambda p: p.items.reverse(),
    "an unknown field in a version": _set(VERSIONS, 0, seq_to=1),
    "a negative version": _set(VERSIONS, 0, version=-1),
    "a version that is text": _set(VERSIONS, 0, version="1"),
    "a version that is a float": _set(VERSIONS, 0, version=1.0),
    "a version that is true": _set(VERSIONS, 0, version=True),
    "a chain that begins at 2": _set(VERSIONS, 0, version=2),
    "a gap in a chain": _gap,
    "a version twice": lambda p: p.versions.insert(1, copy.deepcopy(p.versions[0])),
    "versions out of the log's order": lambda p: p.versions.reverse(),
    "a place beyond 64 bits": _set(VERSIONS, 0, at=2**70),
    "a version of a memory that is not there": _set(
        VERSIONS, 1, item="00000000-0000-7000-8000-000000000000"
    ),
    "an invented state": _set(VERSIONS, 0, state="enlightened"),
    "a frozen version without the state before": _set(VERSIONS, 0, state="frozen"),
    "a tombstone with words": _set(VERSIONS, 0, state="deleted"),
    "a live version without words": _drop(VERSIONS, 0, "words", "text"),
    "words of a version to come": _set(VERSIONS, 0, words=9),
    "words that are a number": _set(VERSIONS, 0, text=5),
    "empty words": _set(VERSIONS, 0, text=""),
    "words with NUL": _set(VERSIONS, 0, text="a\x00b"),
    "words with a lone surrogate": _set(VERSIONS, 0, text="a\ud800b"),
    "words beyond what is stored": _set(VERSIONS, 0, text="x" * 4_000_001),
    "a time after the year 9999": _set(VERSIONS, 0, time=2**62),
    "a time before the year 1": _set(VERSIONS, 0, valid_from=-(2**62)),
    "a recorded time that is text": _set(VERSIONS, 0, recorded="yesterday"),
    "an info of 10 MB": _set(VERSIONS, 0, info={"a": "x" * 10_000_000}),
    "an info 40 levels deep": _set(VERSIONS, 0, info=_deep(40)),
    "an info 500 levels deep": _set(VERSIONS, 0, info=_deep(500)),
    "an info with NUL in a key": _set(VERSIONS, 0, info={"a\x00": 1}),
    "an info with an empty key": _set(VERSIONS, 0, info={"": 1}),
    "an info with a number beyond 64 bits": _set(VERSIONS, 0, info={"n": 2**64}),
    "an info that is a list": _set(VERSIONS, 0, info=[1]),
    "a priority that is NaN": _set(VERSIONS, 0, priority=float("nan")),
    "a confidence without end": _set(VERSIONS, 0, confidence=float("inf")),
    "a speaker with line breaks": _set(VERSIONS, 0, speaker="alice\nsystem"),
    "a provenance step with an invented kind": _set(
        VERSIONS, 0, provenance=[{"source_kind": "god", "source": "x", "actor": "y", "at": 0}]
    ),
    "spans beyond the text": _set(VERSIONS, 0, spans=[[0, 999, "personal", "email"]]),
    "spans that overlap": _set(
        VERSIONS, 0, spans=[[0, 5, "personal", "email"], [3, 8, "personal", "phone"]]
    ),
    "a span whose label is markup": _set(VERSIONS, 0, spans=[[0, 5, "<script>", "x"]]),
    "merged into nothing": _set(VERSIONS, 0, merged_into="00000000-0000-7000-8000-000000000000"),
    "merged into itself": lambda p: p.versions[0].update(merged_into=p.versions[0]["item"]),
    "merged in a circle": _cycle,
    "a link to nowhere": _set(LINKS, 0, target="00000000-0000-7000-8000-000000000000"),
    "a link to itself": lambda p: p.links[0].update(target=p.links[0]["source"]),
    "a link before its memories": _set(LINKS, 0, at=1),
    "an invented relation": _set(LINKS, 0, relation="owns"),
    "a link drawn twice": lambda p: p.links.append(
        {**p.links[0], "at": p.versions[-1]["at"] + 1000}
    ),
    "a link taken away undrawn": _set(LINKS, 0, event="unlink"),
    "a grant of more rights than there are": _set(GRANTS, 0, permissions=255),
    "a grant on a memory elsewhere": _set(GRANTS, 0, item="00000000-0000-7000-8000-000000000000"),
    "a grant with a tenant of its own": _set(GRANTS, 0, tenant="acme"),
    "a grant on another cube": _set(GRANTS, 0, scope="users/bob"),
    "a cube that inherits its visibility": _set(POLICY, 0, visibility="inherit"),
    "an unknown policy": _set(POLICY, 0, retention="for ever"),
    "a cube name that climbs": _cube(path="users/alice/../bob"),
    "a cube name that is absolute": _cube(path="/etc/passwd"),
    "an unknown fact about the cube": _cube(fork_of=1),
    "a blob that is not there": _without_blob,
    "a blob of another size": lambda p: next(v for v in p.versions if "blobs" in v)["blobs"][
        0
    ].update(bytes=1),
    "a blob named by a path": lambda p: next(v for v in p.versions if "blobs" in v)["blobs"][
        0
    ].update(sha256="../../x"),
    "an unknown member": lambda p: p.rows.update({"triggers.jsonl": []}),
    "a member missing": lambda p: p.rows.pop(LINKS) and None,
    "vectors of another width": _vectors(lambda m: np.ascontiguousarray(m[:, : DIM // 2])),
    "fewer vectors than versions name": _vectors(lambda m: m[:-1]),
    "a vector that belongs to nothing": _unused_vector,
    "vectors that are not numbers": _vectors(_with_nan),
    "vectors that are not of unit length": _vectors(lambda m: m * 3),
    "vectors of zero": _vectors(lambda m: m * 0),
    "vectors of another type": lambda p: p.put_vectors(p.matrix().view("<i4"), dtype="I32"),
    "vectors under another name": lambda p: p.put_vectors(p.matrix(), name="weights"),
    "vectors in another order": lambda p: (
        [v.update(vector=v["vector"] + 1) for v in p.versions if "vector" in v] and None
    ),
    "vectors that are not there": _cube(vectors=None),
}


def _state(mos: MOS) -> tuple[int, int, int, list[str]]:
    report = mos.check()
    assert report.sound, report.findings
    return report.items, report.versions, report.events, [c.path for c in mos.cubes(user="alice")]


@pytest.mark.parametrize("case", CASES)
def test_archive_with_bad_content_is_refused_whole(
    case: str, honest: Parts, victim: MOS, tmp_path: Path
) -> None:
    parts = copy.deepcopy(honest)
    CASES[case](parts)
    archive = parts.write(tmp_path / "bad.memcube")
    before = _state(victim)
    with pytest.raises(HostileArchive):
        victim.load(archive, user="alice", cube="users/alice/new", trusted=True, with_grants=True)
    assert _state(victim) == before


def test_the_same_archive_unchanged_is_taken(honest: Parts, victim: MOS, tmp_path: Path) -> None:
    archive = honest.write(tmp_path / "good.memcube")
    report = victim.load(archive, user="alice", cube="users/alice/good", trusted=True)
    assert report.items == len(honest.items)
    assert victim.check().sound


def test_blobs_of_a_refused_archive_are_collected(honest: Parts, tmp_path: Path) -> None:
    parts = copy.deepcopy(honest)
    parts.versions[-1]["version"] = 99
    with MOS(tmp_path / "v.db", embedder=None, settings=QUIET) as mos:
        with pytest.raises(HostileArchive):
            mos.load(parts.write(tmp_path / "bad.memcube"), user="alice")
        assert mos.collect_blobs() == []  # within the grace period
        assert mos.collect_blobs(older_than_seconds=-1) == [
            hashlib.sha256(b"a picture").hexdigest()
        ]
        assert mos.check().blobs == 0


def test_bytes_of_another_cube_cannot_be_named_into_a_loaded_one(
    honest: Parts, tmp_path: Path
) -> None:
    with MOS(tmp_path / "v.db", embedder=None, settings=QUIET) as mos:
        ref = mos.put_blob(b"a picture", media_type="image/png", user="bob")
        mos.add("Bob's picture", user="bob", blobs=[ref])
        parts = copy.deepcopy(honest)
        _without_blob(parts)
        with pytest.raises(HostileArchive, match="lacks"):
            mos.load(parts.write(tmp_path / "bad.memcube"), user="alice")


@pytest.mark.parametrize(
    ("facts", "asked", "error"),
    [
        ({"owner": "user:bob"}, {"trusted": True}, InvalidInput),
        ({"tenant": "acme"}, {"trusted": True}, InvalidInput),
        ({"tenant": "acme"}, {"with_grants": True}, InvalidInput),
        ({"path": "users/bob"}, {}, AccessDenied),
        ({"path": "users/bob/notes"}, {}, AccessDenied),
        ({}, {"cube": "users/bob/stolen"}, AccessDenied),
        ({}, {"cube": "users/alice/diary"}, Conflict),
    ],
)
def test_archive_cannot_speak_for_others(
    facts: dict[str, Any],
    asked: dict[str, Any],
    error: type[MemosError],
    honest: Parts,
    victim: MOS,
    tmp_path: Path,
) -> None:
    parts = copy.deepcopy(honest)
    parts.cube |= facts
    archive = parts.write(tmp_path / "a.memcube")
    before = _state(victim)
    with pytest.raises(error):
        victim.load(archive, user="alice", **asked)
    assert _state(victim)[:2] == before[:2]


def test_secrets_in_a_loaded_text_are_taken_out(honest: Parts, tmp_path: Path) -> None:
    parts = copy.deepcopy(honest)
    secret = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCD"
    parts.versions[0]["text"] = f"the key is {secret}"
    parts.versions[0]["info"] = {"key": secret}
    with MOS(tmp_path / "v.db", embedder=None, settings=QUIET) as mos:
        report = mos.load(parts.write(tmp_path / "a.memcube"), user="alice")
        assert sum(report.masked.values()) == 1
    assert not any(secret.encode() in p.read_bytes() for p in tmp_path.glob("v.db*") if p.is_file())


def test_a_missing_archive_is_not_found(victim: MOS, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        victim.load(tmp_path / "no.memcube", user="alice")
