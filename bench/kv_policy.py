"""``python -m bench.kv_policy``: prefill saved by expected use, by recency, and at best."""

from __future__ import annotations

from memos_integrations.testing.activation_simulation import (
    at_most,
    by_recency,
    by_worth,
    share_of,
    traces,
)

SHARES = (0.15, 0.05)
SEEDS = (1, 2, 3)
"""Never tuned on: what was tried was tried on seeds 11 to 20."""


def main() -> None:
    """Print a line for each kind of work, seed and size.

    ``at most`` is what no policy can exceed, even one that knows the future; ``possible`` counts
    every request but the first of each context, as if there were room for all.
    """
    print(f"{'work':10}{'seed':>5}{'bytes':>7}{'recency s':>11}{'of possible':>13}", end="")
    print(f"{'ours':>9}{'at most':>9}  x recency")
    for share in SHARES:
        for seed in SEEDS:
            for name, trace in traces(seed).items():
                capacity = share_of(trace, share)
                ours, lru = by_worth(trace, capacity), by_recency(trace, capacity)
                base = lru.saved_seconds
                print(
                    f"{name:10}{seed:5}{share:7.0%}{base:11.0f}{base / lru.possible_seconds:13.0%}"
                    f"{ours.saved_seconds / base:9.2f}{at_most(trace, capacity) / base:9.2f}"
                )


if __name__ == "__main__":
    main()
