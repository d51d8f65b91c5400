"""Two public data sets with evidence labels, read where they lie; nothing of them is kept here.

LoCoMo (Maharana et al., ACL 2024): conversations over months; each question names the turns that
hold its evidence. PrefEval (Zhao et al., ICLR 2025): preferences said once among turns about
other things; each question depends on one of them without sharing its words.
"""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop", 5: "adversarial"}
HEADLINE = (1, 2, 3, 4)
PREFERENCE = 0
"""The one category of PrefEval."""

Sessions = Literal["own", "one", "none"]
_EVIDENCE = re.compile(r"D:?(\d+):(\d+)")
_FIRST_DAY = datetime(2024, 1, 1, 9, tzinfo=UTC)
_DAYS = 200


@dataclass(frozen=True, slots=True)
class Turn:
    """One message: ``id`` is what evidence refers to."""

    id: str
    text: str
    role: str
    name: str | None
    session: str | None
    time: datetime

    def message(self) -> dict[str, Any]:
        """As ``MOS.add`` takes it."""
        told = {"role": self.role, "content": self.text, "id": self.id, "time": self.time}
        named = {"name": self.name, "session": self.session}
        return told | {key: value for key, value in named.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Question:
    """``evidence`` are the ids of the turns that answer it."""

    text: str
    evidence: frozenset[str]
    category: int


@dataclass(frozen=True, slots=True)
class Store:
    """What goes into one memory, and what it is asked."""

    name: str
    turns: tuple[Turn, ...]
    questions: tuple[Question, ...]


def data_folder() -> Path | None:
    """``MEMOS_DATA``, else ``../shared/data`` beside the repository; ``None`` where absent."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    found = Path(os.environ.get("MEMOS_DATA", beside))
    return found if found.is_dir() else None


def locomo(folder: Path) -> list[Store]:
    """One store per conversation. Questions without evidence are left out."""
    samples = json.loads((folder / "locomo" / "locomo10.json").read_text("utf-8"))
    return [_conversation(sample) for sample in samples]


def _conversation(sample: Mapping[str, Any]) -> Store:
    turns = tuple(_locomo_turns(sample["conversation"]))
    questions = (
        Question(qa["question"], evidence_ids(qa["evidence"]), qa["category"])
        for qa in sample["qa"]
    )
    return Store(sample["sample_id"], turns, tuple(q for q in questions if q.evidence))


def _locomo_turns(conversation: Mapping[str, Any]) -> Iterator[Turn]:
    names = [key for key in conversation if re.fullmatch(r"session_\d+", key)]
    for name in sorted(names, key=lambda key: int(key.removeprefix("session_"))):
        began = _instant(conversation[f"{name}_date_time"])
        for second, turn in enumerate(conversation[name]):
            said = began + timedelta(seconds=second)
            yield Turn(turn["dia_id"], turn["text"], "user", turn["speaker"], name, said)


def _instant(said: str) -> datetime:
    return datetime.strptime(f"{said} +0000", "%I:%M %p on %d %B, %Y %z")


def evidence_ids(given: Sequence[str]) -> frozenset[str]:
    """Dialogue ids of labels that may be joined or misspelt: ``D8:6; D9:17``, ``D:11:26``."""
    found = (match for label in given for match in _EVIDENCE.finditer(label))
    return frozenset(f"D{int(m[1])}:{int(m[2])}" for m in found)


def prefeval(folder: Path, *, sessions: Sessions = "own") -> list[Store]:
    """One store per topic: its preferences, each said once, among all filler conversations.

    ``sessions`` says what a session is, which the data leave open: ``own`` gives each preference
    and each filler conversation a session and a day of its own in a fixed random order, ``one``
    puts all turns into one session in that order, ``none`` leaves sessions out.
    """
    filler = json.loads((folder / "prefeval" / "filtered_inter_turns.json").read_text("utf-8"))
    topics = sorted((folder / "prefeval" / "explicit").glob("*.json"))
    return [_topic(path, filler, sessions) for path in topics]


def _topic(path: Path, filler: Sequence[Mapping[str, Any]], sessions: Sessions) -> Store:
    labelled = json.loads(path.read_text("utf-8"))
    preferences = list(dict.fromkeys(each["preference"] for each in labelled))
    ids = {text: f"preference-{n}" for n, text in enumerate(preferences)}
    talks = [
        [(f"filler-{n}-{k}", m["role"], m["content"]) for k, m in enumerate(each["conversation"])]
        for n, each in enumerate(filler)
    ]
    # Filler keeps its days in every topic, so that one topic's vectors serve all.
    days = random.Random(0).sample(range(_DAYS), len(talks))
    rest = sorted(set(range(_DAYS)) - set(days))
    talks += [[(ids[text], "user", text)] for text in preferences]
    days += random.Random(path.stem).sample(rest, len(preferences))
    turns = (
        turn
        for day, talk in sorted(zip(days, talks, strict=True))
        for turn in _talk(talk, day, sessions)
    )
    questions = (
        Question(each["question"], frozenset([ids[each["preference"]]]), PREFERENCE)
        for each in labelled
    )
    return Store(path.stem, tuple(turns), tuple(questions))


def _talk(talk: Sequence[tuple[str, str, str]], day: int, sessions: Sessions) -> Iterator[Turn]:
    for second, (name, role, text) in enumerate(talk):
        said = _FIRST_DAY + timedelta(days=day, seconds=second)
        if text.strip():
            yield Turn(name, text, role, None, _session(sessions, day), said)


def _session(sessions: Sessions, day: int) -> str | None:
    return {"own": f"talk-{day}", "one": "talk", "none": None}[sessions]
