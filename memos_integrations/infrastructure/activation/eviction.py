"""Which caches are worth their bytes: expected uses x seconds saved / bytes.

Pure: keys, figures and the time go in, decisions with reasons come out; what carries them out
stands above. How soon a key is asked for again is learned while the cache runs, from all keys that
were used as often and have waited as long, measured by their own rhythm: LHD's hit density
(Beckmann, Chen and Cidon 2018) weighed by what a hit saves. A key that waits four times its usual
gap is like others that do, whether the gap is a minute or an hour; keys of much the same rhythm
tell more once there are enough of them. What a class has shown is counted against the square root
of each key's own rate, so that within a class the busier comes first and the class says by how
much. The uses of evicted and never admitted keys are remembered ("ghosts"), so what comes back is
known at once, and a scan of things asked for once teaches that such things do not come back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import sqrt

from memos_integrations.cube.errors import InvalidInput

_GHOSTS = 10_000
_UNKNOWN_SECONDS = 300.0
"""A key of which nothing is known is expected this far apart."""
_PRIOR_USES = 5.0
"""Uses that a class must have shown until it counts as much as what is expected without it."""
_MOST_TOUCHES = 6
"""Above 2^5 uses the rhythm tells everything."""
_FURTHEST = 6
"""Waiting 64 times longer or shorter than usual is told apart from no more than that."""
_RHYTHM = 3
"""Rhythms within a factor of 8 are much the same."""
_SETTLED_PER_TOUCH = 16
"""Other keys whose waiting is booked at each touch, so that no touch pays for all of them."""
_FADE_EVERY = 256
_FADE = 0.98
"""What was learned half goes in 9,000 touches: work changes."""


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


@dataclass(slots=True)
class Uses:
    """The uses of one key, and until when its waiting is booked."""

    first: float
    last: float
    settled: float
    touches: int = 1
    habit: tuple[int, int] = (1, 0)
    """Classes, by powers of two, of the number of uses and of the mean seconds between them."""

    def own_rate(self, now: float) -> float:
        """Uses per second so far, as if it was known a while before its first use."""
        return self.touches / (now - self.first + _UNKNOWN_SECONDS)

    def weighed(self, begin: float, end: float) -> float:
        """The integral of the root of its own rate: what a class is expected to show meanwhile."""
        known = _UNKNOWN_SECONDS - self.first
        return 2.0 * sqrt(self.touches) * (sqrt(end + known) - sqrt(begin + known))

    def again(self, now: float) -> None:
        self.last = self.settled = max(self.last, now)
        self.touches += 1
        gap = (self.last - self.first) / (self.touches - 1)
        self.habit = min(self.touches.bit_length(), _MOST_TOUCHES), _doublings(gap)


@dataclass(slots=True)
class Seen:
    """How often keys of one class were used, in how much waiting of all of them (weighed)."""

    uses: float = 0.0
    waiting: float = 0.0

    def rate(self, expected: float) -> float:
        """Uses per waiting, drawn towards what is expected while little was seen."""
        return (self.uses + _PRIOR_USES) / (self.waiting + _PRIOR_USES / expected)


@dataclass(slots=True)
class Classes:
    """What was seen of keys alike: by number of uses and how late they are, and by rhythm too."""

    _alike: dict[tuple[int, int], Seen] = field(default_factory=dict[tuple[int, int], Seen])
    _same_rhythm: dict[tuple[int, int, int], Seen] = field(
        default_factory=dict[tuple[int, int, int], Seen]
    )

    def used(self, habit: tuple[int, int], age: int) -> None:
        for seen in self._of(habit, age):
            seen.uses += 1.0

    def waited(self, habit: tuple[int, int], age: int, waiting: float) -> None:
        for seen in self._of(habit, age):
            seen.waiting += waiting

    def rate(self, habit: tuple[int, int], age: int, expected: float) -> float:
        late = _lateness(habit, age)
        alike = self._alike.get((habit[0], late))
        if alike is None:
            return expected
        rough = alike.rate(expected)
        same = self._same_rhythm.get((habit[0], late, habit[1] // _RHYTHM))
        return rough if same is None else same.rate(rough)

    def fade(self) -> None:
        for seen in (*self._alike.values(), *self._same_rhythm.values()):
            seen.uses *= _FADE
            seen.waiting *= _FADE

    def _of(self, habit: tuple[int, int], age: int) -> tuple[Seen, Seen]:
        late = _lateness(habit, age)
        return (
            self._alike.setdefault((habit[0], late), Seen()),
            self._same_rhythm.setdefault((habit[0], late, habit[1] // _RHYTHM), Seen()),
        )


@dataclass(slots=True)
class Frequencies:
    """How often each key is asked for, held or not; the coldest beyond ``max_keys`` are lost."""

    max_keys: int = _GHOSTS
    _uses: dict[str, Uses] = field(default_factory=dict[str, Uses])
    _classes: Classes = field(default_factory=Classes)
    _touched: int = 0

    def touch(self, key: str, now: float, *, keep: Iterable[str] = ()) -> None:
        """Count a use. ``keep`` are never forgotten: the keys that lie in memory."""
        known = self._uses.get(key)
        if known is None:
            self._uses[key] = Uses(now, now, now)
        else:
            self._settle(known, now)
            self._classes.used(known.habit, _doublings(now - known.last))
            known.again(now)
        self._touched += 1
        self._settle_some(now)
        if self._touched % _FADE_EVERY == 0:
            self._classes.fade()
        if len(self._uses) > self.max_keys:
            self._forget(now, {*keep, key})

    def rate(self, key: str, now: float) -> float:
        """Uses per second to be expected of this key now."""
        known = self._uses.get(key)
        if known is None:
            return 0.0
        age = max(0.0, now - known.last)
        own = sqrt(known.own_rate(max(now, known.last)))
        return own * self._classes.rate(known.habit, _doublings(age), own)

    def touches(self, key: str) -> int:
        """Uses since it was last unknown."""
        known = self._uses.get(key)
        return 0 if known is None else known.touches

    def drop(self, key: str) -> None:
        """Forget it wholly: what was erased leaves no trace of its own."""
        self._uses.pop(key, None)

    def _settle_some(self, now: float) -> None:
        """Book the waiting of those that were booked longest ago, and put them last."""
        for _ in range(min(_SETTLED_PER_TOUCH, len(self._uses))):
            key = next(iter(self._uses))
            known = self._uses[key] = self._uses.pop(key)
            self._settle(known, now)

    def _settle(self, known: Uses, now: float) -> None:
        """Book its waiting until now, to the class of each age that it passed through."""
        while known.settled < now:
            age = _doublings(known.settled - known.last)
            # A class of age n ends 2^n - 1 seconds after the last use.
            until = min(now, max(known.last + 2.0**age - 1.0, known.settled + 0.001))
            self._classes.waited(known.habit, age, known.weighed(known.settled, until))
            known.settled = until

    def _forget(self, now: float, keep: set[str]) -> None:
        """A tenth at a time, so that the sort is paid once in many touches."""
        loose = [key for key in self._uses if key not in keep]
        loose.sort(key=lambda key: (self.rate(key, now), key))
        for key in loose[: max(1, self.max_keys // 10)]:
            del self._uses[key]


def _doublings(seconds: float) -> int:
    """The class of a time: 1 below a second, then one more for each doubling."""
    return int(seconds + 1.0).bit_length()


def _lateness(habit: tuple[int, int], age: int) -> int:
    """Doublings of the time waited over the usual gap; of the time itself after a single use."""
    touches, gap = habit
    return age if touches == 1 else max(-_FURTHEST, min(_FURTHEST, age - gap))


@dataclass(slots=True)
class Residents:
    """The artifacts that lie in one tier, within its bytes.

    ``touch`` first, for every use; then, on a miss, ``offer`` what was built or would be.
    """

    capacity_bytes: int
    frequencies: Frequencies
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
