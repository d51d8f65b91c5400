"""``python -m bench.kv_policy``: prefill saved by what is worth its bytes, and by recency."""

from __future__ import annotations

from memos_integrations.testing.activation_simulation import (
    by_recency,
    by_worth,
    share_of,
    traces,
)

SHARE = 0.15
SEEDS = (1, 2, 3)


def main() -> None:
    """Print a line for each kind of work and seed; what there was to save is the limit."""
    print(f"{'work':12}{'seed':>6}{'ours s':>10}{'recency s':>11}{'ratio':>8}{'of possible':>13}")
    for seed in SEEDS:
        for name, trace in traces(seed).items():
            capacity = share_of(trace, SHARE)
            ours, lru = by_worth(trace, capacity), by_recency(trace, capacity)
            ratio = ours.saved_seconds / lru.saved_seconds
            share = ours.saved_seconds / ours.possible_seconds
            print(
                f"{name:12}{seed:6}{ours.saved_seconds:10.0f}{lru.saved_seconds:11.0f}"
                f"{ratio:8.2f}{share:13.0%}"
            )


if __name__ == "__main__":
    main()
