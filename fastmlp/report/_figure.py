"""Pictures inside the page: each drawn for light and for dark, as SVG in a data URI."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable
from typing import Any

from ..support.extras import require
from ._page import Element, element

__all__ = ["figure", "figures"]

_INK = {"light": "#16202b", "dark": "#e8edf2"}
_SETTINGS = {
    "svg.hashsalt": "fastmlp",  # the same picture has the same bytes
    "svg.fonttype": "path",
    "font.size": 10.0,
}


def _uri(draw: Callable[[Any], Any], size: tuple[float, float], scheme: str) -> str:
    matplotlib = require("matplotlib", "plot")
    style = require("matplotlib.style", "plot")
    base = "default" if scheme == "light" else "dark_background"
    ink = dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"),
        _INK[scheme],
    )
    with style.context(base), matplotlib.rc_context(_SETTINGS | ink), warnings.catch_warnings():
        # a name in letters that the font lacks: the tables of the page have it
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        drawn = require("matplotlib.figure", "plot").Figure(size, layout="constrained")
        draw(drawn.subplots())
        stream = io.BytesIO()
        drawn.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def figure(
    draw: Callable[[Any], Any], caption: str, alt: str, size: tuple[float, float] = (4.6, 3.6)
) -> Element:
    """Return a figure with its caption.

    Parameters
    ----------
    draw : callable
        Takes the Axes.
    caption : str
        Stands below, for everyone.
    alt : str
        What the picture shows, for who does not see it.
    size : (float, float)
        In inches at 10 points of text.

    Returns
    -------
    Element
    """
    picture = element(
        "picture",
        # on paper the light one
        element(
            "source",
            srcset=_uri(draw, size, "dark"),
            media="screen and (prefers-color-scheme: dark)",
        ),
        element(
            "img",
            src=_uri(draw, size, "light"),
            alt=alt,
            width=str(round(96 * size[0])),
            height=str(round(96 * size[1])),
        ),
    )
    return element("figure", picture, element("figcaption", caption))


def figures(*made: Element | None) -> Element | None:
    """Return figures side by side where there is room."""
    kept = [one for one in made if one is not None]
    return element("div", *kept, class_="figures") if kept else None
