"""The page: elements that escape what they hold, tables that scroll, and the style."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from xml.etree import ElementTree

from ..plots._axes import printable

__all__ = ["Element", "element", "facts", "missing", "page", "section", "table"]

Element = ElementTree.Element

STYLE = """
:root { color-scheme: light dark; --ink: #16202b; --soft: #52606d; --paper: #fff;
  --panel: #f3f5f8; --line: #ccd3db; --mark: #0b5cad; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e8edf2; --soft: #a9b5c1;
  --paper: #10151b; --panel: #1a2129; --line: #3a4653; --mark: #7cbcff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
main { max-width: 68rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .5rem 0; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .5rem; padding-bottom: .2rem;
  border-bottom: 2px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.5rem 0 .3rem; }
p { margin: .5rem 0; max-width: 46rem; }
.soft, figcaption, caption { color: var(--soft); }
nav ul { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; padding: 0; list-style: none; }
a { color: var(--mark); }
:focus-visible { outline: 3px solid var(--mark); outline-offset: 2px; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 15rem), 1fr));
  gap: 0 2rem; margin: .5rem 0; }
.facts div { display: flex; justify-content: space-between; gap: 1rem; padding: .25rem 0;
  border-bottom: 1px solid var(--line); }
.facts .wide { grid-column: 1 / -1; }
.facts dt { color: var(--soft); flex: none; max-width: 60%; }
.facts dd { margin: 0; text-align: right; font-variant-numeric: tabular-nums; }
.lead { grid-template-columns: repeat(auto-fit, minmax(min(100%, 9rem), 1fr)); gap: .7rem; }
.lead div { display: block; padding: .6rem .8rem; background: var(--panel);
  border: 1px solid var(--line); border-radius: .4rem; }
.lead dt { max-width: none; }
.lead dd { text-align: left; font-size: 1.35rem; font-weight: 600; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr));
  gap: 1rem 2rem; align-items: start; }
figure { margin: .8rem 0; max-width: 40rem; }
figure img { display: block; width: 100%; height: auto; }
figcaption { font-size: .9rem; }
.scroll { overflow-x: auto; margin: .5rem 0; }
.scroll table { border-collapse: collapse; font-variant-numeric: tabular-nums;
  overflow-wrap: normal; }
caption { text-align: left; padding-bottom: .3rem; font-size: .9rem; }
caption span { display: block; max-width: min(36rem, 100vw - 2rem); }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; }
thead th { border-bottom: 2px solid var(--line); }
th:first-child { text-align: left; }
.missing { border-left: 4px solid var(--line); padding: .2rem .8rem; color: var(--soft); }
@media (max-width: 30rem) { th, td { padding: .25rem .4rem; } }
summary { cursor: pointer; color: var(--mark); }
@media print { body { font-size: 10pt; } nav { display: none; }
  main { max-width: none; padding: 0; }
  h2, h3 { break-after: avoid; } figure, tr, .facts div { break-inside: avoid; }
  .scroll { overflow: visible; } .figures { display: block; } figure { max-width: 28rem; } }
"""

_LONG_VALUE = 24


def element(tag: str, *children: Element | str | None, **attributes: str) -> Element:
    """Return an element; texts are escaped when it is written.

    Parameters
    ----------
    tag : str
    *children : Element or str or None
        None is left out.
    **attributes : str
        An underscore behind the name or in it: ``class_``, ``aria_label``.

    Returns
    -------
    Element
    """
    made = ElementTree.Element(
        tag,
        {
            name.rstrip("_").replace("_", "-"): printable(value)
            for name, value in attributes.items()
        },
    )
    last = None
    for child in children:
        if child is None:
            continue
        if not isinstance(child, str):
            made.append(child)
            last = child
        elif last is None:
            made.text = (made.text or "") + printable(child)
        else:
            last.tail = (last.tail or "") + printable(child)
    return made


def section(title: str, *children: Element | None) -> Element:
    """Return a section under a heading, which the page's list of sections leads to."""
    name = re.sub(r"[^a-z]+", "-", title.lower()).strip("-")
    return element(
        "section", element("h2", title, id=name), *children, aria_labelledby=name
    )  # fmt: skip


def missing(text: str) -> Element:
    """Return a sentence that says what is not here, and why."""
    return element("p", text, class_="missing")


def facts(pairs: Iterable[tuple[str, str]], class_: str = "facts") -> Element:
    """Return names and values; long values get a line of their own."""
    rows = [
        element(
            "div", element("dt", name), element("dd", value),
            class_="wide" if len(value) > _LONG_VALUE else "short",
        )
        for name, value in pairs
    ]  # fmt: skip
    return element("dl", *rows, class_=class_)


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Element:
    """Return a table that scrolls by itself where it is wide; first cells are headings."""
    head = element("tr", *(element("th", name, scope="col") for name in header))
    body = [
        element("tr", element("th", row[0], scope="row"), *(element("td", c) for c in row[1:]))
        for row in rows
    ]
    made = element(
        "table",
        element("caption", element("span", caption)),
        element("thead", head),
        element("tbody", *body),
    )
    return element("div", made, class_="scroll", role="region", tabindex="0", aria_label=caption)


def page(title: str, lead: Sequence[Element], sections: Sequence[Element]) -> str:
    """Return the whole document as text."""
    links = []
    for part in sections:
        heading = part[0]
        link = element("a", heading.text or "", href=f"#{heading.get('id')}")
        links.append(element("li", link))
    document = element(
        "html",
        element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("title", title),
            # an empty icon: no browser has to ask for one
            element("link", rel="icon", href="data:,"),
            element("style", STYLE),
        ),
        element(
            "body",
            element(
                "main",
                element("header", element("h1", title), *lead),
                element("nav", element("ul", *links), aria_label="sections"),
                *sections,
            ),
        ),
        lang="en",
    )
    text = ElementTree.tostring(document, encoding="unicode", method="html")
    return f"<!DOCTYPE html>\n{text}\n"
