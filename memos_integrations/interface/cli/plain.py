"""Foreign words made harmless for a terminal, with the standard library alone.

A memory may hold escape sequences that recolour, rename or write to the terminal, and marks that
turn the direction of text around. They are shown by their escapes, so that they can be seen.
"""

from __future__ import annotations

import re

_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def shown(text: str) -> str:
    """``text`` without anything a terminal obeys but line ends; tabs are four spaces."""
    return _CONTROLS.sub(_escape, text.replace("\r\n", "\n")).replace("\t", "    ")


def on_one_line(text: str) -> str:
    """``text`` as ``shown``, with line ends as spaces."""
    return " ".join(shown(text).split())


def _escape(found: re.Match[str]) -> str:
    code = ord(found.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
