"""Sphinx's settings for the site that make.py builds."""

from typing import Any, NoReturn

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

import fastmlp

project, author = "fastmlp", "the fastmlp developers"
release = version = fastmlp.__version__
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",  # links to the source, which the site holds
    "numpydoc",
    "myst_parser",
]
default_role = "py:obj"  # `MLP.fit` in docstrings leads there
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_theme = "furo"
highlight_language = "none"  # diagrams and command lines; Python's own blocks say so
html_title = f"fastmlp {release}"
html_show_copyright = html_show_sphinx = False
html_copy_source = False
suppress_warnings = ["myst.header", "misc.highlighting_failure"]
html_math_renderer = "mathml"


def _formula(page: Any, node: nodes.Node) -> NoReturn:
    block = isinstance(node, nodes.math_block)
    formula = tex2mathml(node.astext(), as_block=block)
    if block:  # wider than a phone it can be scrolled, and nothing of its height is cut off
        style = ' style="overflow: auto hidden; padding: 0.5em 0"'
        formula = formula.replace("<math", "<math" + style, 1)
    page.body.append(formula)
    raise nodes.SkipNode


def setup(app: Any) -> None:
    """Have formulas set by the browser itself: a page needs no script and no connection for it."""
    app.add_html_math_renderer("mathml", (_formula, None), (_formula, None))
