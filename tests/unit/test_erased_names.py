"""The name of a person who was erased, in what stays of theirs."""

from __future__ import annotations

from pathlib import Path

from memos_integrations import MOS, Principal, Settings

SETTINGS = Settings(worker=False, extract=False)


def test_info_of_a_cube_elsewhere_no_longer_gives_the_name(tmp_path: Path) -> None:
    told = {
        "contact": "zorquina",
        "owners": ["user:zorquina", "bob", 3, None],
        "rights": {"zorquina": {"since": 2026}},
        "about": "zorquina's project",
        "like": "zorquina2",
    }
    with MOS(tmp_path / "m.db", embedder=None, settings=SETTINGS) as mos:
        mos.create_cube("projects/p", user="zorquina", info=told)
        mos.create_cube("projects/q", user="bob", info={"contact": "zorquina"})
        receipt = mos.erase(subject="zorquina", user="zorquina")
        root = mos.acting(Principal(user="root", roles=frozenset({"admin"})))
        infos = {cube.path: cube.info for cube in root.cubes()}
        assert mos.check().sound
    assert infos["projects/p"] == {
        "contact": "erased",
        "owners": ["erased", "bob", 3, None],
        "rights": {"erased": {"since": 2026}},
        "about": "zorquina's project",
        "like": "zorquina2",
    }
    assert infos["projects/q"] == {"contact": "zorquina"}  # what bob wrote down
    assert any("cube's info" in each for each in receipt.not_covered)


def test_the_file_holds_the_name_of_a_contact_no_more(tmp_path: Path) -> None:
    with MOS(tmp_path / "m.db", embedder=None, settings=SETTINGS) as mos:
        mos.create_cube("projects/p", user="zorquina", info={"contact": "zorquina"})
        mos.erase(subject="zorquina", user="zorquina")
        held = b"".join(each.read_bytes() for each in tmp_path.rglob("*") if each.is_file())
    assert b'"contact":"zorquina"' not in held
