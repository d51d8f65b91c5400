"""A local server that answers as vLLM does: its models, its adapters, chat completions."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

BASE = "tiny"


class AdapterServer:
    """``with AdapterServer("a") as server``: serves a base model and these adapters.

    A completion says which model answered and repeats the last turn. What came in is kept.
    """

    def __init__(self, *names: str, updating: bool = True) -> None:
        self.names, self.updating = list(names), updating
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.keys: list[str | None] = []
        self.listing: bytes | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(
            target=lambda: self._server.serve_forever(poll_interval=0.02), daemon=True
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The bodies of the chat completions asked for."""
        return [body for path, body in self.asked if path == "/v1/chat/completions"]

    def lists(self) -> int:
        return sum(path == "/v1/models" for path, _ in self.asked)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        self.asked.append((path, body))
        if path == "/v1/models":
            data = [{"id": BASE, "root": BASE, "parent": None}]
            data += [{"id": name, "root": f"/{name}", "parent": BASE} for name in self.names]
            return 200, {"object": "list", "data": data}
        if path == "/v1/chat/completions":
            return self._completed(body)
        if not self.updating:
            return 404, {"detail": "Not Found"}
        name = body["lora_name"]
        if path == "/v1/load_lora_adapter":
            self.names.append(name)
        elif name not in self.names:
            return 404, {"error": {"message": f"no adapter {name}"}}
        else:
            self.names.remove(name)
        return 200, "Success"

    def _completed(self, body: dict[str, Any]) -> tuple[int, Any]:
        if body["model"] not in (BASE, *self.names):
            return 404, {"error": {"message": f"The model `{body['model']}` does not exist."}}
        said = f"{body['model']}: {body['messages'][-1]['content']}"
        message = {"role": "assistant", "content": said}
        usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return 200, {"model": body["model"], "choices": [choice], "usage": usage}


def _handler(server: AdapterServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply({})

        def do_POST(self) -> None:
            self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _reply(self, body: dict[str, Any]) -> None:
            server.keys.append(self.headers.get("Authorization"))
            status, told = server.answer(self.path, body)
            raw = json.dumps(told).encode()
            if self.path == "/v1/models" and server.listing is not None:
                raw = server.listing
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Say nothing: requests hold content."""

    return Handler
