"""Other trainers on the same work: same data, dtype, arithmetic, initial weights, order.

Each peer is built from a workload, arrays and initial weights. ``run(epochs)`` trains and returns
the mean loss of the last epoch, ``predict()`` returns every sample's probabilities, so that it can
be seen that all do the same.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
import warnings
from functools import cached_property
from typing import Any

import numpy as np

from ..network import MLP
from ..optimizers import SGD
from .workloads import Workload

__all__ = ["PEERS", "FastMLP", "does", "installed"]

Arrays = list[np.ndarray]


def installed(name: str) -> bool:
    """Tell whether a peer's library can be imported."""
    library = PEERS[name].library
    return library is None or importlib.util.find_spec(library) is not None


def does(name: str, work: Workload) -> bool:
    """Tell whether a peer can do that work."""
    if PEERS[name].precisions is not None:
        return not work.predicts and work.precision in PEERS[name].precisions
    return work.predicts or hasattr(PEERS[name], "run")


def _initial(net: MLP) -> tuple[Arrays, Arrays]:
    return [w.copy() for w in net.weights], [b.copy() for b in net.biases]


class FastMLP:
    """The compiled backend."""

    library: str | None = None
    backend = "numba"
    precisions: tuple[str, ...] | None = None  # of training, that a peer is there for alone

    def __init__(self, work: Workload, X: np.ndarray, y: np.ndarray) -> None:
        self.work, self.X, self.y = work, X, y
        scale = 255.0 if X.dtype == np.uint8 else None
        self.net = MLP(
            work.layer_sizes, activation=work.activation, dtype=work.dtype, rng=0,
            input_scale=scale, backend=self.backend, precision=self._precision(),
        )  # fmt: skip
        self.weights, self.biases = _initial(self.net)

    def _precision(self) -> str:
        return self.work.precision

    def run(self, epochs: int) -> float:
        """Train and return the last epoch's mean loss."""
        history = self.net.fit(
            self.X, self.y, epochs=epochs, batch_size=self.work.batch_size, shuffle=True,
            optimizer=None if self.net._state.step else self.work.optimizer,
        )  # fmt: skip
        return history.loss[-1]

    def seconds(self, epochs: int) -> list[float]:
        """Train and return what each epoch takes."""
        work = self.work
        return self.net.fit(
            self.X, self.y, epochs=epochs, batch_size=work.batch_size, optimizer=work.optimizer
        ).seconds

    def predict(self) -> np.ndarray:
        """Return the probabilities of all samples."""
        return self.net.predict_proba(self.X)


class Highest(FastMLP):
    """fastmlp at its highest precision."""

    precisions = ("high", "medium")

    def _precision(self) -> str:
        return "highest"


class NumPy(FastMLP):
    """The reference."""

    backend = "numpy"


class ScikitLearn:
    """scikit-learn's MLPClassifier."""

    library = "sklearn"
    precisions = None

    def __init__(self, work: Workload, X: np.ndarray, y: np.ndarray) -> None:
        self.work, self.X, self.y = work, X, y

    def _model(self, epochs: int) -> Any:
        from sklearn.neural_network import MLPClassifier

        plain = isinstance(self.work.optimizer, SGD)
        return MLPClassifier(
            self.work.layer_sizes[1:-1], alpha=0.0, tol=0.0, random_state=0,
            activation={"sigmoid": "logistic"}.get(self.work.activation, self.work.activation),
            solver="sgd" if plain else "adam", nesterovs_momentum=False,
            n_iter_no_change=10**9, max_iter=epochs,
            batch_size=min(self.work.batch_size or len(self.X), len(self.X)),
            learning_rate_init=self.work.optimizer.learning_rate,
            momentum=getattr(self.work.optimizer, "momentum", 0.0),
        )  # fmt: skip

    def run(self, epochs: int) -> float:
        """Train and return the last epoch's mean loss."""
        from sklearn.exceptions import ConvergenceWarning

        model = self._model(epochs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(self.X, self.y)
        return float(model.loss_curve_[-1])

    @cached_property
    def _fitted(self) -> Any:
        """A model with the weights that the others have."""
        start = FastMLP(self.work, self.X[:1], self.y[:1])
        model = self._model(1)
        model.partial_fit(self.X, self.y, classes=np.arange(self.work.layer_sizes[-1]))
        model.coefs_, model.intercepts_ = start.weights, start.biases
        return model

    def predict(self) -> np.ndarray:
        """Return the probabilities of all samples."""
        return self._fitted.predict_proba(self.X)


class PyTorch:
    """PyTorch, eager; with `set_float32_matmul_precision`."""

    library = "torch"
    precisions: tuple[str, ...] | None = None

    def __init__(self, work: Workload, X: np.ndarray, y: np.ndarray) -> None:
        import torch

        self.torch, self.work = torch, work
        self.X, self.y = torch.from_numpy(X), torch.from_numpy(y)
        start = FastMLP(work, X[:1], y[:1])
        modules: list[Any] = []
        for W, b in zip(start.weights, start.biases, strict=True):
            layer = torch.nn.Linear(len(W), len(b), dtype=getattr(torch, work.dtype))
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(W.T.copy()))
                layer.bias.copy_(torch.from_numpy(b))
            kind = {"sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "ReLU"}[work.activation]
            modules += [layer, getattr(torch.nn, kind)()]
        self.model = torch.nn.Sequential(*modules[:-1])
        parameters, rate = self.model.parameters(), work.optimizer.learning_rate
        self.optimizer: Any
        if isinstance(work.optimizer, SGD):
            self.optimizer = torch.optim.SGD(parameters, lr=rate, momentum=work.optimizer.momentum)
        else:
            self.optimizer = torch.optim.Adam(parameters, lr=rate)
        self.rng = np.random.default_rng(1)

    def run(self, epochs: int) -> float:
        """Train and return the last epoch's mean loss."""
        before = self.torch.get_float32_matmul_precision()
        self.torch.set_float32_matmul_precision(self.work.precision)
        try:
            return self._run(epochs)
        finally:
            self.torch.set_float32_matmul_precision(before)

    def _loss(self, x: Any, y: Any) -> Any:
        return self.torch.nn.functional.cross_entropy(self.model(x), y)

    def _run(self, epochs: int) -> float:
        torch = self.torch
        n = len(self.X)
        size = min(self.work.batch_size or n, n)
        total = 0.0
        for _ in range(epochs):
            order = torch.from_numpy(self.rng.permutation(n))
            losses = []
            for start in range(0, n, size):
                # the full batch needs no copy in another order
                rows = slice(None) if size == n else order[start : start + size]
                x, y = self.X[rows], self.y[rows]
                self.optimizer.zero_grad()
                loss = self._loss(x, y)
                loss.backward()
                self.optimizer.step()
                losses.append(loss.detach() * len(x))
            total = float(torch.stack(losses).sum()) / n
        return total

    def predict(self) -> Any:
        """Return the probabilities of all samples."""
        with self.torch.inference_mode():
            return self.torch.softmax(self.model(self.X), 1)


class Autocast(PyTorch):
    """PyTorch's mixed precision: layers in bfloat16, parameters in float32."""

    precisions = ("medium",)

    def _loss(self, x: Any, y: Any) -> Any:
        with self.torch.autocast("cpu", dtype=self.torch.bfloat16):  # left before each step: it
            return super()._loss(x, y)  # keeps the weights' copies for as long as it lasts


class JAX:
    """JAX, the whole epoch in one jitted scan; predictions jitted too."""

    library = "jax"
    precisions = None

    def __init__(self, work: Workload, X: np.ndarray, y: np.ndarray) -> None:
        import jax

        if work.dtype == "float64":
            jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call]
        import jax.numpy as jnp

        self.jax, self.work = jax, work
        start = FastMLP(work, X[:1], y[:1])
        pairs = zip(start.weights, start.biases, strict=True)
        self.parameters = [(jnp.asarray(W), jnp.asarray(b)) for W, b in pairs]
        zeros = [(jnp.zeros_like(W), jnp.zeros_like(b)) for W, b in self.parameters]
        self.state = (zeros, zeros, jnp.zeros((), work.dtype))
        self.X, self.y = jnp.asarray(X), jnp.asarray(y)
        self.rng = np.random.default_rng(1)
        self.epoch = jax.jit(self._build())
        self.answer = jax.jit(lambda parameters, X: jax.nn.softmax(self._logits(parameters, X)))

    def _logits(self, parameters: Any, x: Any) -> Any:
        nn = self.jax.nn
        activation = {"sigmoid": nn.sigmoid, "tanh": nn.tanh, "relu": nn.relu}[self.work.activation]
        for W, b in parameters[:-1]:
            x = activation(x @ W + b)
        W, b = parameters[-1]
        return x @ W + b

    def _build(self) -> Any:
        jax, work = self.jax, self.work
        import jax.numpy as jnp

        rate = work.optimizer.learning_rate

        def cost(parameters: Any, x: Any, y: Any) -> Any:
            log_a = jax.nn.log_softmax(self._logits(parameters, x))
            return -jnp.take_along_axis(log_a, y[:, None], 1).mean()

        def adam(p: Any, g: Any, m: Any, u: Any, t: Any) -> Any:
            m = 0.9 * m + 0.1 * g
            u = 0.999 * u + 0.001 * g * g
            return p - rate * (m / (1 - 0.9**t)) / (jnp.sqrt(u / (1 - 0.999**t)) + 1e-8), m, u

        def move(parameters: Any, state: Any, g: Any) -> Any:
            if isinstance(work.optimizer, SGD) and work.optimizer.momentum:
                decay = work.optimizer.momentum
                m = jax.tree.map(lambda m, d: decay * m - rate * d, state[0], g)
                return jax.tree.map(lambda p, m: p + m, parameters, m), (m, *state[1:])
            if isinstance(work.optimizer, SGD):
                return jax.tree.map(lambda p, d: p - rate * d, parameters, g), state
            m, u, t = state[0], state[1], state[2] + 1
            moved = [
                [adam(p, d, a, b, t) for p, d, a, b in zip(*layer, strict=True)]
                for layer in zip(parameters, g, m, u, strict=True)
            ]
            parts = [[tuple(array[i] for array in layer) for layer in moved] for i in range(3)]
            return parts[0], (parts[1], parts[2], t)

        def epoch(parameters: Any, state: Any, X: Any, y: Any, batches: Any) -> Any:
            def step(carry: Any, rows: Any) -> Any:
                parameters, state = carry
                loss, g = jax.value_and_grad(cost)(parameters, X[rows], y[rows])
                return move(parameters, state, g), loss

            if batches is None:
                loss, g = jax.value_and_grad(cost)(parameters, X, y)
                return *move(parameters, state, g), loss
            (parameters, state), losses = jax.lax.scan(step, (parameters, state), batches)
            return parameters, state, losses.mean()

        return epoch

    def run(self, epochs: int) -> float:
        """Train and return the last epoch's mean loss (whole batches only)."""
        n = len(self.X)
        size = min(self.work.batch_size or n, n)
        loss = None
        for _ in range(epochs):
            batches = None
            if size < n:
                order = self.rng.permutation(n)
                batches = order[: n // size * size].reshape(-1, size)
            with self.jax.default_matmul_precision(_OF_JAX[self.work.precision]):
                self.parameters, self.state, loss = self.epoch(
                    self.parameters, self.state, self.X, self.y, batches
                )
        return float(loss)  # type: ignore[arg-type]

    def predict(self) -> Any:
        """Return the probabilities of all samples."""
        return self.answer(self.parameters, self.X).block_until_ready()


class ONNXRuntime:
    """onnxruntime, which trains nothing."""

    library = "onnxruntime"
    precisions = None

    def __init__(self, work: Workload, X: np.ndarray, y: np.ndarray) -> None:
        import onnxruntime

        self.X = X
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "net.onnx")
            FastMLP(work, X[:1], y[:1]).net.to_onnx(path)
            self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.name = self.session.get_inputs()[0].name

    def predict(self) -> np.ndarray:
        """Return the probabilities of all samples."""
        return self.session.run(None, {self.name: self.X})[-1]


_OF_JAX = {"highest": None, "high": "high", "medium": "bfloat16"}
PEERS: dict[str, Any] = {
    "fastmlp highest": Highest,
    "NumPy": NumPy,
    "scikit-learn": ScikitLearn,
    "PyTorch": PyTorch,
    "PyTorch autocast": Autocast,
    "JAX": JAX,
    "onnxruntime": ONNXRuntime,
}
