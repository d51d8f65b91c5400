"""Memories that say the same, or nearly, told in one pass and without comparing all with all.

Pure. The fine stage folds most duplicates as they come; these are the ones that arose otherwise
(a split, a change of type, another form of the same words) or that differ in a word.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from memos_integrations.infrastructure.backends.words import tokens
from memos_integrations.infrastructure.vault.examined import Examined
from memos_integrations.operation.analytics.findings import Ailment, Finding, Fold, Step, finding
from memos_integrations.operation.analytics.ward import Ward
from memos_integrations.operation.near import form

_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_DENIALS = frozenset(("not", "no", "never", "none", "nobody", "nothing", "without", "cannot"))
_APART = ("document", "tool")
"""Parts of documents and results of tools belong to what they came with."""


def duplicates(ward: Ward) -> list[Finding]:
    """Memories of the same words, by the same speaker, under the same rights."""
    groups: defaultdict[tuple[object, ...], list[Examined]] = defaultdict(list)
    for row in _comparable(ward):
        groups[(row.fold, *_rights(row))].append(row)
    return [
        finding(
            Ailment.DUPLICATE,
            "the same words",
            items=[row.id for row in rows],
            cube=ward.cubes.get(rows[0].cid),
            plan=_fold_all(ward, rows),
        )
        for rows in groups.values()
        if len(rows) > 1
    ]


def near_duplicates(ward: Ward) -> list[Finding]:
    """Memories that differ by a word or by punctuation. Pairs are joined into groups."""
    rows = {row.iid: row for row in _comparable(ward)}
    bags: dict[int, frozenset[str]] = {}
    joined = _Groups()
    for one, other in _neighbours(ward.alike_keys, rows):
        if joined.find(one) != joined.find(other) and _alike(rows[one], rows[other], bags, ward):
            joined.join(one, other)
    return [_near(ward, [rows[iid] for iid in group], bags) for group in joined.groups()]


def _comparable(ward: Ward) -> list[Examined]:
    return [
        row
        for row in ward.readable
        if row.drawn_from is None
        and not row.named
        and row.memory_type not in _APART
        and row.iid not in ward.waiting
    ]


def _rights(row: Examined) -> tuple[object, ...]:
    return (row.cid, row.owner, row.visibility, row.labels, row.trust, row.kind, row.data)


def _fold_all(ward: Ward, rows: Sequence[Examined]) -> list[Step]:
    """Fold into the first of those that last longest."""
    kept = max(rows, key=lambda row: (row.held, row.valid_to is None, row.usage, -row.iid))
    copies = (row for row in rows if row is not kept)
    return [
        Step(step.repair, (*step.versions, (kept.id, kept.version)))
        for row in copies
        for step in ward.step(Fold(row.id, kept.id), row)
    ]


def _neighbours(
    keys: Iterable[tuple[bytes, int]], rows: dict[int, Examined]
) -> Iterator[tuple[int, int]]:
    """Items next to each other in some bucket: so many pairs as entries, however full it is."""
    found: defaultdict[bytes, list[int]] = defaultdict(list)
    for bucket, iid in keys:
        if iid in rows:
            found[bucket].append(iid)
    for members in found.values():
        if len(members) > 1:
            yield from pairwise(sorted(members))


def _alike(one: Examined, other: Examined, bags: dict[int, frozenset[str]], ward: Ward) -> bool:
    if one.fold == other.fold or _rights(one) != _rights(other) or one.who != other.who:
        return False  # the same words are told of as duplicates
    if _NUMBER.findall(one.text) != _NUMBER.findall(other.text):
        return False
    if form(one.text) == form(other.text):
        return True
    a, b = _bag(one, bags), _bag(other, bags)
    if (a ^ b) & _DENIALS:
        return False
    return len(a & b) >= ward.limits.alike * len(a | b) > 0


def _bag(row: Examined, bags: dict[int, frozenset[str]]) -> frozenset[str]:
    if row.iid not in bags:
        bags[row.iid] = frozenset(tokens(row.text)) | (
            _DENIALS & frozenset(row.text.casefold().replace("n't", " not").split())
        )
    return bags[row.iid]


def _near(ward: Ward, rows: Sequence[Examined], bags: dict[int, frozenset[str]]) -> Finding:
    """A group; what another one of it says wholly can be folded into that one."""
    fullest = max(rows, key=lambda row: (row.held, len(_bag(row, bags)), row.usage, row.iid))
    inside = [
        row
        for row in rows
        if row is not fullest
        and (form(row.text) == form(fullest.text) or _bag(row, bags) < _bag(fullest, bags))
    ]
    plan = [
        Step(step.repair, (*step.versions, (fullest.id, fullest.version)))
        for row in inside
        for step in ward.step(Fold(row.id, fullest.id), row)
    ]
    return finding(
        Ailment.NEAR_DUPLICATE,
        "nearly the same words",
        items=[row.id for row in rows],
        cube=ward.cubes.get(rows[0].cid),
        plan=plan,
    )


class _Groups:
    """Disjoint sets of numbers."""

    def __init__(self) -> None:
        self._parent: dict[int, int] = {}

    def find(self, one: int) -> int:
        root = one
        while (parent := self._parent.get(root, root)) != root:
            root = parent
        while (parent := self._parent.get(one, one)) != root:
            self._parent[one] = root
            one = parent
        return root

    def join(self, one: int, other: int) -> None:
        a, b = sorted((self.find(one), self.find(other)))
        self._parent[b] = a
        self._parent.setdefault(a, a)

    def groups(self) -> list[list[int]]:
        """The sets of more than one, in order of their smallest."""
        found: defaultdict[int, list[int]] = defaultdict(list)
        for one in sorted(self._parent):
            found[self.find(one)].append(one)
        return [group for _, group in sorted(found.items()) if len(group) > 1]
