"""What the pictures share: a place to draw in, names of classes, text that fits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..support.extras import require
from ..support.validation import as_list

__all__ = [
    "ACCENT",
    "clipped",
    "fitting_size",
    "greys",
    "names_of",
    "new_axes",
    "rate",
    "room",
    "titled",
]

_LONGEST_NAME = 14
_SMALLEST, _LARGEST = 4.0, 10.0  # points that can still be read, and that need not be exceeded
ACCENT = "#d95f02"  # at least 3.5 to 1 on white and on black, and told apart by its dashes
_GLYPH = 0.62  # mean width over size of a sans-serif glyph
# control characters but tab and line ends, lone surrogates: no font, XML or HTML has them
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def printable(text: str) -> str:
    """Return the text with a mark for every character that cannot be shown."""
    return _UNPRINTABLE.sub("\ufffd", text)


def new_axes(axes: Any, width: float, height: float) -> Any:
    """Return the Axes given, or one in a new figure of so many inches.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError
        If `axes` is something else than an Axes.
    """
    if axes is None:
        pyplot = require("matplotlib.pyplot", "plot")
        return pyplot.subplots(figsize=(width, height), layout="constrained")[1]
    if not isinstance(axes, require("matplotlib.axes", "plot").Axes):
        raise TypeError(f"axes: expected a matplotlib Axes, got {type(axes).__name__}")
    return axes


def room(axes: Any) -> tuple[float, float]:
    """Return width and height of the Axes in points."""
    box = axes.get_window_extent()
    scale = 72 / axes.figure.dpi
    return box.width * scale, box.height * scale


def fitting_size(texts: Sequence[str], width: float, height: float) -> float:
    """Return the font size in points at which every text fits; 0 where none could be read."""
    longest = max((len(text) for text in texts), default=1)
    size = min(width / (_GLYPH * max(longest, 1)), 0.9 * height, _LARGEST)
    return size if size >= _SMALLEST else 0.0


def clipped(text: str, length: int = _LONGEST_NAME) -> str:
    """Return the text on one line, cut where it is long."""
    text = " ".join(printable(text).split())
    return text if len(text) <= length else text[: length - 1] + "…"


def names_of(class_names: Any, n_classes: int) -> list[str]:
    """Return a name for each class: those given, or the numbers.

    Raises
    ------
    TypeError
        If `class_names` is no sequence of str.
    ValueError
        If there are fewer names than classes.
    """
    if class_names is None:
        return [str(label) for label in range(n_classes)]
    listed = as_list("class_names", class_names, "str")
    names = [str(name) if isinstance(name, str) else name for name in listed]
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"class_names: expected a sequence of str, got {name!r} in it")
    if len(names) < n_classes:
        raise ValueError(f"class_names: expected {n_classes} names, got {len(names)}")
    return names


def rate(share: float) -> str:
    """Return a share as percent; 100 % only where it is all."""
    percent = 100 * share
    return f"{percent if percent == 100 else min(percent, 99.9):.1f} %"


def titled(axes: Any, text: str) -> None:
    """Give the Axes a title that is not wider than they are."""
    width, _ = room(axes)
    axes.set_title(text, size=fitting_size(text.split("\n"), width, 99) or _SMALLEST)


def greys(axes: Any, lightest: float = 0.0) -> Any:
    """Return a colour map that runs from the background to full ink, in any style."""
    colors = require("matplotlib.colors", "plot")
    inverted = np.mean(colors.to_rgb(axes.xaxis.label.get_color())) > 0.5
    shades = require("matplotlib", "plot").colormaps["Greys_r" if inverted else "Greys"]
    return colors.ListedColormap(shades(np.linspace(lightest, 1, 256)))
