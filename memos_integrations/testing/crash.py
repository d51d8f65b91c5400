"""Kills a process in the middle of its memory writes, then holds the file to what was promised.

A child process works on one file: adds, batches, corrections, merges, links, grants, erasures,
pipelines, reads and the fine stage in a worker thread. It notes every operation in a journal
before it starts it and after it was acknowledged. It is killed with SIGKILL, after a while
(``Trial.after``) or at a named point of the code (``Trial.at`` with one of ``POINTS``). Then:

- every acknowledged write is there in its last state, and the interrupted one wholly or not at all;
- ``check`` is sound and the audit chain verifies;
- each fine task had its effect once; a retry under its key writes once;
- the words of an acknowledged erase are in no file.

A kill leaves the page cache alone, so this proves atomicity and recovery, not the disk's cache.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias, cast

from memos_integrations.cube.errors import NotFound
from memos_integrations.infrastructure.vault.scrub import holds, vault_files
from memos_integrations.interface.mos import MOS
from memos_integrations.interface.settings import Settings
from memos_integrations.testing.fakes import FakeEmbedder

Moment = Literal["before", "after"]

_USER = "alice"
_ECHOES = ("echo0x0", "echo0x1", "echo0x2")
_TEXT = re.compile(r"(\w+x\w+) revision (\d+)")
_PRESENT = 2**63 - 1
_NEVER_REACHED = 3
_PATIENCE_SECONDS = 30.0

# -- where a process can be killed ----------------------------------------------------------------

_VAULT = "memos_integrations.infrastructure.vault"
_TRANSACTION = f"{_VAULT}.transaction:Transaction"
_QUEUE = "memos_integrations.infrastructure.queue.sqlite:SqliteQueue"
_FINE = "memos_integrations.operation.fine_stage:FineStage"
_AUDIT = "memos_integrations.infrastructure.governance.audit:AuditLog"
_BLOBS = "memos_integrations.infrastructure.blobs:BlobStore"
_LIFECYCLE = "memos_integrations.operation.lifecycle.lifecycle:MemLifecycle"

POINTS: Mapping[str, str] = {
    "open: migrate": f"{_VAULT}.vault:migrate",
    "open: table": "sql:CREATE TABLE",
    "open: stamp": "sql:PRAGMA user_version =",
    "open: audit chain": f"{_AUDIT}.create",
    "begin": "sql:BEGIN IMMEDIATE",
    "commit": "sql:COMMIT",
    "insert": f"{_TRANSACTION}.insert",
    "insert: rows of the log": "sql:INSERT INTO outbox",
    "revise": f"{_TRANSACTION}.revise",
    "emit": f"{_TRANSACTION}.emit",
    "link": f"{_TRANSACTION}.link_rows",
    "grant": f"{_TRANSACTION}.grant",
    "revoke": f"{_TRANSACTION}.revoke",
    "enqueue": f"{_TRANSACTION}.enqueue",
    "remember the key": f"{_TRANSACTION}.remember",
    "audit: append": f"{_AUDIT}.append",
    "merge": f"{_LIFECYCLE}.merge",
    "fold": f"{_LIFECYCLE}.fold",
    "stale": "memos_integrations.operation.lifecycle.lifecycle:mark_stale",
    "fine stage: claim": f"{_QUEUE}.claim_batch",
    "fine stage: prepare": f"{_FINE}.prepare_many",
    "fine stage: vectors": f"{_TRANSACTION}.embed",
    "fine stage: settle": f"{_FINE}._settle",
    "fine stage: finish": f"{_QUEUE}.finish",
    "erase: plan": f"{_VAULT}.erase:plan",
    "erase: rows": f"{_VAULT}.erase:carry_out",
    "erase: files": f"{_VAULT}.vault:MemVault.scrub",
    "erase: scrub": f"{_VAULT}.vault:scrub",
    "erase: cut the log": "sql:PRAGMA wal_checkpoint",
    "erase: rewrite": "sql:VACUUM",
    "blob: put": f"{_BLOBS}.put",
    "blob: publish": f"{_BLOBS}._publish",
    "projection: text": f"{_VAULT}.projections:TextProjection.apply",
    "projection: vectors": f"{_VAULT}.projections:VectorProjection.apply",
    "read traces: flush": f"{_VAULT}.vault:MemVault.flush_reads",
    "read traces: audit": f"{_AUDIT}.extend",
    "close": f"{_VAULT}.vault:MemVault.close",
}
"""Name -> ``module:function``, ``module:Class.method`` or ``sql:start of the statement``."""

ONCE = frozenset({"open: migrate", "open: stamp", "open: audit chain", "close"})
"""Points that a process passes only once."""


def is_opening(point: str) -> bool:
    """Whether only a process that makes the file passes this point."""
    return point.startswith("open: ")


class _Fuse:
    """Kills this process when it burns for the ``nth`` time."""

    def __init__(self, nth: int) -> None:
        self._nth = nth
        self._count = itertools.count(1)

    def burn(self) -> None:
        if next(self._count) == self._nth:
            os.kill(os.getpid(), signal.SIGKILL)


def arm(point: str, moment: Moment, nth: int) -> None:
    """Make this process kill itself right before or after the ``nth`` passing of a point."""
    arm_at(POINTS[point], moment, nth)
    if point == "erase: rewrite":  # the file is only rewritten where words were left
        importlib.import_module(f"{_VAULT}.scrub").__dict__["holds"] = _always


def arm_at(place: str, moment: Moment, nth: int) -> None:
    """As ``arm``, at a place of the code, written as in ``POINTS``."""
    fuse = _Fuse(nth)
    module, _, name = place.partition(":")
    if module == "sql":
        _arm_statements(name, moment, fuse)
    else:
        _arm_function(module, name, moment, fuse)


def _always(*_: object) -> bool:
    return True


def _arm_function(module: str, name: str, moment: Moment, fuse: _Fuse) -> None:
    owner: Any = importlib.import_module(module)
    *outer, last = name.split(".")
    for part in outer:
        owner = getattr(owner, part)
    found = vars(owner)[last]
    if isinstance(found, classmethod):
        inner = cast("Callable[..., Any]", found.__func__)
        setattr(owner, last, classmethod(_deadly(inner, moment, fuse)))
    else:
        setattr(owner, last, _deadly(found, moment, fuse))


def _deadly(function: Callable[..., Any], moment: Moment, fuse: _Fuse) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        if moment == "before":
            fuse.burn()
        result = function(*args, **kwargs)
        if moment == "after":
            fuse.burn()
        return result

    return call


def _arm_statements(start: str, moment: Moment, fuse: _Fuse) -> None:
    def meant(connection: sqlite3.Connection, sql: str) -> bool:
        # The end of a read transaction is a COMMIT too, and nothing can be lost there.
        return sql.lstrip().startswith(start) and (start != "COMMIT" or connection in writing)

    writing: set[sqlite3.Connection] = set()

    class Deadly(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            return self._run(super().execute, sql, *parameters)

        def executemany(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            return self._run(super().executemany, sql, *parameters)

        def _run(
            self, run: Callable[..., sqlite3.Cursor], sql: str, *parameters: Any
        ) -> sqlite3.Cursor:
            if sql == "BEGIN IMMEDIATE":
                writing.add(self)
            hit = meant(self, sql)
            if hit and moment == "before":
                fuse.burn()
            done = run(sql, *parameters)
            if hit and moment == "after":
                fuse.burn()
            return done

    sqlite3.connect = partial(sqlite3.connect, factory=Deadly)  # type: ignore[assignment]


# -- what should be in the file -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Op:
    """One operation of the workload, told by the names of the notes it makes and touches."""

    verb: str
    key: str | None = None
    new: tuple[str, ...] = ()
    on: tuple[str, ...] = ()


@dataclass(slots=True)
class Model:
    """What the file holds: notes with revision and state, copies of echoes, links, grants."""

    notes: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])
    echoes: dict[str, int] = field(default_factory=dict[str, int])
    links: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    grants: set[str] = field(default_factory=set[str])
    ids: dict[str, str] = field(default_factory=dict[str, str])
    kin: set[str] = field(default_factory=set[str])
    """Notes that took part in a merge: they are left alone from then on."""
    gone: set[str] = field(default_factory=set[str])
    """Notes that were erased."""

    def facts(self) -> tuple[Any, ...]:
        """What can be compared: links count while both ends have words."""
        links = {(a, b) for a, b in self.links if a in self.notes and b in self.notes}
        return self.notes, self.echoes, links, self.grants

    def text(self, note: str, *, later: int = 0) -> str:
        return words_of(note, self.notes[note][0] + later)

    def free(self, state: str) -> list[str]:
        """The notes in that state which no merge has touched."""
        return sorted(n for n, (_, s) in self.notes.items() if s == state and n not in self.kin)

    def after(self, op: Op) -> Model:
        """The model once ``op`` was done."""
        new = Model(
            dict(self.notes),
            dict(self.echoes),
            set(self.links),
            set(self.grants),
            dict(self.ids),
            set(self.kin),
            set(self.gone),
        )
        _EFFECTS[op.verb](new, op)
        return new

    def to_json(self) -> dict[str, Any]:
        return {
            name: sorted(value) if isinstance(value, set) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Model:
        return cls(
            {name: (int(rev), str(state)) for name, (rev, state) in data["notes"].items()},
            dict(data["echoes"]),
            {(a, b) for a, b in data["links"]},
            set(data["grants"]),
            dict(data["ids"]),
            set(data["kin"]),
            set(data["gone"]),
        )


def words_of(note: str, revision: int) -> str:
    """The words of a note at a revision; nobody else has the same."""
    return f"{note} revision {revision} is about what happened in {note}"


def _made(model: Model, op: Op) -> None:
    model.notes |= dict.fromkeys(op.new, (1, "live"))


def _echoed(model: Model, op: Op) -> None:
    model.echoes[op.on[0]] = model.echoes.get(op.on[0], 0) + 1


def _updated(model: Model, op: Op) -> None:
    revision, state = model.notes[op.on[0]]
    model.notes[op.on[0]] = (revision + 1, state)


def _merged(model: Model, op: Op) -> None:
    _made(model, op)
    model.notes |= {note: (model.notes[note][0], "merged") for note in op.on}
    model.kin |= {*op.new, *op.on}


def _linked(model: Model, op: Op) -> None:
    model.links.add((op.on[0], op.on[1]))


def _piped(model: Model, op: Op) -> None:
    _made(model, op)
    _updated(model, op)
    _linked(model, op)


def _moved(state: str) -> Callable[[Model, Op], None]:
    def effect(model: Model, op: Op) -> None:
        model.notes[op.on[0]] = (model.notes[op.on[0]][0], state)

    return effect


def _deleted(model: Model, op: Op) -> None:
    del model.notes[op.on[0]]


def _erased(model: Model, op: Op) -> None:
    del model.notes[op.on[0]]
    model.gone.add(op.on[0])


def _shared(model: Model, op: Op) -> None:
    model.grants.add(op.on[0])


def _revoked(model: Model, op: Op) -> None:
    model.grants.discard(op.on[0])


def _nothing(_: Model, __: Op) -> None:
    return


_EFFECTS: Mapping[str, Callable[[Model, Op], None]] = {
    "add": _made,
    "batch": _made,
    "blob": _made,
    "echo": _echoed,
    "update": _updated,
    "merge": _merged,
    "link": _linked,
    "pipeline": _piped,
    "archive": _moved("archived"),
    "activate": _moved("live"),
    "delete": _deleted,
    "erase": _erased,
    "share": _shared,
    "revoke": _revoked,
    "read": _nothing,
    "work": _nothing,
}
_VERBS = (*_EFFECTS, "add", "batch", "update", "read")
_KEYED = frozenset(
    {"add", "batch", "update", "merge", "link", "pipeline", "archive", "activate", "delete"}
)


def next_op(model: Model, verb: str, name: str, dice: random.Random) -> Op | None:
    """An operation of this kind on what there is, or ``None`` where nothing fits."""
    live = model.free("live")
    dice.shuffle(live)
    # Only some calls carry a key, so that both ways through the write are walked.
    key = f"key-{name}" if verb in _KEYED and (dice.random() < 0.7 or verb == "batch") else None
    need = {"merge": 2, "link": 2, "pipeline": 2, "update": 1, "archive": 1, "delete": 1}
    if len(live) < need.get(verb, 5 if verb == "erase" else 0):
        return None
    match verb:
        case "add" | "blob":
            return Op(verb, key, new=(f"{name}xa",))
        case "batch":
            return Op(verb, key, new=(f"{name}xa", f"{name}xb", f"{name}xc"))
        case "merge":
            return Op(verb, key, new=(f"{name}xm",), on=(live[0], live[1]))
        case "pipeline":
            return Op(verb, f"key-{name}", new=(f"{name}xp",), on=(live[0], live[1]))
        case "link":
            return Op(verb, key, on=(live[0], live[1]))
        case "echo":
            return Op(verb, on=(dice.choice(_ECHOES),))
        case "share":
            return Op(verb, on=(f"friend{dice.randrange(4)}",))
        case "revoke":
            return Op(verb, on=(dice.choice(sorted(model.grants)),)) if model.grants else None
        case "activate":
            rest = model.free("archived")
            return Op(verb, key, on=(dice.choice(rest),)) if rest else None
        case "read" | "work":
            return Op(verb, on=tuple(live[:1]))
        case _:
            return Op(verb, key, on=(live[0],))


# -- doing it -------------------------------------------------------------------------------------


def perform(mos: MOS, model: Model, op: Op) -> dict[str, str]:
    """Do ``op`` as the model before it says; the ids of the notes it made."""
    on = [model.ids[note] for note in op.on if note in model.ids]
    match op.verb:
        case "add" | "batch":
            texts = [words_of(note, 1) for note in op.new]
            ids = mos.add(texts, user=_USER, idempotency_key=op.key).ids
            return dict(zip(op.new, ids, strict=True))
        case "echo":
            mos.add(f"{op.on[0]} revision 1", user=_USER)
        case "update":
            text = model.text(op.on[0], later=1)
            mos.update(on[0], text, user=_USER, idempotency_key=op.key)
        case "merge":
            done = mos.merge(on, words_of(op.new[0], 1), user=_USER, idempotency_key=op.key)
            return {op.new[0]: done.id}
        case "link":
            mos.link(on[0], "relates_to", on[1], user=_USER, idempotency_key=op.key)
        case "blob":
            blob = mos.put_blob(words_of(op.new[0], 1).encode() * 100, user=_USER)
            added = mos.add(
                words_of(op.new[0], 1), blobs=[blob], user=_USER, idempotency_key=op.key
            )
            return {op.new[0]: added.id}
        case "pipeline":
            return _pipe(mos, model, op, on)
        case "archive" | "activate" | "delete":
            getattr(mos, op.verb)(on[0], user=_USER, idempotency_key=op.key)
        case "erase":
            mos.erase(on[0], user=_USER)
            assert not words_left(Path(mos.path), op.on), "an erase left words behind"
        case "share" | "revoke":
            getattr(mos, op.verb)(to=op.on[0], user=_USER)
        case "read":
            _read(mos, model, op)
        case _:
            mos.work()
    return {}


def _pipe(mos: MOS, model: Model, op: Op, on: Sequence[str]) -> dict[str, str]:
    with mos.pipeline(user=_USER, idempotency_key=op.key) as pipeline:
        pipeline.add(words_of(op.new[0], 1))
        pipeline.update(on[0], model.text(op.on[0], later=1))
        pipeline.link(on[0], "relates_to", on[1])
    made = pipeline.results[0]
    return {op.new[0]: made.id}


def _read(mos: MOS, model: Model, op: Op) -> None:
    for note in op.on:
        assert mos.get(model.ids[note], user=_USER).text == model.text(note)
        hits = mos.search(model.text(note), user=_USER, limit=3)
        found = [(hit.id, hit.text, hit.score) for hit in hits]
        assert model.ids[note] in [each for each, *_ in found], (
            f"a note is not found by its own words: {model.text(note)!r} with "
            f"{model.echoes.get(note, 0)} echoes gave {found}"
        )
    mos.list(user=_USER, limit=5)
    mos.flush()


class Journal:
    """Appends a line per step; a line that was written survives the death of its writer."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, **line: Any) -> None:
        os.write(self._handle, json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        os.close(self._handle)


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The lines of a journal, oldest first."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().splitlines(keepends=True)]


def open_mos(path: str, *, synchronous: str, worker: bool) -> MOS:
    """The file with the fake embedder, as a child opens it."""
    settings = Settings.model_validate({"synchronous": synchronous, "worker": worker})
    return MOS(path, embedder=FakeEmbedder(), settings=settings)


def live(job: Mapping[str, Any]) -> int:
    """Work on the file until killed; 3 when that did not happen in ``cycles`` rounds of verbs."""
    if job["point"] is not None:
        arm(job["point"], job["moment"], job["nth"])
    journal, model = Journal(Path(job["journal"])), Model.from_json(job["model"])
    dice = random.Random(job["seed"])
    mos = open_mos(job["path"], synchronous=job["synchronous"], worker=job["worker"])
    number = itertools.count()
    for _ in range(job["cycles"]):
        for verb in dice.sample(_VERBS, len(_VERBS)):
            op = next_op(model, verb, f"n{job['seed']}w{next(number)}", dice)
            if op is None:
                continue
            journal.note(begin=asdict(op))
            ids = perform(mos, model, op)
            journal.note(done=ids)
            model = model.after(op)
            model.ids |= ids
    mos.close()
    return _NEVER_REACHED


def write_notes(job: Mapping[str, Any]) -> int:
    """Add ``count`` notes one by one, each noted in the journal once it was acknowledged."""
    journal = Journal(Path(job["journal"]))
    with open_mos(job["path"], synchronous=job["synchronous"], worker=job["worker"]) as mos:
        for n in range(job["count"]):
            added = mos.add(words_of(f"{job['name']}x{n}", 1), user=_USER)
            journal.note(note=f"{job['name']}x{n}", id=added.id)
    return 0


def work_queue(job: Mapping[str, Any]) -> int:
    """Work the queue until nothing is due; the number of attempts goes to the journal."""
    with open_mos(job["path"], synchronous="normal", worker=False) as mos:
        Journal(Path(job["journal"])).note(attempts=mos.work())
    return 0


_JOBS: Mapping[str, Callable[[Mapping[str, Any]], int]] = {
    "live": live,
    "write": write_notes,
    "work": work_queue,
}

# -- starting children ----------------------------------------------------------------------------


Job: TypeAlias = Callable[[Mapping[str, Any]], int]


def serve(jobs: Mapping[str, Job] | None = None) -> None:
    """Fork a child per job read from standard input; answers with its number or its end."""
    for line in sys.stdin.buffer:
        job = json.loads(line)
        answer = _fork(job, jobs or _JOBS) if "job" in job else os.waitpid(job["wait"], 0)[1]
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


def _fork(job: Mapping[str, Any], jobs: Mapping[str, Job]) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        code = jobs[job["job"]](job)
    except BaseException:  # noqa: BLE001  -- whatever it is, it is told and the child ends here
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


class Children:
    """Starts child processes in milliseconds: one server imports everything once and forks.

    ``module`` is where its ``serve`` stands.
    """

    def __init__(self, module: str = __name__) -> None:
        path = os.pathsep.join(part for part in sys.path if part)
        self._server = subprocess.Popen(  # noqa: S603  -- this very interpreter
            [sys.executable, "-c", f"from {module} import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
        )

    def start(self, job: str, **about: Any) -> int:
        """The process number of a child that does the job."""
        return self._ask({"job": job, **about})

    def wait(self, child: int) -> int:
        """How a child ended: its exit code, or minus the signal that killed it."""
        return os.waitstatus_to_exitcode(self._ask({"wait": child}))

    def kill(self, child: int) -> None:
        os.kill(child, signal.SIGKILL)

    def _ask(self, question: Mapping[str, Any]) -> int:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(question).encode() + b"\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def close(self) -> None:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


# -- looking at what is left ----------------------------------------------------------------------


class AheadClock:
    """An hour ahead, so that the leases of the dead have run out."""

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(hours=1)


def observe(path: Path) -> Model:
    """What the file holds, read past the package."""
    found = Model()
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT i.id, t.text, v.state FROM version v JOIN content t ON t.tid = v.tid "
            "JOIN item i ON i.iid = v.iid WHERE v.seq_to = ?",
            (_PRESENT,),
        ).fetchall()
        edges = connection.execute(
            "SELECT s.id, t.id FROM edge e JOIN item s ON s.iid = e.source "
            "JOIN item t ON t.iid = e.target WHERE e.relation = 'relates_to' AND e.seq_to = ?",
            (_PRESENT,),
        ).fetchall()
        found.grants = {who for (who,) in connection.execute("SELECT subject FROM access")}
    for item, text, state in rows:
        _take_in(found, item, text, state)
    notes = {item: note for note, item in found.ids.items()}
    found.links = {(notes[a], notes[b]) for a, b in edges if a in notes and b in notes}
    return found


def _take_in(found: Model, item: str, text: str, state: str) -> None:
    told = _TEXT.match(text)
    assert told is not None, "words that nobody wrote"
    note, revision = told[1], int(told[2])
    if note in _ECHOES:
        found.echoes[note] = found.echoes.get(note, 0) + 1
        return
    assert note not in found.notes, f"{note} was written twice"
    named = "live" if state in ("generated", "activated") else state
    found.notes[note] = (revision, named)
    found.ids[note] = item


_ONCE_RULES = (
    (
        "the fine stage activated a note twice",
        "SELECT iid FROM version WHERE reason = 'fine stage' GROUP BY iid HAVING count(*) > 1",
    ),
    (
        "the fine stage left a note out",
        "SELECT iid FROM version WHERE state = 'generated' AND seq_to = ?1",
    ),
    (
        "a note is activated, but not by one fine stage",
        "SELECT v.iid FROM version v WHERE v.state = 'activated' AND v.seq_to = ?1 "
        "AND NOT EXISTS (SELECT 1 FROM version a WHERE a.iid = v.iid AND a.state = 'archived') "
        "AND 1 <> (SELECT count(*) FROM version f WHERE f.iid = v.iid AND f.reason = 'fine stage')",
    ),
    (
        "a duplicate was folded twice",
        "SELECT iid FROM version WHERE reason LIKE 'repeats %' GROUP BY iid HAVING count(*) > 1",
    ),
    (
        "two memories say the same",
        "SELECT t.fold FROM version v JOIN content t ON t.tid = v.tid "
        "WHERE v.state = 'activated' AND v.seq_to = ?1 "
        "GROUP BY t.fold HAVING count(*) > 1",
    ),
    (
        "live words have no vector",
        "SELECT v.iid FROM version v LEFT JOIN embedding e ON e.tid = v.tid "
        "WHERE v.state = 'activated' AND v.seq_to = ?1 AND e.tid IS NULL",
    ),
    ("a task did not end well", "SELECT id, error FROM task WHERE state <> 'completed'"),
)


def once_violations(path: Path) -> list[str]:
    """What the fine stage did not do exactly once; ask when the queue is empty."""
    with closing(sqlite3.connect(path)) as connection:
        return [
            f"{what}: {row}"
            for what, sql in _ONCE_RULES
            for row in connection.execute(sql + " LIMIT 3", (_PRESENT,) * sql.count("?1"))
        ]


def words_left(path: Path, notes: Sequence[str]) -> list[str]:
    """The notes of which some words are in the raw bytes of the vault's files."""
    files = vault_files(str(path))
    return [n for n in notes if any(holds(file, f"{n} revision".encode()) for file in files)]


class Trial:
    """One file, killed and held to its promises as often as wanted."""

    def __init__(
        self, folder: Path, children: Children, *, synchronous: str = "normal", worker: bool = True
    ) -> None:
        self.path = folder / "agent.db"
        self._children = children
        self._about = {"synchronous": synchronous, "worker": worker}
        self.model = Model()
        self.acknowledged = 0
        """Operations that were acknowledged before a kill."""
        self.interrupted = 0
        """Operations that a kill came into."""

    def after(self, steps: int, *, seconds: float, seed: int) -> None:
        """Kill a child that long after so many lines of its journal, and verify.

        Counted in steps, so that a busy machine does not make it a test of nothing. Raises
        ``AssertionError`` on any broken word.
        """
        child = self._start(seed=seed, cycles=10_000)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while len(read_journal(self._journal(seed))) < steps and time.monotonic() < deadline:
            time.sleep(0.0005)
        time.sleep(seconds)
        self._children.kill(child)
        self._bury(child, seed)

    def at(self, point: str, moment: Moment, nth: int, *, seed: int, cycles: int = 12) -> None:
        """Kill a child at a point and verify. Raises ``AssertionError`` where it is not reached."""
        about = {"point": point, "moment": moment, "nth": nth}
        self._bury(self._start(seed=seed, cycles=cycles, **about), seed)

    def _start(self, *, seed: int, cycles: int, **point: Any) -> int:
        job = {"point": None, "moment": "before", "nth": 1, **point, **self._about}
        job |= {"seed": seed, "cycles": cycles, "model": self.model.to_json()}
        return self._children.start(
            "live", path=str(self.path), journal=str(self._journal(seed)), **job
        )

    def _journal(self, seed: int) -> Path:
        return self.path.with_name(f"journal-{seed}")

    def _bury(self, child: int, seed: int) -> None:
        end = self._children.wait(child)
        assert end == -signal.SIGKILL, f"the child ended by itself with {end}"
        pending = self._replay(read_journal(self._journal(seed)))
        if self.path.exists():
            self.verify(pending)

    def _replay(self, lines: Sequence[Mapping[str, Any]]) -> Op | None:
        """Take in what was acknowledged; the operation that was not."""
        pending = None
        for line in lines:
            if "begin" in line:
                about = line["begin"]
                pending = Op(about["verb"], about["key"], tuple(about["new"]), tuple(about["on"]))
            elif pending is not None:
                self.model = self.model.after(pending)
                self.model.ids |= line["done"]
                self.acknowledged += 1
                pending = None
        self.interrupted += pending is not None
        return pending

    def verify(self, pending: Op | None) -> None:
        """Hold the file to the model, with ``pending`` done or not done."""
        left = words_left(self.path, sorted(self.model.gone))
        assert not left, f"erased words are still in the files: {left}"
        with MOS(
            self.path,
            embedder=FakeEmbedder(),
            clock=AheadClock(),
            settings=Settings(synchronous="normal", worker=False),
        ) as mos:
            before, self.model = self.model, self._one_of(pending)
            left = words_left(self.path, sorted(self.model.gone))
            assert not left, f"opening the file did not finish an erase: {left}"
            _ensure_sound(mos)
            mos.work()
            if pending is not None:
                self._again(mos, before, pending)
                mos.work()
            self._ensure_same(self.model)
            _ensure_sound(mos)
            wrong = once_violations(self.path)
            assert not wrong, "; ".join(wrong)
        left = words_left(self.path, sorted(self.model.gone))
        assert not left, f"erased words are still in the files after closing: {left}"

    def _one_of(self, pending: Op | None) -> Model:
        """The model that the file shows: as before the interrupted operation, or as after it."""
        seen = observe(self.path)
        legal = [self.model] if pending is None else [self.model, self.model.after(pending)]
        for model in reversed(legal):
            if model.facts() == seen.facts():
                return replace(model, ids=model.ids | seen.ids)
        raise AssertionError(f"lost or half done, pending {pending}: {_differ(legal, seen)}")

    def _again(self, mos: MOS, before: Model, op: Op) -> None:
        """Retry under the same key, twice: the file must show the operation exactly once."""
        if op.key is not None:
            first = perform(mos, before, op)
            assert perform(mos, before, op) == first, "a retry under its key gave another result"
            self.model = before.after(op)
            self.model.ids |= observe(self.path).ids
        elif op.verb == "erase":
            try:
                perform(mos, before, op)
            except NotFound:
                assert op.on[0] in self.model.gone
            self.model = before.after(op)

    def _ensure_same(self, model: Model) -> None:
        seen = observe(self.path)
        assert model.facts() == seen.facts(), _differ([model], seen)


def _ensure_sound(mos: MOS) -> None:
    report = mos.check()
    assert report.sound, report.findings
    audit = mos.audit_verify()
    assert audit.intact, audit.problems


def _differ(legal: Sequence[Model], seen: Model) -> str:
    lines: list[str] = []
    for model in legal:
        lost = {n: v for n, v in model.notes.items() if seen.notes.get(n) != v}
        extra = {n: v for n, v in seen.notes.items() if model.notes.get(n) != v}
        rest = [(a, b) for a, b in zip(model.facts()[1:], seen.facts()[1:], strict=True) if a != b]
        lines.append(f"expected {lost}, found {extra}, {rest}")
    return " | ".join(lines)
