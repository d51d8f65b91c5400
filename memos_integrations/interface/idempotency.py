"""Writing once under a key: the stored result of the first call answers every later one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

from memos_integrations.cube.ids import clean_name
from memos_integrations.cube.outcomes import AddResult, Changed, from_json, to_json
from memos_integrations.infrastructure.vault.rows import dumps
from memos_integrations.infrastructure.vault.transaction import Transaction


class Request:
    """What was asked for, as something that can be compared."""

    def __init__(self, *parts: object) -> None:
        self._parts = parts

    def digest(self) -> bytes:
        """sha256 over the request; only computed where a key was given."""
        return hashlib.sha256(repr(self._parts).encode("utf-8", "surrogatepass")).digest()


def run_once(
    tx: Transaction,
    key: str | None,
    request: Request,
    work: Callable[[], list[AddResult | Changed]],
) -> list[AddResult | Changed]:
    """The results of ``work``, or those of the earlier call with this key and this request.

    Raises ``IdempotencyConflict`` when the key was used for another request.
    """
    if key is None:
        return work()
    clean_name(key, "idempotency_key")
    digest = request.digest()
    earlier = tx.once(key, digest)
    if earlier is not None:
        return [from_json(each) for each in json.loads(earlier)]
    done = work()
    tx.remember(key, digest, dumps([to_json(each) for each in done]))
    return done
