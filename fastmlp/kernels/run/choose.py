"""All choices of how work is done, with the figures that they rest on.

Which way a batch goes through the network (`mode_of`), how many threads are worth their launch
and when the autotuner tries the other way, whether the first layer goes through lists of
non-zeros and in which blocks and panels, how many samples are gone through at a time. Bits must
not depend on the threads, so whatever changes bits is chosen from sizes alone. Others ask for what
has no underscore in front of its name.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np

from ...architecture import Architecture
from ...contract.operations import StepSettings
from ...contract.parameters import Parameters
from ...contract.splitting import columns_fit, density
from ..emit.matrix_product import FEW_ROWS
from ..emit.sparse import PANEL
from ..emit.target import current_target, multiplies_bfloat16
from ..jit.threading_layer import core_count, start_threads, thread_limit
from .caches import data_cache

Mode = Literal["batch", "full", "single"]

# samples at a time

CHUNK = 512  # samples of a large batch that are gone through at a time
BLOCK_ROWS = 64  # in full batch, and in inference: 64 rows of MNIST in float64 stay in a
# second-level cache
# Rows of inference that are read where they lie. 1,024 rows of 784-128-64-10, float32, a thread of
# AMD Zen 4: gathered 2,233 us; in place 2,098 in blocks of 16, 2,091 of 32, 2,097 of 64. What is
# left is gathered: the fewer, the better.
BLOCK_IN_PLACE = 16
GROUPS = 32  # groups of samples of a full batch, each with a gradient of its own
_GROUPS_BYTES = 16 << 20  # what these gradients may take
# How often a group of sparse samples has to use a row of W on average: to clear a gradient and add
# it up takes longer than to sum so few. L-BFGS, 100 neurons, float64, one group and as many as
# there is room for: 1,000 x 1,000, 1 % non-zeros, 0.67 and 1.9 ms; 200 x 5,000, 0.2 %, 0.49 and
# 1.45; 2,000 x 500, 10 %, 16 groups and 32, 3.5 and 13.4.
_USES = 8
STAGE_BYTES = 4 << 20  # rows that NumPy has to convert are converted this much at a time

FEW = 4  # rows of inference that go through one by one: a tile of eight would be half empty
LISTS_FROM = 256  # rows of inference: for fewer, a look whether most of X is zero costs too much
FEWEST_ROWS = 16  # of a share of inference

# packed layers: shares of the peak, one thread of AMD Zen 4, AVX-512, in turns with plain ones

# Packing activations and deltas takes a part of a layer's time that goes with 1 / n_in + 1 / n_out.
# Steps of n-n-n-10, plain and packed, float32, Adam: 300, 400 samples 89.0 and 86.5 %; 384, 256
# samples 87.0 and 86.7; 512, 128 samples 85.5 and 85.2; 768, 128 samples 83.9 and 85.9; SGD: 1024,
# 128 samples 85.2 and 88.7; 784-1024-1024-10, 256 samples 87.5 and 92.1; float64, Adam: 512, 256
# samples 80.7 and 85.8.
_LEAST_WIDTH = 512  # the harmonic mean of inputs and outputs
# Times samples; on fewer, plain operands stay in the caches: 512, 64 samples, Adam 84.5 and 82.3 %;
# 1024, 64 samples 71.5 and 74.1; 2048, 64 samples, SGD 89.1 and 91.6.
_LEAST_AREA = 1 << 16
# Where a first-level cache has room for so many rows of a panel and for the left operand, and there
# are as many samples, W lies in panels for the forward pass too. Such processors multiply and add
# twice a cycle, and lose most to rows that lie pages apart: on a Xeon (Emerald Rapids), 128 x 1024
# x 1024, 80 GFLOP/s over W as it lies, 92 over packed operands in blocks of 256, peak 96; with
# float64 28, 44 and 45. On Zen 4, with its 32 KB, the forward pass is at 98 % either way, the copy
# of W takes 1.7 % of a step, and such blocks cost 4 % of a pass: panels of the transpose, which has
# to be made anyway, are read from the second-level cache.
_LEAST_BLOCK = 256
_COPIED_ROWS = 128  # while they are in the second-level cache: 118.2 ms a step instead of 119.6

# lists of non-zeros

# from which density on, and for which data: `contract.splitting`, as `precision` asks it too
_SCATTERED = 1e-3  # share of non-zeros below which most blocks of a sample's list are empty
# Non-zeros of a block of a row: fewer cost less as they lie. Sums of a gradient over 1,500 x 600,
# float64, Zen 4, in blocks and as they lie: 400 neurons, 0.3 in a block 25.2 and 12.3 ms, 1.6 in a
# block 43.3 and 35.8; 100 neurons, 1.3 in a block 1.17 and 0.83, 3.2 in a block 2.1 and 1.9, 6.4 in
# a block 7.9 and 11.8, 19 in a block 15.8 and 24.5.
_FEW_IN_A_BLOCK = 4
_LISTED_BYTES = 3  # of a non-zero in a list whose values are coded
_MAPPED_LISTS = 32 << 20  # what the lists of a file may take
_LISTED_INPUTS = 8192  # of lists used once: longer rows would push W out of the cache
_NARROW = 3  # vectors: fewer columns are summed in several chains, which the bits would tell
_BLOCK_BYTES = 60 << 10  # rows of W worked on at a time: most of a first-level cache
DELTA_BYTES = 80 << 10  # of deltas that are gone through at a time: a few first-level caches
# Vectors of a panel where there are more panels for the sake of the threads. Each goes through all
# items anew: narrow ones cost more than all threads sharing a wide one, whose rows of W then cross
# from core to core. Below 3 they would be summed in several chains (`emit.sparse`), and the bits
# would tell how many threads there were.
_NARROWEST = 5

# threads

# What launching two threads takes, and waiting for them, measured beside work of their own.
_LAUNCH_SECONDS = {"omp": 4e-6, "tbb": 6e-6, "workqueue": 93e-6}
# What one core does at least (AVX-512, float32: measured 120 GFLOP/s); slower ones gain more.
_FLOPS_PER_SECOND = 1e11
# What a phase takes beside its share of the work, measured within steps: the handing over,
# waiting, and data that are in the other core's cache. So where the cores share a cache; where a
# virtual machine has them apart, for seconds at a time, it is ten times as much.
_HANDOVER_SECONDS = 2e-6
_CLOSE = 10.0  # times the handing over: where a team saves more, a fit begins with one

# the autotuner, in seconds

TRIAL = 3e-3  # of the steps that are taken the other way to see how long that takes
LONGEST_STEP = 5e-3  # longer ones are not tried
SHORTEST_RUN = 2e-3  # that tells something
FIRST_TRIAL, LAST_TRIAL = 0.1, 1.6  # between trials: twice as many after one that changed nothing
BETTER = 0.95  # the other way is taken where it needs this share of the time at most
SLOWER = 1.3  # it is tried at once when the present one needs so many times as much as before


def mode_of(
    parameters: Parameters, settings: StepSettings, *, listed: bool, direct: bool, split: bool
) -> Mode:
    """Return how a step is taken: one sample alone, a mini-batch, or a full batch in groups.

    X is `listed` if it is a sparse matrix, and `direct` if the kernels read it as it is. Where a
    layer's operands are `split`, there are mini-batches alone.
    """
    optimizer, r, batch_size = settings.optimizer, settings.regularization, settings.batch_size
    plain = optimizer is not None and optimizer.rule == "sgd"
    plain = plain and r.l2 == 0 and not r.dropout and not r.whole
    if batch_size == 1 and plain and direct:
        return "single"
    if listed and optimizer is None:
        return "full"  # panels know of no gradient but their own
    if batch_size > CHUNK and most_groups(parameters) == GROUPS and direct and not split:
        return "full"
    return "batch"


def most_groups(parameters: Parameters, X: Any = None) -> int:
    """Return for how many groups of a full batch there is room, and of a sparse matrix X, how many
    are worth a gradient of their own.
    """
    gradient_bytes = parameters.size * parameters.dtype.itemsize
    most = min(GROUPS, _GROUPS_BYTES // gradient_bytes)
    return max(1, most if X is None else min(most, X.nnz // (_USES * X.shape[1])))


def reads_in_place(row_bytes: int) -> bool:
    """Tell whether inference reads rows of X where they lie, if it can: not where the same columns
    of all of them fall into one set of a cache.
    """
    return row_bytes % _PAGE != 0


def inference_shares(rows: int, threads: int) -> int:
    """Return how many shares of inference there are."""
    return max(1, min(threads, -(-rows // FEWEST_ROWS)))


def threads_of_columns(architecture: Architecture, rows: int) -> int:
    """Return how many threads may have columns of the layers, as there are too few rows for each;
    1 where they have no work to share.
    """
    if rows >= 2 * FEWEST_ROWS:
        return 1
    work = forward_flops(architecture, rows)
    return choose_threads(None, work, phases=len(architecture.layers) + 2)


def rows_pay(samples: int, n_in: int, non_zeros: int) -> bool:
    """Tell whether rows of a sparse matrix are gone through as they lie, without blocks.

    500 x 66,000 with 13 non-zeros a row, 10 hidden units, L-BFGS: 1.2 times scikit-learn's time,
    in blocks 1.5 times.
    """
    return not columns_fit(n_in) or non_zeros < _SCATTERED * samples * n_in


def rows_pay_in_sums(X: Any, block: int) -> bool:
    """Tell whether rows of a sparse matrix are gone through as they lie, not in blocks of so many
    columns, in a full batch whose gradient is summed for L-BFGS.
    """
    return X.nnz < _FEW_IN_A_BLOCK * X.shape[0] * -(-X.shape[1] // block)


def lists_outgrow_file(X: np.ndarray) -> bool:
    """Tell whether lists of what lies in a file take too much of the memory that it spares."""
    return density(X) * X.size * _LISTED_BYTES > _MAPPED_LISTS


def block_columns(row_bytes: int) -> int:
    """Return the columns of a block of lists, for rows of W of that length."""
    return max(1, _BLOCK_BYTES // (16 * row_bytes)) * 16


def panel_count(vectors: int, threads: int) -> int:
    """Return the panels of rows of so many vectors: a multiple of the threads where it can be."""
    fewest = -(-vectors // PANEL)
    shared = -(-fewest // threads) * threads
    return shared if shared <= vectors // _NARROWEST else fewest


def lists_pay_in_passing(n_in: int, n_out: int, item: int) -> bool:
    """Tell whether a first layer is such that non-zeros are worth listing to be used once."""
    narrow = n_out * item <= (_NARROW - 1) * current_target().vector_bytes
    return not narrow and n_in <= _LISTED_INPUTS


class Packing(NamedTuple):
    """How the operands of a wide layer are packed.

    Attributes
    ----------
    block : int
        Of k, that a pass goes through at a time.
    forward : bool
        Whether W lies in panels for the forward pass.
    rows : int
        Of W, that are copied at a time once they are stepped.
    parts : int
        bfloat16 parts into which operands are split, or 0; k counts pairs then.
    """

    block: int
    forward: bool
    rows: int = _COPIED_ROWS
    parts: int = 0


def packing(n_in: int, n_out: int, samples: int, parts: int = 0) -> Packing | None:
    """Return how a layer's operands are packed in steps over so many samples at a time, split into
    so many bfloat16 parts; None where they are not.
    """
    target = current_target()
    row = target.tile_vectors * target.vector_bytes * max(1, parts)  # of a panel, a pair of k
    near, far = (data_cache(level) // row for level in (1, 2))
    block = max(_LEAST_BLOCK, far // 4)
    if parts:
        return Packing(block, forward=True, parts=parts)
    width = 2 * n_in * n_out / (n_in + n_out)
    if width < _LEAST_WIDTH or width * samples < _LEAST_AREA:
        return None
    if near * 2 // 3 >= _LEAST_BLOCK:
        return Packing(_LEAST_BLOCK, forward=samples >= _LEAST_BLOCK)
    return Packing(block, forward=False)


def precision_pays(precision: str) -> bool:
    """Tell whether products of bfloat16 parts are faster than those of float32."""
    return precision == "medium" and multiplies_bfloat16()


def flops(architecture: Architecture, rows: int) -> int:
    """Return the floating-point operations of a step over `rows` samples, zeros included."""
    return 6 * rows * sum(n_in * n_out for n_in, n_out in architecture.layers)


def forward_flops(architecture: Architecture, rows: int, non_zeros: int | None = None) -> int:
    """Return those of the forward pass over `rows` samples; of a sparse matrix, its non-zeros'."""
    (n_in, n_out), *others = architecture.layers
    first = rows * n_in if non_zeros is None else non_zeros
    return 2 * first * n_out + 2 * rows * sum(a * b for a, b in others)


def thread_levels(most: int) -> list[int]:
    """Return the numbers of threads that are worth a trial: 1, 2, 4 and so on, and the most."""
    return [*(1 << i for i in range(most.bit_length()) if 1 << i < most), most]


def _step_seconds(flops: int, threads: int, phases: int) -> float:
    """Return what a step takes at most on so many threads: they meet in pairs, pairs of pairs..."""
    return flops / _FLOPS_PER_SECOND / threads + phases * _HANDOVER_SECONDS * math.log2(threads)


def is_close(flops: int, threads: int, *, phases: int) -> bool:
    """Tell whether a step is so short that threads may lose where handing over takes longer."""
    saved = flops / _FLOPS_PER_SECOND * (1 - 1 / threads)
    return saved < _CLOSE * phases * _HANDOVER_SECONDS


def choose_threads(threads: int | None, flops: int, *, steps: int = 1, phases: int = 0) -> int:
    """Return how many threads work is shared out to that is launched once, where the user has
    chosen none.

    As many as a step of so many `flops` gains from, given what handing its `phases` over costs; one
    alone where they would save less in all `steps` than their launch costs. Cores, not their
    hardware threads, which share one multiply-add unit. The threading layer, which says what a
    launch costs, is not loaded for less than would be worth the cheapest one.
    """
    if threads is not None:
        return threads
    costs = _LAUNCH_SECONDS.values()
    if steps * flops / _FLOPS_PER_SECOND <= min(costs):
        return 1  # without asking the system for its processors
    levels = thread_levels(min(thread_limit(), core_count()))
    best = min(levels, key=lambda n: _step_seconds(flops, n, phases))
    saved = steps * (_step_seconds(flops, 1, phases) - _step_seconds(flops, best, phases))
    if saved <= min(costs) or saved <= _LAUNCH_SECONDS.get(start_threads(), max(costs)):
        return 1
    return best


# products on a caller's arrays, and calls that are made again and again

_TILE_ROWS = current_target().tile_rows
_COLUMNS = 64  # a part of a product has at least so many columns: some cache lines of every row
LEARNT_FLOPS = 500_000_000  # below, calls learn whether threads pay: a few milliseconds
# One row waits for the weights, which come so many times more slowly than they are multiplied.
WAITING_ROWS = 4
# What a vector of exp or division takes, in floating-point operations of a product.
ELEMENTWISE_FLOPS = 60
_PAGE = 4096
_LARGE = 4 << 20  # bytes of an operand that no second-level cache holds
_FAR = 24 << 20  # bytes of an operand that comes from memory each time
_SOME_ROWS, _MANY_ROWS = 48, 192
_SHALLOW = 32  # columns of A: fewer do not repay that they are packed


def packed_operands(
    rows: int, columns: int, k: int, item: int, strides: tuple[int, int, int, int]
) -> tuple[bool, bool]:
    """Return whether the operands of a product, A and B, are packed.

    B is, where its columns are apart. Else both are where B is out of the caches, or its rows fall
    into the same few sets of them: with packing, 1.30 instead of 0.86 times BLAS's speed at
    1024x64x1024 in float32, 1.05 instead of 0.78 at 64x1024x1024 in float64. Few rows do not repay
    it, 1.0 instead of 1.6 at 16x1024x1024, unless B comes from memory, which wants to be read from
    end to end: 1.2 instead of 0.6 at 8x2048x2048 in float64, on two cores. A transposed A is packed
    from _MANY_ROWS on: 1.20 instead of 1.05 at 784x1000x128 in float64. (One thread, AMD EPYC,
    Zen 4.) No other A is: it would be 0 to 3 % slower.

    Sizes are those of the part that one thread computes; strides, in bytes, go from row to row and
    from column to column, of A and of B.
    """
    down_a, _, down_b, across_b = strides
    size = k * columns * item
    if columns > 1 and across_b != item:  # apart
        return down_a == item and rows >= _SOME_ROWS and size >= _LARGE // 4, True
    if k < _SHALLOW:
        return False, False
    if rows < _SOME_ROWS:
        return False, rows > FEW_ROWS and k * abs(down_b) >= _FAR
    aliased = down_b % _PAGE == 0 and columns * item >= _PAGE
    large = size >= _LARGE or (rows >= _MANY_ROWS and (aliased or size >= _LARGE // 8))
    many = rows >= _MANY_ROWS <= k and columns >= _COLUMNS
    return down_a == item and (large or many), large


def grid(rows: int, columns: int, threads: int) -> tuple[int, int]:
    """Return in how many parts the rows and the columns of a product are cut, one part a thread.

    Every thread reads the rows of A and the columns of B of its part: as few as may be.
    """
    most_rows, most_columns = max(1, rows // _TILE_ROWS), max(1, columns // _COLUMNS)
    pairs = [
        (min(down, most_rows), min(threads // down, most_columns)) for down in range(1, threads + 1)
    ]
    return max(pairs, key=lambda pair: (pair[0] * pair[1], -rows / pair[0] - columns / pair[1]))
