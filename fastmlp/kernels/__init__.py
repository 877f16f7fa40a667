"""The operations of `fastmlp.reference`, compiled: the same names, signatures and errors.

LLVM vector kernels (`microkernel`, `rows`, `outputs`, `sparse`, `online`) are compiled once per
dtype into a table of addresses (`table`). Numba drivers (`drivers`, `full_batch`, `single`,
`inference`) call through it in a fixed order. `training` and `forward` turn arrays into the
addresses they work on; `functions` and `network_functions` are the public operations.
"""

from .layer_operations import (
    activate,
    dense,
    dense_backward,
    output_loss,
    softmax,
    softmax_cross_entropy,
)
from .network_operations import forward, loss_and_gradients, optimizer_step, train_epoch

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
