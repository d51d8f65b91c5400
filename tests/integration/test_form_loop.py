"""The loop between text, KV-cache and adapter on a real small model: moved, used, withdrawn."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memos_integrations import MOS, Principal, Settings
from memos_integrations.cube.errors import AccessDenied
from memos_integrations.infrastructure.vault.usage_records import usage_records
from memos_integrations.operation.scheduler.decision import Plan
from memos_integrations.operation.scheduler.placement import Placement
from memos_integrations.testing.fakes import ManualClock

torch = pytest.importorskip("torch", reason="needs the activation extra")
transformers = pytest.importorskip("transformers", reason="needs the activation extra")
pytest.importorskip("peft", reason="needs the parametric extra")

DAY = 86_400.0
TABLES = ("artifact", "cube_form", "cube_heat")
SETTINGS = Settings(worker=False, extract=False)


@pytest.fixture(scope="module")
def model() -> Any:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=384,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
    )
    return transformers.AutoModelForCausalLM.from_config(config).eval()


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return transformers.ByT5Tokenizer()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def mos(tmp_path: Path, clock: ManualClock, model: Any, tokenizer: Any) -> Iterator[MOS]:
    with MOS(tmp_path / "m.db", embedder=None, clock=clock, settings=SETTINGS) as opened:
        opened.host_model("tiny", model, tokenizer, forms=lambda _: ())
        yield opened


def told(mos: MOS, user: str = "ann", count: int = 6) -> list[str]:
    texts = [f"The boiler in cellar {n} was replaced by the red one. " * 6 for n in range(count)]
    ids = [str(mos.add(text, user=user).id) for text in texts]
    mos.work()
    return ids


def asked(mos: MOS, model: Any, tokenizer: Any, *, user: str = "ann", times: int = 4) -> str:
    why = ""
    for n in range(times):
        with mos.activated(model, tokenizer, query=f"Which boiler, {n}?", user=user) as given:
            why = given.why
    return why


def only(plan: Plan) -> Placement:
    (placement,) = plan.placements
    return placement


def forms(mos: MOS) -> set[str]:
    with mos._rooms.vault.readers.snapshot() as connection:
        return {each.form for each in usage_records(connection, now=mos._rooms.vault.now())}


def tasks(mos: MOS, kind: str) -> list[str]:
    with closing(sqlite3.connect(mos.path)) as raw:
        return [s for (s,) in raw.execute("SELECT state FROM task WHERE kind = ?", (kind,))]


def test_what_is_asked_often_is_computed_ahead_kept_and_served(
    mos: MOS, model: Any, tokenizer: Any
) -> None:
    told(mos)
    asked(mos, model, tokenizer)
    planned = only(mos.plan(user="ann"))
    assert (planned.step, planned.from_form, planned.form) == ("promote", "plaintext", "activation")
    assert mos.caches(user="ann")[0].pinned is False  # a plan moves nothing
    assert only(mos.rebalance(user="ann")).fate == "move"
    mos.work()
    (cache,) = mos.caches(user="ann")
    assert (cache.pinned, set(cache.tiers), cache.sources) == (True, {"memory", "disk"}, 6)
    assert only(mos.plan(user="ann")).step == "stay"
    assert forms(mos) == {"activation"}
    stats = mos.stats(user="ann")
    assert (stats["form"], stats["form_bytes"]) == ({"activation": 6}, {"activation": cache.bytes})
    assert sum(mos.stats_over_time(user="ann").form_moves) == 1


def test_the_next_process_finds_it_on_disk(
    mos: MOS, clock: ManualClock, model: Any, tokenizer: Any
) -> None:
    told(mos)
    asked(mos, model, tokenizer)
    mos.rebalance(user="ann")
    mos.work()
    path = mos.path
    mos.close()
    with MOS(path, embedder=None, clock=clock, settings=SETTINGS) as again:
        assert again.plan(user="ann").placements == ()  # it hosts no model
        with again.activated(model, tokenizer, query="Which?", user="ann") as given:
            assert given.cached_tokens > 0
            assert given.computed_tokens == 0


def test_a_correction_puts_the_cube_back_to_text_at_once_and_the_loop_builds_it_again(
    mos: MOS, clock: ManualClock, model: Any, tokenizer: Any
) -> None:
    first = told(mos)[0]
    asked(mos, model, tokenizer)
    mos.rebalance(user="ann")
    mos.work()
    clock.advance(seconds=2000)
    mos.update(first, "The boiler in cellar 0 is out of order.", user="ann")
    assert forms(mos) == {"plaintext"}
    planned = only(mos.plan(user="ann"))
    assert (planned.step, planned.fate, planned.form) == ("refresh", "move", "activation")
    mos.rebalance(user="ann")
    mos.work()
    (cache,) = mos.caches(user="ann")
    assert cache.pinned
    assert forms(mos) == {"activation"}


def test_what_nobody_asks_for_any_more_is_let_go_with_its_file(
    mos: MOS, clock: ManualClock, model: Any, tokenizer: Any
) -> None:
    told(mos)
    asked(mos, model, tokenizer)
    mos.rebalance(user="ann")
    mos.work()
    clock.advance(seconds=60 * DAY)
    assert only(mos.plan(user="ann")).step == "demote"
    mos.rebalance(user="ann")
    mos.work()
    assert mos.caches(user="ann") == []
    assert mos.verify_caches().sound
    assert only(mos.plan(user="ann")).step == "stay"


def test_a_form_stays_its_residence_though_it_pays_no_more(
    mos: MOS, clock: ManualClock, model: Any, tokenizer: Any
) -> None:
    told(mos)
    clock.advance(seconds=DAY)
    asked(mos, model, tokenizer)
    mos._rooms.scheduler.rules = _resting(mos, 365 * DAY)
    mos.rebalance(user="ann")
    mos.work()
    clock.advance(seconds=60 * DAY)
    held = only(mos.plan(user="ann"))
    assert (held.step, held.fate) == ("demote", "held")
    assert "decided less than" in held.reasons[-1]


def _resting(mos: MOS, seconds: float) -> Any:
    rules = mos._rooms.scheduler.rules
    return replace(rules, placing=replace(rules.placing, residence_seconds=seconds))


def test_two_plans_queue_one_task(mos: MOS, model: Any, tokenizer: Any) -> None:
    told(mos)
    asked(mos, model, tokenizer)
    assert len(mos.rebalance(user="ann").form_moves) == 1
    waiting = only(mos.rebalance(user="ann"))
    assert waiting.fate == "held"
    assert "a task for it is queued" in waiting.reasons[-1]
    assert tasks(mos, "activate:tiny") == ["waiting"]


def test_one_question_promotes_nothing(mos: MOS, model: Any, tokenizer: Any) -> None:
    told(mos)
    asked(mos, model, tokenizer, times=1)
    assert only(mos.plan(user="ann")).step == "stay"


def test_reads_of_what_the_user_did_not_say_promote_nothing(
    mos: MOS, model: Any, tokenizer: Any
) -> None:
    for n in range(6):
        mos.add(f"Page {n} says the boiler is green.", user="ann", trust="web")
    mos.work()
    asked(mos, model, tokenizer, times=9)
    planned = only(mos.plan(user="ann"))
    assert planned.step == "stay"
    assert planned.text_seconds == 0


def test_a_build_that_comes_to_nothing_is_left_alone_for_longer_each_time(
    mos: MOS, clock: ManualClock, model: Any, tokenizer: Any
) -> None:
    told(mos)
    asked(mos, model, tokenizer, times=8)
    stage = mos._rooms.adapters._trainers["tiny"]._handlers["activate:tiny"]
    stage._write = lambda items, spoken: ""  # type: ignore[attr-defined]  -- too short to keep
    mos.rebalance(user="ann")
    mos.work()
    refused = only(mos.plan(user="ann"))
    assert (refused.step, refused.fate) == ("refresh", "held")
    assert "1 builds that came to nothing" in refused.reasons[-1]
    clock.advance(seconds=7300)
    assert only(mos.rebalance(user="ann")).fate == "move"
    mos.work()
    clock.advance(seconds=7300)
    assert "2 builds" in only(mos.plan(user="ann")).reasons[-1]


def test_a_model_whose_caches_have_no_codec_is_offered_none(tmp_path: Path, tokenizer: Any) -> None:
    config = transformers.MambaConfig(
        vocab_size=384, hidden_size=32, num_hidden_layers=2, state_size=8
    )
    other = transformers.AutoModelForCausalLM.from_config(config).eval()
    with MOS(tmp_path / "m.db", embedder=None, settings=SETTINGS) as mos:
        mos.host_model("mamba", other, tokenizer, forms=lambda _: ())
        told(mos)
        assert "activation" not in {each.form for each in only(mos.plan(user="ann")).weighed}


def test_another_model_under_the_same_name_finds_nothing_of_the_first(
    mos: MOS, model: Any, tokenizer: Any
) -> None:
    told(mos)
    asked(mos, model, tokenizer)
    mos.rebalance(user="ann")
    mos.work()
    torch.manual_seed(1)
    other = transformers.AutoModelForCausalLM.from_config(model.config).eval()
    mos.host_model("tiny", other, tokenizer, forms=lambda _: ())
    planned = only(mos.plan(user="ann"))
    assert (planned.from_form, planned.step) == ("plaintext", "refresh")
    mos.rebalance(user="ann")
    mos.work()
    with mos.activated(other, tokenizer, query="Which?", user="ann") as given:
        assert given.computed_tokens == 0


def test_a_plan_shows_no_cube_of_others(mos: MOS, model: Any, tokenizer: Any) -> None:
    told(mos)
    told(mos, user="bob")
    asked(mos, model, tokenizer, user="bob")
    assert {each.path for each in mos.plan(user="ann").placements} == {"users/ann"}
    with pytest.raises(AccessDenied):
        mos.rebalance(user="ann", cube="users/bob")
    assert tasks(mos, "activate:tiny") == []
    admin = mos.acting(Principal(user="root", roles=frozenset({"admin"})))
    assert {each.path for each in admin.plan(user="root").placements} == {"users/ann", "users/bob"}


def test_an_erased_user_leaves_no_row_of_forms(mos: MOS, model: Any, tokenizer: Any) -> None:
    told(mos)
    asked(mos, model, tokenizer)
    mos.rebalance(user="ann")
    mos.work()
    mos.erase(user="ann", subject="ann")
    with closing(sqlite3.connect(mos.path)) as raw:
        left = [raw.execute(f"SELECT count(*) FROM {name}").fetchone() for name in TABLES]
    assert left == [(0,)] * len(TABLES)


def test_long_stable_memories_are_queued_to_be_learnt_and_refusals_are_noted(
    tmp_path: Path, clock: ManualClock, model: Any, tokenizer: Any
) -> None:
    with MOS(tmp_path / "m.db", embedder=None, clock=clock, settings=SETTINGS) as mos:
        mos.host_model("tiny", model, tokenizer, forms=lambda _: ())
        told(mos)
        clock.advance(seconds=40 * DAY)
        asked(mos, model, tokenizer)
        rules = mos._rooms.scheduler.rules
        weighed = {each.form: each for each in only(mos.plan(user="ann")).weighed}
        assert len(weighed["parametric"].items) == 6
        assert weighed["parametric"].why_not  # by these prices it does not pay here
        assert rules.placing.long_stable_seconds == 30 * DAY
