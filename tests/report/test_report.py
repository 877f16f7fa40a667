"""The report: what it says is so, whatever the network, on a page that stands alone."""

from __future__ import annotations

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from reports import RNG, X, Y, trained

import fastmlp
from fastmlp.cli import main
from fastmlp.report import _figure, make_report, write_report

NASTY = ["<script>alert(1)</script>", "$\\frac{$ & \x00", "数 \ud800\"'><img src=x>"]


@pytest.fixture
def fast(monkeypatch):
    """Leave the pictures empty where a test is not about them."""
    monkeypatch.setattr(_figure, "_uri", lambda *_: "data:,")


VOID = {"meta", "link", "img", "source"}


class Page(HTMLParser):
    """Elements with their attributes and text, and a check that tags are closed in order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.words = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    def all(self, *tags):
        return [attributes for tag, attributes in self.elements if tag in tags]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    @property
    def headings(self):
        return re.findall(r"\S.*", "\n".join(self.words))


def sections(text):
    return re.findall(r"<h2[^>]*>([^<]*)</h2>", text)


def rows(text, caption):
    """Return the cells of the table with that caption."""
    (body,) = re.findall(rf"<span>{caption}[^<]*</span></caption>.*?<tbody>(.*?)</tbody>", text)
    return [re.findall(r"<t[hd][^>]*>([^<]*)<", row) for row in body.split("</tr>")[:-1]]


def facts(text):
    return dict(re.findall(r"<dt>([^<]*)</dt><dd>([^<]*)</dd>", text))


# what it says


def test_the_report_of_a_classifier_says_what_is_so(net, fast):
    text = make_report(net, X, Y, data_name="digits", saved_with={"fastmlp": "0.0.9"})
    assert sections(text) == [
        "Network", "Training", "Test", "Confusion matrix", "Most confident mistakes",
        "Calibration", "First layer", "Versions",
    ]  # fmt: skip
    said = facts(text)
    test, history = net.evaluate(X, Y), net.history
    assert said["test accuracy"] == said["accuracy"] == f"{100 * test['accuracy']:.2f} %"
    assert said["loss"] == f"{test['loss']:.4g}"  # the test's stands behind the network's
    assert said["layers"] == "64-9-3"
    assert said["parameters"] == str(64 * 9 + 9 + 9 * 3 + 3)
    assert said["optimizer"].startswith("Adam(learning_rate=0.01, ")
    assert said["schedule"].startswith("CosineDecay(")
    assert said["epochs"] == "3"
    assert said["validation loss"] == f"{history.val_loss[-1]:.4g}"
    assert said["samples"] == "90"
    assert "ms" in said["time per epoch"] or "s" in said["time per epoch"]
    assert "saved with fastmlp 0.0.9" in text
    epochs = rows(text, "Epochs")
    assert [row[1] for row in epochs] == [f"{loss:.4g}" for loss in history.loss]
    p = net.predict_proba(X)
    predicted = p.argmax(1)
    for k, (name, precision, recall, _, support) in enumerate(rows(text, "Class by class")[:3]):
        right = np.sum((predicted == k) & (k == Y))
        called = np.sum(predicted == k)
        assert name == str(k)
        assert precision == (f"{100 * right / called:.2f} %" if called else "-")
        assert recall == f"{100 * right / np.sum(k == Y):.2f} %"
        assert support == str(np.sum(k == Y))
    wrong = np.flatnonzero(predicted != Y)
    worst = wrong[np.argmax(p[wrong].max(1))]
    first = rows(text, "The samples by their row")[0]
    assert first[:3] == [str(worst), str(Y[worst]), str(predicted[worst])]
    counted = sum(int(row[3]) for row in rows(text, "Predictions by their probability"))
    assert counted == 90


def test_a_net_without_history_and_data_says_what_is_missing(fast):
    text = make_report(fastmlp.MLP((6, 4, 2), rng=0, backend="numpy"))
    assert sections(text) == ["Network", "Training", "Test", "First layer", "Versions"]
    for sentence in ("carries no history", "No test data was given", "not taken for the pixels",
                     "does not say which versions"):  # fmt: skip
        assert sentence in text
    assert "None" not in Page(text).text.replace("epochs=None", "")


def test_values_have_errors_instead_of_classes(fast):
    net, fit = trained(5, 8, 2, activation="tanh", output="identity")
    A = RNG.normal(size=(60, 5))
    B = A[:, :2] * [1.0, -2.0]
    net.fit(A, B, **fit)
    text = make_report(net, A, B, class_names=["<up>", "down"])
    assert "Predictions" in sections(text)
    assert not {"Confusion matrix", "Calibration"} & set(sections(text))
    residual = net.predict(A).astype(float) - B
    for k, row in enumerate(rows(text, "Output by output")):
        r2 = 1 - np.sum(residual[:, k] ** 2) / np.sum((B[:, k] - B[:, k].mean()) ** 2)
        assert row[0] == ("&lt;up&gt;", "down")[k]
        assert float(row[1]) == pytest.approx(r2, abs=1e-3)
        assert float(row[2]) == pytest.approx(np.sqrt(np.mean(residual[:, k] ** 2)), rel=1e-3)
        assert float(row[3]) == pytest.approx(np.mean(np.abs(residual[:, k])), rel=1e-3)
    assert text.count("<img") == 2 + 4


def test_rates_of_poisson_are_what_is_compared(fast):
    net, _ = trained(3, 1, output="identity", loss="poisson")
    A, B = RNG.normal(size=(20, 3)), RNG.integers(0, 9, 20)
    text = make_report(net, A, B)
    mae = np.mean(np.abs(np.exp(net.predict(A)[:, 0]) - B))
    assert float(rows(text, "Output by output")[0][3]) == pytest.approx(mae, rel=1e-3)
    assert "exponential" in text


def test_independent_labels_are_judged_one_by_one(fast):
    net, fit = trained(5, 8, 3, output="sigmoid")
    A = RNG.normal(size=(60, 5))
    B = (A[:, :3] > 0).astype(int)
    net.fit(A, B, **fit)
    text = make_report(net, A, B)
    said = net.predict(A)
    for k, row in enumerate(rows(text, "Label by label")):
        right, called = np.sum((said[:, k] == 1) & (B[:, k] == 1)), np.sum(said[:, k] == 1)
        assert row[1] == (f"{100 * right / called:.2f} %" if called else "-")
        assert row[4] == str(B[:, k].sum())
    assert "Calibration" in sections(text)


@pytest.mark.parametrize("n_out", [1, 3])
def test_one_label_a_sample_makes_classes_of_sigmoid_outputs(n_out, fast):
    net, _ = trained(64, n_out, output="sigmoid", input_scale=255.0)
    y = np.minimum(Y, 1) if n_out == 1 else Y
    text = make_report(net, X, y)
    p = net.predict_proba(X)
    predicted = (p[:, 0] > 0.5).astype(int) if n_out == 1 else p.argmax(1)
    table = rows(text, "Class by class")
    assert len(table) == max(2, n_out) + 1
    for k, row in enumerate(table[:-1]):
        assert row[2] == f"{100 * np.mean(predicted[y == k] == k):.2f} %"


def test_no_mistakes_and_many_classes_are_said_in_a_sentence(fast):
    net = fastmlp.MLP((64, 60), rng=0, backend="numpy")
    text = make_report(net, X, net.predict(X))
    assert "every sample is predicted right" in text
    assert "60 classes are more than 50" in text
    assert "Nothing is confused" not in text


def test_a_network_that_diverged_has_a_report():
    net, fit = trained(64, 5, 3, epochs=2)
    net.fit(X, Y, **fit)
    net.weights[0][0, 0] = np.nan
    net.history.loss[-1] = float("nan")
    net.history.val_loss = [1.0, float("inf")]
    text = make_report(net, X, Y)
    assert text.count("training diverged") == 2
    assert sections(text) == ["Network", "Training", "Test", "First layer", "Versions"]


def test_probability_rows_and_soft_targets_have_a_report(net, fast):
    soft = np.full((90, 3), 0.1)
    soft[np.arange(90), Y] = 0.8
    assert rows(make_report(net, X, soft), "Class by class") == rows(
        make_report(net, X, Y), "Class by class"
    )
    values = fastmlp.MLP((64, 3), output="sigmoid", rng=0, backend="numpy")
    assert "Predictions" in sections(make_report(values, X, soft))


# one page, whatever is written on it


def test_the_page_stands_alone_and_is_well_made(net):
    text = make_report(net, X, Y)
    page = Page(text)
    assert text.startswith("<!DOCTYPE html>\n<html")
    assert page.all("html")[0]["lang"] == "en"
    assert page.all("script", "iframe", "object", "form") == []
    for attributes in page.all("img", "source", "link", "a"):
        for name in ("src", "srcset", "href"):
            assert attributes.get(name, "#").startswith(("data:", "#"))
    assert not re.search(r"url\(|@import|@font-face", text)
    pictures = page.all("img")
    assert len(pictures) == 8
    assert all(len(picture["alt"]) > 20 for picture in pictures)
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(names)) == len(names)
    assert [link["href"][1:] for link in page.all("a")] == names
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels == [1] + [2] * (len(levels) - 1)
    assert len(page.all("th")) == len([th for th in page.all("th") if "scope" in th])
    assert "viewport" in {meta.get("name") for meta in page.all("meta")}
    for media in ("(prefers-color-scheme: dark)", "@media print"):
        assert media in text
    assert make_report(net, X, Y) == text


def test_every_text_is_escaped(net, fast):
    plain = Page(make_report(net, X, Y))
    page = Page(make_report(net, X, Y, class_names=NASTY, title='<h1 onload="x">&',
                            data_name="</title><script>", saved_with={"<b>": "&amp;"}))  # fmt: skip
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert "<script>alert(1)</script>" in page.text
    assert '<h1 onload="x">&' in page.text
    assert "</title><script>" in page.text
    assert "<b> &amp;" in page.text
    assert "\x00" not in page.text
    assert "数 \ufffd" in page.text


@pytest.mark.slow
def test_nasty_names_can_be_drawn_and_written(net, tmp_path):
    write_report(net, tmp_path / "r.html", X, Y, class_names=NASTY)
    assert "数" in (tmp_path / "r.html").read_text("utf-8")


# the file and the command


@pytest.fixture
def here(tmp_path, monkeypatch, net):
    monkeypatch.chdir(tmp_path)
    net.save("net.npz")
    np.savez("data.npz", x_train=X, y_train=Y, x_test=X[:50], y_test=Y[:50])
    return tmp_path


def command(*arguments):
    return main(["report", *arguments, "--backend", "numpy"])


def test_the_command_writes_a_report(here, net, fast, capsys):
    assert command("net.npz", "data.npz", "-o", "r.html", "--class-names", "a,b,<c>") == 0
    assert capsys.readouterr() == ("written: r.html\n", "")
    text = Path("r.html").read_text("utf-8")
    assert Page(text).text.count("Report of net.npz") == 2
    expected = net.evaluate(X[:50], Y[:50])
    assert facts(text)["test accuracy"] == f"{100 * expected['accuracy']:.2f} %"
    assert facts(text)["data"] == "data.npz"
    assert f"numpy {np.__version__}" in text
    assert [row[0] for row in rows(text, "Class by class")] == ["a", "b", "&lt;c&gt;", "mean"]
    os.unlink("r.html")
    assert command("net.npz") == 0
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("written: report.html\n", 1)
    assert "No test data was given" in Path("report.html").read_text("utf-8")


def test_the_command_reads_targets_of_values(here, fast):
    values = fastmlp.MLP((6, 2), output="identity", rng=0, backend="numpy")
    values.save("values.npz")
    A, B = RNG.normal(size=(20, 6)), RNG.normal(size=(20, 2))
    np.savez("targets.npz", x_test=A, y_test=B)
    assert command("values.npz", "targets.npz", "--image-shape", "2x3") == 0
    text = Path("report.html").read_text("utf-8")
    assert facts(text)["test loss"] == f"{values.evaluate(A, B)['loss']:.4g}"
    assert "each drawn as an image" in text


def test_a_file_of_before_has_a_report(here, fast):
    with np.load("net.npz") as archive:
        arrays = {name: archive[name] for name in archive if not name.startswith("history_")}
    header = json.loads(arrays["header"].tobytes())
    del header["history"], header["saved_with"]
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez("old.npz", **arrays)
    assert command("old.npz", "data.npz") == 0
    text = Path("report.html").read_text("utf-8")
    assert "carries no history" in text
    assert "does not say which versions" in text
    assert "Confusion matrix" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("absent.npz",), "absent.npz"),
        (("data.npz",), "expected a network saved by fastmlp"),
        (("net.npz", "absent"), "absent"),
        (("net.npz", "--out", "no/r.html"), "--out: there is no folder"),
        (("net.npz", "--image-shape", "8x9"), "image_shape"),
        (("net.npz", "--image-shape", "wide"), "--image-shape"),
        (("net.npz", "data.npz", "--class-names", "a,b"), "class_names: expected 3"),
        (("net.npz", "data.npz", "--input-scale", "2"), "--input-scale"),
        (("net.npz", "data.npz", "--data", "data.npz"), "--data"),
        (("net.npz", "wide.npz"), "X: expected 64 features"),
        (("net.npz", "high.npz"), "y: expected class labels 0 to 2"),
    ],
)
def test_what_cannot_be_done_is_one_line(here, arguments, message, capsys):
    wide, y = np.zeros((4, 5), np.uint8), np.arange(4)
    np.savez("wide.npz", x_train=wide, y_train=y, x_test=wide, y_test=y)
    np.savez("high.npz", x_train=X[:4], y_train=y, x_test=X[:4], y_test=y)
    before = sorted(os.listdir())
    assert command(*arguments) == 2
    out, err = capsys.readouterr()
    assert re.fullmatch(r"fastmlp: error: [^\n]+\n", err.split("only\n")[-1])
    assert message in err
    assert out == ""
    assert sorted(os.listdir()) == before


def test_bad_arguments_are_named(net, tmp_path):
    for options, message in (
        ({"X": X}, "y: expected X and y"),
        ({"title": 3}, "title"),
        ({"data_name": None, "X": X, "y": Y}, "data_name: expected a str, got None"),
        ({"X": X, "y": Y, "class_names": "abc"}, "class_names"),
        ({"X": X, "y": Y, "image_shape": (8, 7)}, "image_shape"),
        ({"X": X, "y": Y[:5]}, "y: expected 90"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            write_report(net, tmp_path / "r.html", **options)
    assert os.listdir(tmp_path) == []


def test_a_report_that_fails_leaves_the_old_one(net, tmp_path, monkeypatch, fast):
    target = tmp_path / "r.html"
    target.write_text("old")

    def half(path, text, **_):
        path.write_bytes(text[:1000].encode())
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(OSError, match="disk is full"):
        write_report(net, target)
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["r.html"]
