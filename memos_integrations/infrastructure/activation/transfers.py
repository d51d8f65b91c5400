"""What moving a cache costs on this machine, measured as it goes, against computing it again.

Pure: sizes and seconds go in, decisions with their reason come out.
"""

from __future__ import annotations

from dataclasses import dataclass

_WEIGHT = 0.3
"""Of the newest measurement."""
_JITTER_SECONDS = 0.05
"""What a busy machine adds to anything: no choice is worth less."""
_TELLING_BYTES = 2**20
"""Less is moved in the time that a busy disk takes to turn to it: no pace can be told of it."""
_LOOK_AGAIN = 32
"""Refusals after which one is let through, to be measured anew."""


@dataclass(slots=True)
class Pace:
    """Bytes per second of one kind of move, weighted towards the newest and the largest."""

    bytes: float = 0.0
    seconds: float = 0.0
    refused: int = 0

    def measured(self, size: int, seconds: float) -> None:
        """Take in one move. Of less than a MiB none is told."""
        if size < _TELLING_BYTES:
            return
        self.refused = 0
        first = not self.seconds
        keep = 0.0 if first else 1.0 - _WEIGHT
        self.bytes = keep * self.bytes + (1.0 if first else _WEIGHT) * size
        self.seconds = keep * self.seconds + (1.0 if first else _WEIGHT) * seconds

    def estimate(self, size: int) -> float | None:
        """The seconds that a move of so many bytes takes; ``None`` before any was measured."""
        return size * self.seconds / self.bytes if self.bytes > 0 else None

    def pays(self, size: int, gain_seconds: float) -> str | None:
        """``None`` where a move is worth what it gains, else why not. Less than a MiB always is."""
        cost = self.estimate(size)
        if size < _TELLING_BYTES or cost is None or cost <= gain_seconds + _JITTER_SECONDS:
            return None
        self.refused += 1
        if self.refused % _LOOK_AGAIN == 0:
            return None
        return f"{cost:.2f} s against {gain_seconds:.2f} s for computing it"


@dataclass(slots=True)
class Transfers:
    """The paces of one store of caches."""

    load: Pace
    write: Pace

    @classmethod
    def unknown(cls) -> Transfers:
        return cls(Pace(), Pace())

    def load_pays(self, size: int, build_seconds: float) -> str | None:
        """``None`` where loading it takes less than computing what it covers, else why not."""
        why = self.load.pays(size, build_seconds)
        return None if why is None else f"what lies on disk would take longer to load: {why}"

    def write_pays(self, size: int, build_seconds: float, uses: int) -> str | None:
        """``None`` where a file is worth writing, else why not.

        Expected are as many uses again as there were, each gaining what a load saves.
        """
        gain = build_seconds - (self.load.estimate(size) or 0.0)
        why = self.write.pays(size, max(0.0, gain) * max(1, uses))
        return None if why is None else f"a file would take longer to write: {why}"
