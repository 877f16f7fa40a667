"""What a notebook shows of a network, a history, a report and a profile."""

from __future__ import annotations

import asyncio
import os
import sys
import warnings
from html.parser import HTMLParser
from pathlib import Path

import pytest
from reports import X, Y

import fastmlp
from fastmlp.bench import Profile, ProfileRow
from fastmlp.bench.profile import Profiles
from fastmlp.report import make_report
from fastmlp.support import notices


class Tags(HTMLParser):
    """Counts tags; each that is opened has to be closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.seen = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag not in ("img", "source", "meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_network_and_its_history(net):
    shown = net._repr_html_()
    tags = Tags(shown).seen
    assert "64-9-3" in shown
    assert tags.count("img") == 1
    assert "source" not in tags  # the notebook's colours are its own
    assert 'id="' not in shown  # pages hold many cells
    shown = net.history._repr_html_()
    tags = Tags(shown).seen
    assert tags.count("img") == 3  # loss, accuracy, learning rate
    assert tags.count("tr") == len(net.history) + 1
    assert "no epochs yet" in fastmlp.History()._repr_html_()


def test_a_report_is_shown_as_the_page_it_is(net):
    page = make_report(net, X, Y, title='"<b>" & more')
    shown = page._repr_html_()
    assert Tags(shown).seen == ["iframe"]
    assert "&lt;!DOCTYPE html&gt;" in shown
    assert page.startswith("<!DOCTYPE html>")


def test_a_profile():
    rows = [
        ProfileRow("samples", "forward", "64x9", 4.0, 12.5, 0.25),
        ProfileRow("rows", "x", "", 1),
    ]
    shown = Profile(2, 10.0, 50.0, rows)._repr_html_()
    assert Tags(shown).seen.count("tr") == 3
    for text in ("40.00 %", "12.5", "25.00 %", "10.0 µs", "50 GFLOP/s"):
        assert text in shown
    assert (
        Profiles([Profile(n, 10.0, 50.0, rows) for n in (1, 2)])._repr_html_().count("<table") == 2
    )


def test_without_matplotlib_the_plain_way_is_left(net, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert net._repr_html_() is net.history._repr_html_() is None


def test_who_is_watching(monkeypatch):
    class Shell:
        kernel = 1

    assert not notices.watched()
    monkeypatch.setitem(sys.modules, "IPython", type("", (), {"get_ipython": Shell}))
    assert notices.watched()
    monkeypatch.setitem(sys.modules, "IPython", type("", (), {"get_ipython": lambda: None}))
    assert not notices.watched()
    monkeypatch.setattr(sys, "stderr", None)
    assert not notices.watched()


CELLS = [
    "import numpy as np, fastmlp\n"
    "from fastmlp.report import make_report\n"
    "X, y = np.random.default_rng(0).random((200, 64), 'float32'), np.arange(200) % 3\n"
    "net = fastmlp.MLP((64, 9, 3), rng=0, backend='numpy')\n"
    "history = net.fit(X, y, epochs=3, validation_split=0.2)",
    "history",
    "net",
    "make_report(net, X, y)",
    "nets = [fastmlp.MLP((64, 9, 3), rng=i, backend='numpy') for i in range(2)]\n"
    "_ = fastmlp.fit_many(nets, X, y, epochs=2)",
]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the kernel's event loop is another there")
def test_a_notebook(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipywidgets")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the clients' own libraries
        nbclient = pytest.importorskip("nbclient")
        v4 = nbformat.v4
        book = v4.new_notebook(cells=[v4.new_code_cell(text) for text in CELLS])
        root = str(Path(fastmlp.__file__).parents[1])
        environment = {**os.environ, "PYTHONPATH": root, "JUPYTER_PLATFORM_DIRS": "1"}
        client = nbclient.NotebookClient(
            book, timeout=120, resources={"metadata": {"path": str(tmp_path)}}
        )
        asyncio.run(client.async_execute(env=environment))
    trained, history, net, report, many = (
        [o.data for o in cell.outputs if "data" in o] for cell in book.cells
    )
    # the bars are the notebook's own
    widgets = book.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    texts = [str(w["state"].get("value")).replace("\u2007", " ") for w in widgets.values()]
    for bars, text in ((trained, "epoch 3/3: 100%"), (many, "networks 2/2: 100%")):
        assert any("application/vnd.jupyter.widget-view+json" in data for data in bars)
        assert text in texts
    assert "History(loss=[" in history[0]["text/plain"]
    for shown, text in ((history, "<figure>"), (net, "64-9-3"), (report, "<iframe")):
        assert text in shown[0]["text/html"]
