"""Steps whose wide layers multiply bfloat16 parts: imported by who has asked for a `precision`."""

from __future__ import annotations

from functools import cache
from typing import Any

from ...architecture import Architecture
from ...contract.splitting import layer_parts
from ...support.notices import notice
from ..emit.target import multiplies_bfloat16

__all__ = ["parts_of_steps"]


@cache
def _tell(precision: str) -> None:
    """Say, once a process, that a precision does not pay here."""
    if precision == "high":
        notice(
            "precision='high': on this processor three products of bfloat16 parts take longer than "
            "one of float32; precision='highest' is faster and no less exact"
        )
    elif not multiplies_bfloat16():
        notice(
            "precision='medium': this processor has no products of bfloat16 (avx512_bf16); "
            "multiply-adds give the same values, but no faster than precision='highest'"
        )


def parts_of_steps(architecture: Architecture, batch_size: int, X: Any) -> tuple[int, ...]:
    """Return `layer_parts`, after a notice where they do not pay on this processor."""
    parts = layer_parts(architecture, batch_size, X)
    if any(parts):
        _tell(architecture.precision)
    return parts
