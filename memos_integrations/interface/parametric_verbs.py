"""The verbs of memory in weights: host a model, distil memories into adapters, look after them.

Called by programs that run a transformers model themselves; needs the extra ``parametric`` where a
model is trained or answers. Text stays the truth: an adapter is made of memories as they were read,
serves only whoever may read all of them, and goes with any one of them.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

from memos_integrations.cube.acl import Permission
from memos_integrations.cube.errors import AccessDenied, Conflict, InvalidInput, NotFound
from memos_integrations.cube.ids import clean_name
from memos_integrations.cube.item import MemoryItem
from memos_integrations.infrastructure.parametric.recipe import Gates, Recipe
from memos_integrations.infrastructure.vault import adapter_orders, adapters
from memos_integrations.infrastructure.vault.adapters import AdapterRow
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.infrastructure.vault.transaction import CubeRow, Transaction
from memos_integrations.interface.activation_verbs import HEADING, control_tokens, parted
from memos_integrations.interface.adapter_info import (
    AdapterInfo,
    DistilledShard,
    DistilResult,
    adapter_info,
    same_lessons,
    shard_info,
)
from memos_integrations.interface.arguments import clean_reason, span_micros, texts, whole
from memos_integrations.interface.base import refused_cube
from memos_integrations.interface.context import render
from memos_integrations.interface.scope import CubeName, Scope, Where
from memos_integrations.interface.task_verbs import TaskVerbs
from memos_integrations.operation.transform.hosted import Hosted
from memos_integrations.operation.transform.lesson import QuestionForms
from memos_integrations.operation.transform.lesson_plan import Shard, planned
from memos_integrations.operation.transform.prompt import Rendering
from memos_integrations.operation.transform.shards import MOST_FACTS
from memos_integrations.operation.transform.teaching import Order, Teaching, queue_shard

_WITHDRAWN = "withdrawn on request"
_LONGEST_WAIT_SECONDS = 24 * 3600.0


class ParametricVerbs(TaskVerbs):
    """Memory as adapters of local models."""

    def host_model(
        self,
        name: str,
        model: Any,
        tokenizer: Any,
        *,
        rendering: Rendering | None = None,
        invocation: str | None = None,
        replay: Sequence[str] = (),
        canaries: Sequence[str] = (),
        forms: QuestionForms | None = None,
        line: Callable[[MemoryItem], str] | None = None,
    ) -> None:
        """Hand a local transformers model over, so that this program can train and use adapters
        of it in the background. Under a name that is taken it replaces the model there.

        ``rendering(memory, question)`` writes a prompt; by default the chat template does.
        ``invocation`` is the text from which on an adapter is active. ``replay`` are questions
        whose answers a training must leave as they are, ``canaries`` prompts by which drift is
        measured. ``forms(item)`` gives ways to ask for what a memory says, at least three.
        ``line(item)`` writes a memory into a prompt; by default it stands as ``context`` writes
        it, under a heading that keeps quoted words from being instructions.
        """
        hosted = Hosted(
            clean_name(name, "the name of a model"),
            model,
            tokenizer,
            rendering=rendering,
            invocation=invocation,
            replay=texts(replay, "replay"),
            canaries=texts(canaries, "canaries"),
        )
        control, written = control_tokens(tokenizer), render if line is None else line
        self._rooms.adapters.host(
            Teaching(
                hosted,
                _default_forms() if forms is None else forms,
                line=lambda item: control.sub(parted, written(item)),
                heading=HEADING if line is None else "",
                plain=lambda text: control.sub(parted, text),
            )
        )

    def distil(
        self,
        *,
        model: str,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
        filter: Where = None,  # noqa: A002  -- the field's word
        recipe: Recipe | None = None,
        gates: Gates | None = None,
        forms: QuestionForms | None = None,
        facts_per_adapter: int = MOST_FACTS,
        stable_seconds: float = 0.0,
        seconds: float | None = None,
        rebuild: bool = True,
        wait: bool = False,
        dry_run: bool = False,
        expected: Sequence[DistilledShard] | None = None,
    ) -> DistilResult:
        """Train adapters of a hosted model on the memories of the scope, in the background.

        Only what people said or what was inferred of it is learnt, unchanged for
        ``stable_seconds``, with question forms and nothing in it that is masked for anybody;
        ``skipped`` says why the others are not. Memories of a cube with equal rights are learnt
        together, ``facts_per_adapter`` at most, and stay together: a correction costs one
        training, which ``rebuild`` queues by itself, of what is stable then; whoever orders it
        must still have the right to when it begins and when it ends. An adapter is published where
        it passes the ``gates`` and its sources are still as they were read; discarded ones keep
        their figures.
        ``seconds`` of the processor is what one may take. ``wait`` for the end, or ask
        ``task_status``. Needs write rights on the cubes. ``expected`` is what a dry run has told:
        raises ``Conflict``, and queues nothing, where the memories are other ones by now.
        """
        teaching = self._rooms.adapters.teaching(model)
        whole(facts_per_adapter, "facts_per_adapter", least=1, most=MOST_FACTS)
        budget = self._rooms.settings.form_seconds if seconds is None else seconds
        span_micros(budget, "seconds")
        scope = self._scope(user, agent, session, cube)
        order = Order(
            recipe or Recipe(),
            gates or Gates(),
            float(budget),
            self._forms_key(forms),
            stable_seconds=float(stable_seconds),
            ordered=True,
        )
        with self._reading(scope, action="distil") as reading:
            cubes = self._open_cubes(reading, scope)
            plans = [
                planned(
                    reading,
                    each,
                    teaching,
                    forms or teaching.forms,
                    principal=scope.principal,
                    where=scope.where(filter),
                    order=order,
                    most=facts_per_adapter,
                    stable_seconds=stable_seconds,
                )
                for each in cubes
            ]
        skipped = {item: why for plan in plans for item, why in plan.skipped.items()}
        rows = [row for plan in plans for shard in plan.shards for row in shard.rows]
        self._rooms.vault.shown(scope.principal, "distil", rows, cubes=scope.cubes, used=False)
        shards = [(c, each) for c, plan in zip(cubes, plans, strict=True) for each in plan.shards]
        told = tuple(shard_info(c, each) for c, each in shards)
        if dry_run:
            return DistilResult(told, skipped)
        if expected is not None and not same_lessons(told, expected):
            raise Conflict("what would be learnt has changed since the dry run: look at it again")
        done = self._queued(scope, shards, model, order, rebuild=rebuild)
        result = DistilResult(done, skipped)
        for task in result.task_ids if wait else ():
            self.wait(
                task,
                timeout_seconds=_LONGEST_WAIT_SECONDS,
                user=user,
                agent=agent,
                session=session,
            )
        return result

    def adapters(
        self,
        *,
        model: str | None = None,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
    ) -> list[AdapterInfo]:
        """Every adapter ever made of these cubes, by cube, shard and version, as far as the asker
        may read the cube. Raises ``InvalidInput`` for a session, or an agent beside a user."""
        scope = self._of_whole_cubes("an adapter", user, agent, session, cube)
        self._rooms.adapters.tend()
        with self._reading(scope, action="adapters") as reading:
            cubes = self._open_cubes(reading, scope)
            gates = reading.governed.gates([each.cid for each in cubes])
            open_ = [gate.cid for gate in gates if gate.open]
            rows = adapters.of_cubes(reading.connection, open_, model=model)
            usable = {each.id for each in adapters.usable(reading.connection, reading.asking)}
            made = [adapter_info(reading, row, usable=row.id in usable) for row in rows]
        self._rooms.vault.shown(scope.principal, "adapters", [], cubes=scope.cubes)
        return made

    def withdraw_adapter(
        self,
        adapter: str,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        reason: str = "withdrawn",
    ) -> None:
        """Take an adapter out of use for good, and its bytes off the disk. Its memories stay as
        they are. Needs write rights on their cube."""
        clean_reason(reason)
        scope = self._scope(user, agent, session)

        def work(tx: Transaction) -> None:
            row = adapters.get(tx.connection, clean_name(adapter, "the id of an adapter"))
            if row is None or row.tenant != tx.principal.tenant:
                raise _unknown(scope, adapter, row)
            if not tx.governed(Permission.READ).gates([row.cid])[0].open:
                raise _unknown(scope, adapter, row)
            if not tx.governed(Permission.WRITE).gates([row.cid])[0].open:
                raise refused_cube(scope.principal, row.cube, Permission.WRITE)
            tx.audit("withdraw_adapter", cube=row.cube, reason=reason, extra={"adapter": row.id})
            adapters.end(tx, row.id, why=_WITHDRAWN)  # the reason's words stand in the log alone

        self._write(scope, work, action="withdraw_adapter")
        self._rooms.adapters.forget()

    # -- what the verbs share -----------------------------------------------------------------

    def _usable_adapter(self, reading: Reading, scope: Scope, adapter: str) -> AdapterRow:
        """A published adapter of which the asker may read every source. Raises ``NotFound``, and
        ``AccessDenied`` where only a source is missing."""
        clean_name(adapter, "the id of an adapter")
        found = adapters.usable(reading.connection, reading.asking, adapter=adapter)
        if found:
            return found[0]
        row = adapters.get(reading.connection, adapter)
        known = row is not None and row.tenant == scope.principal.tenant
        if row is None or not known or not reading.governed.gates([row.cid])[0].open:
            raise _unknown(scope, adapter, row)
        if row.state != "published":
            raise InvalidInput(f"adapter {adapter} is {row.state}: {row.why or 'not trained yet'}")
        refusal = AccessDenied(
            f"{scope.principal.name} may not read every memory that adapter {adapter} was made of"
        )
        refusal.cube = row.cube
        raise refusal

    def _queued(
        self,
        scope: Scope,
        shards: Sequence[tuple[CubeRow, Shard]],
        model: str,
        order: Order,
        *,
        rebuild: bool,
    ) -> tuple[DistilledShard, ...]:
        def work(tx: Transaction) -> tuple[DistilledShard, ...]:
            done: list[DistilledShard] = []
            for cube, shard in shards:
                tx.gate(cube, Permission.WRITE)
                adapters.join_shards(tx, shard.joins, cid=cube.cid, model=model)
                queued = None
                if not shard.unchanged:
                    items = [row.id for row in shard.rows]
                    tx.audit("distil", cube=cube.path, items=items, reason="queued")
                    queued = queue_shard(
                        tx,
                        shard.rows,
                        model=model,
                        shard=shard.number,
                        order=order,
                        rebuild=rebuild,
                    )
                    if queued is not None:
                        adapter_orders.keep(tx, queued.adapter)
                done.append(shard_info(cube, shard, queued))
            return tuple(done)

        done = self._write(scope, work, action="distil")
        self._rooms.adapters.notify()
        return done

    def _forms_key(self, forms: QuestionForms | None) -> str | None:
        if forms is None:
            return None
        key = secrets.token_hex(8)
        self._rooms.adapters.keep_forms(key, forms)
        return key


def _default_forms() -> QuestionForms:
    from memos_integrations.operation.transform.question_forms import (  # noqa: PLC0415
        default_forms,
    )

    return default_forms


def _unknown(scope: Scope, adapter: str, found: AdapterRow | None) -> NotFound:
    missing = NotFound(f"no adapter {adapter} is visible to {scope.principal.name}")
    missing.hidden = found is not None
    return missing
