"""Estimators by way of skl2onnx."""

from __future__ import annotations

import numpy as np
import pytest
import skl2onnx
from exchange import TARGETS, X, fitted, run
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastmlp.activations import ACTIVATIONS
from fastmlp.interchange import register_skl2onnx

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=() if kind in ("words", "values") else pytest.mark.slow)
     for kind in TARGETS],
)  # fmt: skip
def test_skl2onnx_converts_a_pipeline_with_an_estimator(kind, dtype):
    register_skl2onnx()
    rows = X.astype(dtype)
    model = make_pipeline(StandardScaler(), fitted("fastmlp", kind))
    y = TARGETS[kind][1]
    model.fit(rows, y)
    classifier = hasattr(model, "predict_proba")
    options = {"options": {"zipmap": False}} if classifier else {}
    found = run(skl2onnx.to_onnx(model, rows[:1], **options), X=rows)
    within = {"rtol": 0, "atol": 1e-5 if dtype == np.float32 else 1e-12}
    if not classifier:
        wanted = model.predict(rows)
        assert found["variable"].shape == (40, 1 if wanted.ndim == 1 else 2)
        within["rtol"] = within["atol"]
        np.testing.assert_allclose(found["variable"].reshape(wanted.shape), wanted, **within)
        return
    np.testing.assert_allclose(found["probabilities"], model.predict_proba(rows), **within)
    assert found["probabilities"].dtype == dtype
    assert found["label"].tolist() == model.predict(rows).tolist()
    assert found["label"].shape == y.shape


@pytest.mark.parametrize(
    "activation",
    [*(pytest.param(name, marks=pytest.mark.slow) for name in ACTIVATIONS), "logistic",
     ["relu", "gelu"]],
)  # fmt: skip
def test_skl2onnx_converts_every_activation(activation):
    register_skl2onnx()
    model = fitted("fastmlp", "words", activation=activation)
    rows = X.astype("float32")
    found = run(skl2onnx.to_onnx(model, rows[:1], options={"zipmap": False}), X=rows)
    np.testing.assert_allclose(found["probabilities"], model.predict_proba(rows), atol=1e-5)


def test_skl2onnx_options_and_older_opsets():
    register_skl2onnx()
    register_skl2onnx()
    model, rows = fitted("fastmlp", "words"), X.astype("float32")
    found = run(skl2onnx.to_onnx(model, rows[:1], target_opset=12), X=rows)
    assert set(found["output_probability"][0]) == {"cat", "dog", "bird"}
    found = run(skl2onnx.to_onnx(model, rows[:1], options={"nocl": True, "zipmap": False}), X=rows)
    assert found["label"].tolist() == np.searchsorted(model.classes_, model.predict(rows)).tolist()
    integers = np.arange(12, dtype=np.int64).reshape(2, 6)
    found = run(skl2onnx.to_onnx(model, integers[:1], options={"zipmap": False}), X=integers)
    np.testing.assert_allclose(
        found["probabilities"], model.predict_proba(integers), rtol=0, atol=1e-5
    )
