"""``python -m bench NAME [--quick]``: run one of the measurements of this folder."""

from __future__ import annotations

import argparse
import importlib
from typing import Any

_NAMES = ("speed", "quality", "scheduler", "truth", "graph")


def main() -> None:
    """Parse the command line and run what it names; without a name, everything, quickly."""
    given = _parser().parse_args()
    for name in [given.name] if given.name else _NAMES:
        more: dict[str, Any] = {}
        if name == "quality":
            more = {"which": given.which, "half": given.half, "ablate": given.ablation}
            more |= {"sessions": given.sessions, "json_file": given.json}
        quick = given.quick or given.name is None
        importlib.import_module(f"bench.{name}").main(quick=quick, **more)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", nargs="?", choices=_NAMES, help="what to measure (default: all)")
    parser.add_argument("--quick", action="store_true", help="fewer runs and smaller stores")
    quality = parser.add_argument_group("quality")
    quality.add_argument(
        "--set", dest="which", choices=("locomo", "prefeval", "all"), default="all"
    )
    quality.add_argument("--half", choices=("first", "second", "all"), default="all")
    quality.add_argument("--ablation", action="store_true", help="leave one signal out at a time")
    quality.add_argument(
        "--sessions",
        choices=("own", "one", "none"),
        default="own",
        help="what a session is in PrefEval",
    )
    quality.add_argument("--json", metavar="FILE", help="write all figures there")
    return parser


if __name__ == "__main__":
    main()
