"""What the rows of a cube archive may say: strict models that the loader holds every row against.

Shared by the dumper, which writes these shapes, and the loader, which trusts none of them.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from memos_integrations.cube.acl import Effect, SubjectKind, Trust, Visibility
from memos_integrations.cube.entries import clean_fields, clean_namespace
from memos_integrations.cube.entries import clean_key as clean_entry_key
from memos_integrations.cube.errors import HostileArchive, InvalidInput
from memos_integrations.cube.header import Kind, MemoryType, Origin, Relation, State, StorageMode
from memos_integrations.cube.ids import clean_path
from memos_integrations.cube.item import BlobRef
from memos_integrations.cube.provenance import ProvenanceStep
from memos_integrations.infrastructure.vault.records import clean_key

ITEMS, VERSIONS, LINKS = "items.jsonl", "versions.jsonl", "links.jsonl"
GRANTS, POLICY, RECORDS = "grants.jsonl", "policy.json", "records.jsonl"
TENSOR = "vectors"
"""Name of the one tensor in the vectors' member."""

MAX_ROWS = {ITEMS: 2_000_000, VERSIONS: 20_000_000, LINKS: 20_000_000, GRANTS: 1_000_000}
MAX_ROWS[RECORDS] = 20_000_000
"""The loader keeps a few hundred bytes per item and link, so these bound its memory."""
_MAX_NAME_CHARS = 1_000
_MAX_JSON_CHARS = 1_000_000
_MAX_JSON_DEPTH = 17
_FIRST_MICROS = -62_135_596_800_000_000  # the year 1
_LAST_MICROS = 253_402_300_799_999_999  # the year 9999

R = TypeVar("R", bound=BaseModel)


def _name(value: str) -> str:
    # Wider than what people may name things: stored names carry prefixes such as "session:".
    if not value.strip() or len(value) > _MAX_NAME_CHARS or any(ord(c) < 32 for c in value):
        raise ValueError("it is no name: empty, too long or with control characters")
    return value


def _no_nul(value: str) -> str:
    if "\x00" in value:
        raise ValueError("it holds NUL")
    return value


def _small_json(value: dict[str, Any]) -> dict[str, Any]:
    """Refuses what no write verb would have stored: too large, too deep, or with odd values."""
    if len(json.dumps(value)) > _MAX_JSON_CHARS:
        raise ValueError(f"it is larger than {_MAX_JSON_CHARS} characters of JSON")
    level: list[Any] = [value]
    depth = 0
    while level:
        depth += 1
        if depth > _MAX_JSON_DEPTH:
            raise ValueError(f"it is nested deeper than {_MAX_JSON_DEPTH - 1} levels")
        level = [child for node in level for child in _containers(node)]
    return value


def _containers(node: Any) -> list[Any]:
    children = list(node.values()) if isinstance(node, dict) else node
    for each in (*(node if isinstance(node, dict) else ()), *children):
        if isinstance(each, str):
            _no_nul(each)
        elif isinstance(each, int) and not -(2**63) < each < 2**63:
            raise ValueError("it holds a number beyond 64 bits")
    if isinstance(node, dict) and "" in node:
        raise ValueError("it has an empty key")
    return [child for child in children if isinstance(child, dict | list)]


def _small_steps(value: list[ProvenanceStep]) -> list[ProvenanceStep]:
    for step in value:
        for text in (step.source, step.actor, step.action, step.quote, step.content_hash):
            _no_nul(text or "")
    return value


Micros = Annotated[int, Field(ge=_FIRST_MICROS, le=_LAST_MICROS)]
Place = Annotated[int, Field(ge=1, le=2**62)]
"""A position in the log of the vault that was dumped; only their order counts."""
Number = Annotated[int, Field(ge=1, le=2**31)]
OldId = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Name = Annotated[str, AfterValidator(_name)]
Path = Annotated[str, AfterValidator(clean_path)]
Words = Annotated[str, Field(min_length=1), AfterValidator(_no_nul)]
Remark = Annotated[str, Field(max_length=10_000), AfterValidator(_no_nul)]
SmallJson = Annotated[dict[str, Any], AfterValidator(_small_json)]
Names = Annotated[list[Name], Field(max_length=10_000)]
Steps = Annotated[list[ProvenanceStep], Field(max_length=10_000), AfterValidator(_small_steps)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Row(BaseModel):
    """Strict, but for enums: JSON has their text, which must be exactly a member's."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class VectorsFact(Row):
    """Where the vectors lie: one float32 matrix, row k for the k-th version that names one."""

    sha256: Sha256
    rows: Annotated[int, Field(ge=1, le=20_000_000)]
    dim: Annotated[int, Field(ge=1, le=65_536)]


class CubeFacts(Row):
    """The manifest's word on the cube: claims, until the loader has its own reasons."""

    path: Path
    tenant: Name
    owner: Name
    created: Micros
    seq: Annotated[int, Field(ge=0, le=2**62)]
    """Place of the log that the dump shows."""
    embedding: Remark | None = None
    vectors: VectorsFact | None = None


class PolicyDoc(Row):
    visibility: Annotated[Visibility, Field(strict=False)]
    info: SmallJson


class EntryRow(Row):
    """The name a memory holds, and which fields of its value are searched."""

    namespace: Annotated[list[str], AfterValidator(clean_namespace)]
    key: Annotated[str, AfterValidator(clean_entry_key)]
    fields: Annotated[list[str], AfterValidator(lambda given: clean_fields(given or False))]
    ttl: Annotated[int, Field(ge=1, le=2**62)] | None = None


class ItemRow(Row):
    """Identity and present governance of a memory. Its owner does not travel."""

    id: OldId
    created: Micros
    visibility: Annotated[Visibility, Field(strict=False)] = Visibility.INHERIT
    labels: Names = []
    trust: Annotated[Trust, Field(strict=False)]
    expires: Micros | None = None
    quarantined: bool = False
    entry: EntryRow | None = None


class BlobRow(Row):
    sha256: Sha256
    bytes: Annotated[int, Field(ge=0, le=2**62)]
    media_type: Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_name)]

    def ref(self) -> BlobRef:
        return BlobRef(sha256=self.sha256, bytes=self.bytes, media_type=self.media_type)


class VersionRow(Row):
    """One version of a memory. ``words`` names the version that brought the words it tells: its
    own number (then ``text`` is here) or an earlier one; ``None`` in a tombstone."""

    at: Place
    item: OldId
    version: Number
    recorded: Micros
    state: Annotated[State, Field(strict=False)]
    before: Annotated[State, Field(strict=False)] | None = None
    kind: Annotated[Kind, Field(strict=False)]
    memory_type: Annotated[MemoryType, Field(strict=False)]
    time: Micros
    valid_from: Micros
    valid_to: Micros | None = None
    role: Name | None = None
    speaker: Name | None = None
    conversation: Name | None = None
    agent: Name | None = None
    origin: Annotated[Origin, Field(strict=False)]
    source: Name | None = None
    model: Remark | None = None
    tags: Names = []
    info: SmallJson = {}
    provenance: Steps = []
    blobs: Annotated[list[BlobRow], Field(max_length=10_000)] = []
    priority: Finite
    confidence: Finite
    storage_mode: Annotated[StorageMode, Field(strict=False)]
    stale: bool = False
    merged_into: OldId | None = None
    actor: Name
    reason: Remark
    words: Number | None = None
    text: Words | None = None
    data: SmallJson | None = None
    spans: Annotated[list[list[int | str]], Field(max_length=1_000_000)] = []
    vector: Annotated[int, Field(ge=0, le=20_000_000)] | None = None


class LinkRow(Row):
    at: Place
    event: Literal["link", "unlink"]
    source: OldId
    relation: Annotated[Relation, Field(strict=False)]
    target: OldId
    target_version: Number | None = None


class RecordRow(Row):
    """A record, or with ``more`` the next piece of one whose value is long."""

    space: Name
    key: Annotated[str, AfterValidator(clean_key)]
    session: Name | None = None
    written: Micros
    expires: Micros | None = None
    value: str
    """In base64."""
    more: bool = False


class GrantRow(Row):
    item: OldId | None = None
    subject_kind: Annotated[SubjectKind, Field(strict=False)]
    subject: Name
    permissions: Annotated[int, Field(ge=1, le=15)]
    effect: Annotated[Effect, Field(strict=False)]
    expires: Micros | None = None


def parse(kind: type[R], row: Any, what: str) -> R:
    """``row`` as ``kind``. Raises ``HostileArchive`` that names the field, never its value."""
    try:
        return kind.model_validate(row)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part)[:40] for part in first["loc"])
        raise HostileArchive(f"{what}: {where}: {first['msg']}") from error
    except InvalidInput as error:
        raise HostileArchive(f"{what}: {error}") from error
