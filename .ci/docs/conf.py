"""Sphinx's settings for the site that make.py builds."""

import fastmlp

project, author = "fastmlp", "the fastmlp developers"
release = version = fastmlp.__version__
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
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
html_title = f"fastmlp {release}"
html_show_copyright = html_show_sphinx = False
html_copy_source = False
suppress_warnings = ["myst.header", "misc.highlighting_failure"]
