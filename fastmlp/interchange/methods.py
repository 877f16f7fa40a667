"""What `fastmlp.MLP` can do with other libraries; each method loads what it needs when called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

if TYPE_CHECKING:
    from ..network import MLP

__all__ = ["Interchange", "register_skl2onnx"]


class Interchange:
    """The methods of `fastmlp.MLP` that read and write what other libraries understand."""

    def to_onnx(
        self,
        path: str | Path | None = None,
        *,
        input_dtype: Any = None,
        class_names: Sequence[Any] | None = None,
    ) -> Any:
        """Write the network as ONNX, or return it; needs the ``export`` extra.

        The graph (opset 13) has one input, ``X`` of shape (batch, n_in), any number of rows; it
        divides by ``input_scale`` itself. Its first output is what `predict_proba` returns, in
        the network's dtype: ``probabilities`` or, for the output identity, ``values`` (under the
        loss poisson logarithms of rates, as here). ONNX has no files of 2 GiB and more.

        Parameters
        ----------
        path : str or Path, optional
            A file, written whole or not at all.
        input_dtype : dtype, optional
            The type of ``X``, by default the network's own; "uint8" takes pixels as they are.
        class_names : sequence of str or of int, optional
            A name for each class, two for one sigmoid output. The graph then has a second
            output, ``label`` (batch,): the name of the class that `predict` returns. The names
            are also in the model's metadata, as JSON.

        Returns
        -------
        onnx.ModelProto or None
            The model where there is no path.

        Raises
        ------
        ImportError
            If onnx is missing.
        OSError
            If the file cannot be written; an older file of that name stays as it was.
        TypeError, ValueError
            If an argument does not fit the network, the network is too large, or an activation
            has no form in ONNX.

        Examples
        --------
        >>> import fastmlp
        >>> net = fastmlp.MLP((4, 8, 2), rng=0, backend="numpy")
        >>> [output.name for output in net.to_onnx().graph.output]
        ['probabilities']
        >>> [output.name for output in net.to_onnx(class_names=["cat", "dog"]).graph.output]
        ['probabilities', 'label']
        """
        from .onnx_file import to_onnx

        return to_onnx(cast("MLP", self), path, input_dtype=input_dtype, class_names=class_names)

    def to_safetensors(self, path: str | Path) -> None:
        """Write architecture and parameters as safetensors; needs the ``export`` extra.

        The tensors are named and shaped as in the state dict of the ``torch.nn.Sequential`` of
        the same layers, an activation module after each but the last: ``0.weight`` (n_out, n_in),
        ``0.bias``, ``2.weight`` and so on. PyTorch takes them with
        ``model.load_state_dict(safetensors.torch.load_file(path))``; ``input_scale`` is no tensor,
        so a framework is given X divided. The file's metadata carry the architecture, not the
        optimizer and random state; `save` keeps those.

        Parameters
        ----------
        path : str or Path
            A file, written whole or not at all.

        Raises
        ------
        ImportError
            If safetensors is missing.
        OSError
            If the file cannot be written; an older file of that name stays as it was.
        ValueError
            If a parameter is NaN or infinite.

        Examples
        --------
        >>> import os, tempfile, fastmlp
        >>> net = fastmlp.MLP((4, 8, 2), rng=0, backend="numpy")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "net.safetensors")
        ...     net.to_safetensors(path)
        ...     again = fastmlp.MLP.from_safetensors(path, backend="numpy")
        >>> bool((again.weights[0] == net.weights[0]).all())
        True
        """
        from .tensor_file import to_safetensors

        to_safetensors(cast("MLP", self), path)

    @classmethod
    def from_safetensors(
        cls,
        path: str | Path,
        *,
        activation: str | Sequence[str] | None = None,
        output: str | None = None,
        loss: str | None = None,
        input_scale: float | None = None,
        dtype: Any = None,
        rng: Any = None,
        backend: str = "numba",
        threads: int | None = None,
    ) -> Self:
        """Read a safetensors file; needs the ``export`` extra.

        Of `to_safetensors`, or of a state dict of a ``torch.nn.Sequential``; then what the file
        does not say is given by name.

        Parameters
        ----------
        path : str or Path
        activation, output, loss, input_scale, dtype
            For a file that `to_safetensors` has not written, as for `from_torch`; a file that
            it has written names them itself.
        rng, backend, threads
            As for `MLP`.

        Returns
        -------
        MLP

        Raises
        ------
        ImportError
            If safetensors is missing.
        OSError
            If the file cannot be read.
        TypeError, ValueError
            If it is damaged, holds something else than a perceptron or numbers that are not
            finite, or an argument does not fit.
        """
        from .tensor_file import from_safetensors

        return from_safetensors(
            cls, path, activation=activation, output=output, loss=loss, input_scale=input_scale,
            dtype=dtype, rng=rng, backend=backend, threads=threads,
        )  # fmt: skip

    @classmethod
    def from_sklearn(
        cls,
        estimator: Any,
        *,
        input_scale: float | None = None,
        dtype: Any = None,
        rng: Any = None,
        backend: str = "numba",
        threads: int | None = None,
    ) -> Self:
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
            With the estimator's parameters, copied; its optimizer is the default.

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
        from .frameworks import from_sklearn

        return from_sklearn(
            cls, estimator, input_scale=input_scale, dtype=dtype, rng=rng, backend=backend,
            threads=threads,
        )  # fmt: skip

    @classmethod
    def from_torch(
        cls,
        model: Any,
        *,
        activation: str | Sequence[str] | None = None,
        output: str | None = None,
        loss: str | None = None,
        input_scale: float | None = None,
        dtype: Any = None,
        rng: Any = None,
        backend: str = "numba",
        threads: int | None = None,
    ) -> Self:
        """Make the network of a PyTorch model: a Sequential, or the state dict of a perceptron.

        A Sequential, nested or not, may hold Linear, Sigmoid, Tanh, ReLU, LeakyReLU, ELU, SiLU,
        Softplus, GELU (``approximate="tanh"``), each with the default parameters, Identity and
        Dropout (which predictions leave out; here it is an argument of `fit`), Flatten in front,
        and at the end Sigmoid, Softmax or LogSoftmax. A layer without biases among layers with
        them gets zeros.

        Parameters
        ----------
        model : torch.nn.Sequential, or mapping of str to tensor or array
            A state dict's names end in ``.weight`` (n_out, n_in) and ``.bias``; layers come in
            the mapping's order or, where names are the numbers of a Sequential, in theirs.
        activation : str or sequence of str
            Of a state dict's hidden layers, which it does not name; for a Sequential None.
        output : {"softmax", "sigmoid", "identity"}, optional
            What logits become where the model ends with them; by default softmax, if there are
            several. "identity" returns what the model returns.
        loss : str, optional
            As for `MLP`.
        input_scale : float, optional
            A divisor of X, if the model takes X divided by it.
        dtype : {"float32", "float64"}, optional
            By default the model's; of shorter types float32.
        rng, backend, threads
            As for `MLP`.

        Returns
        -------
        MLP
            With the model's parameters, copied.

        Raises
        ------
        TypeError
            If the model holds another module, named with its place.
        ValueError
            If a module has other parameters than fastmlp's activations, layers do not fit to
            each other, a parameter is not finite, or an argument is out of range.

        Examples
        --------
        >>> import numpy as np, fastmlp
        >>> state = {"0.weight": np.eye(3), "0.bias": np.zeros(3), "2.weight": np.ones((2, 3)),
        ...          "2.bias": np.zeros(2)}
        >>> net = fastmlp.MLP.from_torch(state, activation="relu", output="identity",
        ...                              backend="numpy")
        >>> net.predict(np.array([[1.0, 2.0, -3.0]])).tolist()
        [[3.0, 3.0]]
        """
        from .frameworks import from_torch

        return from_torch(
            cls, model, activation=activation, output=output, loss=loss, input_scale=input_scale,
            dtype=dtype, rng=rng, backend=backend, threads=threads,
        )  # fmt: skip

    @classmethod
    def from_keras(
        cls,
        model: Any,
        *,
        activation: str | Sequence[str] | None = None,
        output: str | None = None,
        loss: str | None = None,
        input_scale: float | None = None,
        dtype: Any = None,
        rng: Any = None,
        backend: str = "numba",
        threads: int | None = None,
    ) -> Self:
        """Make the network of a Keras model: a Sequential, or the arrays of ``get_weights()``.

        A Sequential may hold Dense, Activation, Dropout (which predictions leave out; here it is
        an argument of `fit`), and in front InputLayer, Flatten and Rescaling, which becomes
        ``input_scale``. Keras' own gelu and leaky_relu are other functions than fastmlp's.

        Parameters
        ----------
        model : keras.Sequential, or sequence of arrays
            Of each layer a kernel (n_in, n_out), then its bias (n_out,) if it has one.
        activation : str or sequence of str
            Of the hidden layers, where `model` is arrays, by fastmlp's names; else None.
        output, loss, input_scale, dtype, rng, backend, threads
            As for `from_torch`.

        Returns
        -------
        MLP
            With the model's parameters, copied.

        Raises
        ------
        TypeError
            If the model holds another layer, named with its place.
        ValueError
            If a layer has an activation that fastmlp lacks, layers do not fit to each other, a
            parameter is not finite, or an argument is out of range.

        Examples
        --------
        >>> import numpy as np, fastmlp
        >>> arrays = [np.eye(3), np.zeros(3), np.ones((3, 1)), np.zeros(1)]
        >>> net = fastmlp.MLP.from_keras(arrays, activation="relu", output="identity",
        ...                              backend="numpy")
        >>> net.predict(np.array([[1.0, 2.0, -3.0]])).tolist()
        [[3.0]]
        """
        from .frameworks import from_keras

        return from_keras(
            cls, model, activation=activation, output=output, loss=loss, input_scale=input_scale,
            dtype=dtype, rng=rng, backend=backend, threads=threads,
        )  # fmt: skip


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
