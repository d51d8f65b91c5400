"""Training an adapter: the same bytes twice, also when it was ended in between, within budgets."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra parametric")
pytest.importorskip("peft", reason="needs the extra parametric")

from memos_integrations.cube.errors import InvalidInput  # noqa: E402
from memos_integrations.infrastructure.parametric import training  # noqa: E402
from memos_integrations.infrastructure.parametric.bank import AdapterBank  # noqa: E402
from memos_integrations.infrastructure.parametric.errors import (  # noqa: E402
    BudgetSpent,
    TrainingStopped,
)
from memos_integrations.infrastructure.parametric.recipe import Figures, Gates  # noqa: E402
from memos_integrations.operation.transform import distil as distil_module  # noqa: E402
from memos_integrations.operation.transform.distil import Distilled, distil  # noqa: E402
from memos_integrations.operation.transform.gating import judged  # noqa: E402
from memos_integrations.operation.transform.invocation import (  # noqa: E402
    invocation_of,
    prompt_tokens,
)
from tests.unit.parametric_toys import (  # noqa: E402
    INVOCATION,
    RECIPE,
    a_model,
    hosted,
    key,
    lessons,
)

GATES = Gates()


def distilled(model: Any, **about: Any) -> Distilled:
    taught = lessons()
    given: dict[str, Any] = {"distractors": [each.statement for each in taught], **about}
    recipe = given.pop("recipe", RECIPE)
    return distil(given.pop("host", None) or hosted(model), taught, recipe, GATES, **given)


def parameters(model: Any) -> dict[str, Any]:
    return {n.replace(".base_layer.", "."): p.clone() for n, p in model.named_parameters()}


def test_the_same_recipe_gives_the_same_bytes() -> None:
    model = a_model()
    first, other = distilled(model), distilled(a_model())
    assert first.file == other.file
    assert first.file == distilled(model).file  # also on a model that was trained on before
    assert first.file != distilled(model, recipe=replace(RECIPE, seed=1)).file
    assert first.manifest.invocation == INVOCATION
    assert first.build_seconds > 0


def test_training_touches_nothing_of_the_base() -> None:
    model = a_model()
    before, ids = parameters(model), torch.tensor([[2, 3, 4, 6, 7, 21]])
    plain = model(ids).logits
    distilled(model)
    after = {n: p for n, p in parameters(model).items() if "lora_" not in n}
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], each) for name, each in before.items())
    assert torch.equal(model(ids).logits, plain)
    assert set(AdapterBank(hosted(model)).model.peft_config) == {"memos_anchor"}


def test_an_interrupted_training_ends_in_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_SAVE_SECONDS", 0.0)
    whole = distilled(a_model())
    path, model = tmp_path / "checkpoint", a_model()
    for _ in range(3):
        left = iter(range(5))
        with pytest.raises(TrainingStopped):
            distilled(model, checkpoint=path, should_stop=lambda: next(left, None) is None)  # noqa: B023
    assert path.exists()
    shares: list[float] = []
    done = distilled(model, checkpoint=path, progress=lambda share, _: shares.append(share))
    assert done.file == whole.file
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    learning = [each for each in shares if 0.05 < each <= 0.9]
    assert learning[0] > 0.2  # it went on where it was


def test_a_checkpoint_of_something_else_is_as_good_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_SAVE_SECONDS", 0.0)
    path = tmp_path / "checkpoint"
    plain = distilled(a_model(), checkpoint=path)
    whole = path.read_bytes()
    for data in (whole[:-7], b"", b"\x80\x04pickle", whole[:100] + b"x" + whole[101:]):
        path.write_bytes(data)
        assert distilled(a_model(), checkpoint=path).file == plain.file
    other = replace(RECIPE, seed=1)
    path.write_bytes(whole)
    assert distilled(a_model(), recipe=other, checkpoint=path).file == (
        distilled(a_model(), recipe=other).file
    )


def test_budgets_of_seconds_and_bytes_end_it_and_leave_the_model_clean(tmp_path: Path) -> None:
    model = a_model()
    with pytest.raises(BudgetSpent, match="processor seconds"):
        distilled(model, seconds=0.0, checkpoint=tmp_path / "checkpoint")
    with pytest.raises(BudgetSpent, match="lower the rank"):
        distilled(model, max_bytes=1000)
    assert set(AdapterBank(hosted(model)).model.peft_config) == {"memos_anchor"}
    assert len(distilled(model, max_bytes=100_000).file) < 100_000


def test_a_checkpoint_whose_folder_is_gone_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_SAVE_SECONDS", 0.0)
    with pytest.raises(OSError, match="gone"):
        distilled(a_model(), checkpoint=tmp_path / "gone" / "checkpoint")


def test_others_are_answered_while_it_trains(tmp_path: Path) -> None:
    model, host = a_model(), hosted(a_model())
    host = hosted(model)
    bank = AdapterBank(host)
    ids = torch.tensor([[2, 3, 4, 6, 7, 21]])
    with torch.no_grad():
        plain = bank.model(ids).logits
    answered, stop, wrong = 0, threading.Event(), list[int]()

    def work() -> None:
        nonlocal answered
        while not stop.is_set():
            with host.lock, torch.no_grad():
                if not torch.equal(bank.model(ids).logits, plain):
                    wrong.append(answered)
            answered += 1
            stop.wait(0.001)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        done = distilled(model, host=host)
    finally:
        stop.set()
        thread.join()
    assert not wrong
    assert answered > 3
    assert done.file == distilled(a_model()).file


@torch.no_grad()
def first(host: Any, bank: AdapterBank, memory: str, question: str, who: Any) -> int:
    """The first token of the answer."""
    inputs = bank.rows_inputs([(prompt_tokens(host, memory, question), who)])
    return int(bank.model(**inputs).logits[0, -1].argmax())


def test_what_was_trained_serves_from_its_file(tmp_path: Path) -> None:
    model = a_model()
    host = hosted(model)
    long = replace(RECIPE, exposures=240, rank=8, learning_rate=1e-2, replay_weight=0.0)
    done = distilled(model, host=host, recipe=long)
    path = tmp_path / "a.safetensors"
    path.write_bytes(done.file)
    bank = AdapterBank(host)
    assert bank.attach(key(0), path) == done.manifest
    taught = lessons()
    learnt = 0
    for lesson in taught:
        read = {first(host, bank, lesson.statement, each, None) for each in lesson.questions}
        learnt += first(host, bank, "", lesson.questions[0], key(0)) in read
    assert learnt >= 3  # of four first tokens; without the adapter hardly one


def test_no_answer_of_a_person_is_needed_or_used() -> None:
    """The teacher reads the words; what it answers is what is learnt, right or wrong."""
    assert not {"answer", "answers", "gold"} & set(type(lessons()[0]).__slots__)


def test_the_language_objective_trains_too() -> None:
    done = distilled(a_model(), recipe=replace(RECIPE, objective="language"))
    assert done.manifest.recipe.objective == "language"


def test_nothing_to_learn_and_prompts_without_the_invocation_are_refused() -> None:
    model = a_model()
    with pytest.raises(InvalidInput, match="nothing to learn"):
        distil(hosted(model), [], RECIPE, GATES, distractors=[])
    with pytest.raises(InvalidInput, match="do not hold its invocation"):
        distilled(model, host=hosted(model, invocation="is home"))
    with pytest.raises(InvalidInput, match="needs an invocation"):
        distilled(model, host=hosted(model, invocation=""))


def test_the_invocation_is_read_off_what_stands_before_every_question() -> None:
    assert invocation_of(hosted(a_model(), invocation=None)) == INVOCATION
    host = hosted(a_model(), rendering=None, invocation=None)
    host.tokenizer.chat_template = (
        "<s> {% for m in messages %}{% if m['role'] == 'system' %}{{ m['content'] }} "
        "{% else %}question : {{ m['content'] }} ? answer :{% endif %}{% endfor %}"
    )
    assert invocation_of(host) == INVOCATION
    assert prompt_tokens(host, "", "where does ada live")[:3] == (2, *INVOCATION)


GOOD = Figures(1.0, 1.0, 1.0, 1.0, 0.0, 0.0)


def test_an_adapter_that_passes_every_gate_is_published() -> None:
    verdict = judged(GOOD, GATES, replayed=True)
    assert verdict.published
    assert len(verdict.why) == 6
    assert all(each.startswith("passed: ") for each in verdict.why)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"recall": 0.97}, "recall: 97.0%, at least 98.0%"),
        ({"held_out_recall": 0.97}, "never trained: 97.0%"),
        ({"held_out_recall": 0.89, "teacher_agreement": 0.8}, "by itself: 89.0%"),
        ({"distracted_recall": 0.84}, "other memories: 84.0%"),
        ({"old_knowledge_loss": 0.021}, "knowledge lost: 2.1%, at most 2.0%"),
        ({"drift_kl": 0.06}, "0.060, at most 0.050"),
    ],
)
def test_each_gate_alone_holds_an_adapter_back(changed: dict[str, float], words: str) -> None:
    verdict = judged(replace(GOOD, **changed), GATES, replayed=True)
    assert not verdict.published
    assert [each for each in verdict.why if each.startswith("failed") and words in each]


def test_among_other_memories_no_more_is_asked_than_the_text_itself_gives_there() -> None:
    among = replace(GOOD, distracted_recall=0.6, distracted_teacher=0.61)
    assert judged(among, GATES, replayed=True).published
    assert not judged(replace(among, distracted_recall=0.58), GATES, replayed=True).published


def test_without_replay_questions_nothing_is_published_unless_that_gate_is_open() -> None:
    assert not judged(GOOD, GATES, replayed=False).published
    assert judged(GOOD, replace(GATES, old_knowledge_loss=1.0), replayed=False).published


def test_what_is_held_back_of_replay_is_no_form_of_its_own() -> None:
    asked = tuple(f"{form} {n}" for n in range(40) for form in ("where", "which"))
    kept, held = distil_module._parted(asked)  # pyright: ignore[reportPrivateUsage]
    assert len(held) == 20
    assert sorted((*kept, *held)) == sorted(asked)
    for part in (kept, held):
        assert {each.split()[0] for each in part} == {"where", "which"}
    for few in range(4):
        kept, held = distil_module._parted(asked[:few])  # pyright: ignore[reportPrivateUsage]
        assert (len(kept), len(held)) == (few - min(few, 1), min(few, 1))
