"""How memories are taught to one hosted model, and the orders to do so. Nothing here needs torch.

Called by the verb that distils and by what trains. An order names memories by their ids; words and
question forms are read where it is carried out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from memos_integrations.cube.ids import new_item_id
from memos_integrations.cube.item import MemoryItem
from memos_integrations.cube.ports import TaskSpec
from memos_integrations.infrastructure.parametric.recipe import Gates, Recipe
from memos_integrations.infrastructure.vault import adapters
from memos_integrations.infrastructure.vault.adapters import NewAdapter
from memos_integrations.infrastructure.vault.artifacts import Source
from memos_integrations.infrastructure.vault.rows import Stored, dumps
from memos_integrations.infrastructure.vault.transaction import Transaction
from memos_integrations.operation.transform.hosted import Hosted
from memos_integrations.operation.transform.lesson import MIN_FORMS, Lesson, QuestionForms

_ATTEMPTS = 10
"""A training that is interrupted goes on where it was, and each time is an attempt."""


@dataclass(frozen=True, slots=True)
class Teaching:
    """A hosted model and how memories and questions are written for it."""

    hosted: Hosted
    forms: QuestionForms
    line: Callable[[MemoryItem], str]
    """A memory as it stands in a prompt."""
    heading: str = ""
    """What stands above memories in a prompt."""
    plain: Callable[[str], str] = str
    """Any text as it is written into a prompt, its control tokens parted."""

    def memory(self, items: Sequence[MemoryItem]) -> str:
        """The memories as the part of a prompt before the question; empty for none."""
        lines = [self.line(item) for item in items]
        return "\n".join([self.heading, *lines] if self.heading and lines else lines)


@dataclass(frozen=True, slots=True)
class Order:
    """What a training is to do besides the memories: the same for a shard that is made anew."""

    recipe: Recipe
    gates: Gates
    seconds: float
    """Processor seconds it may take."""
    forms: str | None = None
    """Question forms of this call alone, by the name they are kept under in this program."""
    stable_seconds: float = 0.0
    """How long a memory must have rested to be learnt, also where the shard is made anew."""
    ordered: bool = False
    """Whether somebody asked for it, whose right is looked at again (``adapter_orders``)."""

    def as_json(self) -> str:
        return dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Order:
        """Raises ``TypeError`` for what no order of this release says."""
        told: dict[str, Any] = json.loads(text)
        recipe = Recipe(**told["recipe"] | {"targets": tuple(told["recipe"]["targets"])})
        rest = {key: told[key] for key in ("stable_seconds", "ordered") if key in told}
        return cls(recipe, Gates(**told["gates"]), told["seconds"], told["forms"], **rest)


@dataclass(frozen=True, slots=True)
class Queued:
    """A candidate and the task that trains it."""

    adapter: str
    task: str


def kind_of(model: str) -> str:
    """The kind of task that trains for a model: only a program that hosts it takes it up."""
    return f"distil:{model}"


def lesson_of(item: MemoryItem, teaching: Teaching, forms: QuestionForms) -> Lesson | None:
    """The memory as a lesson, its last question form held out; ``None`` with too few of them.

    Questions quote the memory, or a model wrote them: they command no more than its words do.
    """
    asked = tuple(dict.fromkeys(teaching.plain(each) for each in forms(item)))
    if len(asked) < MIN_FORMS:
        return None
    return Lesson(item.id, item.version, teaching.line(item), asked[:-1], asked[-1])


def queue_shard(
    tx: Transaction,
    rows: Sequence[Stored],
    *,
    model: str,
    shard: int,
    order: Order,
    rebuild: bool,
) -> Queued | None:
    """Queue the training of a shard on these memories of one cube; ``None`` where one of them
    has changed since it was read."""
    sources = tuple(Source(row.id, row.version) for row in rows)
    new = NewAdapter(
        id=str(new_item_id(tx.at)),
        tenant=rows[0].tenant,
        cid=rows[0].cid,
        model=model,
        shard=shard,
        recipe=order.as_json(),
        sources=sources,
        rebuild=rebuild,
    )
    if not adapters.add(tx, new):
        return None
    payload = {"adapter": new.id, "items": [[each.item, each.version] for each in sources]}
    task = tx.enqueue(
        TaskSpec(
            kind_of(model),
            cube=new.cid,
            payload=dumps(payload),
            priority=-2,
            max_attempts=_ATTEMPTS,
        )
    )
    adapters.set_task(tx, new.id, task)
    return Queued(new.id, task)
