"""Whether an adapter may be published: what was measured of it beside what it must reach. Pure."""

from __future__ import annotations

from memos_integrations.infrastructure.parametric.recipe import Figures, Gates, Verdict


def judged(figures: Figures, gates: Gates, *, replayed: bool) -> Verdict:
    """The verdict, with every gate in words. ``replayed``: old knowledge could be measured."""
    teacher = figures.teacher_agreement - gates.recall_below_teacher
    beside = figures.distracted_teacher - gates.recall_below_teacher
    among = max(0.0, min(gates.distracted_recall, beside))
    passed = [
        _at_least("recall", figures.recall, teacher),
        _at_least("recall in a form never trained", figures.held_out_recall, teacher),
        _at_least("the same, by itself", figures.held_out_recall, gates.held_out_recall),
        _at_least("recall among other memories", figures.distracted_recall, among),
        _at_most("drift on canaries (nats)", figures.drift_kl, gates.drift_kl, "{:.3f}"),
    ]
    if replayed:
        loss = figures.old_knowledge_loss
        passed.append(_at_most("old knowledge lost", loss, gates.old_knowledge_loss, "{:.1%}"))
    else:
        words = "old knowledge was not measured: host the model with replay questions"
        passed.append((gates.old_knowledge_loss >= 1, words))
    return Verdict(all(ok for ok, _ in passed), tuple(_told(ok, words) for ok, words in passed))


def _at_least(name: str, figure: float, least: float) -> tuple[bool, str]:
    return figure >= least, f"{name}: {figure:.1%}, at least {least:.1%} wanted"


def _at_most(name: str, figure: float, most: float, form: str) -> tuple[bool, str]:
    return figure <= most, f"{name}: {form.format(figure)}, at most {form.format(most)} wanted"


def _told(passed: bool, words: str) -> str:
    return f"{'passed' if passed else 'failed'}: {words}"
