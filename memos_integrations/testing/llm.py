"""Language models for tests: one that reads from a script, and a server that can misbehave.

They take part in no production path; programs that use this package may use them in their tests.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, TypeAlias

from memos_integrations.cube.errors import LLMUnavailable
from memos_integrations.cube.ports import Completion

Line: TypeAlias = str | Completion | Exception | Callable[[str], "str | Completion"]
"""What a scripted model does next: answer, raise, or answer to the prompt."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One call as it came in."""

    prompt: str
    system: str | None
    schema: Mapping[str, object] | None
    max_tokens: int


class ScriptedLLM:
    """An ``LLM`` that says its lines in order; the last one is repeated. Thread-safe."""

    def __init__(self, *lines: Line, name: str = "scripted/1") -> None:
        self.name = name
        self.asked: list[Asked] = []
        self._left = list(lines)
        self._lock = threading.Lock()

    def complete(
        self,
        prompt: str,
        *,
        system: str | None = None,
        schema: Mapping[str, object] | None = None,
        max_tokens: int = 1024,
    ) -> Completion:
        with self._lock:
            self.asked.append(Asked(prompt, system, schema, max_tokens))
            if not self._left:
                raise LLMUnavailable("the script is empty")
            line = self._left[0] if len(self._left) == 1 else self._left.pop(0)
        if isinstance(line, Exception):
            raise line
        said = line(prompt) if callable(line) else line
        return Completion(said) if isinstance(said, str) else said


@dataclass(frozen=True, slots=True)
class Says:
    """A well-formed chat completion with this text."""

    text: str
    finish_reason: str = "stop"


@dataclass(frozen=True, slots=True)
class Raw:
    """Any HTTP answer, well-formed or not."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Drips:
    """A body that comes byte by byte and does not end before ``seconds``."""

    seconds: float = 30.0
    pause_seconds: float = 0.05


@dataclass(frozen=True, slots=True)
class DripsHeaders:
    """Headers that come byte by byte and do not end before ``seconds``."""

    seconds: float = 30.0
    pause_seconds: float = 0.05


@dataclass(frozen=True, slots=True)
class Hangs:
    """Silence after the request."""

    seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Resets:
    """The connection is reset, after the first half of an answer or before any of it."""

    halfway: bool = False


@dataclass(frozen=True, slots=True)
class Floods:
    """An answer that goes on and on, up to ``mebibytes``."""

    mebibytes: int = 64


Turn: TypeAlias = Says | Raw | Drips | DripsHeaders | Hangs | Resets | Floods
Behaviour: TypeAlias = Turn | Callable[[dict[str, Any]], Turn]
"""What the server does with a request, or a function of the request's body to that."""


class ChatServer:
    """A local server of OpenAI's chat completions that does what its script says, in order.

    The last behaviour is repeated. ``refuses`` are the kinds of ``response_format`` it answers
    400 to, beside the script. ``with ChatServer(Says("{}")) as server: server.base_url``.
    """

    def __init__(
        self,
        *script: Behaviour,
        refuses: frozenset[str] = frozenset(),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self._script = list(script)
        self._refuses = refuses
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.handle_error = _ignore  # type: ignore[method-assign]
        self._scheme = "http" if tls is None else "https"
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(
            target=lambda: self._server.serve_forever(poll_interval=0.02), daemon=True
        )

    @property
    def base_url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}/v1"

    def now(self, *script: Behaviour) -> None:
        """Go on with another script."""
        with self._lock:
            self._script = list(script)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _next(self, body: dict[str, Any], headers: dict[str, str]) -> Turn:
        asked = body.get("response_format", {}).get("type")
        with self._lock:
            self.requests.append(body)
            self.headers.append(headers)
            if asked in self._refuses:
                return Raw(b'{"error": "response_format is not supported"}', 400)
            line = self._script[0] if len(self._script) == 1 else self._script.pop(0)
        return line(body) if callable(line) else line

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                body = json.loads(self.rfile.read(length))
                turn = server._next(body, {k.lower(): v for k, v in self.headers.items()})
                with contextlib.suppress(OSError):  # the client may hang up
                    server._act(turn, self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Say nothing: requests hold content."""

        return Handler

    def _act(self, turn: Turn, http: BaseHTTPRequestHandler) -> None:
        match turn:
            case Says():
                body = json.dumps(completion(turn.text, turn.finish_reason)).encode()
                _send(http, Raw(body, 200, {"Content-Type": "application/json"}))
            case Raw():
                _send(http, turn)
            case Drips():
                http.send_response(200)
                http.end_headers()
                self._drip(http, turn)
            case DripsHeaders():
                http.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                self._drip(http, turn)
            case Hangs():
                self._closing.wait(turn.seconds)
            case Resets():
                _reset(http, halfway=turn.halfway)
            case Floods():
                _flood(http, turn.mebibytes)

    def _drip(self, http: BaseHTTPRequestHandler, turn: Drips | DripsHeaders) -> None:
        end = time.monotonic() + turn.seconds
        while time.monotonic() < end and not self._closing.wait(turn.pause_seconds):
            http.wfile.write(b"x")
            http.wfile.flush()


def _ignore(request: Any, client_address: Any) -> None:
    """Clients that hang up are what this server is for."""


def completion(text: str, finish_reason: str = "stop") -> dict[str, Any]:
    """A chat completion as OpenAI's protocol has it."""
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-test",
        "object": "chat.completion",
        "model": "test",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
    }


def _send(http: BaseHTTPRequestHandler, raw: Raw) -> None:
    http.send_response(raw.status)
    for name, value in ({"Content-Length": str(len(raw.body))} | dict(raw.headers)).items():
        http.send_header(name, value)
    http.end_headers()
    http.wfile.write(raw.body)


def _reset(http: BaseHTTPRequestHandler, *, halfway: bool) -> None:
    if halfway:
        http.send_response(200)
        http.send_header("Content-Length", "1000")
        http.end_headers()
        http.wfile.write(b'{"choices": [')
        http.wfile.flush()
    # Linger of 0 seconds makes close() send a reset instead of an orderly end.
    http.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    http.close_connection = True
    http.wfile.close()
    http.rfile.close()
    http.connection.close()


def _flood(http: BaseHTTPRequestHandler, mebibytes: int) -> None:
    http.send_response(200)
    http.end_headers()
    http.wfile.write(b'{"choices": [{"message": {"content": "')
    for _ in range(mebibytes):
        http.wfile.write(b"a" * 1_048_576)
