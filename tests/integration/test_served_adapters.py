"""What a server of adapters offers, asked over real HTTP."""

from __future__ import annotations

import pytest

from memos_integrations.cube.errors import InvalidInput, LLMUnavailable, UsageError
from memos_integrations.infrastructure.backends.llm.served_adapters import ServedAdapters
from tests.integration.adapter_server import BASE, AdapterServer


def test_server_is_asked_for_its_adapters_once_in_a_while() -> None:
    with AdapterServer("a", "b") as server:
        served = ServedAdapters(server.url)
        assert served.offered() == {BASE, "a", "b"}
        assert "a" in served
        assert "c" not in served
        assert server.lists() == 1
        impatient = ServedAdapters(server.url, fresh_seconds=0)
        server.names.remove("a")
        assert "a" not in impatient
        assert "a" not in impatient
        assert server.lists() == 3


def test_adapters_come_and_go_while_the_server_runs() -> None:
    with AdapterServer() as server:
        served = ServedAdapters(server.url, api_key="sk-1")
        assert "facts" not in served
        served.load("facts", "/srv/adapters/facts")
        assert "facts" in served  # what was known before is not believed any longer
        path, body = server.asked[1]
        assert (path, body) == (
            "/v1/load_lora_adapter",
            {"lora_name": "facts", "lora_path": "/srv/adapters/facts"},
        )
        served.unload("facts")
        assert "facts" not in served
        assert set(server.keys) == {"Bearer sk-1"}


def test_server_that_updates_nothing_says_what_to_start_it_with() -> None:
    with AdapterServer("facts", updating=False) as server:
        served = ServedAdapters(server.url)
        with pytest.raises(LLMUnavailable, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING"):
            served.unload("facts")
        assert "facts" in served


@pytest.mark.parametrize(
    "listing",
    [
        b"",
        b"[]",
        b"{",
        b'{"data": {"id": "a"}}',
        b'{"data": [1, null, {"id": 2}, {"name": "a"}, {"id": ""}]}',
        b'{"data": [{"id": "a"}], "data": []}',
        b"\xff",
        b'{"data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=["nothing", "list", "cut", "object", "no-names", "twice", "no-text", "deep"],
)
def test_answer_that_lists_no_models_offers_nothing(listing: bytes) -> None:
    with AdapterServer("a") as server:
        server.listing = listing
        assert ServedAdapters(server.url).offered() == frozenset()


def test_server_that_is_away_offers_nothing_and_is_left_alone_for_a_while() -> None:
    with AdapterServer("a") as server:
        url = server.url
    served = ServedAdapters(url)
    assert served.offered() == frozenset()
    assert "a" not in served
    with pytest.raises(LLMUnavailable):
        served.load("a", "/srv/a")


def test_key_never_travels_in_the_clear_and_names_are_checked() -> None:
    with pytest.raises(UsageError, match="https"):
        ServedAdapters("http://example.com/v1", api_key="sk-1")
    assert "sk-1" not in repr(ServedAdapters("https://example.com/v1", api_key="sk-1"))
    with pytest.raises(InvalidInput):
        ServedAdapters("http://localhost:1/v1").load("a\n", "/srv/a")
