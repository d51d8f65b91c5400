"""What the words of a memory hold of that an answer may need, as marks of its columns.

Handed to the vault by the composition root, so that the indexes need not know how words are read.
"""

from __future__ import annotations

from memos_integrations.infrastructure.backends.columns import Mark
from memos_integrations.operation.reading.dates import has_time_word
from memos_integrations.operation.reading.numbers import has_number


def marks_of(text: str) -> int:
    """The marks (``Mark``) of these words."""
    found = Mark.TIME if has_time_word(text) else Mark(0)
    if has_number(text):
        found |= Mark.NUMBER
    if text.rstrip().endswith(("?", "\uff1f")):
        found |= Mark.QUESTION
    return int(found)
