"""Both backends side by side: the table of cases, and what `fastmlp verify` makes of it."""

from .cases import (
    EDGES,
    TOLERANCE,
    Case,
    Sizes,
    all_cases,
    difference,
    outcome,
    shapes,
)

__all__ = [
    "EDGES",
    "TOLERANCE",
    "Case",
    "Sizes",
    "all_cases",
    "difference",
    "outcome",
    "shapes",
]
