"""Rows of the vault as typed values, and as the memory items a principal may see."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, TypeAdapter

from memos_integrations.cube.acl import Principal, Trust, Visibility
from memos_integrations.cube.embedded import is_given
from memos_integrations.cube.header import Header, Kind, MemoryType, Origin, State, StorageMode
from memos_integrations.cube.ids import from_micros
from memos_integrations.cube.item import BlobRef, MemoryItem
from memos_integrations.cube.provenance import ProvenanceStep
from memos_integrations.infrastructure.governance.detection import PERSONAL
from memos_integrations.infrastructure.governance.redaction import mask, scan, spans_from_json


class Stored(NamedTuple):
    """One version of one item as it stands in the file, in the order of ``item_columns``.

    A tuple, as a frozen dataclass of so many fields takes longer to make than its row to read.
    """

    iid: int
    id: str
    created: int
    owner: str
    visibility: str
    labels: str | None
    trust: str
    expires: int | None
    legal_hold: int
    quarantined: int
    path: str
    master: int
    home: int
    tenant: str
    seq: int
    seq_to: int
    cid: int
    version: int
    recorded: int
    tid: int | None
    state: str
    before: str | None
    kind: str
    memory_type: str
    time: int
    valid_from: int
    valid_to: int | None
    role: str | None
    speaker: str | None
    conversation: str | None
    agent: str | None
    origin: str
    source: str | None
    model: str | None
    tags: str | None
    info: str | None
    provenance: str | None
    blobs: str | None
    priority: float
    confidence: float
    storage_mode: str
    stale: int
    merged_into: int | None
    actor: str
    reason: str
    text: str | None
    data: str | None
    spans: str | None
    usage_count: int
    last_used: int | None
    embedding: str | None
    merged_id: str | None

    def with_(self, **changes: Any) -> Stored:
        return self._replace(**changes)

    def plain(self, *, clearances: frozenset[str], owned: bool) -> str:
        """The words as somebody with these clearances may read them; an owner is always
        cleared for personal data."""
        if self.text is None:
            return ""
        if self.spans is None:
            return self.text
        keep = clearances | {PERSONAL} if owned else clearances
        return mask(self.text, spans_from_json(self.spans), keep=frozenset(keep))


STORED_FIELDS = Stored._fields


def to_item(row: Stored, principal: Principal) -> MemoryItem:
    """The item as ``principal`` may see it: personal data masked without clearance."""
    owned = bool(row.master) or (bool(row.home) and row.owner == principal.name)
    text = row.plain(clearances=principal.clearances, owned=owned)
    cleared = owned or PERSONAL in principal.clearances
    read = _loads if cleared else _loads_masked
    return built(
        MemoryItem,
        _ITEM_FIELDS,
        {
            "text": text,
            "data": None if row.data is None else read(row.data),
            "blobs": ()
            if row.blobs is None
            else tuple(BlobRef(**b) for b in _loads(row.blobs) or ()),
            "header": _header(row, read, redacted=text != (row.text or "")),
        },
    )


def may_have_vector(row: Stored, principal: Principal) -> bool:
    """Whether the vector of a memory says nothing that ``principal`` is shown masked.

    Our own embedders see masked words only. A vector that came with its text was made of all of
    them, and words can be read back out of a vector.
    """
    if not is_given(row.embedding):
        return True
    shown = to_item(row, principal)
    stored = (row.text or "", _loads(row.data), _loads(row.info) or {})
    return (shown.text, shown.data, shown.header.info) == stored


def _header(row: Stored, read: Callable[[str | None], Any], *, redacted: bool) -> Header:
    # Taken apart at once: 40 fields by name would take as long as half of the rest.
    (
        _, item, made, owner, visibility, labels, trust, expires, legal_hold, quarantined, path,
        _, _, _, seq, _, _, version, recorded, _, state, _, kind, memory_type, time, valid_from,
        valid_to, role, speaker, conversation, agent, origin, source, model, tags, info,
        provenance, _, priority, confidence, storage_mode, stale, _, _, _, _, _, _, usage_count,
        last_used, embedding, merged_into,
    ) = row  # fmt: skip
    created = from_micros(made)
    said = created if time == made else from_micros(time)
    return built(
        Header,
        _HEADER_FIELDS,
        {
            "id": item,
            "cube": path,
            "kind": _KINDS[kind],
            "memory_type": _TYPES[memory_type],
            "created": created,
            "updated": created if recorded == made else from_micros(recorded),
            "time": said,
            "valid_from": said if valid_from == time else from_micros(valid_from),
            "valid_to": None if valid_to is None else from_micros(valid_to),
            "role": role,
            "speaker": speaker,
            "conversation": conversation,
            "agent": agent,
            "origin": _ORIGINS[origin],
            "source": source,
            "provenance": () if provenance is None else _steps(provenance, read),
            "model": model,
            "tags": () if tags is None else tuple(read(tags) or ()),
            "info": {} if info is None else read(info) or {},
            "embedding": embedding,
            "owner": owner,
            "visibility": _VISIBILITIES[visibility],
            "labels": () if labels is None else tuple(_loads(labels) or ()),
            "trust": _TRUSTS[trust],
            "expires": None if expires is None else from_micros(expires),
            "legal_hold": bool(legal_hold),
            "quarantined": bool(quarantined),
            "redacted": redacted,
            "usage_count": usage_count,
            "last_used": None if last_used is None else from_micros(last_used),
            "priority": float(priority),
            "confidence": float(confidence),
            "state": _STATES[state],
            "stale": bool(stale),
            "merged_into": merged_into,
            "version": version,
            "seq": seq,
            "storage_mode": _MODES[storage_mode],
        },
    )


_ITEM_FIELDS = frozenset(MemoryItem.model_fields)
_HEADER_FIELDS = frozenset(Header.model_fields)
_STEPS = TypeAdapter(tuple[ProvenanceStep, ...] | None)
_steps_of_json = _STEPS.validator.validate_json  # without the adapter's own arguments


def _steps(text: str, read: Callable[[str | None], Any]) -> tuple[ProvenanceStep, ...]:
    """The steps of their JSON, read and checked in one go where nothing has to be masked."""
    steps = _steps_of_json(text) if read is _loads else _STEPS.validate_python(read(text))
    return steps or ()


_KINDS = {each.value: each for each in Kind}
_TYPES = {each.value: each for each in MemoryType}
_ORIGINS = {each.value: each for each in Origin}
_STATES = {each.value: each for each in State}
_MODES = {each.value: each for each in StorageMode}
_VISIBILITIES = {each.value: each for each in Visibility}
_TRUSTS = {each.value: each for each in Trust}

M = TypeVar("M", bound=BaseModel)


_set = object.__setattr__


def built(model: type[M], fields: frozenset[str], values: dict[str, Any]) -> M:
    """The model of values that the vault itself wrote and typed: nothing is validated again.

    What ``model_construct`` does, without its walk over aliases and defaults; every field of the
    model stands in ``values`` (a test compares with a validated one).
    """
    made = model.__new__(model)
    _set(made, "__dict__", values)
    _set(made, "__pydantic_fields_set__", set(fields))
    _set(made, "__pydantic_extra__", None)
    _set(made, "__pydantic_private__", None)
    return made


_decoder = json.JSONDecoder()


def _read(text: str) -> Any:
    """What ``json.loads`` gives, sooner where nothing stands around the value, as in what the
    vault wrote."""
    try:
        value, end = _decoder.raw_decode(text)
    except json.JSONDecodeError:
        return _decoder.decode(text)
    return value if end == len(text) else _decoder.decode(text)


def _loads(text: str | None) -> Any:
    return None if text is None else _read(text)


def _loads_masked(text: str | None) -> Any:
    """Parsed JSON with personal data masked in every string of it."""
    return None if text is None else masked(json.loads(text), keep=frozenset())


def masked(value: Any, *, keep: frozenset[str]) -> Any:
    """``value`` with every string in it masked but for the labels in ``keep``; keys too.

    A whole number that is sensitive (of a card, say) becomes the text that stands for it.
    """
    if isinstance(value, str):
        return mask(value, scan(value), keep=keep)
    if isinstance(value, int) and not isinstance(value, bool):
        written = str(value)
        shown = mask(written, scan(written), keep=keep)
        return value if shown == written else shown
    if isinstance(value, list):
        return [masked(each, keep=keep) for each in value]
    if isinstance(value, dict):
        return {masked(k, keep=keep): masked(v, keep=keep) for k, v in value.items()}
    return value


# json.dumps with these settings would build the encoder anew at every call.
_canonical = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode


def dumps(value: object) -> str:
    """Canonical JSON, as the vault stores it."""
    return _canonical(value)


def dumps_or_none(value: Any) -> str | None:
    """Canonical JSON, or ``None`` for an empty list or mapping."""
    return dumps(value) if value else None
