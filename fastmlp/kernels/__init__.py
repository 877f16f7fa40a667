"""The operations of `fastmlp.reference`, compiled: the same names, signatures and errors.

Four floors, each of which knows those before it alone: `emit` writes kernels as LLVM code, `jit`
compiles them, `program` writes down which of them work on what and in which order, `run` carries
that out. `layer_operations` and `network_operations` are the public operations.
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
