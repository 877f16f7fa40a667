"""All choices of how work is done, with the figures that they rest on.

Which way a batch goes through the network (`mode_of`), how many threads are worth their launch,
whether the first layer goes through lists of non-zeros, how many samples are gone through at a
time. Bits must not depend on the threads, so whatever changes bits is chosen from sizes alone.
"""

from __future__ import annotations

from typing import Literal

from ...architecture import Architecture
from ...contract.parameters import Parameters
from ...optimizers import Optimizer
from ...regularization import Regularization
from ..emit.matrix_product import PACK_A, PACK_B
from ..emit.target import current_target
from ..jit.threading_layer import LEAST_LAUNCH_SECONDS, launch_seconds, thread_limit

__all__ = [
    "BLOCK_ROWS",
    "CHUNK",
    "ELEMENTWISE_FLOPS",
    "FEW",
    "GROUPS",
    "LEARNT_FLOPS",
    "LISTS_FROM",
    "Mode",
    "choose_threads",
    "flops",
    "grid",
    "inference_blocks",
    "is_close",
    "lists_pay_in_passing",
    "mode_of",
    "most_groups",
    "packing",
]

Mode = Literal["batch", "full", "single"]

MR = current_target().tile_rows
_COLUMNS = 64  # a part of a product has at least so many columns: some cache lines of every row

CHUNK = 512  # samples of a large batch that are gone through at a time
BLOCK_ROWS = 64  # in full batch, and in inference: 64 rows of MNIST in float64 stay in a
# second-level cache
GROUPS = 32  # groups of samples of a full batch, each with a gradient of its own
_GROUPS_BYTES = 16 << 20  # what these gradients may take

FEW = 4  # rows of inference that go through one by one: a tile of eight would be half empty
LISTS_FROM = 256  # rows of inference: for fewer, a look whether most of X is zero costs too much
_FEWEST_ROWS = 16  # of a share of inference
_LISTED_INPUTS = 8192  # longer rows would push W out of the cache
_NARROW = 3  # vectors: fewer columns are summed in several chains, which the bits would tell

# What one core does at least (AVX-512, float32: measured 120 GFLOP/s); slower ones gain more.
_FLOPS_PER_SECOND = 1e11
# What a phase takes beside its share of the work, measured within steps: the handing over,
# waiting, and data that are in the other core's cache. So where the cores share a cache; where a
# virtual machine has them apart, for seconds at a time, it is ten times as much.
_HANDOVER_SECONDS = 2e-6
_CLOSE = 10.0  # times the handing over: where a team saves more, a fit begins with one


def mode_of(
    parameters: Parameters, optimizer: Optimizer | None, r: Regularization, batch_size: int,
    *, listed: bool, direct: bool,
) -> Mode:  # fmt: skip
    """Return how a step is taken: one sample alone, a mini-batch, or a full batch in groups.

    Parameters
    ----------
    parameters : Parameters
    optimizer : Optimizer or None
    r : Regularization
    batch_size : int
    listed : bool
        Whether X is a sparse matrix.
    direct : bool
        Whether the kernels read X as it is.
    """
    plain = optimizer is not None and optimizer.rule == "sgd"
    plain = plain and r.l2 == 0 and not r.dropout and not r.whole
    if batch_size == 1 and plain and direct:
        return "single"
    if listed and optimizer is None:
        return "full"  # panels know of no gradient but their own
    if batch_size > CHUNK and most_groups(parameters) == GROUPS and direct:
        return "full"
    return "batch"


def most_groups(parameters: Parameters) -> int:
    """Return for how many groups of a full batch there is room."""
    gradient_bytes = parameters.size * parameters.dtype.itemsize
    return max(1, min(GROUPS, _GROUPS_BYTES // gradient_bytes))


def inference_blocks(rows: int, threads: int) -> tuple[int, int]:
    """Return how many shares of inference there are, and samples of a block."""
    shares = min(threads, -(-rows // _FEWEST_ROWS))
    return shares, min(BLOCK_ROWS, -(-rows // (shares * 16)) * 16)


def lists_pay_in_passing(n_in: int, n_out: int, item: int, vector_bytes: int) -> bool:
    """Tell whether a first layer is such that non-zeros are worth listing to be used once."""
    return n_out * item > (_NARROW - 1) * vector_bytes and n_in <= _LISTED_INPUTS


def flops(architecture: Architecture, rows: int) -> int:
    """Return the floating-point operations of a step over `rows` samples, zeros included."""
    return 6 * rows * sum(n_in * n_out for n_in, n_out in architecture.layers)


def _saved(flops: int, threads: int) -> float:
    return flops / _FLOPS_PER_SECOND * (1 - 1 / threads)


def is_close(flops: int, *, phases: int) -> bool:
    """Tell whether a step is so short that a team may lose where handing over takes longer."""
    return _saved(flops, thread_limit()) < _CLOSE * phases * _HANDOVER_SECONDS


def choose_threads(threads: int | None, flops: int, *, steps: int = 1, phases: int = 0) -> int:
    """Return how many threads work is shared out to that is launched once.

    As many as there are, or one alone: where those could save less time than it costs to hand
    the phases of each step over and to launch them. The threading layer, which says what a
    launch costs, is not loaded for less than would be worth the cheapest one.

    Parameters
    ----------
    threads : int or None
        What the user has chosen.
    flops : int
        Of one step.
    steps : int
        How many follow each other.
    phases : int
        Of a step, at whose ends the threads wait for each other.
    """
    if threads is not None:
        return threads
    if steps * flops / _FLOPS_PER_SECOND <= LEAST_LAUNCH_SECONDS:
        return 1  # without asking the system for its processors
    limit = thread_limit()
    saved = _saved(flops, limit) - phases * _HANDOVER_SECONDS
    if steps * saved <= LEAST_LAUNCH_SECONDS or steps * saved <= launch_seconds():
        return 1
    return limit


LEARNT_FLOPS = 500_000_000  # below, calls learn whether threads pay: a few milliseconds
# What a vector of exp or division takes, in floating-point operations of a product.
ELEMENTWISE_FLOPS = 60
_PAGE = 4096
_LARGE = 4 << 20  # bytes of an operand that no second-level cache holds
_SOME_ROWS, _MANY_ROWS = 48, 192
_SHALLOW = 32  # columns of A: fewer do not repay that they are packed


def packing(rows: int, columns: int, k: int, item: int, strides: tuple[int, int, int, int]) -> int:
    """Return which operands of a product are packed: bits PACK_A and PACK_B.

    B is, where its columns are apart. Else both are where B is out of the caches, or its rows fall
    into the same few sets of them: with packing, 1.30 instead of 0.86 times BLAS's speed at
    1024x64x1024 in float32, 1.05 instead of 0.78 at 64x1024x1024 in float64. Few rows do not repay
    it: 1.0 instead of 1.6 at 16x1024x1024. A transposed A is packed from _MANY_ROWS on: 1.20
    instead of 1.05 at 784x1000x128 in float64. (One thread, AMD EPYC, Zen 4.)

    Parameters
    ----------
    rows, columns, k : int
        Of the part that one thread computes.
    item : int
        Bytes of an element.
    strides : tuple of int
        Bytes from row to row and from column to column, of A and of B.
    """
    _, across_a, down_b, across_b = strides
    size = k * columns * item
    apart = columns > 1 and across_b != item
    aliased = down_b % _PAGE == 0 and columns * item >= _PAGE
    if apart:
        return PACK_A | PACK_B if rows >= _SOME_ROWS and size >= _LARGE // 4 else PACK_B
    if k < _SHALLOW or rows < _SOME_ROWS:
        return 0
    if size >= _LARGE or (rows >= _MANY_ROWS and (aliased or size >= _LARGE // 8)):
        return PACK_A | PACK_B
    return PACK_A if rows >= _MANY_ROWS <= k and across_a != item and columns >= _COLUMNS else 0


def grid(rows: int, columns: int, threads: int) -> tuple[int, int]:
    """Return in how many parts the rows and the columns of a product are cut, one part a thread.

    Every thread reads the rows of A and the columns of B of its part: as few as may be.
    """
    most_rows, most_columns = max(1, rows // MR), max(1, columns // _COLUMNS)
    pairs = [
        (min(down, most_rows), min(threads // down, most_columns)) for down in range(1, threads + 1)
    ]
    return max(pairs, key=lambda pair: (pair[0] * pair[1], -rows / pair[0] - columns / pair[1]))
