"""The comparison as a picture: a bar a peer, its time over fastmlp's; needs the ``plot`` extra."""

from __future__ import annotations

from collections.abc import Sequence

from ..support.extras import require
from .compare import Row

__all__ = ["save_speed"]

# Peers differ in hatching and in grey level as much as in colour, so that print does not matter.
_STYLES = (
    ("#08306b", ""),
    ("#6baed6", "///"),
    ("#d94801", "xx"),
    ("#fdd0a2", ".."),
    ("#238b45", "\\\\"),
)


def save_speed(rows: Sequence[Row], path: str, title: str = "") -> None:
    """Draw the ratios of a comparison into a picture file, without a window.

    Parameters
    ----------
    rows : sequence of Row
        Peers that a row lacks have no bar in it.
    path : str
        Its ending names the format.
    title : str, optional

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If nothing was compared.

    Examples
    --------
    >>> import os, tempfile
    >>> from fastmlp.bench import Row, save_speed
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_speed([Row("wide", 1.0, {"NumPy": 2.0})], os.path.join(folder, "speed.png"))
    ...     os.listdir(folder)
    ['speed.png']
    """
    names = list(dict.fromkeys(name for row in rows for name in row.ratios))
    if not names:
        raise ValueError("rows: expected a comparison with at least one peer, got none")
    figures = require("matplotlib.figure", "plot")
    height = 0.8 / len(names)
    figure = figures.Figure(figsize=(8, 1.1 + 0.13 * len(rows) * (len(names) + 1)), dpi=150,
                            layout="constrained")  # fmt: skip
    axes = figure.subplots()
    for i, name in enumerate(names):
        color, hatch = _STYLES[i % len(_STYLES)]
        shown = [(at, row.ratios[name]) for at, row in enumerate(rows) if name in row.ratios]
        ratios = [ratio for _, ratio in shown]
        places = [at + (i - (len(names) - 1) / 2) * height for at, _ in shown]
        bars = axes.barh(places, [ratio - 1 for ratio in ratios], height, left=1, label=name,
                         color=color, hatch=hatch, edgecolor="black", linewidth=0.5)  # fmt: skip
        axes.bar_label(bars, [f"{ratio:.1f}" for ratio in ratios], padding=3, fontsize=7)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    every = [ratio for row in rows for ratio in row.ratios.values()]
    axes.set_xlim(0.75 * min(1, *every), 1.6 * max(1, *every))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_yticks(range(len(rows)), [row.workload for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("time over fastmlp's, on a logarithmic scale; right of 1 fastmlp is faster")
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=len(names))
    if title:
        axes.set_title(title)
    figure.savefig(path)
