"""What the classifier and the regressor share: parameters, fit, the way forward, the state."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from joblib.parallel import get_active_backend
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import check_is_fitted, validate_data

from ..activations import ACTIVATIONS
from ..architecture import PRECISIONS, check_precision
from ..callbacks import Callback
from ..callbacks.base import check_callbacks
from ..initializers import RandomSource
from ..losses import DEFAULT_LOSS, OUTPUTS
from ..optimizers import OPTIMIZERS, Optimizer
from ..schedules import SCHEDULES, Schedule
from ..support.cached import cached_property
from ..support.frames import without_categories
from ..support.interrupts import CtrlC
from ._callback_support import CallbackSupportMixin
from ._checks import (
    check_class_weights,
    check_continued,
    check_n_outputs,
    check_together,
    hidden_sizes,
)
from ._epochs import Samples, Targets
from ._held_out import HeldOut
from ._hooks import Hooks, as_callbacks, as_mlp
from ._inputs import are_plain, check_range, checked_weight, readable
from ._lbfgs import Objective, fit_lbfgs
from ._network import APPLIED, OUTPUT_NAMES, Network, activation_names, copies, draw
from ._random import source
from ._stochastic import CurrentRate, fit_stochastic, hold_out
from ._tasks import Tasks

__all__ = ["STOCHASTIC", "BaseMLP"]

STOCHASTIC = ("sgd", "adam")
_READ_AS_THEY_ARE = (np.float64, np.float32, np.uint8, np.bool_)


def _in_worker_thread() -> bool:
    """Tell whether joblib runs this in one of several threads: each gets one core then."""
    if threading.current_thread() is threading.main_thread():
        return False
    return bool(getattr(get_active_backend()[0], "nesting_level", 0))


class BaseMLP(CallbackSupportMixin, BaseEstimator, ABC):
    """Base of `MLPClassifier` and `MLPRegressor`."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions({*ACTIVATIONS, "logistic"}), list, tuple],
        "solver": [StrOptions({"lbfgs", *STOCHASTIC})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state", np.random.Generator],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "dtype": [StrOptions({"float32", "float64"}), np.dtype, type, None],
        "threads": [Interval(Integral, 1, None, closed="left"), None],
        "precision": [StrOptions(set(PRECISIONS))],
        "dropout": [Interval(Real, 0, 1, closed="left"), list, tuple],
        "optimizer": [StrOptions(set(OPTIMIZERS)), Optimizer, None],
        "schedule": [StrOptions(set(SCHEDULES)), Schedule, None],
        "progress": ["boolean"],
    }

    _score_name: ClassVar[str]
    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]

    # what the subclasses say

    @abstractmethod
    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Any]:
        """Return X and y, checked."""

    @abstractmethod
    def _rows(self, y: np.ndarray) -> np.ndarray:
        """Return the targets as (n, n_out); of exclusive classes their numbers, (n, 1)."""

    def _n_outputs(self, rows: np.ndarray) -> int:
        return int(rows.shape[1])

    @abstractmethod
    def _targets(self, y: np.ndarray, rows: np.ndarray, dtype: np.dtype) -> Targets:
        """Return the targets as the kernels take them."""

    @abstractmethod
    def _output(self) -> str:
        """Return ``out_activation_``."""

    @abstractmethod
    def _stratified(self) -> bool:
        """Tell whether held-out samples are drawn class by class."""

    # fit

    def _check_data(self, X: Any, y: Any, reset: bool, **checks: Any) -> tuple[Any, Any]:
        network = None if reset else self.__dict__.get("_network")
        plain = network is not None and network.accepts(X) and are_plain(y, len(X))
        if plain and "feature_names_in_" not in self.__dict__:
            return X, y
        X = readable("X", X)
        dtypes = _READ_AS_THEY_ARE[:2] if self.dtype is None else _READ_AS_THEY_ARE
        return validate_data(
            self, X, without_categories(y), accept_sparse=["csr", "csc"], multi_output=True,
            dtype=dtypes, reset=reset, **checks,
        )  # fmt: skip

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        *,
        incremental: bool,
        validation_data: Any = None,
        callbacks: Any = None,
    ) -> Any:
        hidden = hidden_sizes(self)
        check_together(self, hidden, incremental)
        names = activation_names(self.activation, len(hidden))
        found = self._check_callbacks(callbacks, validation_data)
        tasks = Tasks(self, self._most_tasks(incremental), sample_weight)
        first = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        if not first:
            check_continued(self, hidden, incremental)
        before = dict(self.__dict__)
        try:
            with CtrlC():  # what is fitted changes: all of it, or nothing
                X, y, rows, weight = self._checked(X, y, sample_weight, incremental, first)
                network = self._begun(names, [X.shape[1], *hidden], X.dtype, first)
            network.threads = self._threads()
            check_range(self, network, X, rows)
            weighted = self._class_weighted(y, weight, incremental)
            targets = self._targets(y, rows, network.parameters.dtype)
            samples = Samples(X, y, rows, targets, weighted, weight)
            validation = self._validation(validation_data, network)
            order, held_out = hold_out(self, samples, network, validation)
        except Exception:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise
        tasks.begin_fit(samples)
        try:
            if self.solver == "lbfgs":
                self._fit_lbfgs(network, samples, held_out, found, tasks)
            else:
                fit_stochastic(
                    self, network, samples, order=order, held_out=held_out,
                    incremental=incremental, callbacks=found, tasks=tasks,
                )  # fmt: skip
        finally:
            for callback in found:
                callback.close()
        if not all(np.isfinite(a).all() for a in (*self.coefs_, *self.intercepts_)):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large "
                "values and need to be preprocessed."
            )
        tasks.end_fit(samples)
        return self

    def _checked(
        self, X: Any, y: Any, sample_weight: Any, incremental: bool, first: bool
    ) -> tuple[Any, Any, np.ndarray, np.ndarray | None]:
        """Return X, y, the targets as rows and the sample weights, checked."""
        X, y = self._validate_input(X, y, incremental, reset=first)
        weight = checked_weight(sample_weight, X)
        rows = self._rows(y)
        if not first:
            check_n_outputs(self, "y", y, rows)
        self.n_outputs_ = self._n_outputs(rows)
        return X, y, rows, weight

    def _begun(
        self, names: tuple[str, ...], sizes: list[int], X_dtype: np.dtype, first: bool
    ) -> Network:
        """Return the network to train: a new one, or the one there is."""
        self.__dict__.pop("_rng", None)
        dtype = np.dtype(self.dtype or (np.float32 if X_dtype == np.float32 else np.float64))
        check_precision(self.precision, dtype.name)
        trained = {"activation": list(names), "loss": self.loss, "precision": self.precision}
        if self.__dict__.get("_trained") != trained:
            self._trained = trained  # what predictions go by, whatever is set later
        if first:
            self._initialize([*sizes, self.n_outputs_], dtype)
        elif self.dtype is not None and self.coefs_[0].dtype != dtype:
            self.coefs_ = [w.astype(dtype) for w in self.coefs_]
            self.intercepts_ = [b.astype(dtype) for b in self.intercepts_]
        return self._current()

    def _most_tasks(self, incremental: bool) -> int:
        return 1 if incremental else int(self.max_iter)

    def _initialize(self, sizes: list[int], dtype: np.dtype) -> None:
        """Draw the parameters and set everything that training changes to its beginning."""
        self.n_iter_, self.t_ = 0, 0
        self.n_layers_ = len(sizes)
        self.out_activation_ = self._output()
        names = self._trained["activation"]
        weights, biases = draw(self._rng, sizes, names, dtype)
        self.validation_loss_curve_ = None
        self._no_improvement_count = 0
        for name in (
            "_solver_state", "_slots", "loss_curve_", "best_loss_", "validation_scores_",
            "best_validation_score_",
        ):  # fmt: skip
            self.__dict__.pop(name, None)
        self._adopt(self._make_network(weights, biases))
        if self.solver in STOCHASTIC:
            self.loss_curve_: list[float] = []

    def _class_weighted(
        self, y: np.ndarray, weight: np.ndarray | None, incremental: bool
    ) -> np.ndarray | None:
        """Return the sample weights times those of their classes."""
        wanted = getattr(self, "class_weight", None)
        if wanted is None:
            return weight
        if incremental and wanted == "balanced":
            raise ValueError(
                "class_weight: 'balanced' looks at all of y, so partial_fit cannot have it; "
                "expected a dict, as compute_class_weight makes one"
            )
        check_class_weights(wanted)
        factors = compute_sample_weight(wanted, y)
        if not (incremental or factors.any()):
            raise ValueError("class_weight: expected at least one sample with a weight above 0")
        return np.ascontiguousarray(factors if weight is None else weight * factors, np.float64)

    def _validation(self, data: Any, network: Network) -> HeldOut | None:
        if data is None:
            return None
        if not isinstance(data, tuple | list) or len(data) not in (2, 3):
            raise TypeError(
                "validation_data: expected (X, y) or (X, y, sample_weight), got "
                f"{type(data).__name__}"
            )
        try:
            X, y = self._validate_input(data[0], data[1], True, reset=False)
            weight = checked_weight(data[2] if len(data) == 3 else None, X)
            rows = self._rows(y)
            check_range(self, network, X, rows)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"validation_data: {error}") from None
        check_n_outputs(self, "validation_data", y, rows)
        targets = self._targets(y, rows, network.parameters.dtype)
        return HeldOut(network, X, targets, rows, weight)

    def _own_logs(self, means: dict[str, float]) -> dict[str, float]:
        """Return an epoch's means as callbacks see them: accuracy is for classes."""
        return means if self._score_name == "accuracy" else {"loss": means["loss"]}

    def _check_callbacks(self, callbacks: Any, validation_data: Any) -> list[Callback]:
        """Return what is called during fit; all watch what there will be."""
        found = as_callbacks(callbacks, self)
        names = list(self._own_logs({"loss": 0.0, "accuracy": 0.0}))
        stochastic = self.solver in STOCHASTIC
        if validation_data is not None or (self.early_stopping and stochastic):
            names += ["val_loss", f"val_{self._score_name}"]
        names += ["learning_rate"] * stochastic + ["seconds"]
        check_callbacks(found, names)
        return found

    def _fit_lbfgs(
        self,
        network: Network,
        samples: Samples,
        held_out: HeldOut | None,
        callbacks: list[Callback],
        tasks: Tasks,
    ) -> None:
        """Minimise in float64, whatever the parameters are kept in.

        SciPy tries parameters in a network of its own; the estimator's has those of iterations.
        """
        double = self._make_network(
            [w.astype(np.float64) for w in network.weights],
            [b.astype(np.float64) for b in network.biases],
        )
        if network.parameters.dtype != np.float64:
            samples.targets = self._targets(samples.y, samples.rows, np.dtype(np.float64))
        n = len(samples.rows)
        hooks = Hooks(
            callbacks, as_mlp(network, self._rng) if callbacks else None, self.max_iter, n, n
        )
        objective = Objective(double, samples.X, samples.targets, samples.weight, self.alpha)
        fit_lbfgs(self, objective, samples, network, held_out, hooks=hooks, tasks=tasks)

    def _say(self, message: str) -> None:
        if self.verbose:
            print(message)

    def _check_solver(self) -> bool:
        if self.solver not in STOCHASTIC:
            raise AttributeError(
                "partial_fit is only available for stochastic optimizers. "
                f"{self.solver} is not stochastic."
            )
        return True

    # the network

    @cached_property
    def _rng(self) -> RandomSource:
        """Return the random numbers of one fit: seeding takes 0.1 ms, one sample needs none."""
        return source(self.random_state)

    def _threads(self) -> int | None:
        if self.threads is None and _in_worker_thread():
            return 1
        return self.threads

    def _make_network(self, weights: Any, biases: Any) -> Network:
        network = Network(
            weights,
            biases,
            self._activations(len(weights) - 1),
            *self._output_and_loss(),
            self._threads(),
            self.__dict__.get("_trained", {}).get("precision", "highest"),
        )
        network.made_for = (self.out_activation_, self.__dict__.get("_trained"))
        return network

    def _activations(self, n_hidden: int) -> tuple[str, ...]:
        """Return the hidden activations of the network that was fitted."""
        named = self.__dict__.get("_trained", {}).get("activation", self.activation)
        return activation_names(named, n_hidden)

    def _output_and_loss(self) -> tuple[str, str]:
        """Return output and loss of the network that was fitted, in the words of `MLP`."""
        loss = self.__dict__.get("_trained", {}).get("loss", self.loss)
        if self.out_activation_ not in OUTPUT_NAMES:
            raise ValueError(
                f"out_activation_: expected one of {', '.join(OUTPUT_NAMES)}, got "
                f"{self.out_activation_!r}"
            )
        output = OUTPUT_NAMES[self.out_activation_]
        return output, loss if loss in OUTPUTS[output] else DEFAULT_LOSS[output]

    def _adopt(self, network: Network) -> None:
        self.coefs_, self.intercepts_ = list(network.weights), list(network.biases)
        self._network = network

    def _current(self) -> Network:
        """Return the network of ``coefs_`` and ``intercepts_``, made anew where they are others."""
        network = self.__dict__.get("_network")
        if (
            network is not None
            and network.holds(self.coefs_, self.intercepts_)
            and network.made_for[0] == self.out_activation_
            and network.made_for[1] is self.__dict__.get("_trained")
        ):
            return network
        slots = self.__dict__.get("_slots", [])
        if network is not None:
            slots = network.slots_in_use() if "_solver_state" in self.__dict__ else []
        network = self._make_network(self.coefs_, self.intercepts_)
        parameters = network.parameters
        for views, arrays in zip(parameters.slot_views(len(slots)), slots, strict=True):
            if [v.shape for v in views] == [a.shape for a in arrays]:
                for view, array in zip(views, arrays, strict=True):
                    view[...] = array
        self._adopt(network)
        return network

    def _outputs(self, X: Any) -> np.ndarray:
        """Return what comes out for X, the exponential of a Poisson loss left out."""
        if "coefs_" not in self.__dict__:
            check_is_fitted(self)
        network = self._current()
        if "feature_names_in_" in self.__dict__:
            outputs = network.outputs(self._validated(X))
        else:
            outputs = network.answers(X, self._validated)
        applied = APPLIED.get(self.out_activation_)
        return outputs if applied is None else applied(outputs)

    def _validated(self, X: Any) -> Any:
        X = readable("X", X)
        X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        check_range(self, self._current(), X)
        return X

    @property
    def _optimizer(self) -> CurrentRate:
        """The learning rate where programs of scikit-learn's MLP look for it, and set it."""
        if "learning_rate_" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no optimizer before fit")
        return CurrentRate(self)

    # the state: plain values and arrays

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over a state; that of an older version has no precision."""
        super().__setstate__({"precision": "highest", **state})

    def __getstate__(self) -> dict[str, Any]:
        """Return parameters and fitted attributes; arrays are plain copies, nothing compiled."""
        state = dict(super().__getstate__())
        state.pop("_rng", None)  # every fit takes it from random_state
        network = state.pop("_network", None)
        if network is not None:
            state["coefs_"] = copies(self.coefs_)
            state["intercepts_"] = copies(self.intercepts_)
            if "_solver_state" in state:
                state["_slots"] = network.slots_in_use()
        return state

    def __sklearn_tags__(self) -> Any:
        """Return the tags: sparse input is welcome."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
