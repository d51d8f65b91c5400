"""HTML, PDF and DOCX as Markdown or plain text: the ``documents`` extra, in a process of its own.

``convert`` is called by the verbs of documents. It starts an interpreter that runs ``main`` below
with bounds on time and memory, because a hostile file can keep any parser busy for hours. Nothing
here opens a connection or another file: references are never followed.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from memos_integrations.cube.errors import BrokenDocument, MissingExtra

PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
HTML = "text/html"
CONVERTED = frozenset({PDF, DOCX, HTML})


@dataclass(frozen=True, slots=True)
class ConversionLimits:
    """What a document may cost before it is refused."""

    max_bytes: int = 64 * 2**20
    max_chars: int = 20_000_000
    """Of what comes out of it."""
    max_pages: int = 5_000
    max_unpacked_bytes: int = 256 * 2**20
    """Of all parts of a DOCX together, as its directory says."""
    max_seconds: float = 120.0
    max_memory_bytes: int = 2 * 2**30


@dataclass(frozen=True, slots=True)
class ConvertedPart:
    text: str
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Converted:
    """What a converter read."""

    parts: tuple[ConvertedPart, ...]
    markdown: bool
    title: str | None = None
    pages: int | None = None
    pages_without_text: int = 0


def convert(data: bytes, *, media_type: str, limits: ConversionLimits) -> Converted:
    """The words of a document. Raises ``BrokenDocument`` or ``MissingExtra``."""
    if len(data) > limits.max_bytes:
        raise BrokenDocument(f"it is larger than {limits.max_bytes} bytes; split it")
    told = json.dumps({"media_type": media_type, "limits": asdict(limits), "path": sys.path})
    code = (
        "import json, sys; told = json.loads(sys.argv[1]); sys.path[:] = told['path'];"
        f"from {__name__} import main; main(told)"
    )
    try:
        done = subprocess.run(  # noqa: S603  -- our own interpreter, no shell, no foreign argument
            [sys.executable, "-I", "-c", code, told],
            input=data,
            capture_output=True,
            timeout=limits.max_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BrokenDocument(f"reading it took more than {limits.max_seconds:g} s") from error
    return _answer(done.returncode, done.stdout)


def _answer(code: int, output: bytes) -> Converted:
    try:
        answer = json.loads(output)
    except ValueError as error:
        raise BrokenDocument(f"its converter ended without an answer (exit code {code})") from error
    if answer.get("missing"):
        raise MissingExtra("reading HTML, PDF and DOCX", "documents")
    if answer.get("error"):
        raise BrokenDocument(str(answer["error"]))
    parts = tuple(ConvertedPart(**part) for part in answer.pop("parts"))
    return Converted(parts=parts, **answer)


# -- in the process of its own -------------------------------------------------------------------


def main(told: Mapping[str, Any]) -> None:
    """Read a document from standard input, write what was read to standard output as JSON."""
    limits = ConversionLimits(**told["limits"])
    _bound(limits)
    try:
        found = _READERS[told["media_type"]](sys.stdin.buffer.read(), limits)
        answer: dict[str, Any] = asdict(found)
        if sum(len(part.text) for part in found.parts) > limits.max_chars:
            answer = {"error": f"it holds more than {limits.max_chars} characters; split it"}
    except ImportError:
        answer = {"missing": True}
    except BrokenDocument as error:
        answer = {"error": str(error)}
    except MemoryError:
        answer = {"error": f"reading it takes more than {limits.max_memory_bytes} bytes"}
    except Exception as error:  # noqa: BLE001  -- a hostile file makes a parser raise anything
        answer = {"error": f"it cannot be read ({type(error).__name__})"}
    sys.stdout.write(json.dumps(answer))


def _bound(limits: ConversionLimits) -> None:
    """Have the system end this process when it takes too much, where the system can."""
    try:
        import resource  # noqa: PLC0415  -- POSIX only
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (limits.max_memory_bytes, limits.max_memory_bytes))
    seconds = int(limits.max_seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))


def read_pdf(data: bytes, limits: ConversionLimits) -> Converted:
    """The text of each page. Pages that are pictures have none, which is counted."""
    from pypdf import PdfReader  # noqa: PLC0415
    from pypdf.errors import PyPdfError  # noqa: PLC0415

    if b"%PDF-" not in data[:1024]:
        raise BrokenDocument("it is not a PDF; check its media type")
    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not _opens(reader):
            raise BrokenDocument("it is encrypted; save it without a password first")
        count = len(reader.pages)
        if count > limits.max_pages:
            raise BrokenDocument(f"it has {count} pages, more than {limits.max_pages}; split it")
        parts: list[ConvertedPart] = []
        total = 0
        for number, page in enumerate(reader.pages, 1):
            text = page.extract_text()
            total += len(text)
            if total > limits.max_chars:
                raise BrokenDocument(f"it holds more than {limits.max_chars} characters; split it")
            parts.append(ConvertedPart(_clean(text), number))
        title = None if reader.metadata is None else reader.metadata.title
    except PyPdfError as error:
        raise BrokenDocument(f"the PDF is damaged ({type(error).__name__})") from error
    worded = tuple(part for part in parts if part.text.strip())
    return Converted(worded, False, _clean(title) if title else None, count, count - len(worded))


def _opens(reader: Any) -> bool:
    """Whether the empty password opens it, as with files that are only locked against printing."""
    try:
        return bool(reader.decrypt(""))
    except Exception:  # noqa: BLE001  -- a cipher that needs another package, or a damaged header
        return False


def read_docx(data: bytes, limits: ConversionLimits) -> Converted:
    """Headings, paragraphs, lists and tables as Markdown; pictures and macros are left out."""
    import mammoth  # type: ignore[import-untyped]  # noqa: PLC0415

    _check_archive(data, limits)
    without = mammoth.images.img_element(_no_picture)
    made = mammoth.convert_to_html(io.BytesIO(data), convert_image=without)
    return read_html(made.value.encode(), limits)


def _no_picture(_: object) -> dict[str, str]:
    return {"src": ""}


def _check_archive(data: bytes, limits: ConversionLimits) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            names = {member.filename for member in members}
            if "word/document.xml" not in names:
                raise BrokenDocument("it is not a DOCX; check its media type")
            if (
                len(members) > 10_000
                or sum(m.file_size for m in members) > limits.max_unpacked_bytes
            ):
                raise BrokenDocument(
                    f"it unpacks to more than {limits.max_unpacked_bytes} bytes or 10,000 parts"
                )
            for member in members:
                if member.filename.endswith((".xml", ".rels")) and _declares(archive.read(member)):
                    raise BrokenDocument("one of its parts declares a document type; none may")
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise BrokenDocument("the DOCX is damaged or encrypted") from error


def _declares(xml: bytes) -> bool:
    """Whether XML declares a document type: entities that expand without end, or name files."""
    return b"<!DOCTYPE" in xml.replace(b"\x00", b"")  # UTF-16 has a zero beside each letter


_HIDDEN_TAGS = (
    *("script", "style", "noscript", "template", "iframe", "object", "embed", "svg", "canvas"),
    *("link", "meta", "base", "audio", "video", "form", "input", "button", "select", "textarea"),
)


def read_html(data: bytes, limits: ConversionLimits) -> Converted:
    """The words with their structure as Markdown. Scripts, styles and references are left out.

    What is hidden from the eye stays: it is material like the rest, and its trust class says so.
    """
    from bs4 import BeautifulSoup  # noqa: PLC0415
    from markdownify import ATX, MarkdownConverter  # noqa: PLC0415

    del limits
    sys.setrecursionlimit(4_000)
    soup = BeautifulSoup(data, "html.parser")
    title = soup.title.get_text(" ", strip=True) if soup.title else ""
    for tag in soup([*_HIDDEN_TAGS, "title"]):
        tag.decompose()
    for image in soup("img"):
        image.replace_with(str(image.get("alt") or ""))
    for link in soup("a"):
        if not str(link.get("href", "")).startswith(("http://", "https://", "mailto:")):
            link.unwrap()
    converter = MarkdownConverter(
        heading_style=ATX,
        bullets="-",
        escape_misc=False,
        escape_asterisks=False,
        escape_underscores=False,
        table_infer_header=True,
    )
    text = _clean(converter.convert_soup(soup))
    parts = (ConvertedPart(text),) if text.strip() else ()
    return Converted(parts, True, _clean(title)[:300] or None)


def _clean(text: str) -> str:
    """Without what cannot be stored (NUL, lone surrogates), which PDFs are known to hold."""
    return text.replace("\x00", "").encode("utf-8", "ignore").decode("utf-8")


_READERS: dict[str, Callable[[bytes, ConversionLimits], Converted]] = {
    PDF: read_pdf,
    DOCX: read_docx,
    HTML: read_html,
}
