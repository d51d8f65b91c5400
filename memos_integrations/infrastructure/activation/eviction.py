"""Which caches are worth their bytes: decayed frequency x seconds saved / bytes.

Pure: keys, figures and the time go in, decisions with reasons come out; what carries them out
stands above. The counts of evicted and never admitted keys are remembered ("ghosts"), so a scan
of things asked once cannot push out what is asked every day, and what comes back is known at
once. The idea is that of GDSF (Cherkasova 1998) with the admission of TinyLFU (Einziger et al.
2017), with a half-life in place of their ageing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import log

from memos_integrations.cube.errors import InvalidInput

SECOND_TOUCH = 2
_GHOSTS = 10_000
_LN2 = log(2.0)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A cache that could be kept: what it takes and what one use of it saves."""

    key: str
    bytes: int
    saved_seconds: float
    pinned: bool = False

    def __post_init__(self) -> None:
        if self.bytes < 1 or not self.saved_seconds >= 0:
            raise InvalidInput("an artifact takes at least a byte and saves no less than 0 seconds")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an artifact is to be kept, what must go for it, and why."""

    admitted: bool
    evicted: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Scale:
    """A half-life, and how much a rate of use measured over it counts."""

    half_life_seconds: float
    weight: float


SCALES = (Scale(20.0, 0.3), Scale(1_500.0, 1.0))
"""A conversation's, and a working day's. One alone loses: the short one forgets what is asked
every day, the long one keeps a conversation's context long after its end."""


@dataclass(slots=True)
class Count:
    """The uses of one key: decayed by each scale to ``at``, and in all."""

    heats: list[float]
    at: float
    touches: int = 0


@dataclass(slots=True)
class Frequencies:
    """How often each key is asked for, held or not; the coldest beyond ``max_keys`` are lost."""

    scales: tuple[Scale, ...] = SCALES
    max_keys: int = _GHOSTS
    _counts: dict[str, Count] = field(default_factory=dict[str, Count])

    def touch(self, key: str, now: float, *, keep: Iterable[str] = ()) -> None:
        """Count a use. ``keep`` are never forgotten: the keys that lie in memory."""
        count = self._counts.setdefault(key, Count([0.0] * len(self.scales), now))
        count.heats = [heat + 1.0 for heat in self._decayed(count, now)]
        count.at = max(count.at, now)
        count.touches += 1
        if len(self._counts) > self.max_keys:
            self._forget(now, {*keep, key})

    def rate(self, key: str, now: float) -> float:
        """Uses per second to be expected: the weighted sum of the rates on each scale."""
        count = self._counts.get(key)
        if count is None:
            return 0.0
        heats = zip(self.scales, self._decayed(count, now), strict=True)
        return sum(s.weight * _LN2 * heat / s.half_life_seconds for s, heat in heats)

    def touches(self, key: str) -> int:
        """Uses since it was last unknown."""
        count = self._counts.get(key)
        return 0 if count is None else count.touches

    def drop(self, key: str) -> None:
        """Forget it wholly: what was erased leaves no trace."""
        self._counts.pop(key, None)

    def _decayed(self, count: Count, now: float) -> list[float]:
        age = max(0.0, now - count.at)
        pairs = zip(self.scales, count.heats, strict=True)
        return [heat * 0.5 ** (age / scale.half_life_seconds) for scale, heat in pairs]

    def _forget(self, now: float, keep: set[str]) -> None:
        """A tenth at a time, so that the sort is paid once in many touches."""
        loose = [key for key in self._counts if key not in keep]
        loose.sort(key=lambda key: (self.rate(key, now), key))
        for key in loose[: max(1, self.max_keys // 10)]:
            del self._counts[key]


@dataclass(slots=True)
class Residents:
    """The artifacts that lie in one tier, within its bytes.

    ``touch`` first, for every use; then, on a miss, ``offer`` what was built or would be.
    """

    capacity_bytes: int
    frequencies: Frequencies
    admit_at: int = SECOND_TOUCH
    """Touches that make an artifact worth another's place; free or pinned ones need none."""
    _held: dict[str, Artifact] = field(default_factory=dict[str, Artifact])
    _used: int = 0

    @property
    def used_bytes(self) -> int:
        return self._used

    def __contains__(self, key: object) -> bool:
        return key in self._held

    def touch(self, key: str, now: float) -> bool:
        """Whether it is held; the use is counted either way."""
        self.frequencies.touch(key, now, keep=self._held)
        return key in self._held

    def score(self, artifact: Artifact, now: float) -> float:
        """Seconds of prefill saved per byte and second, at the rate of use to be expected."""
        rate = self.frequencies.rate(artifact.key, now)
        return rate * artifact.saved_seconds / artifact.bytes

    def offer(self, artifact: Artifact, now: float) -> Verdict:
        """Whether it gets a place. Changes nothing by itself: ``place`` and ``remove`` do."""
        if artifact.bytes > self.capacity_bytes:
            return Verdict(False, (), f"larger than the whole tier ({self.capacity_bytes} bytes)")
        if artifact.bytes <= self._free(artifact):
            return Verdict(True, (), "there is room")
        touches = self.frequencies.touches(artifact.key)
        if not artifact.pinned and touches < self.admit_at:
            return Verdict(False, (), f"asked for {touches} of {self.admit_at} times")
        return self._against_the_weakest(artifact, now)

    def place(self, artifact: Artifact) -> None:
        """Take its bytes. Raises ``InvalidInput`` where they are not free: evict first."""
        free = self._free(artifact)
        if artifact.bytes > free:
            raise InvalidInput(f"{artifact.bytes} bytes are asked for and {free} are free")
        self.remove(artifact.key)
        self._held[artifact.key] = artifact
        self._used += artifact.bytes

    def remove(self, key: str) -> Artifact | None:
        """Give its bytes back; its counts stay, as a ghost's."""
        gone = self._held.pop(key, None)
        if gone is not None:
            self._used -= gone.bytes
        return gone

    def _free(self, artifact: Artifact) -> int:
        """Bytes it could take: what nobody holds, and what it holds itself."""
        own = self._held.get(artifact.key)
        return self.capacity_bytes - self._used + (0 if own is None else own.bytes)

    def _against_the_weakest(self, artifact: Artifact, now: float) -> Verdict:
        needed = artifact.bytes - self._free(artifact)
        loose = [a for a in self._held.values() if not a.pinned and a.key != artifact.key]
        leaving: list[Artifact] = []
        for each in sorted(loose, key=lambda a: (self.score(a, now), a.key)):
            if needed <= 0:
                break
            leaving.append(each)
            needed -= each.bytes
        if needed > 0:
            return Verdict(False, (), "what is pinned leaves too few bytes")
        if not artifact.pinned and self._loses(artifact, leaving, now):
            return Verdict(False, (), "what would have to go saves more")
        names = tuple(each.key for each in leaving)
        return Verdict(True, names, f"saves more than the {len(names)} that go")

    def _loses(self, artifact: Artifact, leaving: list[Artifact], now: float) -> bool:
        """Compared is what all of them save together, not the dearest one's rate."""
        lost = sum(self.score(each, now) * each.bytes for each in leaving)
        return bool(leaving) and self.score(artifact, now) * artifact.bytes <= lost
