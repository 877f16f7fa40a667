"""L-BFGS: SciPy's, over loss and gradient of data that workers keep."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..network import MLP
from ..support.extras import require
from ..support.interrupts import CtrlC
from ..support.notices import notices, warn
from ..support.validation import check_integer, check_number
from ..training.divergence import DivergenceError
from ..training.history import History
from ..training.options import get_callbacks
from ._cluster import Cluster, connected
from ._fit import check_network
from ._samples import Data, DistributedSamples

__all__ = ["fit_lbfgs"]


def _vector(net: MLP) -> np.ndarray:
    """Return a network's parameters, all weights, then all biases, in float64."""
    parameters = [*net.weights, *net.biases]
    return np.concatenate([array.ravel() for array in parameters]).astype(np.float64)


def _enter(net: MLP, x: np.ndarray) -> None:
    """Give a network the parameters x."""
    done = 0
    for array in (*net.weights, *net.biases):
        array[...] = x[done : done + array.size].reshape(array.shape)
        done += array.size


def _beside(net: MLP) -> MLP:
    """Return another network of that architecture, to try parameters in."""
    other = MLP.__new__(MLP)
    other._start(net.architecture)
    other.backend, other.threads = net.backend, net.threads
    other.feature_names = net.feature_names
    return other


class _Objective:
    """The mean loss with its penalty, and its gradient, as functions of one vector.

    Parameters
    ----------
    net : MLP
        Whose parameters `samples` go by; left with those that were asked for last.
    samples : DistributedSamples
    l2 : float
    """

    def __init__(self, net: MLP, samples: DistributedSamples, l2: float) -> None:
        self._net, self._samples, self._l2 = net, samples, l2
        self._orders = samples.orders()
        self.loss, self.accuracy = np.nan, 0.0

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Return what `MLP.loss_and_gradients` would, of all samples at once."""
        _enter(self._net, x)
        parameters = self._net._parameters
        flat, loss, correct, total = self._samples.sums(orders=self._orders)
        flat /= parameters.dtype.type(total)
        weights, biases = parameters.views(flat)
        loss /= total
        if self._l2 > 0:
            for gradient, w in zip(weights, parameters.weights, strict=True):
                gradient += parameters.dtype.type(self._l2) * w
                loss += self._l2 / 2 * float(np.square(w).sum(dtype=np.float64))
        self.loss, self.accuracy = loss, correct / self._samples.count
        gradient = np.concatenate([array.ravel() for array in (*weights, *biases)])
        return loss, gradient.astype(np.float64)


def fit_lbfgs(
    net: MLP,
    X: Any,
    y: Any,
    *,
    client: Any = None,
    max_iter: int = 200,
    max_fun: int = 15_000,
    tol: float = 1e-4,
    l2: float = 0.0,
    callbacks: Sequence[Any] = (),
    sample_weight: Any = None,
    class_weight: Any = None,
    progress: bool | None = None,
    groups: int | None = None,
    timeout: float = 60.0,
) -> History:
    """Minimise the mean loss over data on a Dask cluster by L-BFGS; for networks in float64.

    Loss and gradient are those of `MLP.loss_and_gradients`, bit for bit where `fit` says so of
    `MLP.fit`; SciPy does the rest here (Liu & Nocedal 1989). Needs the extra ``sklearn`` for it.

    Parameters
    ----------
    net : MLP
        Goes on from its present parameters; its optimizer is left alone.
    X, y, client, sample_weight, class_weight, groups, timeout
        As for `fit`.
    max_iter, max_fun : int
        The most iterations, and the most evaluations of the loss.
    tol : float, default 1e-4
        The fit ends when no element of the gradient is larger.
    l2 : float, default 0
        Adds ``l2 / 2 * sum(W^2)``, biases excluded.
    callbacks : sequence of Callback, default none
        An iteration is an epoch to them.
    progress : bool, optional
        As for `MLP.fit`.

    Returns
    -------
    History
        One loss, with the penalty, and accuracy per iteration, each as after it. Ctrl-C ends the
        fit with a warning and the last whole iteration.

    Raises
    ------
    DistributedError
        As for `fit`; the network has the parameters of the last whole iteration.
    DivergenceError
        If the loss is no finite number to begin with.
    TypeError, ValueError
        If an argument or a partition is not what was expected; the network is unchanged then.
    """
    minimize = require("scipy.optimize", "sklearn").minimize
    groups, timeout = check_network(net, y, groups, timeout)
    options = {
        "maxiter": check_integer("max_iter", max_iter, low=1),
        "maxfun": check_integer("max_fun", max_fun, low=1),
        "gtol": check_number("tol", tol, low=0.0),
    }
    l2 = check_number("l2", l2, low=0.0)
    told = get_callbacks(callbacks, None, progress)
    names = ["loss", "seconds"] + ["accuracy"] * (net.architecture.output != "identity")
    for callback in told:
        callback.check(names)
    with connected(client, timeout) as found, notices(progress):
        cluster = Cluster(found, timeout)
        tried = _beside(net)  # so that an interrupt finds net as an iteration left it
        data = Data(tried, cluster, (X, y, sample_weight), groups, class_weight)
        samples = data.make_samples(1, None, False, None)
        samples.dense()
        run = _Run(net, _Objective(tried, samples, l2), told, samples.count, max_iter)
        message = run.minimize(minimize, options, samples.feature_names)
    if message:
        warn(message)
    return net.history


class _Run:
    """One call of fit_lbfgs: what happens around SciPy's iterations."""

    def __init__(
        self, net: MLP, objective: _Objective, callbacks: list[Any], count: int, max_iter: int
    ) -> None:
        self._net, self._objective, self._callbacks = net, objective, callbacks
        self._begun = time.perf_counter()
        for callback in callbacks:
            callback.net = net
            callback.params = {
                "epochs": max_iter, "batch_size": count, "steps": 1, "samples": count
            }  # fmt: skip

    def _call(self, hook: str, *arguments: Any) -> None:
        for callback in self._callbacks:
            getattr(callback, hook)(*arguments)

    def _iterated(self, x: np.ndarray) -> None:
        """Give the network an iteration's parameters; tell of it."""
        now = time.perf_counter()
        logs = {"loss": self._objective.loss}
        if self._net.architecture.output != "identity":
            logs["accuracy"] = self._objective.accuracy
        logs["seconds"], self._begun = now - self._begun, now
        with CtrlC():
            _enter(self._net, x)
            self._net.history.append(logs)
        self._call("on_epoch_end", len(self._net.history) - 1, logs)
        if self._net.stop_training:
            raise StopIteration
        self._call("on_epoch_begin", len(self._net.history), {})

    def minimize(
        self, minimize: Any, options: dict[str, Any], names: tuple[str, ...] | None
    ) -> str:
        """Go through the iterations; return what there is to warn of."""
        net, objective, message = self._net, self._objective, ""
        start = _vector(net)
        loss, _ = objective(start)
        if not np.isfinite(loss):
            raise DivergenceError(f"the loss is {loss} before the first iteration", loss=loss)
        net.history, net.stop_training, net.feature_names = History(), False, names
        self._begun = time.perf_counter()
        try:
            self._call("on_train_begin", {})
            self._call("on_epoch_begin", 0, {})
            try:
                with np.errstate(over="ignore", invalid="ignore"):
                    result = minimize(
                        objective, start, method="L-BFGS-B", jac=True,
                        callback=self._iterated, options=options,
                    )  # fmt: skip
                if result.status == 2:  # no limit, and no callback: the line search gave up
                    message = f"L-BFGS ended after {result.nit} iterations: {result.message}"
            except KeyboardInterrupt:
                net.history.interrupted = True
                message = f"fit was interrupted after {len(net.history)} whole iterations"
            self._call("on_train_end", {})
        finally:
            self._call("close")
        return message
