"""Networks from other libraries, and for them: ONNX, safetensors, scikit-learn, PyTorch, Keras.

`fastmlp.MLP` has them as methods. No framework is imported to read its models.

``net.to_onnx("net.onnx")``
    ONNX (opset 13), any number of rows, ``input_scale`` inside; its output is what
    ``predict_proba`` returns. ``class_names=[...]`` adds the output ``label``,
    ``input_dtype="uint8"`` takes pixels as they are.
``net.to_safetensors("net.safetensors")``, ``MLP.from_safetensors(...)``
    The state dict of PyTorch's Sequential of the same layers, the architecture in its metadata.
    Reads other Sequentials' too, with ``activation="relu"`` and ``output="softmax"``.
``MLP.from_sklearn(model)``
    A fitted MLPClassifier or MLPRegressor, scikit-learn's or `fastmlp.sklearn`'s. Classes become
    their numbers, ``model.classes_[net.predict(X)]``; two classes are one sigmoid output.
``MLP.from_torch(model)``
    A Sequential of Linear and activations, in eval mode if it has Dropout; or a state dict, with
    ``activation="relu"`` and ``output="softmax"``. A linear output stays linear unless
    ``output="softmax"`` or ``"sigmoid"`` says otherwise.
``MLP.from_keras(model)``
    A Sequential of Dense layers; or ``model.get_weights()``, with ``activation="relu"`` and
    ``output="softmax"``. A linear output stays linear unless ``output=`` says otherwise, or the
    loss it was compiled with takes logits (``from_logits=True``).
``fastmlp.interchange.register_skl2onnx()``
    Lets ``skl2onnx.to_onnx`` convert the estimators of `fastmlp.sklearn`, in a Pipeline too, and
    the models of `fastmlp.tables`.

Predictions are the origin's, and the network trains on from there. What fastmlp cannot compute
alike (another layer, Keras' gelu, a slope of 0.2, hooks, a patched ``forward``, tied weights) is an
error that names it and its place.

A network out to ONNX and safetensors, run by ONNX Runtime:

>>> import os, tempfile
>>> import numpy as np, onnxruntime, skl2onnx
>>> from sklearn.datasets import load_digits
>>> import fastmlp
>>> X, y = load_digits(return_X_y=True)
>>> rows = X[:100].astype("float32")
>>> net = fastmlp.MLP((64, 32, 10), activation="relu", input_scale=16.0, rng=0)
>>> history = net.fit(X, y, epochs=5, optimizer="adam")
>>> with tempfile.TemporaryDirectory() as folder:
...     net.to_safetensors(os.path.join(folder, "digits.safetensors"))
...     path = os.path.join(folder, "digits.onnx")
...     net.to_onnx(path, class_names=range(10))
...     probabilities, label = onnxruntime.InferenceSession(path).run(None, {"X": rows})
>>> np.allclose(probabilities, net.predict_proba(rows), rtol=0, atol=1e-6)
True

A Pipeline with an estimator of `fastmlp.sklearn` likewise, and its network on its own:

>>> from sklearn.pipeline import make_pipeline
>>> from sklearn.preprocessing import StandardScaler
>>> from fastmlp.sklearn import MLPClassifier
>>> fastmlp.interchange.register_skl2onnx()
>>> model = make_pipeline(StandardScaler(), MLPClassifier(tol=0.01, random_state=0)).fit(X, y)
>>> digits = skl2onnx.to_onnx(model, rows[:1], options={"zipmap": False}).SerializeToString()
>>> label, probabilities = onnxruntime.InferenceSession(digits).run(None, {"X": rows})
>>> bool((label == model.predict(rows)).all())
True
>>> again = fastmlp.MLP.from_sklearn(model[-1])
>>> again.evaluate(model[:-1].transform(X), y)["accuracy"] > 0.99
True
"""

from __future__ import annotations

__all__ = ["register_skl2onnx"]


def register_skl2onnx() -> None:
    """Teach skl2onnx the estimators of `fastmlp.sklearn`, alone or within a Pipeline.

    Afterwards ``skl2onnx.to_onnx(model, X[:1])`` converts them as it does scikit-learn's own,
    options ``zipmap``, ``nocl`` and ``output_class_labels`` included. Models of `fastmlp.tables`
    convert too: there categories are texts as ``fastmlp.tables.cells.categories_of`` returns them.
    Calling it again changes nothing.

    Raises
    ------
    ImportError
        If skl2onnx or scikit-learn is missing.

    Examples
    --------
    >>> import numpy as np, skl2onnx
    >>> from fastmlp.interchange import register_skl2onnx
    >>> from fastmlp.sklearn import MLPRegressor
    >>> register_skl2onnx()
    >>> X = np.linspace(-1, 1, 20, dtype="float32")[:, None]
    >>> model = MLPRegressor(solver="lbfgs", random_state=0).fit(X, X[:, 0])
    >>> [output.name for output in skl2onnx.to_onnx(model, X[:1]).graph.output]
    ['variable']
    """
    from .estimators import register

    register()
