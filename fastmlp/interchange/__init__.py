"""Networks from other libraries, and for them: ONNX, safetensors, scikit-learn, PyTorch, Keras.

`fastmlp.MLP` has it as methods: ``to_onnx``, ``to_safetensors`` and, to make a network,
``from_safetensors``, ``from_sklearn``, ``from_torch``, ``from_keras``. `register_skl2onnx` teaches
skl2onnx the estimators of `fastmlp.sklearn`. No framework is imported to read its models.
"""

from __future__ import annotations

__all__ = ["register_skl2onnx"]


def register_skl2onnx() -> None:
    """Teach skl2onnx the estimators of `fastmlp.sklearn`, alone or within a Pipeline.

    Afterwards ``skl2onnx.to_onnx(model, X[:1])`` converts them as it does scikit-learn's own,
    options ``zipmap``, ``nocl`` and ``output_class_labels`` included. Calling it again changes
    nothing.

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
