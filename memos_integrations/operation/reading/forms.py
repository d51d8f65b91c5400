"""Whether a note of labels and values (``Job: nurse``) speaks of whoever wrote it."""

from __future__ import annotations

import re

from memos_integrations.cube.facts import TurnText

_LONGEST_FORM = 400
_OTHERS = re.compile(
    r"\b(?:his|her|their|he|she|candidate|patient|customer|client|applicant|employee|guest|user|contact"
    r"|author|sender|recipient|resume|cv)\b", re.IGNORECASE
)  # fmt: skip
_NAME_LABEL = re.compile(
    r"(?:^|\n)\W{0,4}(?:full )?name\s?:\s{1,3}(?P<name>[^\n]{1,40})", re.IGNORECASE
)


def may_be_form(turn: TurnText) -> bool:
    """Whether ``Job: nurse`` speaks of the speaker: a short note that names nobody else."""
    if len(turn.text) > _LONGEST_FORM or _OTHERS.search(turn.text):
        return False
    named = _NAME_LABEL.search(turn.text)
    if named is None or turn.speaker is None:
        return True
    return bool(set(named["name"].lower().split()) & set(turn.speaker.lower().split()))
