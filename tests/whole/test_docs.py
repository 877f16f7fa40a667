"""The site's checks see what they are for."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def make():
    spec = importlib.util.spec_from_file_location("make", ROOT / ".ci" / "docs" / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_broken_links_are_seen(make, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "index.html").write_text('<a href="a/b.html#x"></a><a href="https://e.org/no"></a>')
    (tmp_path / "a" / "b.html").write_text('<p id="x"><a href="../index.html">.</a></p>')
    assert make.broken_links(tmp_path) == []
    (tmp_path / "a" / "b.html").write_text('<img src="no.png"><a href="../index.html#no"></a>')
    assert make.broken_links(tmp_path) == [
        "a/b.html: ../index.html#no", "a/b.html: no.png", "index.html: a/b.html#x"
    ]  # fmt: skip


def test_pages_that_are_far_are_seen(make, tmp_path):
    for i in range(5):
        (tmp_path / f"{i}.html").write_text(f'<a href="{i + 1}.html"></a>')
    (tmp_path / "index.html").write_text('<a href="0.html"></a>')
    assert [Path(page).name for page in make.far_pages(tmp_path)] == ["3.html", "4.html"]


def test_every_public_name_is_meant_for_the_site_and_speaks(make):
    found = make.public()
    assert {"fastmlp.MLP", "fastmlp.sklearn.patch", "fastmlp.reference.dense"} <= set(found)
    assert [name for name, value in found.items() if callable(value) and not value.__doc__] == []


def test_topics_lead_to_public_names(make):
    text = (ROOT / ".ci" / "docs" / "topics.md").read_text("utf-8")
    pages = {f"api/{name}.rst" for name in [*make.public(), *make.MODULES, *make.EXAMPLES]}
    assert set(re.findall(r"\]\((.*?)\)", text)) <= pages


def test_links_of_the_repository_are_those_of_the_site(make):
    text = (
        "[a](fastmlp/tables/__init__.py) [`b`](benchmarks/scaling.py) [c](benchmarks/README.md#d)\n"
        "![e](benchmarks/speed.png) [f](https://example.org/README.md)"
    )
    assert make.moved(text, "README.md") == (
        "[a](api/fastmlp.tables.rst) `b` [c](benchmarks.md#d)\n"
        "![e](benchmarks/speed.png) [f](https://example.org/README.md)"
    )
    assert make.moved("![e](speed.png) [g](../README.md)", "benchmarks/README.md") == (
        "![e](benchmarks/speed.png) [g](index.md)"
    )


def test_every_guide_that_the_readme_names_is_on_the_site(make):
    text = (ROOT / "README.md").read_text("utf-8")
    guides = re.findall(r"\]\(fastmlp/(\w+)/__init__\.py\)", text)
    assert len(guides) > 10
    assert {f"fastmlp.{name}" for name in guides} <= {*make.MODULES, "fastmlp.examples"}
