"""One opening of a store, measured in a process of its own; prints JSON for ``finding``."""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

from bench.finding import chroma_search, lookup, our_search

_ASKED = 2


def main() -> None:
    """Open the store that the command line names, search twice, print what it took."""
    name, path, items = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    _, questions, known = lookup(items, _ASKED)
    if name == "chroma":
        import chromadb  # noqa: F401  # imports are not counted, for either
    before = _resident()
    with ExitStack() as stack:
        times = [time.perf_counter()]
        if name == "chroma":
            find = chroma_search(path, known)
        else:
            find = stack.enter_context(our_search(path, known))
        times.append(time.perf_counter())
        for question in questions:
            find(question, False)
            times.append(time.perf_counter())
        grown = _resident() - before
    spent = [(b - a) * 1e3 for a, b in pairwise(times)]
    keys = ("open_ms", "first_ms", "second_ms")
    print(json.dumps(dict(zip(keys, spent, strict=True)) | {"mebibytes": grown / 2**20}))


def _resident() -> float:
    """Bytes of memory this process holds now (Linux); 0 where that cannot be read."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * 4096.0 if status.exists() else 0.0


if __name__ == "__main__":
    main()
