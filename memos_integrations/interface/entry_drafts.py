"""A value to be put becomes a memory: masked, in words for the search, with its payload beside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from memos_integrations.cube.acl import Principal, Trust
from memos_integrations.cube.draft import Draft
from memos_integrations.cube.entries import PutEntry, clean_fields, source_of
from memos_integrations.cube.errors import InvalidInput
from memos_integrations.cube.header import Origin, State
from memos_integrations.cube.ids import from_micros
from memos_integrations.infrastructure.governance.redaction import spans_to_json
from memos_integrations.infrastructure.vault.rows import dumps, masked
from memos_integrations.interface.arguments import span_micros
from memos_integrations.interface.base import Rooms
from memos_integrations.interface.json_values import clean_json
from memos_integrations.operation.entries import Put
from memos_integrations.operation.entry_texts import field_texts, whole_text

_ORIGINS: Final[Mapping[Trust, Origin]] = {
    Trust.USER: Origin.USER_INPUT,
    Trust.INFERENCE: Origin.INFERENCE,
    Trust.TOOL: Origin.RETRIEVAL,
    Trust.WEB: Origin.RETRIEVAL,
    Trust.IMPORT: Origin.IMPORT,
}


def draft_of(op: PutEntry, principal: Principal, rooms: Rooms, *, now: int) -> Put:
    """The memory behind a name. Raises ``InvalidInput`` for a value that is no plain JSON object,
    and for a name that would be masked before it is stored.

    A value without searched words is an archived memory: kept, listed and in its history, and
    left out of every search.
    """
    value = masked(clean_json(op.value, "the value"), keep=rooms.reader.keep)
    fields = clean_fields(op.index)
    texts = field_texts(value, fields)
    words = "\n".join(texts) or whole_text(value)
    written = rooms.reader.written(words[: rooms.settings.max_text_chars])
    ttl = None if op.ttl_seconds is None else span_micros(op.ttl_seconds, "ttl_seconds")
    _ensure_no_secret([*op.namespace, op.key], keep=rooms.reader.keep)
    source = source_of(op.namespace, op.key)
    step = {
        "source_kind": "message",
        "source": source,
        "actor": principal.name,
        "action": "put",
        "at": from_micros(now).isoformat(),
    }
    draft = Draft(
        text=written.text,
        time=now,
        agent=principal.agent,
        source=source,
        state=(State.ACTIVATED if texts else State.ARCHIVED).value,
        data=value,
        expires=None if ttl is None else now + ttl,
        spans=spans_to_json(written.spans),
        provenance=dumps([step]),
        trust=op.trust.value,
        origin=_ORIGINS[op.trust].value,
    )
    return Put(draft, fields if texts else (), ttl)


def _ensure_no_secret(names: list[str], *, keep: frozenset[str]) -> None:
    """A masked name would no longer be found, so it is refused instead; without telling it."""
    if masked(names, keep=keep) != names:
        raise InvalidInput(
            "a namespace or key that looks like a secret would be stored for all to read; "
            "choose another name"
        )
