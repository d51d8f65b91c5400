"""Items made of rows: the same as validated ones, field by field."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from memos_integrations import MOS, MemoryItem, Settings
from memos_integrations.cube.header import Header


@pytest.fixture
def mos(tmp_path: Path) -> Iterator[MOS]:
    settings = Settings(worker=False, extract=False)
    with MOS(tmp_path / "a.db", embedder=None, settings=settings) as opened:
        yield opened


def test_an_item_read_without_validation_equals_the_validated_one(mos: MOS) -> None:
    made = mos.add(
        {"role": "user", "content": "We meet on Friday", "name": "Maya"},
        user="alice",
        session="s",
        tags=["work"],
        info={"a": {"b": [1, 2.5, None, True]}},
        labels=["pii"],
        source="mail",
        ttl_seconds=5000,
        priority=2,
    )
    mos.freeze(made.id, user="alice")
    item = mos.get(made.id, user="alice")
    again = MemoryItem.model_validate_json(item.model_dump_json())
    assert item == again
    assert {n: type(getattr(item.header, n)) for n in Header.model_fields} == {
        n: type(getattr(again.header, n)) for n in Header.model_fields
    }
    assert set(item.header.__dict__) == set(Header.model_fields)
    assert set(item.__dict__) == set(MemoryItem.model_fields)
    assert item.model_copy(update={"text": "x"}).header is item.header
