"""The extractor a memory has when nobody chose one."""

from __future__ import annotations

from memos_integrations.cube.facts import Extractor
from memos_integrations.operation.reading.rules import RuleExtractor


def default_extractor() -> Extractor:
    """Deterministic rules: no model, no network."""
    return RuleExtractor()
