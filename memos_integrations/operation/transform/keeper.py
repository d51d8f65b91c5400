"""Where computed caches are kept and found again: memory first, then files, both withdrawn with
their sources. What a model on a device uses is copied there.

Called by what fills caches (``prefill``, ``composition``, ``conversation``) and by what decides in
which form memory lives; calls the shelf, the disk tier and the counts. Whatever is wrong with a
stored cache makes it a miss, never an answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import replace

from memos_integrations.infrastructure.activation.eviction import Artifact
from memos_integrations.infrastructure.activation.flights import Flight, Flights
from memos_integrations.infrastructure.activation.identity import Digest
from memos_integrations.infrastructure.activation.shelf import Shelf
from memos_integrations.infrastructure.vault import artifacts, cache_records
from memos_integrations.infrastructure.vault.vault import MemVault
from memos_integrations.operation.transform.cache_files import CacheFiles
from memos_integrations.operation.transform.cache_use import UseLog
from memos_integrations.operation.transform.disk_tier import DiskTier
from memos_integrations.operation.transform.on_devices import OnDevices
from memos_integrations.operation.transform.records import CacheRecord, all_records
from memos_integrations.operation.transform.stored import Hit, Stored, Wanted

__all__ = ["Hit", "Keeper", "Stored", "Wanted"]

_TO_DISK_AT = 2
"""Touches after which a cache is also written to disk: what is asked once is not worth it."""


class _Turns(threading.local):
    """The turns that a thread has, innermost last, and what it looked for in each."""

    def __init__(self) -> None:
        self.flights: list[Flight[Stored]] = []
        self.wanted: dict[Digest, Wanted] = {}
        self.notes: dict[Digest, str] = {}


class Keeper:
    """Caches in memory and on disk. Safe for many threads and several processes.

    ``with keeper.building(key)`` around ``find`` and, where that gives nothing, computing and
    ``keep``, makes one build of many at once. ``pin``, ``unpin`` and ``demote`` say where a cache
    that exists is to lie; ``records`` tells what there is.
    """

    def __init__(
        self,
        vault: MemVault,
        shelf: Shelf[Stored],
        disk: DiskTier,
        files: CacheFiles,
        uses: UseLog,
        flights: Flights[Stored],
        devices: OnDevices,
    ) -> None:
        self._vault = vault
        self._shelf = shelf
        self._disk = disk
        self._files = files
        self._uses = uses
        self._flights = flights
        self._devices = devices
        self._turns = _Turns()
        self._looked_at = -1

    @contextmanager
    def building(self, key: Digest) -> Generator[None]:
        """One at a time for each key, among threads and processes; the others wait, and then find
        what it made.

        What another process waits for is written to disk at once. Who has waited too long
        computes for itself: what it keeps is dropped.
        """
        with self._flights.turn(key, at_hand=lambda: self._is_at_hand(key)) as flight:
            self._turns.flights.append(flight)
            try:
                yield
                self._hand_over(flight)
            finally:
                self._turns.flights.pop()
                self._turns.wanted.pop(key, None)
                self._turns.notes.pop(key, None)

    def find(self, wanted: Wanted) -> Hit | None:
        """What covers the most of the wanted blocks and is worth loading. The use is counted."""
        turn = self._flight(wanted.key) is not None
        if turn:
            self._turns.wanted[wanted.key] = wanted
        hit = self._in_memory(wanted)
        if hit is None or hit.blocks < len(wanted.blocks):
            on_disk, why = self._disk.find(wanted, beyond=0 if hit is None else hit.blocks)
            if turn:
                self._turns.notes[wanted.key] = why
            if on_disk is not None:
                self._offer(on_disk.stored)
                hit = on_disk
        if hit is None:
            self._uses.miss(wanted.tenant)
            return None
        used = self._devices.on_device(hit.stored, str(wanted.device))
        self._copy_no_longer_than_held(used.key)
        return Hit(used, hit.blocks)

    def why_not(self, key: Digest) -> str:
        """Why nothing on disk served in this thread's turn at ``key``; empty where nothing lay
        there."""
        return self._turns.notes.get(key, "")

    def keep(self, stored: Stored) -> bool:
        """Take it in, where it is worth its bytes; whether it is still sound.

        What was made of a memory that has changed meanwhile is refused, and what was said in a
        conversation wherever something was erased since it was read.
        """
        flight = self._flight(stored.key)
        if flight is not None and flight.late:
            return False
        named = self._devices.on_host(self._named(stored), stored.kept.device)
        sound = self._offer(named)
        if flight is not None and sound:
            flight.made = named
        return sound

    def used(self, hit: Hit, seconds: float, tenant: str) -> None:
        """Keep account of a prefill that was not needed; write what is used again to disk."""
        self._shelf.saved(seconds)
        # Memory keeps and files are made of what lies on the host, never of a device's copy.
        held = self._shelf.peek(hit.stored.key)
        stored = held or self._devices.on_host(hit.stored, hit.stored.kept.device)
        self._copy_no_longer_than_held(stored.key)
        self._uses.hit(stored.key, tenant, seconds, on_disk=stored.on_disk)
        touches = self._shelf.touches(stored.key)
        if not stored.on_disk and touches >= _TO_DISK_AT:
            self._to_disk(replace(stored, tenant=stored.tenant or tenant), uses=touches)

    def pin(self, key: Digest) -> bool:
        """Keep a cache whatever else is asked for: in memory if it lies there, and on disk from
        now on. Whether there was one. It still goes when a source changes or is erased."""
        held = self._shelf.pin(key)
        if held is not None:
            pinned = replace(held, pinned=True)
            self._offer(pinned)
            if not self._disk.serves(key):
                self._to_disk(pinned, uses=self._shelf.touches(key), always=True)
        rows = self._vault.maintain(lambda tx: cache_records.pin(tx, key))
        return rows or held is not None

    def unpin(self, key: Digest) -> bool:
        """Let it compete for its place again. Whether there was one."""
        held = self._shelf.unpin(key)
        if held is not None:
            self._offer(replace(held, pinned=False))
        rows = self._vault.maintain(lambda tx: cache_records.unpin(tx, key))
        return rows or held is not None

    def demote(self, key: Digest) -> bool:
        """Move a cache from memory to disk; whether it lay in memory.

        One that belongs into no file, or finds no room there, is let go.
        """
        held = self._shelf.peek(key)
        if held is None:
            return False
        if not self._disk.serves(key):
            self._disk.write(held, uses=self._shelf.touches(key), always=True)
            self._uses.written(key)
        self._shelf.let_go([key])
        self._devices.forget([key])
        return True

    def let_go_of_copies(self, keys: Iterable[Digest] | None = None) -> None:
        """Drop what devices hold of these, or of all: they went from memory."""
        self._devices.forget(self._devices.keys() if keys is None else keys)

    def records(self, tenant: str) -> list[CacheRecord]:
        """Every cache of a tenant, for what decides over forms and tiers; nobody is shown it."""
        with self._vault.readers.snapshot() as connection:
            return all_records(
                connection,
                tenant,
                now=self._vault.now(),
                held=self._shelf.held(),
                uses=self._uses.unwritten(),
                copied=self._devices.keys(),
            )

    def copied(self) -> set[Digest]:
        """The caches of which a device holds a copy."""
        return self._devices.keys()

    def place(self) -> int:
        """Where the log ends: what is read from now on holds every change up to there."""
        with self._vault.readers.snapshot() as connection:
            return artifacts.head(connection)

    def forget_stale(self) -> None:
        """Let go of what was made of memories that have changed since, here and on disk, and,
        where any was erased, of all conversations."""
        with self._vault.readers.snapshot() as connection:
            head = artifacts.head(connection)
            if head == self._looked_at:
                return
            # Read behind the head: what comes later looks for itself, in _offer.
            held = self._shelf.held()
            sources = {each for stored in held.values() for each in stored.sources}
            gone = artifacts.stale(connection, sources, now=self._vault.now())
            withdrawn = artifacts.any_withdrawn(connection)
            passing = any(stored.passing for stored in held.values())
            erased = passing and artifacts.erased_since(connection, self._looked_at)
        self._forget(
            key
            for key, stored in held.items()
            if (erased and stored.passing) or not gone.isdisjoint(stored.sources)
        )
        if withdrawn:
            self._files.discard(None)
        self._looked_at = head

    def _is_at_hand(self, key: Digest) -> bool:
        return self._shelf.serves(key) or self._disk.serves(key)

    def _in_memory(self, wanted: Wanted) -> Hit | None:
        place = self._shelf.find(wanted.blocks, time.monotonic())
        if place is not None and place.blocks == len(wanted.blocks):
            return Hit(place.held, place.blocks)
        flight = self._flight(wanted.key)
        if flight is not None and flight.made is not None:
            return Hit(flight.made, len(wanted.blocks))
        return None if place is None else Hit(place.held, place.blocks)

    def _flight(self, key: Digest) -> Flight[Stored] | None:
        """This thread's turn at ``key``, if it has one."""
        return next((each for each in self._turns.flights if each.key == key), None)

    def _named(self, stored: Stored) -> Stored:
        """With whose it is and of which model, as told by who looked for it."""
        wanted = self._turns.wanted.get(stored.key)
        made = replace(stored, created=self._vault.now())
        if wanted is None:
            return made
        return replace(made, tenant=wanted.tenant, architecture=wanted.architecture)

    def _hand_over(self, flight: Flight[Stored]) -> None:
        """Write down what another process waits for: it cannot look into this one's memory."""
        made = flight.made
        if made is not None and not made.on_disk and flight.is_wanted_elsewhere():
            self._to_disk(made, uses=_TO_DISK_AT, always=True)

    def _offer(self, stored: Stored) -> bool:
        """Whether its sources still stand; where they do not, nothing is left of it.

        They are looked at once it lies there: a change after that finds it.
        """
        artifact = Artifact(stored.key, stored.kept.bytes, stored.build_seconds, stored.pinned)
        # What leaves memory leaves devices: nothing would find, nor withdraw, a copy there.
        self._devices.forget(self._shelf.offer(artifact, stored, stored.serving, time.monotonic()))
        sound = self._is_sound(stored)
        if not sound:
            self._forget([stored.key])
        return sound

    def _copy_no_longer_than_held(self, key: Digest) -> None:
        """Drop the copies of what memory has not kept, or let go of meanwhile."""
        if self._shelf.peek(key) is None:
            self._devices.forget([key])

    def _is_sound(self, stored: Stored) -> bool:
        with self._vault.readers.snapshot() as connection:
            if stored.passing and artifacts.erased_since(connection, stored.since):
                return False
            return not artifacts.stale(connection, stored.sources, now=self._vault.now())

    def _forget(self, keys: Iterable[Digest]) -> None:
        """Let go of these, here and on devices, and of their counts."""
        going = list(keys)
        self._shelf.forget(going)
        self._devices.forget(going)
        self._uses.forget(going)

    def _to_disk(self, stored: Stored, *, uses: int, always: bool = False) -> None:
        done = self._disk.write(stored, uses=uses, always=always)
        if done:
            self._uses.written(stored.key)
            self._offer(replace(stored, on_disk=True))
        elif done is None:
            # A source went while the file was written: an erase did not know of this file.
            self._forget([stored.key])
