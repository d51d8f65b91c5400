"""Why an adapter is not used. The answer is then the base's, and the memory stays text."""

from __future__ import annotations

from memos_integrations.cube.errors import MemosError


class AdapterRefused(MemosError, ValueError):
    """This file, or this row of a batch, does not fit the model at hand or itself."""


class AdapterUnsupported(MemosError, NotImplementedError):
    """This model takes no adapters of ours; the text says what stands in the way."""


class TrainingStopped(MemosError):
    """It was asked to stop; the same call with the same checkpoint goes on where it was."""


class BudgetSpent(MemosError):
    """It would take or took more than it may; a larger budget with the same checkpoint goes on."""
