"""Networks out of estimators of scikit-learn and of `fastmlp.sklearn`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .layers import Layer, NetworkOptions, network_of

if TYPE_CHECKING:
    from ..network import MLP

__all__ = ["from_sklearn"]

_OUTPUTS = {
    "softmax": "softmax", "logistic": "sigmoid", "identity": "identity", "exp": "identity",
}  # fmt: skip
_PACKAGES = ("sklearn", "fastmlp")


def _check_methods(estimator: Any) -> None:
    """Raise TypeError where a subclass, or somebody else, has replaced what predicts."""
    for name in ("predict", "predict_proba", "_predict", "_forward_pass_fast"):
        method = getattr(type(estimator), name, None)
        if method is None:
            continue
        own = getattr(method, "__module__", None) or type(method).__module__
        if name in vars(estimator) or own.split(".")[0] not in _PACKAGES:
            raise TypeError(
                f"estimator: expected scikit-learn's or fastmlp's own {name}, got one that "
                f"{type(estimator).__name__} has replaced"
            )


def from_sklearn(
    cls: type[MLP],
    estimator: Any,
    *,
    input_scale: float | None = None,
    dtype: Any = None,
    rng: Any = None,
    backend: str = "numba",
    threads: int | None = None,
) -> MLP:
    """Make the network of a fitted MLPClassifier or MLPRegressor.

    Of scikit-learn or of `fastmlp.sklearn`. Several classes are softmax outputs; two classes
    are one sigmoid output, the probability of the second; several labels are a sigmoid
    output each; poisson's output is the logarithm of the rate, so that the estimator
    predicts its exponential. Classes are numbers here: for several
    ``estimator.classes_[net.predict(X)]``, for two
    ``estimator.classes_[net.predict(X)[:, 0]]``.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
    input_scale : float, optional
        A divisor of X, if the estimator was fitted on X divided by it.
    dtype : {"float32", "float64"}, optional
        By default the estimator's.
    rng, backend, threads
        As for `MLP`.

    Returns
    -------
    MLP
        With the estimator's parameters, copied, and the names of its features and classes; its
        optimizer is the default.

    Raises
    ------
    TypeError
        If it is another estimator.
    ValueError
        If it is not fitted, or an argument or parameter is out of range.

    Examples
    --------
    >>> import fastmlp
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier(solver="lbfgs", max_iter=2000, random_state=0).fit(X, y)
    >>> net = fastmlp.MLP.from_sklearn(model, backend="numpy")
    >>> bool(abs(net.predict_proba(X) - model.predict_proba(X)).max() < 1e-12)
    True
    """
    names = {
        base.__name__ for base in type(estimator).__mro__
        if base.__module__.split(".")[0] in _PACKAGES
    }  # fmt: skip
    if not names & {"MLPClassifier", "MLPRegressor"}:
        raise TypeError(
            "estimator: expected a fitted MLPClassifier or MLPRegressor, got "
            f"{type(estimator).__name__}"
        )
    _check_methods(estimator)
    if not hasattr(estimator, "coefs_"):
        raise ValueError(f"estimator: expected a fitted one, got {estimator!r} before fit")
    coefs, intercepts = estimator.coefs_, estimator.intercepts_
    trained = getattr(estimator, "_trained", {})  # ours: what was fitted, whatever is set since
    named = trained.get("activation", estimator.activation)
    if estimator.out_activation_ not in _OUTPUTS:
        raise ValueError(
            f"estimator: expected out_activation_ to be one of {', '.join(_OUTPUTS)}, got "
            f"{estimator.out_activation_!r}"
        )
    hidden = [named] * (len(coefs) - 1) if isinstance(named, str) else list(named)
    if len(hidden) != len(coefs) - 1 or len(intercepts) != len(coefs):
        raise ValueError(
            f"estimator: expected coefs_ and intercepts_ of {len(hidden) + 1} layers, got "
            f"{len(coefs)} and {len(intercepts)}"
        )
    if estimator.out_activation_ not in _OUTPUTS:
        raise ValueError(
            f"estimator: out_activation_: expected one of {', '.join(_OUTPUTS)}, got "
            f"{estimator.out_activation_!r}"
        )
    activations = [
        "sigmoid" if name == "logistic" else name
        for name in (*hidden, _OUTPUTS[estimator.out_activation_])
    ]
    layers = [
        Layer(f"layer {i}", *parts)
        for i, parts in enumerate(zip(coefs, intercepts, activations, strict=True))
    ]
    loss = trained.get("loss", estimator.loss) if "MLPRegressor" in names else None
    options = NetworkOptions(
        output=activations[-1], loss=loss,
        input_scale=input_scale, dtype=dtype, rng=rng, backend=backend, threads=threads,
    )  # fmt: skip
    net = network_of(cls, "estimator", layers, options)
    if (features := getattr(estimator, "feature_names_in_", None)) is not None:
        net.feature_names = tuple(map(str, features))
    classes = getattr(estimator, "classes_", None)
    named_outputs = 2 if net.architecture.n_out == 1 else net.architecture.n_out
    if isinstance(classes, np.ndarray) and len(classes) == named_outputs:
        net.class_names = [str(label) for label in classes]
    return net
