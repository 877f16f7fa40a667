"""The operations of `fastmlp.reference`, compiled: the same names, signatures and errors.

LLVM vector kernels (`microkernel`, `rows`, `online`) are compiled once per dtype into a table of
addresses (`table`); Numba drivers (`drivers`) call through it in a fixed order; `engine` turns
arrays into the addresses they work on.
"""

from .functions import (
    activate,
    dense,
    dense_backward,
    forward,
    loss_and_gradients,
    optimizer_step,
    output_loss,
    softmax,
    softmax_cross_entropy,
    train_epoch,
)

__all__ = [
    "activate",
    "dense",
    "dense_backward",
    "forward",
    "loss_and_gradients",
    "optimizer_step",
    "output_loss",
    "softmax",
    "softmax_cross_entropy",
    "train_epoch",
]
