"""Records against a plain dict, through every verb, with time passing and two openers."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from memos_integrations import MOS, Settings
from memos_integrations.testing.fakes import ManualClock

KEYS = st.text(st.sampled_from("\x00\x01\x02aZé\ud7ff\ue000\U0010ffff"), max_size=4)
VALUES = st.binary(max_size=20)
SESSIONS = st.sampled_from([None, "s1", "s2"])
TTL = st.sampled_from([None, 5.0, 50.0])
LIMITS = st.one_of(st.none(), st.integers(0, 4))


class RecordsAgainstDict(RuleBasedStateMachine):
    """The model: key -> (value, session, expiry)."""

    folder: Path
    number = 0

    @initialize()
    def open(self) -> None:
        type(self).number += 1
        self.clock = ManualClock()
        path = self.folder / f"{type(self).number}.db"
        quiet = Settings(worker=False, synchronous="normal")
        self.openers = [
            MOS(path, embedder=None, clock=self.clock, settings=quiet) for _ in range(2)
        ]
        self.model: dict[str, tuple[bytes, str | None, Any]] = {}
        self.turn = 0

    def teardown(self) -> None:
        for mos in getattr(self, "openers", []):
            mos.close()

    def records(self, session: str | None = None) -> Any:
        self.turn += 1
        mos = self.openers[self.turn % 2]
        return mos.records("space", user="alice", session=session)

    def alive(self, session: str | None = None) -> dict[str, bytes]:
        now = self.clock.now()
        return {
            key: value
            for key, (value, said, ends) in self.model.items()
            if (ends is None or ends > now) and session in (None, said)
        }

    def keep(self, key: str, value: bytes, session: str | None, ttl: float | None) -> None:
        ends = None if ttl is None else self.clock.now() + timedelta(seconds=ttl)
        self.model[key] = (value, session, ends)

    @rule(given=st.dictionaries(KEYS, VALUES, max_size=4), session=SESSIONS, ttl=TTL)
    def put(self, given: dict[str, bytes], session: str | None, ttl: float | None) -> None:
        self.records(session).put(given, ttl_seconds=ttl)
        for key, value in given.items():
            self.keep(key, value, session, ttl)

    @rule(given=st.dictionaries(KEYS, VALUES, max_size=4), session=SESSIONS, ttl=TTL)
    def put_new(self, given: dict[str, bytes], session: str | None, ttl: float | None) -> None:
        self.records(session).put(given, ttl_seconds=ttl, keep_existing=True)
        there = self.alive()
        for key, value in given.items():
            if key not in there:
                self.keep(key, value, session, ttl)

    @rule(given=st.dictionaries(KEYS, VALUES, max_size=3), gone=st.sets(KEYS, max_size=3))
    def write(self, given: dict[str, bytes], gone: set[str]) -> None:
        self.records().write(put=given, delete=sorted(gone - given.keys()))
        for key in gone - given.keys():
            self.model.pop(key, None)
        for key, value in given.items():
            self.keep(key, value, None, None)

    @rule(keys=st.lists(KEYS, max_size=5), session=SESSIONS)
    def delete(self, keys: list[str], session: str | None) -> None:
        there = self.alive(session)
        assert self.records(session).delete(keys) == len(set(keys) & there.keys())
        for key in set(keys) & there.keys():
            del self.model[key]

    @rule(prefix=KEYS, session=SESSIONS)
    def clear(self, prefix: str, session: str | None) -> None:
        gone = [key for key in self.alive(session) if key.startswith(prefix)]
        assert self.records(session).clear(prefix) == len(gone)
        for key in gone:
            del self.model[key]

    @rule(seconds=st.sampled_from([1, 10, 100]))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds=seconds)

    @rule()
    def sweep(self) -> None:
        self.openers[0].expire_due()

    @rule(keys=st.lists(KEYS, max_size=5), session=SESSIONS)
    def get(self, keys: list[str], session: str | None) -> None:
        there = self.alive(session)
        wanted = {key: there[key] for key in keys if key in there}
        assert self.records(session).get(keys) == wanted
        assert self.records(session).times(keys).keys() == wanted.keys()

    @rule(
        prefix=KEYS,
        after=st.one_of(st.none(), KEYS),
        before=st.one_of(st.none(), KEYS),
        limit=LIMITS,
        reverse=st.booleans(),
    )
    def browse(
        self, prefix: str, after: str | None, before: str | None, limit: int | None, reverse: bool
    ) -> None:
        inside = [
            (key, value)
            for key, value in sorted(self.alive().items(), reverse=reverse)
            if key.startswith(prefix)
            and (after is None or key > after)
            and (before is None or key < before)
        ][:limit]
        asked = {"after": after, "before": before, "limit": limit, "reverse": reverse}
        assert self.records().items(prefix, **asked) == inside
        assert self.records().keys(prefix, **asked) == [key for key, _ in inside]

    @invariant()
    def nothing_differs(self) -> None:
        if hasattr(self, "openers"):
            assert dict(self.records().items()) == self.alive()

    @precondition(lambda self: hasattr(self, "openers"))
    @rule()
    def file_is_sound(self) -> None:
        assert self.openers[0].check().sound


def test_records_are_what_a_dict_would_be_under_every_verb(tmp_path: Path) -> None:
    RecordsAgainstDict.folder = tmp_path
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        RecordsAgainstDict,
        settings=settings(max_examples=15, stateful_step_count=25, deadline=None),
    )
