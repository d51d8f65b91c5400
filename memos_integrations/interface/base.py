"""What every verb of the facade stands on: the rooms of the house, scopes and open readings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

from memos_integrations.cube.acl import Permission, Principal
from memos_integrations.cube.errors import AccessDenied, InvalidInput, NotFound
from memos_integrations.cube.ports import LLM, Embedder, Reranker, TokenCounter
from memos_integrations.infrastructure.queue.sqlite import SqliteQueue
from memos_integrations.infrastructure.queue.worker import Worker
from memos_integrations.infrastructure.vault.governed import NOW, Instant
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.infrastructure.vault.rows import Stored
from memos_integrations.infrastructure.vault.transaction import CubeRow, Transaction
from memos_integrations.infrastructure.vault.vault import MemVault
from memos_integrations.interface.hot_lines import HotLines
from memos_integrations.interface.pressure import Pressure
from memos_integrations.interface.reader import MemReader
from memos_integrations.interface.scope import CubeName, Scope, resolve
from memos_integrations.interface.settings import Settings
from memos_integrations.operation.executor import Executor
from memos_integrations.operation.given_vectors import GivenVectors
from memos_integrations.operation.image_stage import ImageStage
from memos_integrations.operation.lifecycle.lifecycle import MemLifecycle
from memos_integrations.operation.operator.search import MemOperator
from memos_integrations.operation.scheduler.scheduler import MemScheduler
from memos_integrations.operation.transform.adapters import Adapters
from memos_integrations.operation.transform.caches import Caches

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rooms:
    """The parts a MOS is composed of; made once by ``MOS`` and shared by its views."""

    settings: Settings
    vault: MemVault
    queue: SqliteQueue
    worker: Worker[Transaction]
    reader: MemReader
    operator: MemOperator
    lifecycle: MemLifecycle
    executor: Executor
    embedder: Embedder | None
    tokens: TokenCounter
    llm: LLM | None
    reranker: Reranker | None
    images: ImageStage
    scheduler: MemScheduler
    lines: HotLines
    caches: Caches
    adapters: Adapters
    pressure: Pressure
    given: GivenVectors


_PLAIN = frozenset({str, type(None)})
_SCOPES_KEPT = 256


class Verbs:
    """Base of the groups of verbs. ``principal`` is who asks when a call does not say."""

    def __init__(self, rooms: Rooms, principal: Principal, instant: Instant = NOW) -> None:
        self._rooms = rooms
        self._principal = principal
        self._instant = instant
        self._scopes: dict[tuple[str | None, ...], Scope] = {}

    def _scope(
        self,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
    ) -> Scope:
        if cube is not None or not _PLAIN.issuperset((type(user), type(agent), type(session))):
            return self._resolved(user, agent, session, cube)
        named = (user, agent, session)
        scope = self._scopes.get(named)
        if scope is None:
            if len(self._scopes) >= _SCOPES_KEPT:
                self._scopes.clear()
            scope = self._scopes[named] = self._resolved(user, agent, session, None)
        return scope

    def _resolved(
        self,
        user: str | None,
        agent: str | None,
        session: str | None,
        cube: CubeName | Sequence[CubeName] | None,
    ) -> Scope:
        return resolve(
            self._principal,
            default_user=self._rooms.settings.default_user,
            user=user,
            agent=agent,
            session=session,
            cube=cube,
        )

    def _of_whole_cubes(
        self,
        what: str,
        user: str | None,
        agent: str | None,
        session: str | None,
        cube: CubeName | Sequence[CubeName] | None,
    ) -> Scope:
        """As ``_scope``, for what is of whole cubes. Raises ``InvalidInput`` where the call is
        narrowed further, which would be passed over."""
        scope = self._scope(user, agent, session, cube)
        if scope.narrow is not None:
            raise InvalidInput(
                f"{what} is of whole cubes: name a cube, not a session, nor an agent beside a user"
            )
        return scope

    def _write(self, scope: Scope, work: Callable[[Transaction], T], *, action: str) -> T:
        return self._rooms.vault.write(scope.principal, work, action=action)

    def _reading(
        self,
        scope: Scope,
        *,
        action: str,
        need: Permission = Permission.READ,
        instant: Instant | None = None,
    ) -> AbstractContextManager[Reading]:
        at = self._instant if instant is None else instant
        return self._rooms.vault.reading(scope.principal, need=need, instant=at, action=action)

    def _cubes(
        self, reading: Reading, scope: Scope, need: Permission = Permission.READ
    ) -> list[CubeRow]:
        """The cubes of the scope. A missing home is empty; a missing other cube is refused."""
        cubes = reading.cubes(scope.cubes)
        if not scope.at_home:
            for path in set(scope.cubes) - {cube.path for cube in cubes}:
                # The same words as for a cube that exists: names of cubes are not to be probed.
                raise refused_cube(scope.principal, path, need)
        return cubes

    def _open_cubes(self, reading: Reading, scope: Scope) -> list[CubeRow]:
        """As ``_cubes``, refusing each one of which the principal may see nothing."""
        cubes = self._cubes(reading, scope)
        self._ensure_open(reading, scope, cubes)
        return cubes

    def _ensure_open(self, reading: Reading, scope: Scope, cubes: Sequence[CubeRow]) -> None:
        """Raise ``AccessDenied`` for a cube of which the principal may see nothing."""
        for gate in reading.governed.gates([cube.cid for cube in cubes]):
            hidden = gate.denied or not (gate.open or reading.governed.count(cids=[gate.cid]))
            if hidden:
                raise refused_cube(scope.principal, gate.path)

    def _item(self, reading: Reading, scope: Scope, item_id: str) -> Stored:
        """The item at the reading's instant. Raises ``NotFound`` where it may not be seen."""
        number = reading.numbers([item_id]).get(item_id)
        rows = number and reading.governed.items([number[0]], cids=[number[1]])
        if not rows:
            missing = NotFound(f"no memory {item_id} is visible to {scope.principal.name}")
            missing.hidden, missing.items = number is not None, (item_id,)
            raise missing
        return rows[0]


def refused_cube(
    principal: Principal, path: str, need: Permission = Permission.READ
) -> AccessDenied:
    """The refusal of a cube, in the same words whether it exists or not."""
    refusal = AccessDenied(
        f"{principal.name} may not {str(need.name).lower()} cube {path}; ask its owner for a grant"
    )
    refusal.cube = path
    return refusal
