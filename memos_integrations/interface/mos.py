"""MOS, the memory operating system: the composition root and the main path. Read this first.

A call goes reader -> executor -> lifecycle -> vault on the way in, and operator -> vault on the
way out. The verbs stand in the classes MOS is made of: ``Writes``, ``Reads``, ``TimeVerbs``,
``GovernanceVerbs``, ``EraseVerb``, ``PortabilityVerbs``, ``TaskVerbs`` and ``FamiliarNames``.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeAlias

from memos_integrations.cube.acl import Principal
from memos_integrations.cube.clock import SystemClock
from memos_integrations.cube.errors import InvalidInput
from memos_integrations.cube.facts import Extractor
from memos_integrations.cube.ids import LATEST, Seq
from memos_integrations.cube.ports import (
    LLM,
    Clock,
    Embedder,
    Reranker,
    TokenCounter,
    VectorIndex,
)
from memos_integrations.infrastructure.backends.embedders import (
    CachedEmbedder,
    as_embedder,
    default_embedder,
    embed_query,
)
from memos_integrations.infrastructure.backends.lexical import LexicalIndex
from memos_integrations.infrastructure.backends.llm.as_llm import as_llm, as_vision
from memos_integrations.infrastructure.backends.numpy_vectors import NumpyVectors
from memos_integrations.infrastructure.governance.redaction import RedactionPolicy
from memos_integrations.infrastructure.queue.fair import FairQueue
from memos_integrations.infrastructure.queue.worker import Worker
from memos_integrations.infrastructure.vault.governed import Instant
from memos_integrations.infrastructure.vault.transaction import Transaction
from memos_integrations.infrastructure.vault.vault import PROJECT, MemVault
from memos_integrations.interface.adapter_files import AdapterFileVerbs
from memos_integrations.interface.analytics_verbs import AnalyticsVerbs
from memos_integrations.interface.base import Rooms
from memos_integrations.interface.batch_verb import BatchVerb
from memos_integrations.interface.cache_verbs import CacheVerbs
from memos_integrations.interface.correct_verb import CorrectVerb
from memos_integrations.interface.document_verbs import DocumentReads, DocumentVerbs
from memos_integrations.interface.entry_verbs import EntryReads, EntryVerbs
from memos_integrations.interface.erase_verb import EraseVerb
from memos_integrations.interface.fact_verbs import FactVerbs
from memos_integrations.interface.familiar import FamiliarNames
from memos_integrations.interface.feedback_verbs import FeedbackVerbs
from memos_integrations.interface.governance_verbs import GovernanceVerbs
from memos_integrations.interface.graph_verbs import GraphVerbs
from memos_integrations.interface.hot_lines import HotLines
from memos_integrations.interface.import_verb import ImportVerb
from memos_integrations.interface.memory_part import written_for
from memos_integrations.interface.organise_verbs import OrganiseVerbs
from memos_integrations.interface.portability import PortabilityVerbs
from memos_integrations.interface.pressure import Pressure
from memos_integrations.interface.rank_verbs import RankVerbs
from memos_integrations.interface.reader import MemReader, micros_of
from memos_integrations.interface.reads import Reads
from memos_integrations.interface.record_verbs import RecordVerbs
from memos_integrations.interface.routed_verb import RoutedVerb
from memos_integrations.interface.schedule_verbs import ScheduleVerbs
from memos_integrations.interface.served_verbs import ServedVerbs
from memos_integrations.interface.settings import Settings
from memos_integrations.interface.time_verbs import TimeVerbs
from memos_integrations.interface.tokens import EstimatedTokens
from memos_integrations.interface.tool_verbs import ToolVerbs
from memos_integrations.interface.vector_verbs import VectorReads, VectorVerbs
from memos_integrations.operation.executor import Executor
from memos_integrations.operation.facts.default import default_extractor
from memos_integrations.operation.fine_stage import FINE, FineStage
from memos_integrations.operation.given_vectors import GivenVectors
from memos_integrations.operation.image_stage import READ_IMAGE, ImageStage
from memos_integrations.operation.lifecycle.lifecycle import MemLifecycle
from memos_integrations.operation.lifecycle.truth import REBUILD
from memos_integrations.operation.operator.consolidate import CONSOLIDATE, ConsolidateStage
from memos_integrations.operation.operator.fresh import FreshVectors
from memos_integrations.operation.operator.ranking import Ranking
from memos_integrations.operation.operator.search import MemOperator
from memos_integrations.operation.project_stage import ProjectStage
from memos_integrations.operation.reading.marks import marks_of
from memos_integrations.operation.scheduler.budget import Allowance, Budget
from memos_integrations.operation.scheduler.placement import PlacementRules
from memos_integrations.operation.scheduler.policy import Policy
from memos_integrations.operation.scheduler.scheduler import MemScheduler, Rules
from memos_integrations.operation.scheduler.upkeep import SCHEDULE, ScheduleStage, Upkeep
from memos_integrations.operation.transform.activation_executor import ActivationExecutor
from memos_integrations.operation.transform.adapters import Adapters
from memos_integrations.operation.transform.caches import Caches
from memos_integrations.operation.transform.form_loop import FormLoop, FormWork
from memos_integrations.operation.transform.parametric_executor import ParametricExecutor

_log = logging.getLogger(__name__)


Vectors: TypeAlias = VectorIndex | Callable[[str], VectorIndex]
"""A vector engine, or what makes one for an embedder's fingerprint."""


class MemoryView(FactVerbs, DocumentReads, GraphVerbs, VectorReads, EntryReads):
    """A read-only view of memory as it was: every reading verb, answered at one instant."""


class MOS(
    FamiliarNames,
    RecordVerbs,
    FactVerbs,
    DocumentVerbs,
    ToolVerbs,
    RankVerbs,
    TimeVerbs,
    GovernanceVerbs,
    EraseVerb,
    PortabilityVerbs,
    OrganiseVerbs,
    ScheduleVerbs,
    FeedbackVerbs,
    CorrectVerb,
    GraphVerbs,
    AnalyticsVerbs,
    ServedVerbs,
    BatchVerb,
    CacheVerbs,
    RoutedVerb,
    AdapterFileVerbs,
    VectorVerbs,
    EntryVerbs,
    ImportVerb,
):
    """Memory for agents in one file: remembered durably, found with reasons, governed, erasable.

    ``MOS("agent.db")`` opens or creates the file; ``MOS()`` keeps one that is removed on close.
    ``embedder="default"`` takes the local model where the ``embed`` extra is installed (else
    memories are found by their words alone, and ``stats()["arms"]`` says so); ``None`` does
    without; any embedder of LangChain, LlamaIndex or your own will do. ``vectors`` is another
    vector engine than the exact one in memory, or a function that makes one for the embedder's
    fingerprint. ``extractor`` reads facts out of what is said: by default deterministic rules;
    ``None`` (or ``Settings(extract=False)``) keeps words only. ``llm`` reads them better: a
    LangChain chat model, a LlamaIndex LLM, ``"openai:MODEL@http://localhost:11434/v1"`` or your
    own; when it is away or answers badly the rules do it, and ``task_status`` says so.
    ``vision`` reads pictures; ``reranker`` judges the best hits once more (a cross-encoder, a
    function or a language model). Thread-safe; several processes may
    open one file.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        principal: Principal | None = None,
        embedder: object | Literal["default"] | None = "default",
        vectors: Vectors | None = None,
        tokens: TokenCounter | None = None,
        ranking: Ranking | None = None,
        clock: Clock | None = None,
        settings: Settings | None = None,
        extractor: Extractor | Literal["default"] | None = "default",
        llm: object | None = None,
        vision: object | None = None,
        reranker: object | None = None,
    ) -> None:
        if path is not None and not isinstance(path, str | os.PathLike):
            raise InvalidInput("path must be the name of a file, such as agent.db")
        chosen = settings or Settings()
        self._folder = None if path is not None else tempfile.TemporaryDirectory(prefix="memos-")
        where = os.fspath(path) if path is not None else f"{self._folder_name()}/memory.db"
        if not isinstance(where, str) or not where or "\x00" in where:
            raise InvalidInput("path must be the name of a file, such as agent.db")
        rooms = _compose(
            str(Path(where)),
            chosen,
            clock or SystemClock(),
            embedder,
            vectors,
            tokens,
            ranking,
            extractor,
            llm,
            vision,
            reranker,
        )
        super().__init__(rooms, principal or Principal(tenant=chosen.tenant))
        if chosen.schedule_seconds is not None:
            upkeep = Upkeep(rooms.vault, every_seconds=chosen.schedule_seconds)
            rooms.vault.on_commit(upkeep.due)
        rooms.vault.on_commit(rooms.adapters.after_commit)
        if chosen.worker:
            rooms.vault.on_commit(rooms.worker.notify)
            rooms.worker.start()

    def _folder_name(self) -> str:
        return self._folder.name if self._folder is not None else "."

    def acting(self, principal: Principal) -> MOS:
        """The same memory with another default principal (roles, groups, clearances, tenant)."""
        twin = object.__new__(MOS)
        twin._folder = None
        Reads.__init__(twin, self._rooms, principal)
        return twin

    def as_of(
        self, when: datetime | str | int, *, valid_at: datetime | str | None = None
    ) -> MemoryView:
        """Memory as it was at a time, or at a place of the log (``header.seq``): read-only.

        ``valid_at`` asks what held in the world at another time than ``when``. Rights are the
        ones held now: what was shared once and revoked since stays hidden.
        """
        if isinstance(when, int) and not isinstance(when, bool):
            if not 0 <= when <= LATEST:
                raise InvalidInput("a log position is a whole number from 0 upwards")
            valid = None if valid_at is None else micros_of(valid_at, "valid_at")
            return MemoryView(self._rooms, self._principal, Instant(Seq(when), valid))
        micros = micros_of(when, "when")
        with self._rooms.vault.reading(self._scope().principal) as reading:
            seq = reading.seq_at(micros)
        valid = micros if valid_at is None else micros_of(valid_at, "valid_at")
        return MemoryView(self._rooms, self._principal, Instant(seq, valid))

    @property
    def principal(self) -> Principal:
        """Who asks where a call does not say."""
        return self._principal

    @property
    def path(self) -> str:
        """The file this memory lives in."""
        return self._rooms.vault.path

    def close(self) -> None:
        """Finish the tasks in hand, write what waits, release the file."""
        self._rooms.adapters.close()
        self._rooms.worker.stop()
        self._rooms.caches.close()
        self._rooms.vault.close()
        if self._folder is not None:
            self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _compose(
    path: str,
    settings: Settings,
    clock: Clock,
    embedder: object | None,
    vectors: Vectors | None,
    tokens: TokenCounter | None,
    ranking: Ranking | None,
    extractor: Extractor | str | None,
    llm: object | None,
    vision: object | None,
    reranker: object | None,
) -> Rooms:
    """Build every part and hand each the parts it needs. Nothing else wires anything."""
    model = None if llm is None else as_llm(llm)
    sight = None if vision is None else as_vision(vision)
    embeds = _embedder(embedder)
    queue = FairQueue()
    vault = MemVault(
        path,
        clock=clock,
        queue=queue,
        text=LexicalIndex(),
        vectors=None if embeds is None else _index(vectors, embeds.fingerprint),
        model=None if embeds is None else embeds.fingerprint,
        synchronous=settings.synchronous,
        busy_seconds=settings.busy_seconds,
        audit_key=settings.audit_key,
        audit_reads=settings.audit_reads,
        half_life_seconds=settings.half_life_seconds,
        marks=marks_of,
    )
    fresh = None if embeds is None else FreshVectors(embeds)
    redaction = replace(RedactionPolicy(), on_write=settings.mask_on_write)
    lifecycle = MemLifecycle()
    fine = FineStage(
        vault,
        lifecycle,
        embeds,
        extractor=_extractor(extractor, model) if settings.extract else None,
        redaction=redaction,
    )
    organise = ConsolidateStage(vault, llm=model)
    images = ImageStage(vault, redaction, sight)
    counter = tokens or EstimatedTokens()
    lines = HotLines(counter, max_bytes=settings.hot_bytes)
    caches = Caches(
        vault,
        memory_bytes=settings.kv_memory_bytes,
        disk_bytes=settings.kv_disk_bytes,
        wait_seconds=settings.kv_wait_seconds,
        device_bytes=settings.kv_device_bytes,
    )
    adapters = Adapters(
        vault,
        queue,
        clock=clock,
        lease_seconds=settings.lease_seconds,
        disk_bytes=settings.adapter_disk_bytes,
        most_resident=settings.resident_adapters,
        starts=settings.worker,
        also=lambda teaching: work.handlers(teaching),  # noqa: PLW0108  -- made below
    )
    work = FormWork(
        vault,
        caches,
        written_for,
        stable_seconds=settings.learn_after_seconds,
        train_seconds=settings.form_seconds,
        withdraw=lambda adapter, why: adapters.withdraw(adapter, why=why),
    )
    forms = FormLoop(
        vault,
        adapters.hosts,
        (ActivationExecutor(vault), ParametricExecutor(vault)),
        notify=adapters.notify,
    )
    scheduler = MemScheduler(vault, rules=_rules(settings), forms=forms)
    for forgets in (lines.forget, caches.forget, adapters.forget):
        vault.on_erase(forgets)
    given = GivenVectors()
    vault.on_erase(given.forget)
    worker: Worker[Transaction] = Worker(
        vault.maintain,
        queue,
        {
            FINE: fine,
            PROJECT: ProjectStage(vault),
            CONSOLIDATE: organise,
            REBUILD: organise,
            READ_IMAGE: images,
            SCHEDULE: ScheduleStage(vault, scheduler),
        },
        clock=clock,
        name=f"{os.getpid()}-{id(vault):x}",
        lease_seconds=settings.lease_seconds,
    )
    return Rooms(
        settings=settings,
        vault=vault,
        queue=queue,
        worker=worker,
        reader=MemReader(
            redaction=redaction,
            max_text_chars=settings.max_text_chars,
            retention_seconds=settings.retention_seconds,
        ),
        operator=MemOperator(
            vault,
            ranking=ranking,
            fresh=fresh,
            embed=None if embeds is None else partial(embed_query, embeds),
        ),
        lifecycle=lifecycle,
        executor=Executor(
            lifecycle, model=None if embeds is None else embeds.fingerprint, redaction=redaction
        ),
        embedder=embeds,
        tokens=counter,
        llm=model,
        reranker=None if reranker is None else _reranker(reranker),
        images=images,
        scheduler=scheduler,
        lines=lines,
        caches=caches,
        adapters=adapters,
        pressure=Pressure(vault, queue, settings=settings),
        given=given,
    )


def _rules(settings: Settings) -> Rules:
    each = settings.hot_bytes_per_tenant
    return Rules(
        policy=Policy(half_life_seconds=settings.half_life_seconds),
        hot=Budget(
            Allowance(bytes=settings.hot_bytes),
            Allowance() if each is None else Allowance(bytes=each),
        ),
        work=Budget(Allowance(seconds=settings.form_seconds)),
        placing=PlacementRules(
            residence_seconds=settings.form_residence_seconds,
            long_stable_seconds=settings.learn_after_seconds,
        ),
        kept=Budget(Allowance(bytes=settings.form_bytes, seconds=settings.form_seconds)),
    )


def _index(given: Vectors | None, fingerprint: str) -> VectorIndex:
    if given is None:
        return NumpyVectors()
    return given if isinstance(given, VectorIndex) else given(fingerprint)


def _extractor(given: Extractor | str | None, llm: LLM | None) -> Extractor | None:
    if given is None or isinstance(given, Extractor):
        return given
    if given == "default":
        return default_extractor() if llm is None else _read_by(llm)
    raise InvalidInput("extractor must be an Extractor, 'default' or None")


def _reranker(given: object) -> Reranker:
    # Loaded only here: most memories are found without one.
    from memos_integrations.operation.reading_llm.reranking import as_reranker  # noqa: PLC0415

    return as_reranker(given)


def _read_by(llm: LLM) -> Extractor:
    # Here, so that only those who give a model wait for what checks its answers.
    from memos_integrations.operation.reading_llm.extractor import LLMExtractor  # noqa: PLC0415

    return LLMExtractor(llm, fallback=default_extractor())


def _embedder(given: object | None) -> Embedder | None:
    if given is None:
        return None
    found = default_embedder() if given == "default" else as_embedder(given)
    if found is None:
        _log.info(
            "no embedder: memories are found by their words only; "
            "pip install 'memos-integrations[embed]' adds search by meaning"
        )
        return None
    return CachedEmbedder(found)
