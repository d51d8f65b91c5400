"""The same question with the same filter, again and again: what is kept between two searches
never outlives a write, an erase or a right, whoever changed it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from memos_integrations import MOS, Principal, Settings
from memos_integrations.cube.errors import AccessDenied
from memos_integrations.testing.fakes import FakeEmbedder

APOLLO = {"info.team": "apollo"}
SETTINGS = Settings(worker=False, extract=False, synchronous="normal")


def opened(path: Path) -> MOS:
    return MOS(path, embedder=FakeEmbedder(), settings=SETTINGS)


@pytest.fixture
def mos(tmp_path: Path) -> Iterator[MOS]:
    with opened(tmp_path / "a.db") as made:
        for n in range(6):
            made.add(f"tea number {n}", user="alice", info={"team": "apollo" if n % 2 else "zeus"})
        made.work()
        yield made


def found(mos: MOS, **asked: object) -> set[str]:
    """What is found, of three searches that must agree."""
    sets = [
        {hit.text for hit in mos.search("tea number", user="alice", limit=50, **asked)}  # type: ignore[arg-type]
        for _ in range(3)
    ]
    assert sets[0] == sets[1] == sets[2]
    return sets[0]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_write_and_an_erase_are_in_the_next_search(mos: MOS, elsewhere: bool) -> None:
    """``elsewhere``: through another opening of the same file."""
    with opened(Path(mos.path)) as other:
        writing = other if elsewhere else mos
        assert found(mos, filter=APOLLO) == {f"tea number {n}" for n in (1, 3, 5)}
        new = writing.add("tea number 7", user="alice", info={"team": "apollo"})
        assert "tea number 7" in found(mos, filter=APOLLO) & found(mos)
        writing.work()
        assert "tea number 7" in found(mos, filter=APOLLO) & found(mos)
        writing.update(new.id, info={"team": "zeus"}, user="alice")
        assert "tea number 7" not in found(mos, filter=APOLLO)
        assert "tea number 7" in found(mos)
        writing.update(new.id, info={"team": "apollo"}, user="alice")
        assert "tea number 7" in found(mos, filter=APOLLO)
        writing.erase(new.id, user="alice")
        assert "tea number 7" not in found(mos, filter=APOLLO) | found(mos)


def test_a_write_of_another_process_is_in_the_next_search(mos: MOS) -> None:
    assert "tea number 9" not in found(mos, filter=APOLLO) | found(mos)
    write = (
        "import sys; from memos_integrations import MOS, Settings\n"
        "with MOS(sys.argv[1], embedder=None, settings=Settings(worker=False)) as mos:\n"
        "    mos.add('tea number 9', user='alice', info={'team': 'apollo'})\n"
        "    mos.deny(mos.search('number 1', user='alice', limit=1)[0].id, to='alice', "
        "user='alice')\n"
    )
    subprocess.run([sys.executable, "-c", write, mos.path], check=True)
    assert "tea number 9" in found(mos, filter=APOLLO) & found(mos)
    assert "tea number 1" not in found(mos, filter=APOLLO) | found(mos)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_first_rule_and_the_last_one_count_at_once(mos: MOS, elsewhere: bool) -> None:
    """Without any rule the shorter decision is asked; with one, and after it, the right one."""
    with opened(Path(mos.path)) as other:
        ruling, bob = (other if elsewhere else mos), mos.acting(Principal(user="bob"))
        asked = lambda: bob.search("tea", cube="users/alice", filter=APOLLO)  # noqa: E731
        for _ in range(2):
            with pytest.raises(AccessDenied):
                asked()
            ruling.share(to="bob", user="alice")
            assert len(asked()) == 3
            one = mos.search("tea number 1", user="alice", filter=APOLLO, limit=1)[0]
            ruling.deny(one.id, to="bob", user="alice")
            assert one.id not in {hit.id for hit in asked()}
            ruling.revoke(one.id, to="bob", denial=True, user="alice")
            assert len(asked()) == 3
            ruling.revoke(to="bob", user="alice")
        with pytest.raises(AccessDenied):
            asked()
