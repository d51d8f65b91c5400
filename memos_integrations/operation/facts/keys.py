"""Keys of facts and names: hashes, so that the words themselves stand in one place only.

Called by the fine stage when it keeps facts, and by whoever looks facts or names up.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

_SPACES = re.compile(r"\s+")
_EDGES = " \t.,;:!?\"'()[]"


def folded(words: str) -> str:
    """Words blind to case, width, white space and the punctuation around them."""
    plain = unicodedata.normalize("NFKC", words).casefold()
    return _SPACES.sub(" ", plain).strip(_EDGES)


def slot_key(owner: str, subject: str, attribute: str) -> bytes:
    """Equal for statements that can contradict each other: one owner, subject and attribute."""
    return _hash("slot", owner, folded(subject), attribute)


def value_key(value: str) -> bytes:
    """Equal for values that are the same but for how they are written."""
    return _hash("value", folded(value))


def entity_key(name: str) -> bytes:
    """Equal for one name however it is written."""
    return _hash("entity", folded(name))


def _hash(*parts: str) -> bytes:
    whole = "\x00".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(whole).digest()[:16]
