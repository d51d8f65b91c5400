"""The extractor a memory has when nobody chose one."""

from __future__ import annotations

import importlib
import importlib.util

from memos_integrations.cube.facts import Extractor

_RULES = "memos_integrations.operation.reading.rules"


def default_extractor() -> Extractor | None:
    """Deterministic rules: no model, no network."""
    if importlib.util.find_spec(_RULES) is None:
        return None
    made: Extractor = importlib.import_module(_RULES).RuleExtractor()
    return made
