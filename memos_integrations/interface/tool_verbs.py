"""The verbs of tool memory: what a tool answered, kept, and found again for the same question."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from memos_integrations.cube.acl import Trust, Visibility
from memos_integrations.cube.errors import InvalidInput
from memos_integrations.cube.header import MemoryType
from memos_integrations.cube.ids import clean_name, from_micros
from memos_integrations.cube.item import BlobRef, MemoryItem
from memos_integrations.cube.ops import AddOp
from memos_integrations.cube.outcomes import AddResult, Changed
from memos_integrations.infrastructure.backends.embedders import embed_query
from memos_integrations.infrastructure.vault import blob_claims
from memos_integrations.infrastructure.vault.governed import Pick
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.infrastructure.vault.rows import Stored, masked, to_item
from memos_integrations.infrastructure.vault.tool_calls import calls_like
from memos_integrations.infrastructure.vault.transaction import Transaction
from memos_integrations.interface.arguments import span_micros, whole
from memos_integrations.interface.idempotency import Request, run_once
from memos_integrations.interface.json_values import clean_json, clean_value
from memos_integrations.interface.reader import About, Turn, micros_of
from memos_integrations.interface.reads import Reads
from memos_integrations.interface.scope import CubeName, Scope
from memos_integrations.interface.tool_questions import (
    ToolQuestion,
    likened,
    result_blob_of,
    sound,
    switch,
    threshold_of,
    words_of,
)
from memos_integrations.operation.tool_copies import is_cleared
from memos_integrations.operation.tool_traces import (
    Embed,
    ToolTrace,
    canonical,
    likeness,
    similarity,
)

_MAX_RESULT_CHARS = 64_000_000
_CANDIDATES = 50


@dataclass(frozen=True, slots=True)
class ToolMemory:
    """What a tool answered once, and how well that fits the call asked about."""

    item: MemoryItem
    tool: str
    arguments: dict[str, Any]
    """As stored: secrets in them are masked."""
    result: Any
    """The whole of it, also where the memory shows only its beginning."""
    ok: bool
    error: str | None
    seconds: float | None
    exact: bool
    """The very same arguments, told by their hash."""
    similarity: float
    age_seconds: float
    valid_until: datetime | None
    expired: bool
    """Past its validity; only shown where that was asked for."""


class ToolVerbs(Reads):
    """Remembering what tools answered, and asking before calling them again."""

    def remember_tool(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        result: Any,
        *,
        ok: bool = True,
        error: str | None = None,
        seconds: float | None = None,
        valid_seconds: float | None = None,
        time: datetime | str | float | None = None,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
        tags: Sequence[str] = (),
        info: Mapping[str, Any] | None = None,
        labels: Sequence[str] = (),
        visibility: Visibility | str = Visibility.INHERIT,
        ttl_seconds: float | None = None,
        idempotency_key: str | None = None,
    ) -> AddResult:
        """Keep a call of a tool: arguments, result, how it went and how long it holds.

        ``arguments`` and ``result`` are JSON values; secrets in them are masked before storing,
        and still the same call is found again. A long result is kept whole in a blob, its
        beginning in the memory. ``valid_seconds`` counts from ``time`` (by default, now).
        """
        scope = self._scope(user, agent, session, cube)
        reader = self._rooms.reader
        now = self._rooms.vault.now()
        said = now if time is None else micros_of(time, "time")
        trace = ToolTrace(
            clean_name(tool, "tool"),
            clean_json(arguments, "arguments"),
            clean_value(result, "result", max_chars=_MAX_RESULT_CHARS),
            switch(ok, "ok"),
            _error(error),
            _seconds(seconds),
            from_micros(said).isoformat(),
        )
        shown = trace.without_secrets(reader.keep)
        payload = shown.payload()
        blob = self._whole_result(shown, payload)
        about = About.of(
            memory_type=MemoryType.TOOL,
            tags=tags,
            info={} if info is None else info,
            labels=labels,
            visibility=visibility,
            trust=Trust.TOOL,
            source=f"tool:{trace.name}",
            time=from_micros(said),
            valid_to=_until(said, valid_seconds),
            ttl_seconds=ttl_seconds,
            blobs=() if blob is None else (blob,),
        )
        turn = Turn(shown.words(), role="tool", name=trace.name)
        drafts, refused = reader.read([turn], about, scope.principal, now=now)
        if refused:
            raise InvalidInput(f"the call cannot be stored: {refused[0].reason}")
        drafts[0].draft.data = {"tool": payload}
        drafts[0].draft.call = trace.call
        op = AddOp(scope.cube, tuple(drafts), reason="called")
        # Without a time of its own, the same call again is the same request at a later time.
        told = replace(trace, at=None if time is None else trace.at)
        request = Request("remember_tool", told, valid_seconds, tags, info, *scope.where_said)

        def work(tx: Transaction) -> list[AddResult | Changed]:
            if blob is not None:
                blob_claims.claim(tx, blob)
            return run_once(
                tx, idempotency_key, request, lambda: self._rooms.executor.execute(tx, [op])
            )

        done = self._write(scope, work, action="remember_tool")[0]
        assert isinstance(done, AddResult)  # noqa: S101  -- what an AddOp gives
        return done

    def recall_tool(
        self,
        tool: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        like: str | None = None,
        max_age_seconds: float | None = None,
        ok_only: bool = True,
        include_expired: bool = False,
        threshold: float | None = None,
        limit: int = 5,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
    ) -> list[ToolMemory]:
        """What the tool answered to this call, or to one near enough; the best first.

        With ``arguments``: the same ones first, the newest of them first, then those as similar
        as ``threshold`` (0.85 unless said; above 1 asks for the same ones only). With ``like``:
        calls that fit these words (0.5 unless said). With neither: its latest calls. Answers past
        their validity are left out unless ``include_expired``, which is for looking, not for use.
        """
        scope = self._scope(user, agent, session, cube)
        whole(limit, "limit", least=1, most=1000)
        asked = ToolQuestion(
            tool=clean_name(tool, "tool"),
            arguments=None if arguments is None else clean_json(arguments, "arguments"),
            like=likened(like, arguments),
            now=self._rooms.vault.now(),
            max_age=None
            if max_age_seconds is None
            else span_micros(max_age_seconds, "max_age_seconds"),
            ok_only=switch(ok_only, "ok_only"),
            expired=switch(include_expired, "include_expired"),
            threshold=threshold_of(threshold, like),
        )
        with self._reading(scope, action="recall_tool") as reading:
            cids = [each.cid for each in self._cubes(reading, scope)]
            same = self._same(reading, cids, asked, limit, scope)
            latest: list[Stored] = []
            if asked.expired or (arguments is None and like is None):
                latest = self._latest(reading, cids, asked, scope)
        taken = {row.iid for row in same}
        near = [
            pair
            for pair in self._near(scope, asked, latest)
            if pair[1].iid not in taken and len(same) < limit
        ]
        found = [(1.0, row, True) for row in same]
        found += [(score, row, False) for score, row in near]
        found = found[:limit]
        rows = [row for _, row, _ in found]
        self._rooms.vault.shown(scope.principal, "recall_tool", rows, cubes=scope.cubes)
        return [self._memory(row, scope, asked, score, exact) for score, row, exact in found]

    # -- what the verbs share -----------------------------------------------------------------

    def _whole_result(self, shown: ToolTrace, payload: dict[str, Any]) -> BlobRef | None:
        """The whole of a result that is too long for its memory, and its name in ``payload``."""
        if not payload.get("result_cut"):
            return None
        data = canonical({"result": shown.result}).encode("utf-8", "surrogatepass")
        blob = self._rooms.vault.blobs.put(data, media_type="application/json")
        payload["result_blob"] = blob.sha256
        return blob

    def _same(
        self, reading: Reading, cids: Sequence[int], asked: ToolQuestion, limit: int, scope: Scope
    ) -> list[Stored]:
        if asked.arguments is None:
            return []
        found: list[Stored] = []
        call = ToolTrace(asked.tool, asked.arguments).call
        pick: Pick = "kept" if asked.expired else "searchable"
        for page in calls_like(reading.connection, cids, *call):
            rows = reading.governed.items(page, cids=cids, pick=pick)
            taken = (row for row in rows if asked.takes(row) and _said_in(row, scope))
            found += [row for row in taken if _may_confirm(row, scope, asked.arguments)]
            if len(found) >= limit * max(1, len(cids)):
                break
        return sorted(found, key=lambda row: (-row.time, -row.iid))[:limit]

    def _latest(
        self, reading: Reading, cids: Sequence[int], asked: ToolQuestion, scope: Scope
    ) -> list[Stored]:
        where = scope.where({"memory_type": "tool", "speaker": asked.tool})
        pick: Pick = "kept" if asked.expired else "searchable"
        rows = reading.governed.listing(cids=cids, pick=pick, where=where, limit=1000)
        return [row for row in rows if asked.takes(row)]

    def _near(
        self, scope: Scope, asked: ToolQuestion, latest: Sequence[Stored]
    ) -> list[tuple[float, Stored]]:
        """Calls near enough, the nearest first."""
        rows = list(latest)
        words = asked.words()
        if words is None:
            return [(1.0, row) for row in rows]
        if not asked.expired:
            where = {"memory_type": "tool", "speaker": asked.tool}
            found = self._find(scope, words, where, _CANDIDATES, self._instant)
            rows = [each.row for each in found if asked.takes(each.row)]
        scored = [(self._nearness(asked, row, scope), row) for row in rows]
        near = [pair for pair in scored if pair[0] >= asked.threshold]
        return sorted(near, key=lambda pair: (-pair[0], -pair[1].time, -pair[1].iid))

    def _nearness(self, asked: ToolQuestion, row: Stored, scope: Scope) -> float:
        # As shown, not as stored: how near a guess comes must tell nothing of masked words.
        stored = sound(to_item(row, scope.principal).data).get("arguments", {})
        if asked.arguments is not None:
            return similarity(asked.arguments, stored, self._embed)
        told = f"{asked.tool} {words_of(stored)}"
        return likeness(asked.like or "", told, self._embed)

    @property
    def _embed(self) -> Embed | None:
        embedder = self._rooms.embedder
        if embedder is None:
            return None
        return lambda texts: [embed_query(embedder, text).tolist() for text in texts]

    def _memory(
        self, row: Stored, scope: Scope, asked: ToolQuestion, score: float, exact: bool
    ) -> ToolMemory:
        item = to_item(row, scope.principal)
        payload = sound(item.data)
        result = payload.get("result")
        blob = result_blob_of(row)
        if blob is not None:
            result = _whole(self._rooms.vault.blobs.read(blob), result)
            if not is_cleared(row, scope.principal):
                result = masked(result, keep=frozenset())
        return ToolMemory(
            item=item,
            tool=asked.tool,
            arguments=payload.get("arguments", {}),
            result=result,
            ok=bool(payload.get("ok", True)),
            error=payload.get("error"),
            seconds=payload.get("seconds"),
            exact=exact,
            similarity=score,
            age_seconds=max(0, asked.now - row.time) / 1e6,
            valid_until=item.header.valid_to,
            expired=row.valid_to is not None and row.valid_to <= asked.now,
        )


def _may_confirm(row: Stored, scope: Scope, arguments: Mapping[str, Any] | None) -> bool:
    """Whether the asker may learn that these were the arguments: by reading them in it, at the
    least. A match on masked ones would confirm a guess."""
    if is_cleared(row, scope.principal):
        return True
    shown = sound(to_item(row, scope.principal).data).get("arguments", {})
    return canonical(shown) == canonical(arguments)


def _whole(kept: bytes, head: Any) -> Any:
    """The whole result out of its blob; the beginning where the blob is none of ours."""
    try:
        told = json.loads(kept)
    except (ValueError, RecursionError):
        return head
    return told.get("result", head) if isinstance(told, dict) else head


def _said_in(row: Stored, scope: Scope) -> bool:
    """Whether it belongs to the session and the agent that the call names."""
    session, who = scope.narrow, scope.principal
    if session is None:
        return True
    return who.session is None or row.conversation == who.session


def _error(error: object) -> str | None:
    if error is not None and not isinstance(error, str):
        raise InvalidInput("error must be text; pass str(error)")
    return None if error is None else str(clean_value(error, "error", max_chars=100_000))


def _seconds(seconds: object) -> float | None:
    if seconds is None:
        return None
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not number or not 0 <= seconds < 1e9:  # type: ignore[operator,unused-ignore]
        raise InvalidInput("seconds must be a number from 0 upwards")
    return float(seconds)  # type: ignore[arg-type,unused-ignore]


def _until(said: int, valid_seconds: float | None) -> datetime | None:
    if valid_seconds is None:
        return None
    return from_micros(said + span_micros(valid_seconds, "valid_seconds"))
