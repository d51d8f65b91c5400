"""One exchange of JSON over HTTP(S): bounded in time and in size, to one host, and nowhere else.

Called by the endpoint client. Standard library only: no proxy from the environment, no redirect
is followed, certificates are verified.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TypeAlias
from urllib.parse import urlsplit

from memos_integrations.cube.errors import LLMUnavailable, UsageError

_CHUNK = 65_536
_Connection: TypeAlias = http.client.HTTPConnection


class _TooLong(Exception):
    """The body goes on past its limit."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long one exchange may take, and how much may come back."""

    connect_seconds: float = 10.0
    read_seconds: float = 60.0
    """The longest silence."""
    total_seconds: float = 120.0
    """From the first byte sent to the last one read, however steadily it drips."""
    max_response_bytes: int = 4_000_000

    def __post_init__(self) -> None:
        given = (self.connect_seconds, self.read_seconds, self.total_seconds)
        if min(given) <= 0 or self.max_response_bytes < 1:
            raise UsageError("every limit of an endpoint must be above 0")


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: a status, headers in lower case, the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Place:
    """Where an endpoint is: taken apart once, checked, and free of credentials."""

    scheme: str
    host: str
    port: int | None
    path: str

    @classmethod
    def of(cls, base_url: str) -> Place:
        """The parts of a base URL. Raises ``UsageError`` for one that is none, or hides a key."""
        try:
            parts = urlsplit(base_url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise UsageError(
                "base_url is no URL: give one such as http://localhost:11434/v1"
            ) from None
        if parts.scheme not in ("http", "https") or not host:
            raise UsageError("base_url must begin with http:// or https:// and name a host")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise UsageError("base_url holds more than a place: give the key as api_key=...")
        if any(ord(sign) <= 32 or ord(sign) == 127 for sign in base_url):
            raise UsageError("base_url holds a blank or a control character")
        return cls(parts.scheme, host, port, parts.path.rstrip("/"))

    @property
    def shown(self) -> str:
        """For names and errors."""
        return f"{self.host}:{self.port}" if self.port else self.host

    @property
    def near(self) -> bool:
        """Whether it is this machine or a private network, as far as the name tells."""
        name = self.host.lower()
        with contextlib.suppress(ValueError):
            return ip_address(name).is_private
        return "." not in name or name.endswith((".local", ".internal", ".localhost"))


def bearer(api_key: str | None, place: Place) -> dict[str, str]:
    """The header that carries a key. Raises ``UsageError`` where it would travel in the clear."""
    if api_key is None:
        return {}
    if not api_key or not api_key.isascii() or not api_key.isprintable():
        raise UsageError("api_key is empty or holds characters that no header can carry")
    if place.scheme == "http" and not place.near:
        raise UsageError("an API key goes over https:// only, except to a machine nearby")
    return {"Authorization": f"Bearer {api_key}"}


def post_json(
    place: Place, path: str, body: object, headers: Mapping[str, str], limits: Limits
) -> Reply:
    """The answer to one POST. Raises ``LLMUnavailable`` for anything but a whole answer."""
    sent = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
    told = {"Content-Type": "application/json", **headers}
    return _asked(place, _Request("POST", place.path + path, sent, told), limits)


def get_json(place: Place, path: str, headers: Mapping[str, str], limits: Limits) -> Reply:
    """The answer to one GET. Raises ``LLMUnavailable`` for anything but a whole answer."""
    return _asked(place, _Request("GET", place.path + path, None, headers), limits)


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    body: bytes | None
    headers: Mapping[str, str]


def _asked(place: Place, request: _Request, limits: Limits) -> Reply:
    connection = _connection(place, limits)
    deadline = time.monotonic() + limits.total_seconds
    try:
        return _exchange(connection, request, limits, deadline)
    except _TooLong as error:
        most = limits.max_response_bytes
        raise LLMUnavailable(f"{place.shown} answered more than {most} bytes") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        late = time.monotonic() >= deadline or isinstance(error, TimeoutError)
        what = "was too slow" if late else f"broke off ({type(error).__name__})"
        raise LLMUnavailable(f"{place.shown} {what}") from error
    finally:
        connection.close()


def _connection(place: Place, limits: Limits) -> _Connection:
    if place.scheme == "http":
        return http.client.HTTPConnection(place.host, place.port, timeout=limits.connect_seconds)
    return http.client.HTTPSConnection(
        place.host,
        place.port,
        timeout=limits.connect_seconds,
        context=ssl.create_default_context(),
    )


def _exchange(connection: _Connection, request: _Request, limits: Limits, deadline: float) -> Reply:
    connection.connect()
    wire: socket.socket = connection.sock
    wire.settimeout(limits.read_seconds)
    # A steady drip resets every socket timeout: only cutting the wire bounds the whole.
    cut = threading.Timer(max(0.0, deadline - time.monotonic()), _cut, [wire])
    cut.daemon = True
    cut.start()
    try:
        connection.request(request.method, request.path, request.body, dict(request.headers))
        response = connection.getresponse()
        read = _bounded(response, limits.max_response_bytes)
        if time.monotonic() >= deadline:
            raise TimeoutError
        return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, read)
    finally:
        cut.cancel()


def _cut(wire: socket.socket) -> None:
    with contextlib.suppress(OSError):
        wire.shutdown(socket.SHUT_RDWR)


def _bounded(response: http.client.HTTPResponse, max_bytes: int) -> bytes:
    read = bytearray()
    while chunk := response.read1(_CHUNK):
        read += chunk
        if len(read) > max_bytes:
            raise _TooLong
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    return bytes(read)
