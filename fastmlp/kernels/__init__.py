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
`program.listing` shows one, ``fastmlp profile`` times it.

`layer_operations` and `network_operations` are the public operations, on a caller's arrays as they
lie: `run.plain` writes them down, and `run.calls` keeps the programs ready.
Their kernels, `emit.matrix_product` and `emit.rows`, know no padding.

**How a step is cut up.** One compiled call runs many steps. Python comes in between about every
100 ms, for progress, callbacks and Ctrl-C. A step on a mini-batch has two phases::

    by samples      thread 0   samples  0 to 31 | gather, forward, loss, backward: its deltas
                    thread 1   samples 32 to 63 | gather, forward, loss, backward: its deltas
                    ------------------- every delta is there -------------------
    by rows of W    thread 0   rows of every W  | gradient over all samples, optimizer
                    thread 1   the other rows   | gradient over all samples, optimizer
                    ------------------- every W is new: next step --------------

- By samples: each thread takes a slice of the batch through everything, so activations stay in
  that core's cache.
- By rows of W: each thread owns blocks of rows of every W, equally much work for all. It sums their
  gradient over all samples in order, and applies the optimizer while the sums are in registers. No
  gradient buffer, no reduction: every sum has one owner and a fixed order.
- Only what has to know the whole gradient (clipping, L1, bounded norms, batches of more than 512)
  has it summed first, and is stepped from in further phases.
- A full batch is one pass over X in fixed groups of samples, whose sums are added in order. It
  takes samples in their own order: another order would change nothing but speed.
- One sample a step has a program of its own, on one thread.
- Inference shares out the samples. Where there are fewer than 32, and layers so wide that threads
  may pay, each thread has columns of every W instead, and all wait after each layer.

**Threads.** They are launched once for all of these steps. One announces a phase in memory, and
each claims its share. A share that nobody has claimed goes to whoever is free, so a delayed thread
blocks no other. Cores can be two threads of one, as in many virtual machines, and several threads
are then slower than one. So, where ``threads`` is not given, a fit tries other numbers of threads
now and then, ever more rarely, and goes on with what is quickest. No bit shows which.

**Kernels.** All dense work is one tile of multiply-adds, emitted as LLVM vector code
(`emit.microkernel`) with what follows it: bias and activation, the activation's derivative, the
optimizer's rule. A kernel takes the address of a record, whose fields have names. Plain Python
writes the program down once per fit, and the kernels to compile are read off it. A small compiled
control flow, the executor, runs every program on one thread or on Numba's threads
(`emit.executor`); it knows no network. The kernels of a dtype are compiled once, in the groups that
a job needs, by the LLVM that Numba brings along.

**Zeros in the data.** Pixels that are zero are left out of the first layer, forward and backward,
where a glance at the data finds enough of them. Their non-zeros are listed once per fit (CSR), with
dictionary-encoded values where at most 256 occur: 27 MB for MNIST, whatever its dtype. A mini-batch
then begins with a phase of its own: the first layer forward, by columns of W. They are packed into
weight panels, and a thread keeps its own in its own cache from step to step: nothing of the largest
matrix goes from core to core. Its gradient is summed feature by feature, from lists of the samples
in which the feature is not zero (CSC).

**Precision.** With ``precision="medium"`` or ``"high"`` the operands of wide layers' products are
split into bfloat16 parts (`emit.bfloat16`) in steps of mini-batches: forward, back, and for the
gradient. Parameters, the optimizer's state, activations and sums stay float32. The rule is that of
`contract.splitting`, by sizes alone: layers from 128 wide on (the harmonic mean of inputs and
outputs), from 64 samples a step on, with wider ones fewer. The first layer is left out where X is
sparse or mostly zero: its non-zeros are multiplied in float32. So are predictions, evaluations,
``loss_and_gradients``, L-BFGS, and the sums of `fastmlp.distributed`.

- ``medium`` has one part and one product. The instruction of AVX-512 for it, ``vdpbf16ps``, does
  twice the multiply-adds of float32. On AMD Zen 4, whole epochs of 784-1024-1024-10 and of
  600-2048-1500-20, batches of 512, Adam, are 1.7 to 1.9 times as fast as with ``highest``. An
  operand loses 2^-8 of its size at most.
- ``high`` has two parts and three products, and an operand loses 2^-16. It takes three halves of
  the time of ``highest`` there, and tells so. It is for units that multiply bfloat16 many times as
  fast as float32, such as AMX, for which there are no kernels yet.
- Without the instruction, multiply-adds of the parts do the same: on Zen 4 to the last bit, as the
  instruction adds the two products of a pair one after the other, each rounded, and takes
  subnormals for zeros, which all steps do. Other processors with the instruction were not there to
  try. It is about as fast as ``highest`` with AVX-512, and 2 to 3 times slower with AVX2; a notice
  says so. Bits do not depend on the number of threads either way.
- Under ``high`` an infinite operand makes NaN, since it meets second parts of 0.

**Dropout** draws from a counter-based generator. Which units are left out follows from the seed,
the step, the layer, the sample's place in the batch and the unit, so threads and resumed runs
change nothing about it.
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
