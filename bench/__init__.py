"""Measurements of this package, beside the physical limit and beside its rivals, in one run."""
