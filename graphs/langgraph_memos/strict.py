"""``StrictSerializer``: stored bytes become plain data and allowed types, or an error.

LangGraph's serializer revives whatever type the bytes name unless told otherwise, and what it is
told not to revive it hands on as bare data. Here both halves are strict: a value of a type that
would not come back is refused when it is written, and bytes that name one, or that are none of
ours, when they are read. No pickle, no JSON that names constructors.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, cast

import ormsgpack
from langgraph.checkpoint.serde import _msgpack, jsonplus
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from memos_integrations.cube.errors import InvalidInput, MemosError, VaultDamaged

AllowedType = type | tuple[str, str]
"""A class, or its module and name."""

_PLAIN: Final = frozenset({"null", "bytes", "bytearray", "msgpack"})
_CONSTRUCTORS: Final = frozenset(
    {
        jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG,
        jsonplus.EXT_CONSTRUCTOR_POS_ARGS,
        jsonplus.EXT_CONSTRUCTOR_KW_ARGS,
        jsonplus.EXT_PYDANTIC_V1,
        jsonplus.EXT_PYDANTIC_V2,
    }
)
_MAX_DEPTH: Final = 100
"""Of values inside values of types of their own; each level is a call of this process."""


class UnreadableBytes(VaultDamaged, ValueError):
    """Stored bytes are not what this package writes; nothing was revived from them."""


class StrictSerializer(JsonPlusSerializer):
    """LangGraph's serializer for the types of LangGraph and LangChain, and those in ``allow``.

    Raises ``InvalidInput`` for a value that would not come back as it is, and ``UnreadableBytes``
    for bytes that name another type or are damaged.
    """

    def __init__(self, allow: Iterable[AllowedType] = ()) -> None:
        super().__init__(
            pickle_fallback=False,
            allowed_json_modules=None,
            allowed_msgpack_modules=tuple(allow) or None,
        )

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Type and bytes of a value."""
        try:
            kind, data = super().dumps_typed(obj)
            refused = self._refused(data) if kind == "msgpack" else []
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidInput(f"a value cannot be stored: {error}") from error
        for name in refused:
            raise InvalidInput(
                f"a value of type {name} would not come back from storage; keep plain data in the "
                "state, or name the type in allow=[...]"
            )
        return kind, data

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """The value of these bytes."""
        kind, raw = data
        if kind not in _PLAIN:
            raise UnreadableBytes(f"stored bytes of kind {kind[:40]!r} are never read")
        try:
            if kind == "msgpack":
                for name in self._refused(raw):
                    raise UnreadableBytes(
                        f"stored bytes name the type {name}; if it is one of yours, name it in "
                        "allow=[...]"
                    )
            return super().loads_typed(data)
        except MemosError:
            raise
        except Exception as error:
            raise UnreadableBytes(
                f"stored bytes cannot be decoded ({type(error).__name__})"
            ) from error

    def _refused(self, data: bytes) -> list[str]:
        """The types named in the bytes that are not allowed; nothing is built to find out."""
        named = _Named()
        ormsgpack.unpackb(data, ext_hook=named.note, option=ormsgpack.OPT_NON_STR_KEYS)
        allowed = cast("set[tuple[str, ...]]", self._allowed_msgpack_modules or set())
        types = named.types - _msgpack.SAFE_MSGPACK_TYPES - allowed
        calls = named.calls - _msgpack.SAFE_MSGPACK_METHODS
        return [".".join(map(str, each)) for each in sorted(types | calls, key=str)]


class _Named:
    """Collects the types and calls that msgpack's extensions name."""

    def __init__(self) -> None:
        self.types: set[tuple[str, ...]] = set()
        self.calls: set[tuple[str, ...]] = set()
        self._depth = 0

    def note(self, code: int, raw: bytes) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ValueError("nested too deeply")
        found = ormsgpack.unpackb(raw, ext_hook=self.note, option=ormsgpack.OPT_NON_STR_KEYS)
        self._depth -= 1
        if code in _CONSTRUCTORS:
            self.types.add((found[0], found[1]))
        elif code == jsonplus.EXT_METHOD_SINGLE_ARG:
            self.calls.add((found[0], found[1], found[3]))
        elif code not in (jsonplus.EXT_NUMPY_ARRAY, jsonplus.EXT_DELTA_SNAPSHOT):
            raise ValueError("an extension of no known kind")
