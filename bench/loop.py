"""``python -m bench.loop [--quick] [--svg FILE]``: text, KV-caches, adapters, or the loop.

A seeded trace of questions over people's profiles, with interests that rise and fall, sweeps,
corrections and questions about others, put to one small trained model in four ways: the profile as
text before each question, as KV-caches, as adapters, and in whatever form the scheduler decides
on. All forwards and trainings are real, on one thread; the arms take turns in blocks.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from bench.loop_arms import SETTINGS, Adapted, Arm, Cached, Looped
from bench.loop_picture import Curve, picture
from bench.loop_world import Trace, World, trace
from bench.measure import table
from memos_integrations import MOS

_BLOCK = 100
_HEADS = (
    "arm",
    "answering s",
    "building s",
    "model s",
    "x text",
    "all s",
    "x text",
    "accuracy",
)


def found_by_search(happenings: Trace) -> tuple[list[bool], float]:
    """For each event whether a search of the asker's memories names what is asked for; and what
    these searches took in processor seconds. The same for all arms."""
    found: list[bool] = []
    with MOS(None, embedder=None, settings=SETTINGS) as mos:
        for person, memories in zip(happenings.people, happenings.memories, strict=True):
            mos.add(list(memories.values()), user=person.lower())
        mos.work()
        began = time.process_time()
        for event in happenings.events:
            person = happenings.people[event.cube]
            hits = (
                mos.search(event.question, user=person.lower(), limit=1) if event.question else []
            )
            found.append(bool(hits) and person in event.question and person in hits[0].text)
        return found, time.process_time() - began


def play(
    kinds: Sequence[type[Arm]], happenings: Trace, found: Sequence[bool]
) -> tuple[list[Arm], list[list[float]]]:
    """The arms after the trace, and the model seconds of each after every block."""
    world = World.invented()
    arms = [kind(world, happenings) for kind in kinds]
    curves: list[list[float]] = [[arm.spent.model] for arm in arms]
    for start in range(0, len(happenings.events), _BLOCK):
        block = happenings.events[start : start + _BLOCK]
        for arm, curve in zip(arms, curves, strict=True):
            for n, event in enumerate(block, start):
                arm.happen(event, found=found[n])
            arm.tend()
            curve.append(arm.spent.model)
    return arms, curves


def show(arms: Sequence[Arm], searched: float) -> None:
    """Print the arms side by side, and the best single form in hindsight."""
    text = arms[0].spent
    rows = [
        (
            arm.name,
            f"{arm.spent.answering:.1f}",
            f"{arm.spent.building:.1f}",
            f"{arm.spent.model:.1f}",
            f"{arm.spent.model / text.model:.2f}",
            f"{arm.spent.all + searched:.1f}",
            f"{(arm.spent.all + searched) / (text.all + searched):.2f}",
            f"{arm.spent.accuracy:.3f}",
        )
        for arm in arms
    ]
    print("\n".join(table(_HEADS, rows)))
    single = [a for a in arms if not isinstance(a, Looped)]
    able = [a for a in single if a.spent.accuracy >= text.accuracy - 0.01]
    best = min(able, key=lambda arm: arm.spent.model)
    print(f"\nbest single form in hindsight: {best.name}, {best.spent.model:.1f} s of the model")
    print(f"searching for every question: {searched:.1f} s, the same for all, in 'all s'")
    for arm in arms:
        if isinstance(arm, Adapted):
            print(f"adapters: {arm.learnt}")
        if isinstance(arm, Looped):
            steps: dict[str, int] = {}
            for _, step, form in arm.moves:
                steps[f"{step} {form}"] = steps.get(f"{step} {form}", 0) + 1
            told = ", ".join(f"{count} x {step}" for step, count in sorted(steps.items()))
            print(f"the loop moved: {told or 'nothing'}; it answered from {arm.taken}")


def main(
    *,
    quick: bool = False,
    seed: int = 1,
    svg: Path | None = None,
    adapters: bool = True,
) -> list[Arm]:
    """Play the trace, print the table, draw the curves where ``svg`` names a file."""
    torch.set_num_threads(1)
    world = World.invented()
    people, questions = (8, 1_000) if quick else (60, 10_000)
    happenings = trace(
        world,
        seed=seed,
        people=people,
        questions=questions,
        drift_every=questions // 10,
        scan_every=questions // 4,
        correct_every=questions // 20 if quick else 100,
    )
    found, searched = found_by_search(happenings)
    kinds: list[type[Arm]] = [Arm, Cached, *([Adapted] if adapters else []), Looped]
    arms, curves = play(kinds, happenings, found)
    try:
        print(f"{happenings.questions} questions over {people} profiles of four memories\n")
        show(arms, searched)
    finally:
        for arm in arms:
            arm.close()
    if svg is not None:
        named = [Curve(arm.name, curve) for arm, curve in zip(arms, curves, strict=True)]
        svg.write_text(picture(named, questions=happenings.questions), "utf-8")
    return arms


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.loop", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1,000 questions over 8 profiles")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the seconds into this file")
    parser.add_argument("--without-adapters", action="store_true", help="leave that arm out")
    parser.add_argument("--seed", type=int, default=1, help="of the trace")
    given = parser.parse_args()
    main(
        quick=given.quick,
        seed=given.seed,
        svg=given.svg,
        adapters=not given.without_adapters,
    )
