"""A local server that keeps prefixes of prompts as vLLM and Anthropic say they do, and counts.

Speaks chat completions (``/v1/chat/completions``) and Anthropic's messages (``/v1/messages``). A
token is a character here.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

BLOCK = 16
LOOKED_BACK = 20
"""Content blocks before a breakpoint at which Anthropic looks for what it has kept."""


class PrefixServer:
    """``with PrefixServer() as server``: what arrived is in ``requests``, newest last."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self._kept: set[str] = set()
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                answer = outer.answer(self.path, body)
                data = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        self._server.serve_forever(poll_interval=0.01)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """As a client over the network does."""
        connection = http.client.HTTPConnection("127.0.0.1", self._server.server_port, timeout=10)
        try:
            connection.request("POST", path, json.dumps(body))
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
            return answer
        finally:
            connection.close()

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            self.requests.append(body)
            if path == "/v1/chat/completions":
                return self._completion(body)
            return self._message(body)

    def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
        """vLLM: whole blocks, each hash over all before it and the salt, found from the front."""
        text = prompt_of(body)
        chain, cached, unbroken = str(body.get("cache_salt", "")), 0, True
        for end in range(BLOCK, len(text) + 1, BLOCK):
            chain = _hash(chain, text[end - BLOCK : end])
            unbroken = unbroken and chain in self._kept
            cached = end if unbroken else cached
            self._kept.add(chain)
        usage = {
            "prompt_tokens": len(text),
            "completion_tokens": 4,
            "prompt_tokens_details": {"cached_tokens": cached},
        }
        return {"choices": [{"message": {"content": "Fine."}}], "usage": usage}

    def _message(self, body: dict[str, Any]) -> dict[str, Any]:
        """Anthropic: kept at breakpoints, found at or up to twenty blocks before one."""
        ends = list(_ends(body))
        marks = [n for n, (_, _, mark) in enumerate(ends) if mark]
        assert len(marks) <= 4, "a request takes four breakpoints"
        looked = {n for mark in marks for n in range(max(0, mark - LOOKED_BACK), mark + 1)}
        read = max((ends[n][0] for n in looked if ends[n][1] in self._kept), default=0)
        self._kept |= {ends[n][1] for n in marks}
        written = max((ends[n][0] for n in marks), default=0) - read
        usage = {
            "input_tokens": ends[-1][0] - read - max(0, written),
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": max(0, written),
            "output_tokens": 4,
        }
        return {"content": [{"type": "text", "text": "Fine."}], "usage": usage}


def prompt_of(body: dict[str, Any]) -> str:
    """What a chat template makes of the messages."""
    return "".join(f"<{m['role']}>{m['content']}\n" for m in body["messages"])


def _ends(body: dict[str, Any]) -> Iterator[tuple[int, str, bool]]:
    """Of each content block: where it ends, the hash up to there, whether it is marked."""
    length, chain = 0, ""
    said = [("system", body.get("system") or [])]
    said += [(m["role"], m["content"]) for m in body["messages"]]
    for role, content in said:
        blocks = [{"text": content}] if isinstance(content, str) else content
        for block in blocks:
            length += len(block["text"])
            chain = _hash(chain, f"<{role}>{block['text']}")
            yield length, chain, "cache_control" in block


def _hash(before: str, text: str) -> str:
    return hashlib.sha256(f"{len(before)}:{before}{text}".encode()).hexdigest()
