"""What a cube archive may hold: member names, the manifest, the limits.

A ZIP file of JSON Lines (``items.jsonl``), single JSON objects (``policy.json``), blobs
(``blobs/<sha256>.safetensors`` for tensors, ``.bin`` for the rest) and ``manifest.json``, which
stands last because it lists the hashes of the others. Only what ``ArchiveWriter`` writes is
read back: members repacked by another program may be refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from memos_integrations.cube.item import BlobRef
from memos_integrations.infrastructure.safetensors_file import (
    MAX_HEADER_BYTES,
    MAX_TENSORS,
    SAFETENSORS,
)

FORMAT: Literal["memcube"] = "memcube"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
JSON_NAME = re.compile(r"[a-z_]{1,60}\.jsonl?\Z")
BLOB_NAME = re.compile(r"blobs/([0-9a-f]{64})\.(safetensors|bin)\Z")
"""All lowercase ASCII, so two names that differ only by case cannot both be allowed."""

MEMBER_TIME = (1980, 1, 1, 0, 0, 0)
MEMBER_MODE = 0o100600
_GIB = 2**30
_MIB = 2**20

Count = Annotated[int, Field(ge=0, le=2**63 - 1)]


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """How much an archive may ask of the program that reads it. Raise what you need raised."""

    max_members: int = 100_000
    max_unpacked_bytes: int = 64 * _GIB
    """All members together, unpacked."""
    max_member_bytes: int = 16 * _GIB
    max_ratio: float = 200.0
    """Unpacked to packed, for members that unpack to more than ``ratio_free_bytes``."""
    ratio_free_bytes: int = 16 * _MIB
    max_manifest_bytes: int = 32 * _MIB
    max_line_bytes: int = 16 * _MIB
    max_json_depth: int = 64
    max_tensor_header_bytes: int = MAX_HEADER_BYTES
    max_tensors: int = MAX_TENSORS


class Entry(BaseModel):
    """One member as the manifest vouches for it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    bytes: Count
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    media_type: str | None = None
    """Set for blobs only."""

    def blob(self) -> BlobRef | None:
        """The blob's name, if the member is one."""
        if self.media_type is None:
            return None
        return BlobRef(sha256=self.sha256, bytes=self.bytes, media_type=self.media_type)

    def is_honest(self) -> bool:
        """Whether name, hash and media type say the same."""
        if self.media_type is None:
            return JSON_NAME.match(self.name) is not None and self.name != MANIFEST
        return self.name == blob_name(self.sha256, self.media_type)


class Manifest(BaseModel):
    """The archive's own description of itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal["memcube"]
    format_version: Annotated[int, Field(ge=FORMAT_VERSION, le=FORMAT_VERSION)]
    created: AwareDatetime
    cube: dict[str, Any]
    entries: tuple[Entry, ...]
    counts: dict[str, Count]
    """Rows per JSON member."""


def blob_name(sha256: str, media_type: str) -> str:
    """The member a blob lies in. Only a ``.safetensors`` member is checked to be one."""
    return f"blobs/{sha256}.{'safetensors' if media_type == SAFETENSORS else 'bin'}"
