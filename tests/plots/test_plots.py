"""Pictures: what is drawn is what was given, told without colour, and bad input is refused."""

from __future__ import annotations

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

import fastmlp
from fastmlp import plots
from fastmlp.diagnostics import calibration, confusion_matrix, precision_recall
from fastmlp.report import make_report
from fastmlp.training.history import History

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (30, 12)).astype(np.uint8)
Y = RNG.integers(0, 3, 30)
SHAPE = (3, 4)
NASTY = ["$\\frac{$", "<b>two</b>", "three\nlines and very much longer than fits"]


@pytest.fixture(autouse=True)
def no_windows():
    matplotlib.use("Agg")
    yield
    matplotlib.pyplot.close("all")


@pytest.fixture(scope="module")
def net():
    made = fastmlp.MLP((12, 7, 5, 3), activation="tanh", input_scale=255.0, rng=0, backend="numpy")
    made.fit(X, Y, epochs=3, validation_split=0.2)
    return made


def axes(width=4.0, height=4.0):
    return Figure((width, height)).subplots()


def texts(drawn):
    return [text.get_text() for text in drawn.texts]


def tiles(drawn, n, columns, shape, lines=0):
    """Cut the mosaic into its images again."""
    canvas = drawn.images[0].get_array()
    height, width = shape[:2]
    rows = -(-n // columns)
    step_x = width + max(1, round(0.08 * max(width, height)))
    step_y = (canvas.shape[0] + step_x - width) // rows
    corners = [(i // columns * step_y, i % columns * step_x) for i in range(n)]
    return [canvas[y : y + height, x : x + width] for y, x in corners]


def drawings(net):
    p = net.predict_proba(X)
    said = p.argmax(1)
    values = RNG.normal(size=(2, 30))
    yield "history", lambda ax: plots.plot_history(net.history, ax)
    yield "images", lambda ax: plots.plot_images(X, Y, said, ax, image_shape=SHAPE)
    yield "weights", lambda ax: plots.plot_weights(net, ax, image_shape=SHAPE)
    yield "mistakes", lambda ax: plots.plot_mistakes(net, X, Y, ax, image_shape=SHAPE)
    yield "confusion", lambda ax: plots.plot_confusion_matrix(Y, said, ax)
    yield "calibration", lambda ax: plots.plot_calibration(Y, p, ax)
    yield "network", lambda ax: plots.plot_network(net, ax)
    yield "predictions", lambda ax: plots.plot_predictions(*values, ax)
    yield "residuals", lambda ax: plots.plot_residuals(*values, ax)


NAMES = ("history", "images", "weights", "mistakes", "confusion", "calibration", "network",
         "predictions", "residuals")  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_axes_are_taken_and_returned_or_made(net, name):
    draw = dict(drawings(net))[name]
    given = axes()
    assert draw(given) is given
    given.figure.canvas.draw()
    made = np.atleast_1d(draw(None))[0]
    assert isinstance(made, matplotlib.axes.Axes)
    made.figure.canvas.draw()
    small = axes(1.0, 0.8)
    draw(small)
    small.figure.canvas.draw()
    with pytest.raises(TypeError, match="axes: expected a matplotlib Axes"):
        draw("here")


@pytest.mark.parametrize("name", NAMES)
def test_dark_styles_have_light_ink(net, name):
    draw = dict(drawings(net))[name]
    with matplotlib.style.context("dark_background"):
        drawn = draw(axes())
        drawn.figure.canvas.draw()
    for text in drawn.texts if name != "confusion" else ():
        assert np.mean(matplotlib.colors.to_rgb(text.get_color())) > 0.5


def test_importing_the_pictures_loads_no_library():
    program = (
        "import sys, fastmlp; fastmlp.plots, fastmlp.diagnostics, fastmlp.report\n"
        "print([m for m in ('matplotlib', 'networkx', 'numba') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("library", ["matplotlib", "networkx"])
def test_what_is_missing_is_named_with_its_extra(net, name, library, monkeypatch):
    if library == "networkx" and name != "network":
        return
    for module in [m for m in sys.modules if m.split(".")[0] == library]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"{library} is needed.*fastmlp\[plot\]"):
        dict(drawings(net))[name](None)


# history


def test_curves_differ_in_more_than_colour(net):
    loss, accuracy = plots.plot_history(net.history)
    for panel, name in ((loss, "loss"), (accuracy, "accuracy")):
        training, validation = panel.lines
        assert training.get_linestyle() != validation.get_linestyle()
        assert training.get_marker() != validation.get_marker()
        assert list(training.get_ydata()) == getattr(net.history, name)
        assert list(validation.get_ydata()) == getattr(net.history, f"val_{name}")
        assert list(training.get_xdata()) == [1, 2, 3]
        assert panel.get_ylabel() == name


def test_a_single_epoch_has_a_whole_number(net):
    drawn = plots.plot_history(History(loss=[0.5]), axes())
    drawn.figure.canvas.draw()
    assert [t for t in drawn.get_xticks() if 0.9 < t < 1.1] == [1.0]


# images


def test_images_are_the_samples(net):
    drawn = plots.plot_images(X[:5], axes=axes(), image_shape=SHAPE, columns=2)
    for tile, row in zip(tiles(drawn, 5, 2, SHAPE), X, strict=False):
        np.testing.assert_allclose(tile[..., 0], row.reshape(SHAPE) / 255)
        assert (tile[..., 3] == 1).all()
    assert texts(drawn) == []


def test_images_of_floats_span_their_range_and_colour_is_kept():
    rows = np.array([[-1.0, 0, 1, 3], [0, 0, 0, 0]])
    drawn = plots.plot_images(rows, axes=axes(), columns=2)
    np.testing.assert_allclose(
        tiles(drawn, 2, 2, (2, 2))[0][..., 0], [[0, 0.25], [0.5, 1]], atol=1e-12
    )
    colour = RNG.integers(0, 256, (1, 12)).astype(np.uint8)
    drawn = plots.plot_images(colour, axes=axes(), image_shape=(2, 2, 3))
    np.testing.assert_allclose(
        drawn.images[0].get_array()[:2, :2, :3], colour.reshape(2, 2, 3) / 255
    )


def test_captions_say_what_was_predicted_and_what_is_true():
    drawn = plots.plot_images(X[:2], [0, 1], [0, 2], axes(), image_shape=SHAPE,
                              class_names=["ant", "bee", "cow"])  # fmt: skip
    assert texts(drawn) == ["ant", "cow", "true bee"]
    assert [text.get_weight() for text in drawn.texts] == ["normal", "bold", "normal"]
    drawn = plots.plot_images(X[:2], [0, 1], axes=axes(), image_shape=SHAPE)
    assert texts(drawn) == ["0", "1"]


@pytest.mark.parametrize("kind", ["csr", "frame", "list"])
def test_images_of_other_kinds_of_x(kind):
    if kind == "csr":
        given = pytest.importorskip("scipy.sparse").csr_array(X[:4])
    else:
        given = pytest.importorskip("pandas").DataFrame(X[:4]) if kind == "frame" else X[:4]
        given = given.tolist() if kind == "list" else given
    drawn = plots.plot_images(given, axes=axes(), image_shape=SHAPE)
    seen = tiles(drawn, 4, 2, SHAPE)[3][..., 0]
    assert np.corrcoef(seen.ravel(), X[3])[0, 1] > 0.999999


def test_weights_are_drawn_around_the_middle_grey(net):
    drawn = plots.plot_weights(net, axes(), image_shape=SHAPE, n_images=4, columns=2)
    weights = np.asarray(net.weights[0])[:, :4]
    limit = np.abs(weights).max()
    for k, tile in enumerate(tiles(drawn, 4, 2, SHAPE)):
        expected = 0.5 + weights[:, k].reshape(SHAPE) / (2 * limit)
        np.testing.assert_allclose(tile[..., 1], expected, rtol=1e-6)
    assert f"{limit:.2g} (white)" in drawn.get_title()
    assert plots.plot_weights(net, axes(), image_shape=SHAPE).get_title().startswith("7 neurons")


def test_mistakes_are_the_most_confident_ones_first(net):
    p = net.predict_proba(X)
    said = p.argmax(1)
    wrong = sorted(np.flatnonzero(said != Y), key=lambda i: -p[i].max())[:4]
    assert len(wrong) == 4
    drawn = plots.plot_mistakes(net, X, Y, axes(), n_images=4, image_shape=SHAPE)
    for i, tile in zip(wrong, tiles(drawn, 4, 2, SHAPE), strict=True):
        np.testing.assert_allclose(tile[..., 0], X[i].reshape(SHAPE) / 255)
    expected = [(f"{said[i]}, {100 * p[i].max():.1f} %", f"true {Y[i]}") for i in wrong]
    assert texts(drawn) == [line for pair in expected for line in pair]


def test_names_are_drawn_as_they_are(net):
    drawn = plots.plot_mistakes(net, X, Y, axes(6, 6), image_shape=SHAPE, class_names=NASTY)
    drawn.figure.canvas.draw()
    shown = set(texts(drawn))
    assert shown & {"$\\frac{$", "true $\\frac{$"}
    assert not any("\n" in text for text in shown)
    said = net.predict(X)
    drawn = plots.plot_confusion_matrix(Y, said, axes(6, 6), class_names=NASTY)
    drawn.figure.canvas.draw()
    assert [t.get_text() for t in drawn.get_xticklabels()][:2] == NASTY[:2]


# judgement


def test_confusion_matrix_holds_its_numbers():
    said = (Y + (np.arange(30) % 4 == 0)) % 3
    drawn = plots.plot_confusion_matrix(Y, said, axes(), n_classes=4)
    seen = np.zeros((4, 4), int)
    for text in drawn.texts:
        j, i = text.get_position()
        seen[i, j] = int(text.get_text())
    np.testing.assert_array_equal(seen, confusion_matrix(Y, said, 4))
    assert len(drawn.patches) == 4
    assert (drawn.get_xlabel(), drawn.get_ylabel()) == ("predicted", "true")


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_numbers_in_cells_stand_out(style):
    with matplotlib.style.context(style):
        y = np.repeat([0, 1, 2], 100)
        said = np.concatenate([np.repeat([0, 1, 2], k) for k in ((99, 1, 0), (30, 60, 10),
                                                                (45, 25, 30))])  # fmt: skip
        drawn = plots.plot_confusion_matrix(y, said, axes())
        image = drawn.images[0]
        for text in drawn.texts:
            j, i = text.get_position()
            cell = np.mean(image.cmap(image.norm(image.get_array()[i, j]))[:3])
            ink = np.mean(matplotlib.colors.to_rgb(text.get_color()))
            assert abs(cell - ink) >= 0.5


def test_cells_that_are_too_small_have_no_numbers():
    labels = np.arange(60)
    assert texts(plots.plot_confusion_matrix(labels, labels, axes(2, 2))) == []


def test_calibration_draws_frequencies_and_counts():
    said = np.repeat([0.15, 0.85], [20, 40])
    came = np.r_[np.arange(20) < 4, np.arange(40) < 30]
    drawn = plots.plot_calibration(came, said, axes())
    heights = [bar.get_height() for bar in drawn.patches]
    assert heights[1] == 0.2
    assert heights[8] == 0.75
    assert texts(drawn) == ["20", "40"]
    assert all(bar.get_hatch() for bar in drawn.patches)
    assert drawn.get_title() == "expected calibration error 0.083"
    assert drawn.lines[0].get_linestyle() == "--"


def test_predictions_and_residuals_are_where_they_belong():
    true, said = RNG.normal(size=(2, 20, 2))
    points = plots.plot_predictions(true, said, axes()).collections[0].get_offsets()
    np.testing.assert_allclose(points, np.c_[true.ravel(), said.ravel()])
    points = plots.plot_residuals(true, said, axes()).collections[0].get_offsets()
    np.testing.assert_allclose(points, np.c_[said.ravel(), (said - true).ravel()])
    many = RNG.normal(size=(2, 5000))
    counts = plots.plot_predictions(*many, axes()).collections[0].get_array()
    assert counts.sum() == 5000


# the diagram


def test_the_diagram_draws_few_neurons_and_says_how_many_there_are(net):
    drawn = plots.plot_network((784, 4, 10), axes(), max_neurons=6)
    nodes = drawn.collections[1:]
    assert [len(c.get_offsets()) for c in nodes] == [6, 4, 6]
    assert len(drawn.collections[0].get_segments()) == 6 * 4 + 4 * 6
    shown = texts(drawn)
    assert shown.count("⋮") == 2
    assert [text for text in shown if text.isdigit()] == ["784", "4", "10"]
    shapes = {len(c.get_paths()[0].vertices) for c in nodes[:2]}
    assert len(shapes) == 2  # inputs and hidden neurons differ in shape
    drawn = plots.plot_network(net, axes())
    assert [text for text in texts(drawn) if text.isalpha()] == [
        "inputs", "tanh", "tanh", "softmax"
    ]  # fmt: skip


def test_the_last_neuron_stands_below_the_dots():
    drawn = plots.plot_network((9, 2), axes(), max_neurons=4)
    heights = drawn.collections[1].get_offsets()[:, 1]
    (dots,) = [text for text in drawn.texts if text.get_text() == "⋮"]
    above, below = (
        heights[heights > dots.get_position()[1]],
        heights[heights < dots.get_position()[1]],
    )
    assert (len(above), len(below)) == (3, 1)


# diagnostics


def test_diagnostics_are_what_counting_finds():
    y, said = RNG.integers(0, 5, 400), RNG.integers(0, 4, 400)
    matrix = confusion_matrix(y, said, 6)
    found = precision_recall(matrix)
    for k in range(6):
        right = sum(a == b == k for a, b in zip(y, said, strict=True))
        called, there = sum(said == k), sum(y == k)
        assert found.support[k] == there
        for value, part, whole in (
            (found.precision[k], right, called), (found.recall[k], right, there),
            (found.f1[k], 2 * right, called + there),
        ):  # fmt: skip
            assert value == part / whole if whole else np.isnan(value)


@pytest.mark.parametrize("kind", ["classes", "labels", "binary"])
def test_calibration_is_what_counting_finds(kind):
    p = RNG.dirichlet(np.ones(4), 300)
    y = RNG.integers(0, 4, 300)
    said, came = p.max(1), p.argmax(1) == y
    if kind == "labels":
        y = RNG.integers(0, 2, p.shape)
        said, came = p.ravel(), y.ravel()
    elif kind == "binary":
        p, y = p[:, :1], RNG.integers(0, 2, 300)
        said, came = p[:, 0], y
    found = calibration(y, p, n_bins=7)
    error = 0.0
    for k in range(7):
        inside = (said > k / 7) & (said <= (k + 1) / 7)
        assert found.counts[k] == inside.sum()
        if inside.any():
            assert found.frequency[k] == pytest.approx(came[inside].mean(), abs=1e-12)
            assert found.probability[k] == pytest.approx(said[inside].mean(), abs=1e-12)
            error += abs(came[inside].mean() - said[inside].mean()) * inside.mean()
    assert found.error == pytest.approx(error, abs=1e-12)


def test_a_bin_holds_its_upper_edge():
    assert calibration([0, 1, 1, 1], [0.0, 0.5, 0.75, 1.0], n_bins=2).counts.tolist() == [2, 2]


# bad input

BAD = [
    (lambda n: plots.plot_history(History()), "history"),
    (plots.plot_history, "history: expected a History, got MLP"),
    (lambda n: plots.plot_weights(None), "net: expected an MLP, got NoneType"),
    (lambda n: plots.plot_mistakes(5, X, Y), "net: expected an MLP, got int"),
    (lambda n: precision_recall(np.ones((2, 3))), "matrix: expected a square one of counts"),
    (lambda n: precision_recall(-np.eye(2)), "matrix: expected a square one"),
    (lambda n: precision_recall(["a"]), "matrix: expected a square one"),
    (lambda n: make_report(History()), "net: expected an MLP, got History"),
    (lambda n: plots.plot_images(X), "image_shape: .*12 features"),
    (lambda n: plots.plot_images(X, image_shape=(3, 5)), "image_shape: expected 12 elements"),
    (lambda n: plots.plot_images(X, image_shape=(3, 2, 2)), "image_shape"),
    (lambda n: plots.plot_images(X, image_shape="3x4"), "image_shape"),
    (lambda n: plots.plot_images(X[:0], image_shape=SHAPE), "X: expected 1 to 400"),
    (lambda n: plots.plot_images(np.zeros((401, 4))), "X: expected 1 to 400"),
    (lambda n: plots.plot_images(np.full((1, 4), np.nan)), "X: expected finite"),
    (lambda n: plots.plot_images(X, Y[:3], image_shape=SHAPE), "y: expected 30 labels"),
    (lambda n: plots.plot_images(X, Y + 0.5, image_shape=SHAPE), "y: expected integer"),
    (lambda n: plots.plot_images(X, predicted=Y - 5, image_shape=SHAPE), "predicted: .*at least 0"),
    (lambda n: plots.plot_images(X, Y, image_shape=SHAPE, class_names=["a"]), "class_names"),
    (lambda n: plots.plot_images(X, Y, image_shape=SHAPE, class_names="abc"), "class_names"),
    (lambda n: plots.plot_images(X, Y, image_shape=SHAPE, class_names=[1, 2, 3]), "class_names"),
    (lambda n: plots.plot_images(X, image_shape=SHAPE, columns=0), "columns"),
    (lambda n: plots.plot_weights(n), "image_shape"),
    (lambda n: plots.plot_weights(n, image_shape=SHAPE, n_images=0), "n_images"),
    (lambda n: plots.plot_mistakes(n, X, Y + 9, image_shape=SHAPE), "y: expected labels below 3"),
    (lambda n: plots.plot_mistakes(n, X[:, :5], Y), "X: expected 12 features"),
    (lambda n: plots.plot_mistakes(fastmlp.MLP((4, 1), output="identity", backend="numpy"),
                                   X[:, :4], Y), "net: expected a classifier"),
    (lambda n: plots.plot_confusion_matrix([], []), "y: expected at least one"),
    (lambda n: plots.plot_confusion_matrix([0, 1], [0]), "predicted: expected 2"),
    (lambda n: plots.plot_confusion_matrix([0, 1], [0, 2], n_classes=2), "n_classes"),
    (lambda n: plots.plot_confusion_matrix([0, 1.5], [0, 1]), "y"),
    (lambda n: plots.plot_confusion_matrix([0, 10**6], [0, 1]), "y: expected labels below 20000"),
    (lambda n: confusion_matrix([0, 1], [0, 10**6]), "predicted: expected labels below 20000"),
    (lambda n: confusion_matrix([0, 1], [0, 1], 10**6), "n_classes: expected at most 20000"),
    (lambda n: calibration([], []), "probabilities: expected at least one"),
    (lambda n: calibration([], np.zeros((0, 3))), "probabilities: expected at least one"),
    (lambda n: plots.plot_calibration([0, 1], [0.5, 1.5]), "probabilities: expected 0 to 1"),
    (lambda n: plots.plot_calibration([0, 1], [0.5, np.nan]), "probabilities"),
    (lambda n: plots.plot_calibration([0, 3], [[0.5, 0.5]] * 2), "y"),
    (lambda n: plots.plot_calibration([0, 2], [0.5, 0.5]), "y: expected 0 and 1"),
    (lambda n: plots.plot_calibration([0], [0.5, 0.5]), "y"),
    (lambda n: plots.plot_calibration([0], [0.5], n_bins=0), "n_bins"),
    (lambda n: plots.plot_predictions([1.0], [1.0, 2.0]), "predicted: expected the shape"),
    (lambda n: plots.plot_predictions([], []), "y: expected at least one"),
    (lambda n: plots.plot_residuals([1.0], [np.inf]), "predicted: expected finite"),
    (lambda n: plots.plot_residuals(["a"], [1.0]), "y: expected numbers"),
    (lambda n: plots.plot_network((3,)), "layer_sizes"),
    (lambda n: plots.plot_network(n, max_neurons=1), "max_neurons"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_input_is_named_and_leaves_no_figure(net, call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call(net)
    assert matplotlib.pyplot.get_fignums() == []


def test_names_of_classes_may_be_the_columns_of_a_frame():
    columns = pytest.importorskip("pandas").Index(["ant", "bee", "cow"])
    drawn = plots.plot_confusion_matrix([0, 1, 2], [0, 2, 2], class_names=columns)
    assert [label.get_text() for label in drawn.get_xticklabels()] == list(columns)
