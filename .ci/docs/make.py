"""Make the site: README, every public name from its docstring, examples, pictures, a report.

``python .ci/docs/make.py FOLDER`` writes HTML there, and ends with exit code 1 where a public name
is missing or has no docstring, or a link leads nowhere. `.ci/run docs` calls it.
"""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import posixpath
import re
import shutil
import sys
import tempfile
from contextlib import redirect_stdout
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

import matplotlib
import numpy as np

import fastmlp
import fastmlp.examples
from fastmlp.report import make_report

ROOT = Path(__file__).parents[2]
MODULES = [f"fastmlp.{name}" for name in sorted({*fastmlp._MODULES, "bench"})]
# Pages that the repository has, and what they are called on the site.
PAGES = {
    "README.md": "index.md",
    "benchmarks/README.md": "benchmarks.md",
    "tests/README.md": "tests.md",
    ".github/CONTRIBUTING.md": "contributing.md",
    ".github/CHANGES.md": "changes.md",
    "fastmlp/datasets/data/README.md": "mnist.md",
}
EXAMPLES = [f"fastmlp.examples.{m.name}" for m in pkgutil.iter_modules(fastmlp.examples.__path__)]
OPTIONS = {
    # what scikit-learn makes for its metadata routing speaks of its own pages
    "autoclass": "   :members:\n   :exclude-members: set_fit_request, set_partial_fit_request, "
    "set_score_request\n",
    "autofunction": "",
    "autodata": "   :no-value:\n",
}
DIRECTIVES = ((inspect.isclass, "autoclass"), (callable, "autofunction"))


def public() -> dict[str, Any]:
    """Return every public object by the name it goes by: a module's, else the package's own."""
    found: dict[str, Any] = {}
    for module_name in [*MODULES, *EXAMPLES, "fastmlp"]:
        module = importlib.import_module(module_name)
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            known = any(value is other for other in found.values()) and callable(value)
            if not known and not isinstance(value, ModuleType):
                found[f"{module_name}.{name}"] = value
    return found


def heading(text: str, line: str = "=") -> str:
    """Return a title in reStructuredText."""
    return f"{text}\n{line * len(text)}\n\n"


def first_line(value: Any) -> str:
    """Return what an object's docstring begins with."""
    return (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ")


def toctree(names: list[str], hidden: bool = True) -> str:
    """Return pages as the contents of the one they stand on."""
    option = "   :hidden:\n" if hidden else "   :maxdepth: 1\n"
    return ".. toctree::\n" + option + "".join(f"\n   {name}" for name in names) + "\n\n"


def write_names(source: Path, found: dict[str, Any]) -> None:
    """Write a page for every module and for every name."""
    (source / "api").mkdir()
    for full, value in found.items():
        kind = next((d for test, d in DIRECTIVES if test(value)), "autodata")
        text = heading(full.removeprefix("fastmlp."))
        text += f".. currentmodule:: {full.rpartition('.')[0]}\n\n.. {kind}:: {full}\n"
        (source / "api" / f"{full}.rst").write_text(text + OPTIONS[kind], "utf-8")
    names = {id(value): full for full, value in found.items()}
    for module_name in ["fastmlp", *MODULES, *EXAMPLES]:
        module = importlib.import_module(module_name)
        text = heading(module_name) + f".. automodule:: {module_name}\n\n"
        rows, own = "", []
        for name in getattr(module, "__all__", ()):
            full = names.get(id(getattr(module, name)))
            if full is not None:
                line = first_line(getattr(module, name)) if callable(getattr(module, name)) else ""
                rows += f"   * - :doc:`{name} <{full}>`\n     - {line}\n"
                own += [full] * full.startswith(f"{module_name}.{name}")
        if rows:
            text += f".. list-table::\n   :widths: 30 70\n\n{rows}\n{toctree(own)}"
        if module_name == "fastmlp.examples":
            text += toctree(EXAMPLES, hidden=False)
        (source / "api" / f"{module_name}.rst").write_text(text, "utf-8")


def write_gallery(source: Path) -> None:
    """Run the examples of everything that draws; show what they drew, and a report."""
    pictures, extra = source / "pictures", source / "extra"
    pictures.mkdir()
    extra.mkdir()
    text = heading("Gallery") + "What the docstrings' own examples draw.\n\n"
    for name in fastmlp.plots.__all__:
        draw = getattr(fastmlp.plots, name)
        scope: dict[str, Any] = {}
        parts = doctest.DocTestParser().get_examples(inspect.getdoc(draw) or "")
        with redirect_stdout(StringIO()):
            for part in parts:
                exec(compile(part.source, name, "single"), scope)
        axes = [v for v in scope.values() if isinstance(v, matplotlib.axes.Axes)]
        if not axes:
            if name.startswith("plot_"):
                raise ValueError(f"{name}: its example keeps no Axes, so the gallery lacks it")
            continue
        axes[0].figure.set_layout_engine("constrained")
        axes[0].figure.savefig(pictures / f"{name}.svg", facecolor="white")
        drawn = [part for part in parts if not part.want]  # the rest looks at what was drawn
        code = "".join(f"   {line}\n" for part in drawn for line in part.source.splitlines())
        text += heading(name, "-") + f":doc:`api/fastmlp.plots.{name}`: {first_line(draw)}\n\n"
        text += f".. image:: pictures/{name}.svg\n   :alt: {first_line(draw)}\n\n"
        text += f".. code-block:: python\n\n{code}\n"
    X, y = fastmlp.datasets.load_mnist("uint8")[:2]
    net = fastmlp.MLP((784, 32, 10), activation="relu", input_scale=255.0, rng=0)
    net.fit(X[:6000], y[:6000], epochs=5, validation_split=0.1, optimizer="adam", progress=False)
    page = make_report(net, X[6000:8000], y[6000:8000], data_name="2,000 further digits")
    (extra / "report.html").write_text(page, "utf-8")
    text += heading("A report", "-") + "`The report <report.html>`__ of a small network.\n\n"
    (source / "gallery.rst").write_text(text, "utf-8")


def on_the_site(link: str, page: str) -> str | None:
    """Return where a link of one of the `PAGES` leads on the site, None if it has no such page."""
    path, mark, fragment = link.partition("#")
    if "://" in link or not path:
        return link
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), path))
    module = re.fullmatch(r"fastmlp/([\w/]+)/__init__\.py", path)
    if module:
        return f"api/fastmlp.{module[1].replace('/', '.')}.rst{mark}{fragment}"
    if path.endswith(".png"):
        return path
    return PAGES[path] + mark + fragment if path in PAGES else None


def moved(text: str, page: str) -> str:
    """Return a page of the repository with links as they are on the site."""

    def link(found: re.Match[str]) -> str:
        target = on_the_site(found[2], page)
        return f"[{found[1]}]({target})" if target else found[1]

    return re.sub(r"\[([^\]]*)\]\(([^)\s]+)\)", link, text)


def write_pages(source: Path) -> None:
    """Write the README, which leads to all other pages, and the pages beside it."""
    shutil.copytree(
        ROOT / "benchmarks",
        source / "benchmarks",
        ignore=lambda _, names: [name for name in names if not name.endswith(".png")],
    )
    shutil.copy(Path(__file__).with_name("topics.md"), source)
    for page, name in PAGES.items():
        text = moved((ROOT / page).read_text("utf-8"), page)
        if name == "index.md":
            pages = ["topics", "gallery", "api/fastmlp"]
            pages += [f"api/{module}" for module in MODULES]
            pages += [other.removesuffix(".md") for other in PAGES.values() if other != name]
            text += "\n```{toctree}\n:hidden:\n\n" + "\n".join(pages) + "\n```\n"
        (source / name).write_text(text, "utf-8")


class _Page(HTMLParser):
    """The ids of a page, and where its links lead."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids, self.links = set(), set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids.add(values.get("id"))
        for name in ("href", "src"):
            if values.get(name):
                self.links.add(values[name])


def broken_links(folder: Path) -> list[str]:
    """Return links within the site that lead nowhere."""
    pages = {path.resolve(): _Page(path) for path in folder.rglob("*.html")}
    found = []
    for path, page in pages.items():
        for link in sorted(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or link == "#":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            there = target.exists()
            fragment = unquote(parts.fragment)
            if there and fragment and target in pages:
                there = fragment in pages[target].ids
            if not there:
                found.append(f"{path.relative_to(folder.resolve()).as_posix()}: {link}")
    return sorted(found)


def far_pages(folder: Path, clicks: int = 3) -> list[str]:
    """Return pages that are not reached from the first with so many clicks."""
    home = (folder / "index.html").resolve()
    pages = {path.resolve() for path in folder.rglob("*.html")}
    reached = edge = {home}
    for _ in range(clicks):
        targets = {
            (path.parent / unquote(urlsplit(link).path)).resolve()
            for path in edge for link in _Page(path).links if not urlsplit(link).scheme
        }  # fmt: skip
        edge = (targets & pages) - reached
        reached = reached | edge
    return sorted(str(path) for path in pages - reached)


def missing_names(folder: Path, found: dict[str, Any]) -> list[str]:
    """Return public names that the site lacks, or that say nothing about themselves."""
    from sphinx.util.inventory import InventoryFile

    with (folder / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", lambda a, b: b)
    there = {name for kind, names in inventory.items() if kind.startswith("py:") for name in names}
    silent = [f"{n}: no docstring" for n, v in found.items() if callable(v) and not first_line(v)]
    return [f"{name}: not on the site" for name in found if name not in there] + silent


def main(folder: str) -> int:
    """Build and check."""
    from sphinx.cmd.build import build_main

    matplotlib.use("Agg")
    np.random.seed(0)
    out, found = Path(folder), public()
    with tempfile.TemporaryDirectory() as place:
        source = Path(place, "source")
        source.mkdir()
        write_pages(source)
        write_names(source, found)
        write_gallery(source)
        settings = ["-q", "-W", "--keep-going", "-c", str(Path(__file__).parent)]
        settings += ["-d", f"{place}/trees", "-D", f"html_extra_path={source / 'extra'}"]
        code = build_main([*settings, str(source), str(out)])
    for name in ("_modules/index.html", "py-modindex.html"):  # no page leads there
        (out / name).unlink(missing_ok=True)
    wrong = missing_names(out, found) + broken_links(out) + far_pages(out)
    print(*wrong, sep="\n")
    print(f"{len(found)} names, {sum(1 for _ in out.rglob('*.html'))} pages, {len(wrong)} faults")
    return 1 if wrong or code else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
