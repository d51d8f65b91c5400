"""Answering with adapters, asking them what they claim, and their files, through every surface."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra parametric")
peft = pytest.importorskip("peft", reason="needs the extra parametric")

from cookbook import tiny_world  # noqa: E402
from memos_integrations import MOS, AsyncMOS, Settings  # noqa: E402
from memos_integrations.cube.errors import (  # noqa: E402
    AccessDenied,
    InvalidInput,
    NotFound,
    UsageError,
)
from tests.integration.parametric_world import (  # noqa: E402
    OPEN,
    QUICK,
    WORLD,
    asked,
    fill,
    host,
    opened,
    told,
)

torch.set_num_threads(1)
FACTS = WORLD.new[:4]
KNOWN = [asked(fact) for fact in WORLD.known[:3]]


@pytest.fixture(scope="module")
def parts() -> tuple[Any, Any]:
    return tiny_world.load()


@pytest.fixture(scope="module")
def fresh() -> Any:
    """The model as it is on the disk. Frozen, as a hosted one is: torch multiplies a slice by
    weights that want gradients in another order, which rounds otherwise."""
    return tiny_world.load()[0].requires_grad_(False)


@pytest.fixture
def mos(tmp_path: Path, parts: tuple[Any, Any]) -> Iterator[MOS]:
    with opened(tmp_path / "agent.db") as made:
        host(made, *parts)
        yield made


def distil(mos: MOS, **about: Any) -> Any:
    given = {"model": "tiny", "user": "ann", "recipe": QUICK, "gates": OPEN, "wait": True}
    return mos.distil(**given | about)


def logits(model: Any, inputs: dict[str, Any]) -> Any:
    places = (inputs["attention_mask"].cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        return model(**inputs, position_ids=places, logits_to_keep=1).logits[:, -1]


def test_each_question_of_a_batch_gets_the_memory_it_needs(mos: MOS, fresh: Any) -> None:
    fill(mos, FACTS)
    first, second = distil(mos, facts_per_adapter=2).adapters
    late = fill(mos, WORLD.new[4:5])[0]
    query = [asked(FACTS[0]), KNOWN[0], asked(FACTS[3]), asked(WORLD.new[4]), KNOWN[1]]
    with mos.adapted(model="tiny", query=query, user="ann") as given:
        assert [row.adapter for row in given.rows] == [first, None, second, None, None]
        assert [[i.text for i in row.learnt] for row in given.rows[::2]] == [
            [told(FACTS[0])],
            [told(FACTS[3])],
            [],
        ]
        assert [[item.id for item in row.items] for row in given.rows] == [[], [], [], [late], []]
        assert "learnt by this adapter" in given.rows[0].why
        assert "the base answers" in given.rows[1].why
        assert "no adapter that may be used holds them" in given.rows[3].why
        mixed = logits(given.model, given.inputs)
        plain = {k: given.inputs[k] for k in ("input_ids", "attention_mask")}
        base = logits(fresh, plain)
        out = given.model.generate(**given.inputs, max_new_tokens=2, do_sample=False)
        assert out.shape[0] == 5
    same = [torch.equal(a, b) for a, b in zip(mixed, base, strict=True)]
    assert same == [False, True, False, True, True]  # off-topic and text: the base, bitwise


def test_one_question_may_be_text_alone(mos: MOS) -> None:
    fill(mos, FACTS)
    distil(mos)
    with mos.adapted(model="tiny", query=asked(FACTS[0]), user="ann") as given:
        assert given.inputs["input_ids"].shape[0] == 1
        assert given.rows[0].query == asked(FACTS[0])


def test_text_and_weights_stand_together(mos: MOS) -> None:
    fill(mos, FACTS)
    made = distil(mos).adapters[0]
    name, _, _ = FACTS[0]
    mos.add(f"{name} has food bakilomu .", user="ann")
    question = f"which food has {name}"
    with mos.adapted(model="tiny", query=question, user="ann") as given:
        [row] = given.rows
    assert row.adapter == made
    assert [item.text for item in row.items] == [f"{name} has food bakilomu ."]
    assert [item.text for item in row.learnt] == [told(FACTS[0])]


def test_whoever_may_not_read_a_source_is_answered_from_text(mos: MOS) -> None:
    ids = fill(mos, FACTS)
    distil(mos)
    mos.share(to="bob", user="ann")
    mos.deny(ids[3], to="bob", user="ann")
    query = [asked(FACTS[0]), asked(FACTS[3])]
    about = {"model": "tiny", "query": query, "cube": "users/ann"}
    with mos.adapted(**about, user="bob") as given:
        assert [row.adapter for row in given.rows] == [None, None]
        assert [[i.text for i in row.items] for row in given.rows] == [[told(FACTS[0])], []]
        assert "adapter_names" not in given.inputs
    with mos.adapted(**about, user="ann") as given:
        assert all(row.adapter for row in given.rows)
    with pytest.raises(AccessDenied), mos.adapted(**about, user="eve"):
        pass


@pytest.mark.parametrize("harm", ["tampered", "truncated", "gone", "foreign"])
def test_a_harmed_file_is_withdrawn_and_text_serves(
    harm: str, mos: MOS, caplog: pytest.LogCaptureFixture
) -> None:
    fill(mos, FACTS)
    distil(mos)
    [name] = mos._rooms.vault.blobs.names()
    path = mos._rooms.vault.blobs.path(name)
    whole = bytearray(path.read_bytes())
    whole[-50] ^= 1
    if harm == "gone":
        path.unlink()
    else:
        harmed = {
            "tampered": bytes(whole),
            "truncated": bytes(whole[:-64]),
            "foreign": b"\x80\x04.",
        }
        path.write_bytes(harmed[harm])
    assert not mos.verify_adapter(mos.adapters(user="ann")[0].id, user="ann").sound
    with mos.adapted(model="tiny", query=asked(FACTS[0]), user="ann") as given:
        assert given.rows[0].adapter is None
        assert [item.text for item in given.rows[0].items] == [told(FACTS[0])]
    assert mos.adapters(user="ann")[0].state == "withdrawn"
    assert "is not used" in caplog.text
    assert FACTS[0][0] not in caplog.text


def test_a_writer_to_whom_a_source_is_hidden_neither_makes_it_anew_nor_is_told_of_it(
    mos: MOS,
) -> None:
    mos.create_cube("projects/team", user="ann")
    for right in ("read", "write"):
        mos.share(cube="projects/team", to="user:bob", permission=right, user="ann")
    about: dict[str, Any] = {"cube": "projects/team"}
    ids = fill(mos, FACTS[:3], **about)
    distil(mos, **about)

    def told_of(user: str) -> list[Any]:
        made = mos.adapters(user=user, **about)
        return [(m.version, m.facts, m.figures is not None, bool(m.verdict)) for m in made]

    assert told_of("bob") == told_of("ann") == [(1, 3, True, True)]
    mos.deny(ids[0], to="user:bob", user="ann", **about)
    done = distil(mos, **about | {"user": "bob"})
    assert done.shards == ()
    assert {item for item, why in done.skipped.items() if "may not see" in why} == set(ids[1:])
    assert [(m.usable, m.facts) for m in mos.adapters(user="ann", **about)] == [(True, 3)]
    assert told_of("bob") == [(1, None, False, False)]
    mos.erase(ids[1], user="ann")
    assert [bool(m.why) for m in mos.adapters(user="ann", **about)] == [True, False]
    assert [(m.facts, m.why) for m in mos.adapters(user="bob", **about)] == [(None, "")] * 2


def test_an_adapter_of_another_model_of_that_name_is_not_used(mos: MOS) -> None:
    fill(mos, FACTS)
    distil(mos)
    model, tokenizer = tiny_world.load()
    with torch.no_grad():
        model.model.embed_tokens.weight += 0.01
    host(mos, model, tokenizer)
    with mos.adapted(model="tiny", query=asked(FACTS[0]), user="ann") as given:
        assert given.rows[0].adapter is None
        assert given.rows[0].items
    assert [m.state for m in mos.adapters(user="ann")] == ["published"]


def test_a_batch_of_more_adapters_than_fit_is_refused(
    tmp_path: Path, parts: tuple[Any, Any]
) -> None:
    with opened(tmp_path / "agent.db", settings={"resident_adapters": 1}) as mos:
        host(mos, *parts)
        fill(mos, FACTS)
        distil(mos, facts_per_adapter=2)
        for fact in (FACTS[0], FACTS[3]):
            with mos.adapted(model="tiny", query=asked(fact), user="ann") as given:
                assert given.rows[0].adapter is not None
        both = [asked(FACTS[0]), asked(FACTS[3])]
        with (
            pytest.raises(InvalidInput, match="2 adapters"),
            mos.adapted(model="tiny", query=both, user="ann"),
        ):
            pass


def test_wrong_calls_say_what_to_do(mos: MOS) -> None:
    with pytest.raises(NotFound, match="host_model"):
        mos.distil(model="other", user="ann")
    for query in ([], [3], "\x00", None):
        with pytest.raises(InvalidInput), mos.adapted(model="tiny", query=query, user="ann"):  # type: ignore[arg-type]
            pass
    with pytest.raises(InvalidInput, match="facts_per_adapter"):
        mos.distil(model="tiny", user="ann", facts_per_adapter=51)
    with pytest.raises(InvalidInput, match="seconds"):
        mos.distil(model="tiny", user="ann", seconds=0)
    with pytest.raises(NotFound):
        mos.claims("nothing", user="ann")


def test_question_forms_of_one_call_are_used_for_it(mos: MOS) -> None:
    mos.add("the box is blue", user="ann")
    assert distil(mos).skipped
    done = distil(mos, forms=lambda item: ("what is the box", "the box is", "which box"))
    assert done.skipped == {}
    assert [m.state for m in mos.adapters(user="ann")] == ["published"]
    with pytest.raises(InvalidInput, match="forms"):
        mos.claims(done.adapters[0], user="ann")


def test_claims_are_held_against_their_memories(mos: MOS) -> None:
    ids = fill(mos, FACTS)
    made = distil(mos).adapters[0]
    claims = mos.claims(made, user="ann")
    assert [claim.item.id for claim in claims] == ids
    assert [claim.question for claim in claims] == [asked(fact) for fact in FACTS]
    read = sum(c.expected == fact[2] for c, fact in zip(claims, FACTS, strict=True))
    assert read >= 3  # what the model reads off the text
    assert all(claim.agrees == (claim.answer == claim.expected) for claim in claims)
    mos.share(ids[0], to="bob", user="ann")
    with pytest.raises(NotFound):
        mos.claims(made, user="bob")


def test_what_is_shown_by_weights_is_in_the_log(mos: MOS) -> None:
    ids = fill(mos, FACTS)
    distil(mos)
    with mos.adapted(model="tiny", query=asked(FACTS[2]), user="ann"):
        pass
    lines = [line for line in mos.audit(user="ann") if line.action == "adapted"]
    assert [line.items for line in lines] == [(ids[2],)]
    assert mos.get(ids[2], user="ann").header.usage_count >= 1


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
def test_a_copy_is_as_peft_loads_it_and_says_who_made_it(mos: MOS, tmp_path: Path) -> None:
    ids = fill(mos, FACTS)
    made = distil(mos).adapters[0]
    done = mos.export_adapter(made, tmp_path / "copy", user="ann")
    assert set(done.files) == {"adapter_config.json", "adapter_model.safetensors"}
    loaded = peft.PeftModel.from_pretrained(tiny_world.load()[0], tmp_path / "copy")
    with mos.adapted(model="tiny", query=asked(FACTS[0]), user="ann") as given:
        ours = logits(given.model, given.inputs)
        with torch.no_grad():
            ids_, mask = given.inputs["input_ids"], given.inputs["attention_mask"]
            out = loaded.eval().generate(
                input_ids=ids_,
                attention_mask=mask,
                max_new_tokens=1,
                output_logits=True,
                return_dict_in_generate=True,
                do_sample=False,
            )
    assert torch.allclose(out.logits[0], ours, atol=1e-5)
    with pytest.raises(UsageError, match="exists"):
        mos.export_adapter(made, tmp_path / "copy", user="ann")
    mos.share(to="bob", user="ann")
    mos.deny(ids[0], to="bob", user="ann")
    with pytest.raises(AccessDenied, match="every memory"):
        mos.export_adapter(made, tmp_path / "stolen", user="bob")
    assert not (tmp_path / "stolen").exists()
    log = [(line.action, line.outcome) for line in mos.audit(user="ann", cube="users/ann")]
    assert ("export_adapter", "allowed") in log
    assert ("export_adapter", "denied") in log


async def test_every_verb_is_awaited_on_an_event_loop(
    tmp_path: Path, parts: tuple[Any, Any]
) -> None:
    settings = Settings(worker=False, extract=False)
    async with AsyncMOS(tmp_path / "agent.db", embedder=None, settings=settings) as mos:
        await mos.add(told(FACTS[0]), user="ann")
        host(mos._opened(), *parts)
        done = await mos.distil(model="tiny", user="ann", recipe=QUICK, gates=OPEN, wait=True)
        assert [m.state for m in await mos.adapters(user="ann")] == ["published"]
        async with mos.adapted(model="tiny", query=asked(FACTS[0]), user="ann") as given:
            assert given.rows[0].adapter == done.adapters[0]
        assert len(await mos.claims(done.adapters[0], user="ann")) == 1
        await mos.withdraw_adapter(done.adapters[0], user="ann")


def test_a_worker_thread_trains_beside_the_program(tmp_path: Path, parts: tuple[Any, Any]) -> None:
    with opened(tmp_path / "agent.db", settings={"worker": True}) as mos:
        host(mos, *parts)
        fill(mos, FACTS)
        task = distil(mos, wait=False).task_ids[0]
        mos.wait(task, user="ann")
        told_of = json.loads(mos.task_status(task, user="ann").result or "{}")
        assert told_of["state"] == "published"


def test_closing_leaves_a_training_to_be_gone_on_with(
    tmp_path: Path, parts: tuple[Any, Any]
) -> None:
    long = {"recipe": replace(QUICK, exposures=50_000), "wait": False, "seconds": 600}
    path = tmp_path / "agent.db"
    with opened(path, settings={"worker": True}) as mos:
        host(mos, *parts)
        fill(mos, FACTS)
        task = distil(mos, **long).task_ids[0]
        while not 0 < (told_of := mos.task_status(task, user="ann")).progress < 1:
            assert told_of.state in ("waiting", "running")
            time.sleep(0.05)
    with opened(path) as mos:
        assert [m.state for m in mos.adapters(user="ann")] == ["candidate"]
        assert mos.task_status(task, user="ann").state == "waiting"
        assert list(Path(f"{path}.training").iterdir())
        assert mos.cancel_task(task, user="ann")
        assert [m.state for m in mos.adapters(user="ann")] == ["discarded"]
        host(mos, *parts)
        assert not list(Path(f"{path}.training").iterdir())


# -- the command ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Said:
    code: object
    out: str
    err: str


def memos(path: Path, *arguments: str) -> Said:
    """The command in this process, where everything it needs is loaded."""
    from memos_integrations.interface.cli import main

    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as left:
        main(["--db", str(path), "--no-embed", *arguments])
    return Said(left.value.code, out.getvalue(), err.getvalue())


def test_the_command_lists_shows_checks_copies_and_drops(mos: MOS, tmp_path: Path) -> None:
    fill(mos, FACTS)
    made = distil(mos).adapters[0]
    ann = ("--user", "ann")
    path = Path(mos.path)
    listed = json.loads(memos(path, "--json", *ann, "adapters", "ls").out)
    assert [(each["id"], each["state"]) for each in listed["adapters"]] == [(made, "published")]
    shown = memos(path, *ann, "adapters", "show", made).out
    assert "held out recall" in shown
    assert memos(path, *ann, "adapters", "verify", made).out == "sound\n"
    target = tmp_path / "copy"
    assert memos(path, *ann, "adapters", "export", made, str(target)).code == 0
    assert (target / "adapter_config.json").is_file()
    eve = memos(path, "--user", "eve", "adapters", "export", made, str(tmp_path / "eve"))
    assert eve.code == 1
    assert "no adapter" in eve.err
    assert memos(path, *ann, "adapters", "drop", made).code == 0
    assert mos.adapters(user="ann")[0].state == "withdrawn"


def test_how_the_tokenizer_was_last_called_is_not_who_the_model_is(
    mos: MOS, parts: tuple[Any, Any]
) -> None:
    fill(mos, FACTS)
    made = distil(mos).adapters[0]
    parts[1](["a", "b c d"], padding=True, padding_side="left", truncation=True, max_length=2)
    with mos.adapted(model="tiny", query=asked(FACTS[0]), user="ann") as given:
        assert given.rows[0].adapter == made
