"""What the functions that write programs are told: layers in memory, inputs, losses, choices."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..emit.optimizers import HYPER_ROW, STORE
from ..jit.registry import SPLIT
from .operation import At, Slot, Value

__all__ = [
    "BLOCK",
    "Job",
    "Layer",
    "Lists",
    "Loss",
    "Packed",
    "Regularizing",
    "Scaled",
    "Split",
    "Wide",
]

BLOCK = 16  # rows of W that belong together


@dataclass(frozen=True)
class Split:
    """Operands in bfloat16 parts: how many, and the rows that the passes have on their left.

    Attributes
    ----------
    parts : int
    a, d : At
        Rows of what comes in, and of the deltas; of the first layer none of these.
    ld_a, ld_d : int
    """

    parts: int
    a: At
    ld_a: int
    d: At
    ld_d: int


@dataclass(frozen=True)
class Wide:
    """The operands of a wide layer, packed in the order in which a tile reads them.

    Attributes
    ----------
    w : At
        W in panels, of all its rows, or no address: the forward pass reads it as it lies then. The
        transpose's panels are in the layer's `wt`.
    a, d : At
        What comes in, as the left operand of the update, and the deltas, as its right one.
    zeros : At
        As many as a panel is wide.
    block : int
        Of k, that the forward and the backward pass go through at a time.
    rows : int
        Of W, that are packed anew once they are stepped, while they are in a cache.
    split : Split or None
        Where operands are split into bfloat16 parts; k counts pairs then, in `block` too.
    """

    w: At
    a: At
    d: At
    zeros: At
    block: int
    rows: int
    split: Split | None = None

    @property
    def suffix(self) -> str:
        """How its kernels' names end."""
        return f"_{SPLIT[self.split.parts]}" if self.split else ""

    def depth(self, k: int) -> int:
        """Return how many k, or pairs of them, hold so many k."""
        return (k + 1) // 2 if self.split else k


@dataclass(frozen=True)
class Layer:
    """A layer of weights, and where its arrays lie. Strides (``ld...``) are in bytes.

    Attributes
    ----------
    n_in, n_out : int
    vectors_in, vectors_out : int
        That hold as many elements.
    w, bias : At
    ld_w : int
    wt : At
        The transpose of W, for the way back; of the first layer it is not used.
    ld_wt : int
    a : At
        What comes in: the samples, or the activations of the layer before.
    ld_a : int
    h, d : At
        Activations and deltas, both strided by `ld_h`.
    ld_h : int
    slope : At
        From what f'(z) is found on the way back: f'(z) itself, or `h`.
    code, slope_code : int
        The activation, and that by which f'(z) is found in `slope`.
    has_bias : bool
    threshold : int
        For dropout: draws below it leave a unit out.
    factor : At or None
        For dropout: by which kept units are multiplied. None without it.
    wide : Wide or None
        Where the layer's operands are packed; `wt` lies in panels then.
    """

    n_in: int
    n_out: int
    vectors_in: int
    vectors_out: int
    w: At
    ld_w: int
    bias: At
    wt: At
    ld_wt: int
    a: At
    ld_a: int
    h: At
    ld_h: int
    d: At
    slope: At
    code: int
    slope_code: int
    has_bias: bool
    threshold: int = 0
    factor: At | None = None
    wide: Wide | None = None

    @property
    def blocks(self) -> int:
        """The blocks of 16 rows of W, the last one padded."""
        return -(-self.n_in // BLOCK)

    def part(self, first: int, last: int, vector: int, row: int = 0) -> Layer:
        """Return the layer with only these vectors of its columns, from that row of samples on."""
        at, below = first * vector, row * self.ld_h
        return replace(
            self, w=self.w + at, bias=self.bias + at, a=self.a + row * self.ld_a,
            h=self.h + below + at, slope=self.slope + below + at, vectors_out=last - first,
        )  # fmt: skip

    @property
    def slots(self) -> int:
        """How many sums W has in the tables of penalties and norms: one for each vector of a
        block's columns, so that no panel shows in them.
        """
        return self.blocks * self.vectors_out


@dataclass(frozen=True)
class Scaled:
    """A layer whose weights are s V, as layers that read one another's rows: of ``x V``, before s
    and the bias; of ``f(s (x V) + b)``, with one input, s, whose row of weights is ``x V``; of ``s
    d``, with one input, s, whose row of weights is the delta. The rows of the last one become the
    steps.
    """

    raw: Layer
    finished: Layer
    scaled: Layer


@dataclass(frozen=True)
class Loss:
    """The kernel that turns logits into deltas and losses, and what it is told: field and value."""

    kernel: str
    targets: tuple[tuple[str, Value], ...]


@dataclass(frozen=True)
class Lists:
    """Lists of non-zeros that stand for X.

    Attributes
    ----------
    kind : {"codes", "values", "csr"}
        As `emit.sparse` describes them.
    n_cuts : int
        Blocks of columns, and one.
    block : int
        Columns of a block.
    at_once : int
        Blocks that the forward pass goes through in one call.
    passing : bool
        Whether they are made of the samples on their way, and so numbered by their rows.
    """

    kind: str
    n_cuts: int
    block: int
    at_once: int
    passing: bool = False

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
    """The first layer's weights in packed panels of columns.

    Attributes
    ----------
    count : int
        Panels.
    state, gradient : int
        Bytes from a weight to the optimizer's state of it, and to its gradient.
    ld_counts, ld_listed : int
    portion : int
        Samples that are gone through at a time.
    blocks : tuple of int
        The first block of columns of each share; the last one's end.
    """

    count: int
    state: int
    gradient: int
    ld_counts: int
    ld_listed: int
    portion: int
    blocks: tuple[int, ...]


@dataclass(frozen=True)
class Regularizing:
    """What a step does beside the loss's gradient.

    Attributes
    ----------
    penalty : bool
        Whether l1 or l2 is above 0.
    clips, limits : bool
        Whether the gradient's norm, and those of each neuron's weights, are bounded.
    whole : bool
        Whether the whole gradient is summed before the optimizer's step: it is clipped, or has an
        l1 part, or the weights are bounded.
    slots : int
        Sums in the table of penalties, a multiple of 4.
    norms : int
        Sums in the table of norms, the biases' last.
    """

    penalty: bool = False
    clips: bool = False
    limits: bool = False
    whole: bool = False
    slots: int = 0
    norms: int = 0


@dataclass(frozen=True)
class Job:
    """What is done to a network, as the functions that write programs need to know it.

    Attributes
    ----------
    layers : tuple of Layer
    item : int
        Bytes of an element.
    vector : int
        Bytes of a vector.
    tile_rows : int
        Rows of a tile, whole tiles of which a share has.
    shares : int
    input : {"u8", "f32", "f64"}
        How samples are read: by the kernels "gather_..." and "list_rows_..." of that name.
    loss : Loss or None
        None where outputs are wanted.
    batch_size, chunk : int
        Samples of a step, and those that are gone through at a time.
    bounds : tuple of tuple of int
        By layer, the first row of W of each share; the last one's end.
    optimizer : int
        The code of the optimizer, or STORE, which leaves the gradient as it is.
    n_bytes : int
        Of all parameters: so far the optimizer's state is behind them, and each group's gradient
        behind the one before.
    groups, group_samples : int
        Of a full batch: each group of samples has a gradient of its own.
    scaled : tuple of Scaled
        Layers whose weights have a common scale: of single samples under an L2 penalty.
    """

    layers: tuple[Layer, ...]
    item: int
    vector: int
    tile_rows: int
    shares: int
    input: str
    loss: Loss | None
    batch_size: int
    chunk: int
    bounds: tuple[tuple[int, ...], ...] = ()
    optimizer: int = STORE
    n_bytes: int = 0
    lists: Lists | None = None
    packed: Packed | None = None
    regularizing: Regularizing = field(default_factory=Regularizing)
    groups: int = 1
    group_samples: int = 0
    scaled: tuple[Scaled, ...] = ()

    def hyper(self, *, bias: bool = False) -> At:
        """Return where the step's hyperparameters are, those of the weights or of the biases."""
        row = HYPER_ROW * self.item
        return At(Slot.HYPER, row if bias else 0, step=2 * row)

    def gradient_of(self, parameter: At) -> At:
        """Return where the gradient of a parameter is summed."""
        return At(Slot.GRADIENT, parameter.offset)

    def rows_of(self, layer: int, share: int) -> tuple[int, int]:
        """Return a share's first row of a layer's W, and the one behind its last."""
        return self.bounds[layer][share], self.bounds[layer][share + 1]

    def part(self, n: int, share: int) -> tuple[int, int]:
        """Return a share's part of n pieces."""
        return n * share // self.shares, n * (share + 1) // self.shares
