"""What was handed to ``ingest``, opened and read: bytes, a name, a media type, words.

Called by the verbs of documents before any transaction is open.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from memos_integrations.cube.errors import BrokenDocument, InvalidInput
from memos_integrations.cube.ids import clean_name
from memos_integrations.infrastructure.backends.converters import (
    CONVERTED,
    ConversionLimits,
    convert,
)
from memos_integrations.infrastructure.backends.media_types import (
    BY_SUFFIX,
    MARKDOWN,
    decoded,
    media_type_of,
)
from memos_integrations.operation.documents.chunking import Part, title_of

SourceOfDocument: TypeAlias = str | bytes | os.PathLike[str]
_MAX_NAME_CHARS = 500
_BAD = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Opened:
    """A document's bytes and what they are."""

    name: str
    data: bytes
    media_type: str
    path: Path | None = None

    @property
    def is_image(self) -> bool:
        return self.media_type.startswith("image/")

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True, slots=True)
class Worded:
    """A document's words."""

    parts: tuple[Part, ...]
    markdown: bool
    title: str | None
    notes: tuple[str, ...] = ()
    pages: int | None = None


def opened(
    source: object, *, name: str | None, media_type: str | None, limits: ConversionLimits
) -> Opened:
    """The bytes behind ``source``. Raises ``InvalidInput`` or ``BrokenDocument``."""
    if media_type is not None:
        clean_name(media_type, "media_type")
    if isinstance(source, os.PathLike):
        return _from_path(Path(source), name, media_type, limits)
    if isinstance(source, str):
        _ensure_no_path(source, media_type)
        if _BAD.search(source):
            raise InvalidInput("the text holds NUL or lone surrogates; send valid text")
        data, media_type = source.encode(), media_type or _type_of_text(name)
    elif isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
    else:
        raise InvalidInput(f"a document is text, bytes or a Path, not {type(source).__name__}")
    if name is None:
        raise InvalidInput("text and bytes need name=..., by which they are ingested again")
    return _checked(data, clean_document_name(name), media_type, limits)


def clean_document_name(name: object) -> str:
    """``name`` if it can name a document: a label, with ``/`` in it if need be; never opened."""
    clean = clean_name(name, "name")
    parts = PurePosixPath(clean).parts
    if len(clean) > _MAX_NAME_CHARS or ".." in parts or "\\" in clean or clean.startswith("/"):
        raise InvalidInput(
            f"name must be at most {_MAX_NAME_CHARS} characters and no way out of a folder, "
            "such as guides/install.md"
        )
    return clean


def _ensure_no_path(text: str, media_type: str | None) -> None:
    """Refuse a string that is the name of a file: opening it would let words reach the disk."""
    looks = "\n" not in text and len(text) < 4096 and Path(text).suffix.lower() in BY_SUFFIX
    if looks and media_type is None:
        raise InvalidInput(
            "a string is taken as the words themselves and this one ends like a file's name; "
            "pass Path(...) for a file, or media_type='text/plain' if these are the words"
        )


def _type_of_text(name: str | None) -> str | None:
    known = BY_SUFFIX.get(Path(name).suffix.lower()) if isinstance(name, str) else None
    return known if known and known.startswith("text/") else MARKDOWN


def _from_path(
    path: Path, name: str | None, media_type: str | None, limits: ConversionLimits
) -> Opened:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise InvalidInput(f"{path.name or path} is not a file; ingest_folder takes a folder")
        if found.st_size > limits.max_bytes:
            raise BrokenDocument(f"it is larger than {limits.max_bytes} bytes; split it")
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its name is not one a file can have"
        raise InvalidInput(f"cannot read {path.name!r}: {reason}") from error
    return _checked(data, clean_document_name(name or path.name), media_type, limits, path)


def _checked(
    data: bytes,
    name: str,
    media_type: str | None,
    limits: ConversionLimits,
    path: Path | None = None,
) -> Opened:
    if not data.strip():
        raise InvalidInput(f"document {name} is empty")
    if len(data) > limits.max_bytes:
        raise BrokenDocument(f"document {name} is larger than {limits.max_bytes} bytes; split it")
    try:
        return Opened(name, data, media_type_of(data, name=name, given=media_type), path)
    except BrokenDocument as error:
        raise BrokenDocument(f"document {name}: {error}") from error


def worded(document: Opened, limits: ConversionLimits) -> Worded:
    """The words of a document. Raises ``BrokenDocument`` where it is damaged or holds none."""
    try:
        found = _converted(document, limits)
        if not any(part.text.strip() for part in found.parts):
            raise BrokenDocument(_wordless(found))
        if sum(len(part.text) for part in found.parts) > limits.max_chars:
            raise BrokenDocument(f"it holds more than {limits.max_chars} characters; split it")
        return found
    except BrokenDocument as error:
        raise BrokenDocument(f"document {document.name}: {error}") from error


def _converted(document: Opened, limits: ConversionLimits) -> Worded:
    if document.media_type not in CONVERTED:
        markdown = document.media_type == MARKDOWN
        parts: tuple[Part, ...] = (Part(decoded(document.data)),)
        return Worded(parts, markdown, title_of(parts, markdown=markdown))
    made = convert(document.data, media_type=document.media_type, limits=limits)
    parts = tuple(Part(part.text, part.page) for part in made.parts)
    missing = made.pages_without_text
    notes = (f"{missing} of {made.pages} pages hold no text",) if missing else ()
    title = made.title or title_of(parts, markdown=made.markdown)
    return Worded(parts, made.markdown, title, notes, made.pages)


def _wordless(found: Worded) -> str:
    if found.pages:
        return (
            f"none of its {found.pages} pages holds text, so they are likely pictures; run OCR "
            "over it, or ingest the pictures with a vision model"
        )
    return "it holds no words"
