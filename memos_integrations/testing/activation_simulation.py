"""A simulator of a tier of KV-caches: seeded traces, our policy, LRU and the best there can be.

What counts is the prefill that hits save, in seconds of a model whose prefill costs grow a little
faster than the tokens (the attention's part, as in a model of 7 billion parameters; in a small one
it is larger). No model is needed. ``bench`` prints it, the tests hold it.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from memos_integrations.infrastructure.activation.eviction import Artifact, Frequencies, Residents

BYTES_PER_TOKEN = 12_288
"""Two tensors of 12 layers, 4 key-value heads of 64 numbers, 2 bytes each."""
SECONDS_PER_TOKEN = 1e-3
SECONDS_PER_TOKEN_SQUARED = 2e-8
_DAY_SECONDS = 86_400.0
_ONCE = 0.3
"""Share of requests over a context of their own: a pasted page, a tool's answer. Of what content
networks are asked for, more than this is asked for once (Maggs and Sitaraman 2015: 74 %)."""


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt over a context: when it is asked, and which artifact would serve it."""

    at: float
    artifact: Artifact


@dataclass(frozen=True, slots=True)
class Served:
    """What a policy saved on a trace, of what there was to save after each first time."""

    saved_seconds: float
    possible_seconds: float
    hits: int
    most_bytes: int
    """The most it held at any time."""


def traces(seed: int) -> dict[str, list[Request]]:
    """Four kinds of work: interests that drift, scans between them, sessions one after another, and
    tenants at once, each with contexts of its own length; and a day of one machine that does all
    four at once."""
    kinds = {
        "drift": list(_drifting(random.Random(seed))),
        "scans": list(_scanning(random.Random(seed + 1))),
        "sessions": list(_sessions(random.Random(seed + 2))),
        "tenants": sorted(_tenants(random.Random(seed)), key=lambda each: each.at),
    }
    return kinds | {"day": _at_once(kinds)}


def share_of(trace: Sequence[Request], share: float) -> int:
    """So many bytes are ``share`` of all distinct artifacts of the trace together."""
    distinct = {each.artifact.key: each.artifact.bytes for each in trace}
    return int(share * sum(distinct.values()))


def by_worth(trace: Sequence[Request], capacity_bytes: int) -> Served:
    """The trace under ``Residents``."""
    tier = Residents(capacity_bytes, Frequencies())

    def ask(request: Request) -> bool:
        if tier.touch(request.artifact.key, request.at):
            return True
        verdict = tier.offer(request.artifact, request.at)
        if verdict.admitted:
            for key in verdict.evicted:
                tier.remove(key)
            tier.place(request.artifact)
        return False

    return _served(trace, ask, lambda: tier.used_bytes)


def by_recency(trace: Sequence[Request], capacity_bytes: int) -> Served:
    """The trace under plain LRU, the baseline."""
    held: OrderedDict[str, int] = OrderedDict()
    used = 0

    def ask(request: Request) -> bool:
        nonlocal used
        key, size = request.artifact.key, request.artifact.bytes
        if key in held:
            held.move_to_end(key)
            return True
        if size <= capacity_bytes:
            while used + size > capacity_bytes:
                used -= held.popitem(last=False)[1]
            held[key] = size
            used += size
        return False

    return _served(trace, ask, lambda: used)


def at_most(trace: Sequence[Request], capacity_bytes: int) -> float:
    """Seconds that no policy can save more than, not even one that knows the future.

    To serve a request its cache must lie there since the request before it. Each such wait costs
    bytes x requests passed, of which there are ``capacity_bytes x len(trace)`` in all: taken are
    the waits that save most for that, the last one in part. Whatever a policy keeps fits this
    budget, so it saves no more (the relaxation of Berger, Beckmann and Harchol-Balter 2018).
    """
    left, saved = float(capacity_bytes * len(trace)), 0.0
    waits = [each for each in _waits(trace) if each[1].bytes <= capacity_bytes]
    waits.sort(key=lambda each: each[1].saved_seconds / (each[0] * each[1].bytes), reverse=True)
    for passed, artifact in waits:
        part = min(1.0, left / (passed * artifact.bytes))
        saved += part * artifact.saved_seconds
        left -= part * passed * artifact.bytes
        if part < 1.0:
            break
    return saved


def _waits(trace: Sequence[Request]) -> Iterator[tuple[int, Artifact]]:
    """For every request but the first of each cache: how many requests ago it was asked for."""
    last: dict[str, int] = {}
    for n, request in enumerate(trace):
        if request.artifact.key in last:
            yield n - last[request.artifact.key], request.artifact
        last[request.artifact.key] = n


def _served(
    trace: Sequence[Request], ask: Callable[[Request], bool], used: Callable[[], int]
) -> Served:
    saved = possible = 0.0
    hits = most = 0
    seen: set[str] = set()
    for request in trace:
        if request.artifact.key in seen:
            possible += request.artifact.saved_seconds
        seen.add(request.artifact.key)
        if ask(request):
            hits += 1
            saved += request.artifact.saved_seconds
        most = max(most, used())
    return Served(saved, possible, hits, most)


def _artifact(key: str, tokens: int) -> Artifact:
    seconds = SECONDS_PER_TOKEN * tokens + SECONDS_PER_TOKEN_SQUARED * tokens * tokens
    return Artifact(key, tokens * BYTES_PER_TOKEN, seconds)


def _contexts(rng: random.Random, prefix: str, count: int) -> list[Artifact]:
    """Contexts of 200 to 16,000 tokens, most of them short."""
    lengths = (int(min(16_000, max(200, rng.lognormvariate(7.2, 1.0)))) for _ in range(count))
    return [_artifact(f"{prefix}{n}", tokens) for n, tokens in enumerate(lengths)]


def _zipf(count: int, exponent: float) -> list[float]:
    return list(accumulate(1.0 / (rank**exponent) for rank in range(1, count + 1)))


def _drifting(rng: random.Random) -> Iterator[Request]:
    """A fifth of the interests change places each 2,000 requests; 3 in 10 contexts never return."""
    contexts = _contexts(rng, "c", 600)
    weights = _zipf(len(contexts), 0.9)
    once = iter(_contexts(rng, "o", 12_000))
    for n in range(12_000):
        if rng.random() < _ONCE:
            yield Request(float(n), next(once))
            continue
        if n % 2_000 == 0:
            for _ in range(len(contexts) // 5):
                a, b = rng.randrange(len(contexts)), rng.randrange(len(contexts))
                contexts[a], contexts[b] = contexts[b], contexts[a]
        [chosen] = rng.choices(contexts, cum_weights=weights)
        yield Request(float(n), chosen)


def _scanning(rng: random.Random) -> Iterator[Request]:
    """Steady interests; every 1,000 requests a job reads 300 documents once."""
    contexts = _contexts(rng, "c", 400)
    weights = _zipf(len(contexts), 0.9)
    scanned = _contexts(rng, "s", 300)
    at = 0.0
    for n in range(10_000):
        if n % 1_000 == 500:
            for each in scanned:
                at += 0.2
                yield Request(at, each)
        at += 1.0
        [chosen] = rng.choices(contexts, cum_weights=weights)
        yield Request(at, chosen)


def _sessions(rng: random.Random) -> Iterator[Request]:
    """Sessions come and go; each mixes its own context with those of its tenant."""
    tenants = [_contexts(rng, f"t{tenant}-", 40) for tenant in range(12)]
    weights = _zipf(40, 0.8)
    at = 0.0
    for session in range(900):
        tenant = rng.choices(tenants, weights=[1.0 / (n + 1) for n in range(12)])[0]
        own = _artifact(f"own{session}", int(rng.lognormvariate(6.5, 0.8)) + 100)
        for _ in range(rng.randrange(2, 16)):
            at += rng.expovariate(1.0)
            mine = rng.random() < 0.35
            yield Request(at, own if mine else rng.choices(tenant, cum_weights=weights)[0])


def _tenants(rng: random.Random) -> Iterator[Request]:
    """Sessions of twelve tenants overlap, with some 20 seconds between two turns; six times a job
    of one of them reads 200 documents once. Not in the order of time."""
    lengths = [rng.lognormvariate(7.6, 0.9) for _ in range(12)]
    contexts = [
        [_about(rng, length, f"t{n}-{i}") for i in range(40)] for n, length in enumerate(lengths)
    ]
    busy, liked = [1.0 / (n + 1) ** 0.7 for n in range(12)], _zipf(40, 0.9)
    began = 0.0
    for session in range(1_200):
        began += rng.expovariate(1 / 20.0)
        tenant = rng.choices(range(12), weights=busy)[0]
        own, at = _about(rng, lengths[tenant], f"own{session}"), began
        for _ in range(rng.randrange(2, 16)):
            mine = rng.random() < 0.35
            yield Request(at, own if mine else rng.choices(contexts[tenant], cum_weights=liked)[0])
            at += rng.lognormvariate(3.0, 1.0)
    for job in range(6):
        length = lengths[rng.randrange(12)]
        for n in range(200):
            at = began * (job + 0.5) / 6 + 0.5 * n
            yield Request(at, _about(rng, length, f"read{job}-{n}"))


def _at_once(kinds: Mapping[str, Sequence[Request]]) -> list[Request]:
    """All of these in one day: each is stretched until its last request falls on the day's end, and
    shares no artifact with the others."""
    return sorted(
        (
            Request(
                each.at * _DAY_SECONDS / trace[-1].at,
                replace(each.artifact, key=f"{kind} {each.artifact.key}"),
            )
            for kind, trace in kinds.items()
            for each in trace
        ),
        key=lambda each: each.at,
    )


def _about(rng: random.Random, length: float, key: str) -> Artifact:
    return _artifact(key, int(min(32_000, max(200, rng.lognormvariate(0.0, 0.5) * length))))
