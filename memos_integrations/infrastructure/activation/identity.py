"""What makes a stored KV-cache valid: one digest of everything, and hashes of the tokens in blocks.

Pure; called by the store before anything is looked up. A cache is served only under the digest it
was made under and for the very tokens it was made of: the chained hashes say where to look, the
token ids themselves are compared before use.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NewType, TypeAlias

from memos_integrations.cube.errors import InvalidInput

Digest = NewType("Digest", str)
"""64 lowercase hex digits."""

Field: TypeAlias = str | int | bool | bytes | None

BLOCK_TOKENS = 64
"""Tokens in a block: the grain at which a longer prompt shares a stored prefix."""

_MAX_TOKEN = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Identity:
    """Everything besides the tokens that the numbers in a cache depend on.

    A field that is not known is ``None``, which is a value of its own: it never equals another.
    """

    architecture: str
    config: str
    """Digest of the model's configuration, with rope parameters and layer types."""
    weights: str
    tokenizer: str
    chat_template: str | None
    dtype: str
    device: str
    """Kind of device, such as ``cpu``: another one rounds otherwise."""
    quantisation: str | None
    attention: str
    """The attention kernel: another one rounds otherwise."""
    adapters: tuple[str, ...]
    """Digests of the active adapters, in order."""
    library: str
    """Name and major.minor version of what computed it."""

    def digest(self) -> Digest:
        """Equal for equal identities, and only for those."""
        adapters = {f"adapters.{n}": each for n, each in enumerate(self.adapters)}
        named = {name: getattr(self, name) for name in self.__slots__ if name != "adapters"}
        return tagged_digest({**named, "adapters": len(self.adapters), **adapters})


def tagged_digest(fields: Mapping[str, Field]) -> Digest:
    """sha256 over fields with their names, kinds and lengths, in the order of their names.

    Without tags and lengths the fields ``("ab", "c")`` and ``("a", "bc")`` hash alike, and a
    prefix cache then serves one request what was computed for another.
    """
    digest = hashlib.sha256()
    for name in sorted(fields):
        for part in (name.encode(), *_encoded(fields[name])):
            digest.update(struct.pack("<Q", len(part)))
            digest.update(part)
    return Digest(digest.hexdigest())


def block_hashes(
    tokens: Sequence[int], *, identity: Digest, salt: str, block_tokens: int = BLOCK_TOKENS
) -> list[Digest]:
    """One hash for each whole block; each covers all tokens up to its end.

    ``salt`` belongs to the tenant: equal prompts of two tenants share nothing, so no tenant can
    learn from the time of an answer what another one asked. Tokens after the last whole block
    have no hash. Raises ``InvalidInput`` for what is no token id.
    """
    if block_tokens < 1:
        raise InvalidInput("block_tokens must be at least 1")
    chain = tagged_digest({"identity": identity, "salt": salt, "block_tokens": block_tokens})
    hashes: list[Digest] = []
    for end in range(block_tokens, len(tokens) + 1, block_tokens):
        block = packed_tokens(tokens[end - block_tokens : end])
        chain = tagged_digest({"before": chain, "tokens": block})
        hashes.append(chain)
    return hashes


def packed_tokens(tokens: Sequence[int]) -> bytes:
    """Token ids as little-endian 32-bit numbers. Raises ``InvalidInput`` for what is none."""
    for token in tokens:
        if type(token) is not int or not 0 <= token <= _MAX_TOKEN:
            raise InvalidInput(f"a token id is a whole number from 0 to {_MAX_TOKEN}")
    return struct.pack(f"<{len(tokens)}I", *tokens)


def _encoded(value: Field) -> tuple[bytes, bytes]:
    """Kind and bytes of a value, so that ``1``, ``"1"``, ``True`` and ``None`` differ."""
    if isinstance(value, bool):
        return b"bool", b"1" if value else b"0"
    if value is None:
        return b"none", b""
    if isinstance(value, int):
        return b"int", str(value).encode()
    return (b"bytes", value) if isinstance(value, bytes) else (b"str", value.encode())
