"""Which fact of a slot holds when: the decision, pure.

A slot is what can be contradicted: one owner's statements of one attribute of one subject. The
intervals follow from the facts alone, in the order of the time they hold from, so it does not
matter in which order messages arrive, are corrected or withdrawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

TRUST_ORDER = ("user", "inference", "tool", "web", "import")


@dataclass(frozen=True, slots=True)
class Statement:
    """A fact that stands, as far as others can contradict it."""

    iid: int
    value: bytes
    single: bool
    negated: bool
    trust: str
    starts: int
    until: int | None
    """Where its own source ends it; contradiction may end it sooner."""
    said: int
    frozen: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """What the slot says of one fact."""

    iid: int
    valid_to: int | None
    ended_by: int | None = None
    """The later fact that took its place."""
    disputed_by: tuple[int, ...] = ()
    """Later facts that contradict it but may not end it: less trusted, or it is frozen."""


def standings(facts: Sequence[Statement]) -> list[Standing]:
    """Until when each fact holds, oldest first.

    A fact ends where the first later one that contradicts it begins, if that one is trusted at
    least as much and the fact is not under a legal hold. Later is what was said later ("I moved
    last week" ends what was told two days ago), but what lies ahead comes when it comes.
    """
    ordered = sorted(facts, key=lambda f: (max(f.starts, f.said), f.said, f.iid))
    return [_standing(fact, ordered[place + 1 :]) for place, fact in enumerate(ordered)]


def _standing(fact: Statement, later: Sequence[Statement]) -> Standing:
    disputed: list[int] = []
    for other in later:
        if not contradicts(other, fact):
            continue
        if fact.frozen or _rank(other) > _rank(fact):
            disputed.append(other.iid)
            continue
        end = other.starts if fact.until is None else min(fact.until, other.starts)
        return Standing(fact.iid, max(end, fact.starts), other.iid, tuple(disputed))
    return Standing(fact.iid, fact.until, None, tuple(disputed))


def contradicts(new: Statement, old: Statement) -> bool:
    """Whether both cannot hold at once: another single value, or the denial of the same."""
    if new.negated != old.negated:
        return new.value == old.value
    return new.single and not new.negated and new.value != old.value


def _rank(fact: Statement) -> int:
    return TRUST_ORDER.index(fact.trust)
