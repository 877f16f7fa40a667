"""The network as textbooks draw it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from ..architecture import Architecture
from ..support.extras import require
from ..support.validation import check_integer
from ._axes import fitting_size, new_axes, room

if TYPE_CHECKING:
    from ..network import MLP

__all__ = ["plot_network"]

_SHAPES = ("s", "o", "D")  # inputs, hidden neurons, outputs


def _drawn(size: int, most: int) -> tuple[list[float], list[float]]:
    """Return the heights of a layer's neurons, and of the dots where some are left out."""
    if size <= most:
        return [(size - 1) / 2 - i for i in range(size)], []
    middle = (most - 1) / 2
    heights = [middle - i for i in range(most)]
    # the last neuron stands a place lower, the dots in between
    return [h + 0.5 for h in heights[:-1]] + [heights[-1] - 0.5], [heights[-1] + 0.5]


def plot_network(net: MLP | Sequence[int], axes: Any = None, *, max_neurons: int = 6) -> Any:
    """Draw the network's layers, a few neurons of each: the first ones, dots, the last.

    Squares are inputs, circles hidden neurons, diamonds outputs.

    Parameters
    ----------
    net : MLP or sequence of int
        A network, or just its layer sizes.
    axes : matplotlib Axes, optional
        By default in a new figure.
    max_neurons : int, default 6
        How many neurons of a layer are drawn, at least 2.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ImportError
        If matplotlib or networkx is not installed.
    TypeError, ValueError
        If an argument is not of that kind.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from fastmlp.plots import plot_network
    >>> axes = plot_network((784, 5, 10), Figure().subplots())
    >>> [text.get_text() for text in axes.texts if text.get_text().isdigit()]
    ['784', '5', '10']
    """
    architecture: Architecture | None = getattr(net, "architecture", None)
    sizes = (architecture or Architecture(cast("Sequence[int]", net))).layer_sizes
    most = check_integer("max_neurons", max_neurons, low=2)
    graph_library = require("networkx", "plot")
    axes = new_axes(axes, min(12.0, max(4.0, 1.6 * len(sizes))), 3.6)
    graph = graph_library.Graph()
    places: dict[tuple[int, int], tuple[float, float]] = {}
    dots = []
    for layer, size in enumerate(sizes):
        heights, gaps = _drawn(size, most)
        dots += [(layer, gap) for gap in gaps]
        for i, height in enumerate(heights):
            places[layer, i] = (layer, height)
        if layer:
            left = [node for node in places if node[0] == layer - 1]
            graph.add_edges_from((a, (layer, i)) for a in left for i in range(len(heights)))
    ink = axes.xaxis.label.get_color()
    across, down = room(axes)
    high = min(max(sizes), most)
    diameter = min(0.6 * down / (high + 3.2), 0.22 * across / len(sizes), 22.0)
    graph_library.draw_networkx_edges(
        graph, places, ax=axes, width=0.6, alpha=0.55, edge_color=ink, node_size=diameter**2
    )
    for layer in range(len(sizes)):
        shape = _SHAPES[0 if layer == 0 else 2 if layer == len(sizes) - 1 else 1]
        graph_library.draw_networkx_nodes(
            graph, places, [node for node in places if node[0] == layer], ax=axes,
            node_size=diameter**2 * (0.7 if shape == "D" else 1), node_shape=shape,
            node_color="#cfe3f5", edgecolors=ink, linewidths=1,
        )  # fmt: skip
    for x, y in dots:
        axes.text(x, y, "⋮", size=max(6.0, 0.9 * diameter), ha="center", va="center", color=ink)
    roles = ["inputs", *["hidden"] * (len(sizes) - 2), "outputs"]
    if architecture is not None:
        roles = ["inputs", *architecture.activations, architecture.output]
    top, bottom = (high + 1) / 2 + 0.2, -(high + 1) / 2 - 0.2
    counts = [str(size) for size in sizes]
    letters = fitting_size([*roles, *counts], 0.95 * across / len(sizes), 14) or 4.0
    for layer, (role, count) in enumerate(zip(roles, counts, strict=True)):
        axes.text(layer, top, count, size=letters, weight="bold", ha="center", va="bottom")
        axes.text(layer, bottom, role, size=letters, ha="center", va="top")
    axes.set_xlim(-0.5, len(sizes) - 0.5)
    axes.set_ylim(bottom - 0.8, top + 0.8)
    axes.set_axis_off()
    return axes
