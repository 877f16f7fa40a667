"""The names of outputs and losses, and which go together; formulas are in `fastmlp.reference`."""

from __future__ import annotations

__all__ = ["DEFAULT_LOSS", "OUTPUTS"]

# output -> the losses it can be trained with, its default first
OUTPUTS: dict[str, tuple[str, ...]] = {
    "softmax": ("cross_entropy",),
    "sigmoid": ("binary_cross_entropy", "squared_error", "absolute_error", "huber"),
    "identity": ("squared_error", "absolute_error", "huber", "poisson"),
}
DEFAULT_LOSS = {output: losses[0] for output, losses in OUTPUTS.items()}
