"""The examinations of a checkup, one function each: a ward in, findings out.

Pure and linear in the number of memories. Called by the facade with one governed snapshot.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from memos_integrations.cube.embedded import is_given
from memos_integrations.cube.ops import ActivateOp, ArchiveOp
from memos_integrations.infrastructure.vault.examined import Claim, Examined, Job, Source
from memos_integrations.operation.analytics.findings import (
    Ailment,
    Expire,
    Finding,
    Mask,
    Project,
    Reembed,
    Refine,
    Repair,
    Requeue,
    Severity,
    Step,
    finding,
)
from memos_integrations.operation.analytics.likenesses import duplicates, near_duplicates
from memos_integrations.operation.analytics.ward import (
    DAY,
    MICROS,
    STANDING,
    Ward,
    gathered,
)
from memos_integrations.operation.analytics.words import junk, secrets_in

Examination = Callable[[Ward], list[Finding]]
_TRUST = ("import", "web", "tool", "inference", "user")
_IN_TURNS = ("plaintext",)
_GONE = (None, "deleted", "expired", "archived")
_SUMMARIES = "consolidation/"


def examine(ward: Ward) -> list[Finding]:
    """Every finding of the kinds asked for, the gravest first."""
    found = [
        each
        for kind, look in EXAMINATIONS.items()
        if kind in ward.limits.kinds
        for each in look(ward)
    ]
    order = list(Severity)
    return sorted(found, key=lambda each: (order.index(each.severity), _KINDS.index(each.kind)))


# -- words -----------------------------------------------------------------------------------------


def secrets(ward: Ward) -> list[Finding]:
    """Memories whose stored words hold a secret. Says which kinds, never which words."""
    bare: list[tuple[Examined, str, Repair | None]] = []
    masked: list[tuple[Examined, str, Repair | None]] = []
    for row in ward.rows:
        kinds, unmasked = secrets_in(row.text, row.spans)
        if kinds:
            # A fact is drawn anew once the words it was drawn from are masked.
            repair = None if row.drawn_from is not None else Mask(row.id)
            why = f"holds {', '.join(kinds)}: masking leaves earlier versions, erase does not"
            (bare if unmasked else masked).append((row, why, repair))
    found = gathered(ward, Ailment.SECRET, bare)
    return found + gathered(ward, Ailment.SECRET, masked, severity=Severity.WARNING)


def junk_words(ward: Ward) -> list[Finding]:
    """Memories that say nothing."""
    told = (
        (row, why, ArchiveOp(row.id, reason=f"checkup: {why}"))
        for row in ward.standing
        if row.kind in _IN_TURNS and not row.named
        if (why := junk(row.text, longest=ward.limits.longest)) is not None
    )
    return gathered(ward, Ailment.JUNK, told)


# -- truth -----------------------------------------------------------------------------------------


def contradictions(ward: Ward) -> list[Finding]:
    """Pairs of memories that hold at once and cannot both be right."""
    pairs = dict.fromkeys([*_disputed(ward), *_clashing(ward)])
    return [_contradiction(ward, ward.by_iid[a], ward.by_iid[b]) for a, b in pairs]


def _disputed(ward: Ward) -> list[tuple[int, int]]:
    """Pairs with a ``contradicts`` link that has not been settled."""
    up = {row.iid for row in ward.standing}
    return [(min(p), max(p)) for p in ward.disputes if p[0] in up and p[1] in up]


def _clashing(ward: Ward) -> list[tuple[int, int]]:
    """Pairs of facts of one slot: each with the one before that says otherwise."""
    up = {row.iid for row in ward.standing}
    slots: defaultdict[tuple[int, bytes], list[Claim]] = defaultdict(list)
    for claim in ward.claims:
        if claim.iid in up:
            slots[claim.cid, claim.slot].append(claim)
    return [pair for slot in slots.values() for pair in _clashes(slot)]


def _clashes(slot: Sequence[Claim]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    latest: dict[tuple[bytes, int], Claim] = {}
    last: Claim | None = None
    for claim in slot:
        denied = latest.get((claim.value, 1 - claim.negated))
        if denied is not None:
            found.append((denied.iid, claim.iid))
        if claim.single and not claim.negated:
            if last is not None and last.value != claim.value:
                found.append((last.iid, claim.iid))
            last = claim
        latest[claim.value, claim.negated] = claim
    return found


def _contradiction(ward: Ward, one: Examined, other: Examined) -> Finding:
    """The later of equally trusted ones holds; where neither is later, a person decides."""
    a, b = (_standing_of(row) for row in (one, other))
    plan: list[Step] = []
    if a != b:
        weaker = one if a < b else other
        plan = ward.step(ArchiveOp(weaker.id, reason="checkup: contradicted"), weaker)
    return finding(
        Ailment.CONTRADICTION,
        "both hold, and they contradict each other",
        items=(one.id, other.id),
        cube=ward.cubes.get(one.cid),
        plan=plan,
    )


def _standing_of(row: Examined) -> tuple[int, int]:
    return _TRUST.index(row.trust), row.time


def orphans(ward: Ward) -> list[Finding]:
    """Derived memories that nothing is left of to rest on, and that nobody was told of."""
    rests = _sources(ward)
    told = (
        (row, "all it was derived from is gone", ArchiveOp(row.id, reason="checkup: orphaned"))
        for row in ward.standing
        if row.iid in rests and all(each.state in _GONE for each in rests[row.iid])
    )
    return gathered(ward, Ailment.ORPHANED, told)


def stale_ones(ward: Ward) -> list[Finding]:
    """Memories that wait to be confirmed or taken out, since a source changed."""
    rests = _sources(ward)
    told = (
        (row, *_what_became(row, rests.get(row.iid, ())))
        for row in ward.rows
        if row.stale and row.state in STANDING and row.iid not in ward.waiting
    )
    return gathered(ward, Ailment.STALE, told)


def _what_became(row: Examined, rests: Sequence[Source]) -> tuple[str, Repair | None]:
    if (row.model or "").startswith(_SUMMARIES):
        return "a source changed; consolidate writes it anew", None
    back = [s for s in rests if s.state in STANDING and not s.stale and s.same_words]
    if rests and len(back) == len(rests):
        return "its sources say again what they said", ActivateOp(row.id, reason="checkup: holds")
    return "a source changed since", ArchiveOp(row.id, reason="checkup: stale")


def _sources(ward: Ward) -> Mapping[int, list[Source]]:
    found: defaultdict[int, list[Source]] = defaultdict(list)
    for source in ward.sources:
        found[source.iid].append(source)
    return found


def expired(ward: Ward) -> list[Finding]:
    """Memories whose time ran out and that still hold their words."""
    told = ((row, "its time ran out; upkeep has not come by", Expire(row.id)) for row in ward.due)
    return gathered(ward, Ailment.EXPIRED, told)


def never_read(ward: Ward) -> list[Finding]:
    """Memories that no search has shown for a long time after they came."""
    before = ward.now - int(ward.limits.unread_days * DAY)
    why = f"not shown once in {ward.limits.unread_days:g} days"
    told = (
        (row, why, ArchiveOp(row.id, reason="checkup: never read"))
        for row in ward.standing
        if not row.usage and row.created <= before and row.drawn_from is None
        if row.priority <= 0 and not row.named
    )
    return gathered(ward, Ailment.NEVER_READ, told)


def quarantined(ward: Ward) -> list[Finding]:
    """Sources that somebody put under quarantine, with what they brought."""
    hidden: defaultdict[int, list[str]] = defaultdict(list)
    for row in ward.rows:
        if row.quarantined:
            hidden[row.cid].append(row.id)
    barred: defaultdict[int, list[str]] = defaultdict(list)
    for cid, source in ward.barred:
        barred[cid].append(source)
    return [
        finding(
            Ailment.QUARANTINED,
            f"{len(barred[cid])} sources are quarantined: release or erase them",
            items=hidden[cid],
            cube=ward.cubes.get(cid),
        )
        for cid in sorted(hidden.keys() | barred.keys())
    ]


# -- machinery -------------------------------------------------------------------------------------


def without_vector(ward: Ward) -> list[Finding]:
    """Memories that search by meaning cannot see, and no task is about to change that."""
    if ward.model is None:
        return []
    told = (
        (row, "it has no vector", Refine(row.id))
        for row in ward.standing
        if row.embedded_by is None
        and row.kind in _IN_TURNS
        and row.iid not in ward.waiting
        and not is_given(ward.models.get(row.cid))
    )
    return gathered(ward, Ailment.NO_VECTOR, told)


def other_models(ward: Ward) -> list[Finding]:
    """Cubes that searches with the present embedder are refused on."""
    if ward.model is None:
        return []
    return [
        finding(
            Ailment.OTHER_MODEL,
            f"embedded by {model}, not {ward.model}",
            cube=ward.cubes.get(cid),
            plan=[Step(Reembed(ward.cubes[cid]))] if cid in ward.open_cubes else [],
        )
        for cid, model in ward.models.items()
        if model != ward.model and not is_given(model)
    ]


def failed_tasks(ward: Ward) -> list[Finding]:
    """Tasks that used up their attempts."""
    failed = [job for job in ward.jobs if job.state == "failed"]
    return _job_findings(ward, Ailment.TASK_FAILED, failed, lambda job: job.why or "failed")


def stuck_tasks(ward: Ward) -> list[Finding]:
    """Tasks that are due, or whose worker is gone, for so long that nobody seems to work."""
    since = ward.now - int(ward.limits.stuck_seconds * MICROS)
    stuck = [
        job
        for job in ward.jobs
        if (job.state == "waiting" and job.not_before < since)
        or (job.state == "running" and (job.lease_until or 0) < since)
    ]
    whys = {"waiting": "due for long: run `memos worker`", "running": "its worker is gone"}
    return _job_findings(ward, Ailment.TASK_STUCK, stuck, lambda job: whys[job.state])


def _job_findings(
    ward: Ward, kind: Ailment, jobs: Sequence[Job], why: Callable[[Job], str]
) -> list[Finding]:
    groups: defaultdict[tuple[int, str], list[Job]] = defaultdict(list)
    for job in jobs:
        groups[job.cid, f"{job.kind}: {why(job)}"].append(job)
    return [
        finding(
            kind,
            told,
            tasks=[job.id for job in group],
            cube=ward.cubes.get(cid),
            plan=[Step(Requeue(job.id)) for job in group] if cid in ward.open_cubes else [],
        )
        for (cid, told), group in groups.items()
    ]


def behind(ward: Ward) -> list[Finding]:
    """Outside engines that have not seen all of a cube's log. Reads fill the gap meanwhile."""
    return [
        finding(
            Ailment.BEHIND,
            f"the outside engine is {lag} places of the log behind",
            cube=ward.cubes.get(cid),
            plan=[Step(Project(ward.cubes[cid]))] if cid in ward.open_cubes else [],
        )
        for cid, lag in ward.lags.items()
        if lag > 0
    ]


EXAMINATIONS: Mapping[Ailment, Examination] = MappingProxyType(
    {
        Ailment.SECRET: secrets,
        Ailment.OTHER_MODEL: other_models,
        Ailment.CONTRADICTION: contradictions,
        Ailment.ORPHANED: orphans,
        Ailment.STALE: stale_ones,
        Ailment.NO_VECTOR: without_vector,
        Ailment.TASK_FAILED: failed_tasks,
        Ailment.TASK_STUCK: stuck_tasks,
        Ailment.BEHIND: behind,
        Ailment.QUARANTINED: quarantined,
        Ailment.EXPIRED: expired,
        Ailment.DUPLICATE: duplicates,
        Ailment.NEAR_DUPLICATE: near_duplicates,
        Ailment.JUNK: junk_words,
        Ailment.NEVER_READ: never_read,
    }
)
_KINDS = list(Ailment)
