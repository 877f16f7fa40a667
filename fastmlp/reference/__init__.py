"""The mathematics of fastmlp in plain NumPy: the specification that the kernels are held against.

Notation, as in the tutorials: ``a_0 = X``, ``z_l = a_{l-1} W_l + b_l``, ``a_l = f_l(z_l)``,
delta_l = dL/dz_l, one row per sample. Nothing here knows of Numba or of the compiled side.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # type checkers and editors see the description that both backends share
    from ..contract.signatures import *  # noqa: F403
else:
    from .activations import activate
    from .backprop import forward, loss_and_gradients
    from .dense import dense, dense_backward
    from .epoch import train_epoch
    from .losses import output_loss, softmax, softmax_cross_entropy
    from .optimizers import optimizer_step

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
