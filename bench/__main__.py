"""``python -m bench NAME [--quick]``: run one of the measurements of this folder."""

from __future__ import annotations

import argparse
import importlib

_NAMES = ("speed",)


def main() -> None:
    """Parse the command line and run what it names; without a name, everything, quickly."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", nargs="?", choices=_NAMES, help="what to measure (default: all)")
    parser.add_argument("--quick", action="store_true", help="fewer runs and smaller stores")
    given = parser.parse_args()
    for name in [given.name] if given.name else _NAMES:
        importlib.import_module(f"bench.{name}").main(quick=given.quick or given.name is None)


if __name__ == "__main__":
    main()
