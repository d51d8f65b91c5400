"""Kills a process in the middle of its work with KV-caches, then looks at what is left.

A child asks two toy models over the memories of two users, corrects and erases memories, pins,
demotes and evicts caches on a disk that is too small for all of them, and opens the file again and
again. It compares the logits of every answer with those of the whole text. It is killed with
SIGKILL, after a while or at one of ``CACHE_POINTS``; ``look`` then opens the file, asks again,
verifies and repairs. Needs torch (extra ``activation``), in the children only.
"""

from __future__ import annotations

import importlib
import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from memos_integrations.interface.mos import MOS
from memos_integrations.interface.settings import Settings
from memos_integrations.testing import crash
from memos_integrations.testing.crash import Journal, Moment, arm_at

_TRANSFORM = "memos_integrations.operation.transform"
_VAULT = "memos_integrations.infrastructure.vault"
_ACTIVATION = "memos_integrations.infrastructure.activation"
_BLOBS = "memos_integrations.infrastructure.blobs:BlobStore"

CACHE_POINTS: Mapping[str, str] = {
    "build": f"{_TRANSFORM}.prefill:extend",
    "keep": f"{_TRANSFORM}.keeper:Keeper.keep",
    "hand over": f"{_TRANSFORM}.keeper:Keeper._hand_over",
    "let go of a lock": f"{_ACTIVATION}.flights:_let_go",
    "dump": f"{_ACTIVATION}.codec:dump",
    "blob put": f"{_BLOBS}.put",
    "blob publish": f"{_BLOBS}._publish",
    "room on disk": f"{_TRANSFORM}.disk_tier:room_for",
    "row": f"{_VAULT}.artifacts:add",
    "row: blocks": "sql:INSERT OR IGNORE INTO artifact_block",
    "commit": "sql:COMMIT",
    "take out rows": f"{_VAULT}.artifacts:take_out",
    "erase a file": f"{_BLOBS}.erase",
    "discard": f"{_TRANSFORM}.cache_files:CacheFiles.discard",
    "read a file": f"{_BLOBS}.read_apart",
    "promote": f"{_ACTIVATION}.codec:parse",
    "counts": f"{_VAULT}.cache_records:add_uses",
    "pin": f"{_VAULT}.cache_records:pin",
    "demote": f"{_TRANSFORM}.keeper:Keeper.demote",
    "erase: rows": f"{_VAULT}.erase:carry_out",
    "erase: files": f"{_VAULT}.vault:MemVault.scrub",
    "erase: sweep": f"{_TRANSFORM}.cache_files:CacheFiles.sweep",
}
"""As ``crash.POINTS``, for what caches pass."""

_USERS = ("maya", "sam")
_FILLERS = 12
_MARKERS = 3_000
"""Each memory has a word of its own, so that a file tells which memories are in it."""
_WORDS = 70
_NEVER_REACHED = 3
_FILE_BYTES = 20_000
_ROOM_BYTES = 2 * _FILE_BYTES

_models: list[Any] = []


class MarkedWords:
    """A tokenizer of ``w0 w1 ...`` and ``m0 m1 ...``; all other words are one token."""

    chat_template = None

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": [_token(word) for word in text.split()]}

    def get_vocab(self) -> dict[str, int]:
        return {"w": 1, "m": 1 + _FILLERS}


def _token(word: str) -> int:
    kind, number = word[0], word[1:].strip(".,")
    if number.isdigit() and kind in "wm":
        return 1 + int(number) + (_FILLERS if kind == "m" else 0)
    return 0


def settings(**more: Any) -> Settings:
    """Of every child: nothing in the background, and no room on disk for everything."""
    about = {"worker": False, "extract": False, "synchronous": "normal", "audit_reads": False}
    return Settings.model_validate({**about, "kv_disk_bytes": _ROOM_BYTES, **more})


def serve() -> None:
    """The server of the children: imports torch and makes the models once."""
    import torch  # noqa: PLC0415
    import transformers  # noqa: PLC0415

    torch.set_num_threads(1)
    for seed in (0, 1):
        torch.manual_seed(seed)
        config = transformers.LlamaConfig(
            vocab_size=1 + _FILLERS + _MARKERS,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            initializer_range=0.6,
        )
        _models.append(transformers.AutoModelForCausalLM.from_config(config).eval())
    crash.serve({"live": live, "look": look, "storm": storm})


def is_right(mos: MOS, user: str, model: Any) -> tuple[bool, Any]:
    """Whether an answer over the caches is that of the whole text, and what was given."""
    import torch  # noqa: PLC0415

    from memos_integrations.infrastructure.activation.forward import cache_name  # noqa: PLC0415

    with mos.activated(
        model, MarkedWords(), query="w1 w2 w3", user=user, rendering=lambda m, q: f"{m} {q}"
    ) as given:
        ids, cache = given.inputs["input_ids"], given.inputs[cache_name(model)]
        start = given.cached_tokens + given.computed_tokens
        with torch.no_grad():
            ours = model(ids[:, start:], **{cache_name(model): cache}).logits[:, -1]
            plain = model(ids).logits[:, -1]
    return torch.allclose(ours, plain, atol=1e-4, rtol=1e-4), given


class _Life:
    """What a child does until it is killed."""

    def __init__(self, job: Mapping[str, Any]) -> None:
        self._path = job["path"]
        self._dice = random.Random(job["seed"])
        self._journal = Journal(Path(job["journal"]))
        self._marker = job["seed"] * 100 % _MARKERS
        self._before: dict[str, set[str]] = {}
        """Words of earlier versions."""
        self.mos = MOS(self._path, embedder=None, settings=settings())

    def round(self) -> None:
        """Every kind of step, in some order, with questions between them."""
        for user in _USERS:
            while len(self.mos.list(user=user)) < 2:
                self.add(user)
        steps: list[Callable[[str], None]] = [
            *(self.add, self.correct, self.erase, self.pin, self.demote, self.evict, self.reopen),
        ]
        for step in self._dice.sample(steps, len(steps)):
            user = self._dice.choice(_USERS)
            for _ in range(self._dice.randrange(1, 4)):
                self.ask(user)
            step(user)

    def ask(self, user: str) -> None:
        right, given = is_right(self.mos, user, self._dice.choice(_models))
        self._journal.note(asked=True, right=right, cached=given.cached_tokens)

    def add(self, user: str) -> None:
        self.mos.add(self._said(), user=user)

    def correct(self, user: str) -> None:
        item = self._one(user)
        if item is not None:
            self._before.setdefault(item.id, set()).update(item.text.split())
            self.mos.update(item.id, self._said(), user=user)

    def erase(self, user: str) -> None:
        item = self._one(user)
        if item is None:
            return
        words = {*item.text.split(), *self._before.pop(item.id, ())}
        markers = sorted(_token(word) for word in words if word.startswith("m"))
        self._journal.note(erasing=markers)
        self.mos.erase(item.id, user=user)
        self._journal.note(erased=markers)

    def pin(self, user: str) -> None:
        for each in self.mos.caches(user=user)[:1]:
            change = self.mos.unpin_cache if each.pinned else self.mos.pin_cache
            change(each.key, user=user)

    def demote(self, user: str) -> None:
        for each in self.mos.caches(user=user):
            if "memory" in each.tiers:
                self.mos.demote_cache(each.key, user=user)

    def evict(self, user: str) -> None:
        for each in self.mos.caches(user=user)[-1:]:
            self.mos.evict_caches(each.key, user=user)

    def reopen(self, user: str) -> None:
        self.mos.close()
        self.mos = MOS(self._path, embedder=None, settings=settings())
        self.ask(user)

    def _one(self, user: str) -> Any:
        there = self.mos.list(user=user)
        return self._dice.choice(there) if there else None

    def _said(self) -> str:
        self._marker = (self._marker + 1) % _MARKERS
        fill = " ".join(f"w{self._dice.randrange(_FILLERS)}" for _ in range(_WORDS))
        return f"m{self._marker} {fill}"


def live(job: Mapping[str, Any]) -> int:
    """Work with caches until killed; 3 when that did not happen in ``rounds``."""
    life = _Life(job)
    if job["place"] is not None:
        arm_at(job["place"], job["moment"], job["nth"])
    for _ in range(job["rounds"]):
        life.round()
    life.mos.close()
    return _NEVER_REACHED


def look(job: Mapping[str, Any]) -> int:
    """Write down what is left: served wrongly, found wrong, left over."""
    path = Path(job["path"])
    with MOS(path, embedder=None, settings=settings()) as mos:
        at_once = tokens_on_disk(path)
        found = mos.verify_caches()
        answers = [is_right(mos, user, model) for user in _USERS for model in _models * 2]
        mos.repair_caches()
        again = mos.verify_caches()
        report = {
            "on_disk": sorted(at_once),
            "findings": [each.what for each in found.findings],
            "wrong": sum(not right for right, _ in answers),
            "served": sum(given.cached_tokens > 0 for _, given in answers),
            "left": [each.what for each in again.findings],
            "unnamed": unnamed(mos, path),
            "locks": sorted(p.name for p in Path(f"{path}.kv").glob("*") if p.is_file()),
            "sound": [str(each.text) for each in mos.check().findings],
        }
    Path(job["report"]).write_text(json.dumps(report))
    return 0


def tokens_on_disk(path: Path) -> set[int]:
    """The markers of all memories of which a file holds the cache, whole, torn or half wiped.

    Looks at every aligned number behind the length of the header: JSON and floats are none as
    small as a marker.
    """
    found: set[int] = set()
    for file in blob_files(path):
        data = file.read_bytes()[8:]
        numbers = (int.from_bytes(data[n : n + 4], "little") for n in range(0, len(data) - 3, 4))
        found |= {each for each in numbers if _FILLERS < each <= _FILLERS + _MARKERS}
    return found


def unnamed(mos: MOS, path: Path) -> list[str]:
    """Files that no row names."""
    with mos._rooms.vault.readers.snapshot() as connection:  # pyright: ignore[reportPrivateUsage]
        named = {name for (name,) in connection.execute("SELECT sha256 FROM artifact")}
    return [file.name for file in blob_files(path) if file.name not in named]


def blob_files(path: Path) -> list[Path]:
    """All files beside the vault that are or were to be blobs."""
    return sorted(each for each in Path(f"{path}.blobs").rglob("*") if each.is_file())


def storm(job: Mapping[str, Any]) -> int:
    """Ask one cold cache from ``threads`` threads at once; builds go to a file, a line each.

    A build takes until another process stands at its door, as a long one would.
    """
    prefill: Any = importlib.import_module(f"{_TRANSFORM}.prefill")
    folder, builds, answers = Path(job["folder"]), Journal(Path(job["builds"])), []
    real = prefill.extend

    def slowly(model: Any, cache: Any, tokens: Any) -> float:
        builds.note(tokens=len(tokens))
        _wait(lambda: any(folder.glob("*.kv/*.next")), job["patience"])
        return float(real(model, cache, tokens))

    def ask() -> None:
        answers.append(is_right(mos, _USERS[0], _models[0]))

    prefill.extend = slowly
    with MOS(job["path"], embedder=None, settings=settings(kv_disk_bytes=10**9)) as mos:
        Path(job["ready"]).touch()
        _wait(Path(job["go"]).exists, job["patience"])
        threads = [threading.Thread(target=ask) for _ in range(job["threads"])]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    done = {"asked": len(answers), "right": sum(right for right, _ in answers)}
    Path(job["report"]).write_text(json.dumps(done))
    return 0


def _wait(until: Callable[[], bool], patience_seconds: float) -> None:
    deadline = time.monotonic() + patience_seconds
    while not until() and time.monotonic() < deadline:
        time.sleep(0.005)


def kill_plan(kills: int, *, seed: int) -> list[tuple[str | None, Moment, int]]:
    """So many points with their moments, spread evenly, and every tenth kill at any time."""
    dice = random.Random(seed)
    names = list(CACHE_POINTS)
    plan: list[tuple[str | None, Moment, int]] = []
    for n in range(kills):
        moment: Moment = "before" if dice.random() < 0.5 else "after"
        point = None if n % 10 == 9 else names[n % len(names)]
        plan.append((point, moment, dice.randrange(1, 4)))
    return plan
