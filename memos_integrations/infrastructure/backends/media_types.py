"""What a file is, by what it says, by its name and by its first bytes, which have the last word."""

from __future__ import annotations

import codecs
import io
import zipfile
from pathlib import PurePath

from memos_integrations.cube.errors import BrokenDocument
from memos_integrations.infrastructure.backends.converters import DOCX, HTML, PDF

TEXT, MARKDOWN = "text/plain", "text/markdown"
BY_SUFFIX = {
    **dict.fromkeys((".txt", ".text", ".log", ".rst", ".csv", ".tsv", ".json", ".jsonl"), TEXT),
    **dict.fromkeys((".md", ".markdown", ".mdown"), MARKDOWN),
    **dict.fromkeys((".html", ".htm", ".xhtml"), HTML),
    ".pdf": PDF,
    ".docx": DOCX,
    ".png": "image/png",
    **dict.fromkeys((".jpg", ".jpeg"), "image/jpeg"),
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
    **dict.fromkeys((".tif", ".tiff"), "image/tiff"),
}
_IMAGES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
)
_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def media_type_of(data: bytes, *, name: str, given: str | None) -> str:
    """The media type of a file. Raises ``BrokenDocument`` where it is not what it is said to be."""
    said = (given or BY_SUFFIX.get(PurePath(name).suffix.lower()) or "").partition(";")[0]
    said = said.strip().lower()
    shown = _by_bytes(data)
    if not said:
        return shown or _text_or_refused(data, name)
    if said.startswith("text/") and said != HTML:
        if shown is not None and shown not in (HTML, "image/bmp"):
            raise BrokenDocument(f"it is said to be {said} and its bytes are {shown}")
        return said if said == MARKDOWN else TEXT
    if said == HTML:
        return HTML
    if said not in (PDF, DOCX) and not said.startswith("image/"):
        raise BrokenDocument(f"no converter reads {said}; convert it to text, HTML, PDF or DOCX")
    if shown != said:
        raise BrokenDocument(f"it is said to be {said} and its bytes are {shown or 'not'}")
    return said


def decoded(data: bytes) -> str:
    """The words of a text file. Raises ``BrokenDocument`` for what is binary or not Unicode."""
    try:
        if data.startswith(_BOMS):
            return data.decode("utf-16")
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BrokenDocument("it is not UTF-8 text; decode it first, or say what it is") from error
    if "\x00" in text:
        raise BrokenDocument("it holds zero bytes, so it is not text; say what it is")
    return text


def _by_bytes(data: bytes) -> str | None:
    for start, media_type in _IMAGES:
        if data.startswith(start):
            return media_type
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if b"%PDF-" in data[:1024]:
        return PDF
    if data.startswith(b"PK\x03\x04"):
        return DOCX if _is_docx(data) else "application/zip"
    head = data[:1024].lstrip(codecs.BOM_UTF8 + b" \t\r\n").lower()
    return HTML if head.startswith((b"<!doctype html", b"<html")) else None


def _is_docx(data: bytes) -> bool:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return "word/document.xml" in archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return True  # damaged: the converter says how


def _text_or_refused(data: bytes, name: str) -> str:
    try:
        decoded(data)
    except BrokenDocument as error:
        raise BrokenDocument(f"what {name} is cannot be told; give media_type=...") from error
    return TEXT
