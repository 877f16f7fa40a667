"""What notebooks show: parts of the report for one object, as HTML that fits their pages."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from ._page import Element, element, facts, table
from ._training import curves, network, number, percent

if TYPE_CHECKING:
    from ..network import MLP
    from ..training.history import History

__all__ = ["Report", "history_html", "network_html", "profile_html"]

# Colours are the notebook's own, light or dark; pictures keep a white ground, as others there do.
_STYLE = """
.fastmlp { line-height: 1.4; }
.fastmlp .facts { display: flex; flex-wrap: wrap; gap: .2rem 1.5rem; margin: .3rem 0; }
.fastmlp .facts div { display: flex; gap: .5rem; }
.fastmlp .facts :is(dt, dd) { display: block; width: auto; margin: 0; padding: 0; }
.fastmlp .facts dt { opacity: .7; font-weight: normal; white-space: nowrap; }
.fastmlp .facts dd { font-variant-numeric: tabular-nums; }
.fastmlp .figures { display: flex; flex-wrap: wrap; gap: 0 1.5rem; align-items: flex-start; }
.fastmlp figure { margin: .3rem 0; max-width: 100%; }
.fastmlp figure img { display: block; max-width: 100%; height: auto; background: #fff; }
.fastmlp figcaption, .fastmlp caption { opacity: .7; font-size: .9em; text-align: left; }
.fastmlp figcaption { max-width: 30rem; }
.fastmlp .scroll { overflow: auto; max-height: 24rem; max-width: 100%; }
.fastmlp th, .fastmlp td { padding: .1rem .6rem; text-align: right; white-space: nowrap; }
.fastmlp th:first-child { text-align: left; }
.fastmlp summary { cursor: pointer; }
"""


class Report(str):
    """A report's document; a notebook shows it as the page it is."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return (
            f'<iframe srcdoc="{html.escape(self)}" title="report" sandbox="" '
            'style="width: 100%; height: 40rem; border: 1px solid #8888"></iframe>'
        )


def _shown(parts: Callable[[], list[Element]]) -> str | None:
    """Return parts as text for a cell of a notebook; None, its own way, without the libraries."""
    try:
        whole = element("div", element("style", _STYLE), *parts(), class_="fastmlp")
    except ImportError:
        return None
    for picture in whole.iter("picture"):
        # the picture for dark pages: a notebook's colours are not those of the system
        for source in picture.findall("source"):
            picture.remove(source)
    return ElementTree.tostring(whole, encoding="unicode", method="html")


def network_html(net: MLP) -> str | None:
    """Return the diagram and table of a network's layers."""
    return _shown(lambda: list(network(net))[1:])


def history_html(history: History) -> str | None:
    """Return the curves of a history, and its numbers folded."""
    return _shown(lambda: curves(history) if history.loss else [element("p", "no epochs yet")])


def profile_html(profile: Any) -> str | None:
    """Return the table of a step's operations."""
    header = ("phase", "operation", "shape", "µs", "share of the step", "GFLOP/s", "of peak")

    def row(r: Any) -> tuple[str, ...]:
        rate = "" if r.gflops is None else f"{r.gflops:.1f}"
        peak = "" if r.share_of_peak is None else percent(r.share_of_peak)
        share = percent(r.microseconds / profile.microseconds)
        return r.phase, r.operation, r.shape, f"{r.microseconds:.2f}", share, rate, peak

    return _shown(
        lambda: [
            facts([
                ("threads", number(profile.threads)),
                ("a step", f"{profile.microseconds:.1f} µs"),
                ("peak of these threads", f"{profile.peak_gflops:.0f} GFLOP/s"),
            ]),
            table("Operations of a step", header, map(row, profile.rows)),
        ]
    )  # fmt: skip
