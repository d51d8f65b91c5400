"""The ``memos`` command: the verbs of MOS for people at a terminal and for scripts.

``main`` is the entry point. ``program`` holds the global options, ``writing``, ``reading``,
``governing`` and ``keeping`` the commands, ``asked`` what a call is about, ``screen`` how answers
are shown. The environment is read here and nowhere else in the package.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Sequence
from typing import NoReturn

from memos_integrations.cube.errors import AccessDenied, MemosError, MissingExtra, UsageError
from memos_integrations.interface.cli.plain import on_one_line

_FAILED, _MISUSED, _DENIED = 1, 2, 3


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit: 0 done, 1 failed, 2 wrongly asked, 3 not allowed."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that lacks a letter shows its escape instead of ending the command.
            stream.reconfigure(errors="backslashreplace")
    try:
        from memos_integrations.interface.cli.program import app  # noqa: PLC0415  -- an extra

        app(arguments, prog_name="memos")
    except MemosError as error:
        _say(error)
        sys.exit(exit_code(error))
    sys.exit(0)


def exit_code(error: MemosError) -> int:
    """What a script can tell from the exit code alone."""
    if isinstance(error, AccessDenied):
        return _DENIED
    return _MISUSED if isinstance(error, UsageError | MissingExtra) else _FAILED


def _say(error: MemosError) -> None:
    with contextlib.suppress(BrokenPipeError):
        sys.stderr.write(f"memos: {on_one_line(str(error))}\n")
