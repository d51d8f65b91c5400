"""What the words of a memory hold of that an answer may need, as marks of its columns.

Handed to the vault by the composition root, so that the indexes need not know how words are read.
"""

from __future__ import annotations

from memos_integrations.infrastructure.backends.columns import Mark
from memos_integrations.operation.reading.dates import has_time_word
from memos_integrations.operation.reading.numbers import has_number

_TIME, _NUMBER, _QUESTION = map(int, (Mark.TIME, Mark.NUMBER, Mark.QUESTION))
"""Plain numbers: a flag takes longer to add than the words to read."""


def marks_of(text: str) -> int:
    """The marks (``Mark``) of these words."""
    found = _TIME if has_time_word(text) else 0
    if has_number(text):
        found |= _NUMBER
    if text.rstrip().endswith(("?", "\uff1f")):
        found |= _QUESTION
    return found
