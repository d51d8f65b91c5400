"""The client of OpenAI-compatible endpoints against a real local server."""

from __future__ import annotations

import base64
import json
import logging
import shutil
import ssl
import subprocess
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from memos_integrations.cube.errors import InvalidInput, LLMUnavailable, UsageError
from memos_integrations.cube.ports import LLM, Completion, VisionModel
from memos_integrations.infrastructure.backends.llm.http_exchange import Limits, Place
from memos_integrations.infrastructure.backends.llm.openai_compatible import OpenAICompatible
from memos_integrations.testing.llm import (
    Behaviour,
    ChatServer,
    Drips,
    DripsHeaders,
    Floods,
    Hangs,
    Raw,
    Resets,
    Says,
    completion,
)

KEY = "sk-very-secret-key"
QUICK = Limits(connect_seconds=2, read_seconds=0.3, total_seconds=0.6)
SCHEMA = {"type": "object"}


def client(server: ChatServer, **more: object) -> OpenAICompatible:
    return OpenAICompatible(base_url=server.base_url, model="m", limits=QUICK, **more)  # type: ignore[arg-type]


def test_it_is_a_language_and_a_vision_model() -> None:
    model = OpenAICompatible(base_url="http://localhost:1/v1", model="qwen2.5:7b")
    assert isinstance(model, LLM)
    assert isinstance(model, VisionModel)
    assert model.name == "qwen2.5:7b"


def test_an_answer_comes_with_its_tokens() -> None:
    with ChatServer(Says("hello")) as server:
        found = client(server, api_key=KEY).complete("Hi", system="Be brief", max_tokens=9)
    assert found == Completion("hello", prompt_tokens=11, completion_tokens=7)
    (asked,) = server.requests
    assert asked["messages"] == [
        {"role": "system", "content": "Be brief"},
        {"role": "user", "content": "Hi"},
    ]
    assert (asked["model"], asked["max_tokens"], asked["stream"]) == ("m", 9, False)
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("reason", ["length", "max_tokens", "content_filter"])
def test_an_answer_that_was_cut_off_says_so(reason: str) -> None:
    with ChatServer(Says("half an ans", reason)) as server:
        assert client(server).complete("Hi").truncated


@pytest.mark.parametrize(
    ("refused", "kinds"),
    [
        ((), ["json_schema"]),
        (("json_schema",), ["json_schema", "json_object"]),
        (("json_schema", "json_object"), ["json_schema", "json_object", None]),
    ],
)
def test_the_way_of_asking_for_json_is_found_once_and_remembered(
    refused: tuple[str, ...], kinds: list[str | None]
) -> None:
    with ChatServer(Says("{}"), refuses=frozenset(refused)) as server:
        model = client(server)
        for _ in range(2):
            assert model.complete("Hi", schema=SCHEMA).text == "{}"
        model.complete("Hi")
    used = [asked.get("response_format", {}).get("type") for asked in server.requests]
    assert used == [*kinds, kinds[-1], None]


def test_a_refusal_for_another_reason_teaches_nothing() -> None:
    with ChatServer(Raw(status=400)) as server:
        model = client(server)
        with pytest.raises(LLMUnavailable):
            model.complete("Hi", schema=SCHEMA)
        server.now(Says("{}"))
        model.complete("Hi", schema=SCHEMA)
    assert server.requests[-1]["response_format"]["type"] == "json_schema"


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        (Hangs(), "too slow"),
        (Drips(), "too slow"),
        (DripsHeaders(), "too slow"),
        (Resets(), "broke off"),
        (Resets(halfway=True), "broke off"),
        (Floods(), "more than"),
        (Raw(b"not json at all"), "something other than a chat completion"),
        (Raw(b"[]"), "something other"),
        (Raw(b'{"choices": []}'), "something other"),
        (Raw(b'{"choices": [{"message": {"content": 7}}]}'), "something other than text"),
        (Raw(b"[" * 100_000), "something other"),
        (Raw(b'{"choices": [', headers={"Content-Length": "500"}), "IncompleteRead|too slow"),
        (Raw(b"\xff\xfe{}"), "something other"),
        (Raw(status=500), "HTTP 500"),
        (Raw(status=401), "check api_key"),
        (Raw(status=404), "check base_url and model"),
        (Raw(status=302, headers={"Location": "http://example.org/"}), "not followed"),
    ],
)
def test_anything_but_a_whole_answer_is_unavailable_in_bounded_time(
    behaviour: Behaviour, says: str
) -> None:
    with ChatServer(behaviour) as server:
        started = time.perf_counter()
        with pytest.raises(LLMUnavailable, match=says):
            client(server).complete("Hi")
        assert time.perf_counter() - started < 5


def test_nobody_listening_is_unavailable() -> None:
    with ChatServer() as server:
        url = server.base_url
    with pytest.raises(LLMUnavailable, match="broke off"):
        OpenAICompatible(base_url=url, model="m", limits=QUICK).complete("Hi")


def test_an_endpoint_that_asks_for_rest_is_left_alone_that_long() -> None:
    with ChatServer(Raw(status=429, headers={"Retry-After": "1"}), Says("rested")) as server:
        model = client(server)
        for _ in range(3):
            with pytest.raises(LLMUnavailable, match=r"again in 1 s") as caught:
                model.complete("Hi")
            assert caught.value.retry_after_seconds is not None
            assert 0 < caught.value.retry_after_seconds <= 1
        assert len(server.requests) == 1
        time.sleep(1.05)
        assert model.complete("Hi").text == "rested"


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (None, None),
        ("soon", None),
        ("-5", None),
        ("99999999", 3600),
        (timedelta(seconds=100), 100),
        (timedelta(seconds=-100), 0),
    ],
)
def test_a_wish_for_rest_is_read_in_either_form_and_bounded(
    given: str | timedelta | None, seconds: float | None
) -> None:
    if isinstance(given, timedelta):
        given = format_datetime(datetime.now(UTC) + given)
    headers = {} if given is None else {"Retry-After": given}
    with (
        ChatServer(Raw(status=503, headers=headers)) as server,
        pytest.raises(LLMUnavailable) as caught,
    ):
        client(server).complete("Hi")
    rest = caught.value.retry_after_seconds
    assert rest == (None if seconds is None else pytest.approx(seconds, abs=30))


def test_no_key_and_no_word_of_the_server_reaches_an_error_a_log_or_a_repr(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = Raw(json.dumps({"error": f"bad key {KEY}, prompt: my diary"}).encode(), 401)
    with ChatServer(echo) as server:
        model = client(server, api_key=KEY)
        with pytest.raises(LLMUnavailable) as caught:
            model.complete("my diary")
    shown = f"{caught.value} {caught.value.__cause__} {model!r} {model} {caplog.text}"
    assert KEY not in shown
    assert "diary" not in shown


def test_no_proxy_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with ChatServer(Says("direct")) as server:
        assert client(server).complete("Hi").text == "direct"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_a_certificate_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    where = ["-keyout", f"{tmp_path}/key.pem", "-out", f"{tmp_path}/cert.pem"]
    subprocess.run(["openssl", *made, *where], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with ChatServer(Says("x"), tls=context) as server:
        model = client(server, api_key=KEY)
        with pytest.raises(LLMUnavailable, match=r"SSLCertVerificationError"):
            model.complete("Hi")
    assert server.requests == []


@pytest.mark.parametrize(
    "given",
    [
        {"base_url": "localhost:11434/v1"},
        {"base_url": "ftp://localhost"},
        {"base_url": "http://"},
        {"base_url": "http://[::1"},
        {"base_url": "http://user:pass@localhost/v1"},
        {"base_url": "http://localhost/v1?key=x"},
        {"base_url": "http://localhost/v1\r\nX: y"},
        {"base_url": "http://localhost:port/"},
        {"model": ""},
        {"api_key": ""},
        {"api_key": "a\nb"},
        {"base_url": "http://api.example.com/v1", "api_key": KEY},
        {"base_url": "http://93.184.216.34/v1", "api_key": KEY},
    ],
)
def test_an_endpoint_that_cannot_be_or_would_leak_is_refused_at_once(
    given: dict[str, str],
) -> None:
    with pytest.raises(UsageError) as caught:
        OpenAICompatible(**({"base_url": "http://localhost/v1", "model": "m"} | given))  # type: ignore[arg-type]
    assert KEY not in str(caught.value)
    assert "pass@" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "near"),
    [
        ("http://localhost/v1", True), ("http://127.0.0.1:8/v1", True), ("http://[::1]/v1", True),
        ("http://192.168.3.4/v1", True), ("http://ollama:11434/v1", True),
        ("http://gpu.local/v1", True), ("http://example.com/v1", False), ("http://8.8.8.8/", False),
    ],
)  # fmt: skip
def test_what_is_near_may_get_a_key_without_tls(url: str, near: bool) -> None:
    assert Place.of(url).near is near


def test_a_picture_goes_as_a_data_uri() -> None:
    with ChatServer(Says("a cat")) as server:
        found = client(server).describe(b"\x89PNG", media_type="image/png", prompt="What is it?")
    assert found.text == "a cat"
    words, picture = server.requests[0]["messages"][0]["content"]
    assert words == {"type": "text", "text": "What is it?"}
    kind, _, data = picture["image_url"]["url"].partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data) == b"\x89PNG"


@pytest.mark.parametrize(
    ("image", "media_type"),
    [(b"", "image/png"), (b"x", "text/html"), (b"x", "image/svg+xml"), (b"x", "image/png,<x>")],
)
def test_what_is_no_picture_is_refused_before_it_is_sent(image: bytes, media_type: str) -> None:
    with ChatServer(Says("x")) as server, pytest.raises(InvalidInput):
        client(server).describe(image, media_type=media_type, prompt="?")
    assert server.requests == []


@pytest.mark.parametrize("text", ["\ud800 lone", "nul \x00", "emoji 🦊", "中文"])
def test_any_words_can_be_sent(text: str) -> None:
    with ChatServer(Says("ok")) as server:
        assert client(server).complete(text).text == "ok"


def test_usage_that_is_no_count_is_left_out() -> None:
    reply = completion("x") | {"usage": {"prompt_tokens": "many", "completion_tokens": -1}}
    with ChatServer(Raw(json.dumps(reply).encode())) as server:
        assert client(server).complete("Hi") == Completion("x")
