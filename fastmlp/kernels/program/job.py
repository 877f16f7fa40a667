"""What the functions that write programs are told: layers in memory, inputs, losses, choices."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..emit.optimizers import HYPER_ROW, STORE
from ..jit.registry import SPLIT
from .operation import At, Slot, Value, cut

__all__ = ["BLOCK", "Job", "Layer", "Lists", "Loss", "Packed", "Regularizing", "Scaled", "Wide"]

BLOCK = 16  # rows of W that belong together


@dataclass(frozen=True)
class Wide:
    """The operands of a wide layer, packed in the order in which a tile reads them; the panels of
    the transpose are in the layer's `wt`.
    """

    w: At  # W in panels, of all its rows; no address: the forward pass reads it as it lies
    a: At  # what comes in, as the left operand of the update
    d: At  # the deltas, as its right one
    zeros: At  # as many as a panel is wide
    block: int  # of k, that the forward and the backward pass go through at a time
    rows: int  # of W, that are packed anew once they are stepped, while they are in a cache
    # bfloat16 parts that operands are split into, if any: k counts pairs then, in `block` too
    parts: int
    split_a: At  # rows of what comes in, split, for the forward pass
    ld_split_a: int
    split_d: At  # of the deltas, for the backward pass: not of the first layer
    ld_split_d: int

    @property
    def suffix(self) -> str:
        """How its kernels' names end."""
        return f"_{SPLIT[self.parts]}" if self.parts else ""

    def depth(self, k: int) -> int:
        """Return how many k, or pairs of them, hold so many k."""
        return (k + 1) // 2 if self.parts else k


@dataclass(frozen=True)
class Layer:
    """A layer of weights, and where its arrays lie. Strides (``ld...``) are in bytes."""

    number: int  # from 0 on
    n_in: int
    n_out: int
    vectors_in: int  # that hold as many elements
    vectors_out: int
    w: At
    ld_w: int
    bias: At
    wt: At  # the transpose of W, for the way back: not of the first layer
    ld_wt: int
    a: At  # what comes in: the samples, or the activations of the layer before
    ld_a: int
    h: At  # activations, strided by `ld_h` as deltas and slopes are
    ld_h: int
    d: At  # deltas
    slope: At  # from what f'(z) is found on the way back: f'(z) itself, or `h`
    code: int  # the activation
    slope_code: int  # that by which f'(z) is found in `slope`
    has_bias: bool
    # in the tables of penalties and norms
    first_slot: int = 0  # mutant 1: who makes a layer for them says it
    threshold: int = 0  # for dropout: draws below it leave a unit out
    factor: At | None = None  # for dropout: by which kept units are multiplied; None without it
    wide: Wide | None = None  # where the layer's operands are packed; `wt` lies in panels then
    scaled: Scaled | None = None  # where W has a common scale: single samples under l2

    @property
    def blocks(self) -> int:
        """The blocks of 16 rows of W, the last one padded."""
        return -(-self.n_in // BLOCK)

    @property
    def slots(self) -> int:
        """How many sums W has in the tables of penalties and norms: one for each vector of a
        block's columns, so that no panel shows in them.
        """
        return self.blocks * self.vectors_out

    def part(self, first: int, last: int, vector: int, row: int = 0) -> Layer:
        """Return the layer with only these vectors of its columns, from that row of samples on."""
        at, below = first * vector, row * self.ld_h
        return replace(
            self, w=self.w + at, bias=self.bias + at, a=self.a + row * self.ld_a,
            h=self.h + below + at, slope=self.slope + below + at, vectors_out=last - first,
        )  # fmt: skip


@dataclass(frozen=True)
class Scaled:
    """A layer whose weights are s V, as layers that read one another's rows."""

    product: Layer  # x V, before s and the bias
    finished: Layer  # f(s (x V) + b), with one input, s, whose row of weights is x V
    delta: Layer  # s d, with one input, s, whose row of weights is d; its rows become the steps


@dataclass(frozen=True)
class Loss:
    """The kernel that turns logits into deltas and losses, and what it is told: field and value."""

    kernel: str
    targets: tuple[tuple[str, Value], ...]


@dataclass(frozen=True)
class Lists:
    """Lists of non-zeros that stand for X."""

    kind: str  # "codes", "values" or "csr": see `emit.sparse`
    n_cuts: int  # blocks of columns, and one
    block: int  # columns of a block
    at_once: int  # blocks that the forward pass goes through in one call
    passing: bool = False  # made of the samples on their way, and so numbered by their rows

    @property
    def where(self) -> dict[str, Value]:
        """The fields of a record that say where the lists lie."""
        return {
            "starts": At(Slot.INDEX_STARTS), "cuts": At(Slot.INDEX_CUTS), "n_cuts": self.n_cuts,
            "columns": At(Slot.INDEX_COLUMNS), "values": At(Slot.INDEX_VALUES),
            "table": At(Slot.INDEX_TABLE),
        }  # fmt: skip


@dataclass(frozen=True)
class Packed:
    """The first layer's weights in packed panels of columns."""

    count: int  # panels
    state: int  # bytes from a weight to the optimizer's state of it
    gradient: int  # and to its gradient
    ld_counts: int
    ld_listed: int
    portion: int  # samples that are gone through at a time
    blocks: tuple[int, ...]  # the first block of columns of each share; the last one's end


@dataclass(frozen=True)
class Regularizing:
    """What a step does beside the loss's gradient."""

    penalty: bool  # l1 or l2 is above 0
    clips: bool  # the gradient's norm is bounded
    limits: bool  # the norm of each neuron's weights is
    # the whole gradient is summed before the optimizer's step: it is clipped, or has an l1 part, or
    # the weights are bounded
    whole: bool


@dataclass(frozen=True)
class Job:
    """What is done to a network, as the functions that write programs need to know it."""

    layers: tuple[Layer, ...]
    item: int  # bytes of an element
    vector: int  # bytes of a vector
    tile_rows: int  # rows of a tile, whole tiles of which a share has
    shares: int
    input: str  # "u8", "f32" or "f64": how samples are read, by kernels whose names end so
    loss: Loss | None  # None where outputs are wanted
    batch_size: int  # samples of a step
    chunk: int  # samples that are gone through at a time
    # by layer, the first row of W of each share; the last one's end
    bounds: tuple[tuple[int, ...], ...] = ()
    optimizer: int = STORE  # its code; STORE leaves the gradient as it is
    # of all parameters: so far the optimizer's state is behind them, and each group's gradient
    # behind the one before
    n_bytes: int = 0
    lists: Lists | None = None
    packed: Packed | None = None
    regularizing: Regularizing = Regularizing(False, False, False, False)
    # of samples of a full batch, each with a gradient of its own
    groups: int = 1  # mutant 2: who writes a full batch says it
    group_samples: int = 0

    @property
    def slots(self) -> int:
        """The sums of all layers' W in the tables of penalties and norms."""
        return sum(q.slots for q in self.layers)

    def hyper(self, *, bias: bool = False) -> At:
        """Return where the step's hyperparameters are, those of the weights or of the biases."""
        row = HYPER_ROW * self.item
        return At(Slot.HYPER, row if bias else 0, step=2 * row)

    def gradient_of(self, parameter: At, group: int = 0) -> At:
        """Return where the gradient of a parameter is summed, over a group of samples."""
        return At(Slot.GRADIENT, parameter.offset + group * self.n_bytes)

    def rows_of(self, q: Layer, share: int) -> tuple[int, int]:
        """Return a share's first row of a layer's W, and the one behind its last."""
        return self.bounds[q.number][share], self.bounds[q.number][share + 1]

    def part(self, n: int, share: int, unit: int = 1) -> tuple[int, int]:
        """Return where a share's part of n begins and ends, on multiples of `unit`."""
        return cut(n, self.shares, share, unit)
