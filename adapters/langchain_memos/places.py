"""Cubes that adapters keep what is theirs in: documents and cached answers, not conversations."""

from __future__ import annotations

from urllib.parse import quote

from langchain_memos.asker import Asker
from memos_integrations.cube.errors import UsageError
from memos_integrations.cube.ids import clean_name
from memos_integrations.interface.home import home_of
from memos_integrations.interface.mos import MOS


def cube_beside(mos: MOS, asker: Asker, name: str) -> str:
    """The path of a cube under the asker's own: it goes with that when the asker is erased."""
    clean_name(name, "the name of a collection")
    return f"{home_of(mos, **asker.keywords())}/{quote(name, safe='')}"


def founded(mos: MOS, path: str, asker: Asker) -> str:
    """``path``, of a cube that is there from now on. One that others share is left as it is."""
    who = asker.keywords()
    if all(cube.path != path for cube in mos.cubes(**who)):
        try:
            mos.create_cube(path, **who)
        except UsageError:  # another process was quicker, or it is there and closed to the asker
            mos.count(cube=path, **who)
    return path
