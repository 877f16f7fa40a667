"""The operations of `fastmlp.reference`, compiled: the same names, signatures and errors.

Four floors, each of which calls only those below it::

    run/       memory, data, choices; programs laid out and run           (Python)
      |
    program/   the order of work as data: phases, shares, operations      (Python, once per fit)
      |
    jit/       LLVM, cache, the kernels by name, Numba's threads          (Python)
      |
    emit/      what kernels compute, their records; the executor          (LLVM IR)

An **operation** is a kernel and the values of its argument record. Operations stand in **shares**,
one thread's work; the shares of a **phase** run at the same time. A **program** is phases. To
follow a step on a mini-batch: `run.training` has it written by `program.minibatch`
(`program.passes` is the forward and backward pass, `program.post_gradient` what follows) and laid
out by `run.executor` for `emit.executor`, which runs it; the kernels it names are listed in
`jit.registry` and emitted by `emit.gemm` and its neighbours. ``print(listing(phases, item))`` of
`program.listing` shows one.

`layer_operations` and `network_operations` are the public operations, on a caller's arrays as they
lie: `run.plain` has them written by `program.calls`, and `run.calls` keeps the programs ready.
Their kernels, `emit.matrix_product` and `emit.rows`, know no padding.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # type checkers and editors see the description that both backends share
    from ..contract.signatures import *  # noqa: F403
else:
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
