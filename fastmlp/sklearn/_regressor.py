"""MLPRegressor."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy.sparse import issparse
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if

from ..losses import OUTPUTS
from ._base import BaseMLP
from ._callback_support import with_callbacks
from ._epochs import Targets
from ._inputs import check_kind

__all__ = ["MLPRegressor"]


class MLPRegressor(RegressorMixin, BaseMLP):
    """A multilayer perceptron for values: `sklearn.neural_network.MLPRegressor`, fast.

    Parameters
    ----------
    loss : {"squared_error", "poisson", "absolute_error", "huber"}, default "squared_error"
        Half the squared error; half the Poisson deviance of ``exp`` of the output; the absolute
        error; Huber's with a threshold of 1. The mean over outputs, for poisson the sum.
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init, \
power_t, max_iter, shuffle, random_state, tol, verbose, warm_start, momentum, \
nesterovs_momentum, early_stopping, validation_fraction, beta_1, beta_2, epsilon, \
n_iter_no_change, max_fun, dtype, threads, precision, dropout, optimizer, schedule, progress
        As for `MLPClassifier`; ``early_stopping`` watches R2.

    Attributes
    ----------
    loss_, best_loss_, loss_curve_, validation_scores_, best_validation_score_, \
validation_loss_curve_, t_, coefs_, intercepts_, learning_rate_, n_features_in_, n_iter_, \
n_layers_, n_outputs_, feature_names_in_, out_activation_
        As for `MLPClassifier`; scores are R2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp.sklearn import MLPRegressor
    >>> X = np.linspace(-2, 2, 100)[:, None]
    >>> model = MLPRegressor(solver="lbfgs", alpha=1e-3, tol=1e-3, random_state=0)
    >>> model.fit(X, X[:, 0] ** 2).score(X, X[:, 0] ** 2) > 0.99
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions(set(OUTPUTS["identity"]))],
    }
    _score_name = "r2"

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dtype: Any = None,
        threads: int | None = None,
        precision: str = "highest",
        dropout: float = 0.0,
        optimizer: Any = None,
        schedule: Any = None,
        progress: bool = False,
    ) -> None:
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.dtype = dtype
        self.threads = threads
        self.precision = precision
        self.dropout = dropout
        self.optimizer = optimizer
        self.schedule = schedule
        self.progress = progress

    # what BaseMLP asks for

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Any]:
        check_kind("y", y)
        if issparse(y):
            raise TypeError(f"y: expected a dense array, got a {type(y).__name__}")
        X, y = self._check_data(X, y, reset, y_numeric=True)
        if self.loss == "poisson" and y.min() < 0:
            raise ValueError(f"y: expected values of at least 0 for poisson, got {y.min()}")
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return X, y

    def _rows(self, y: np.ndarray) -> np.ndarray:
        return y.reshape(-1, 1) if y.ndim == 1 else y

    def _targets(self, y: np.ndarray, rows: np.ndarray, dtype: np.dtype) -> Targets:
        return Targets(np.ascontiguousarray(rows, dtype), self.loss)

    def _output(self) -> str:
        return "exp" if self.loss == "poisson" else "identity"

    def _stratified(self) -> bool:
        return False

    # what users call

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        validation_data: Any = None,
        callbacks: Any = None,
    ) -> MLPRegressor:
        """Train.

        Parameters
        ----------
        X : array, frame or sparse matrix, (n_samples, n_features)
        y : array, (n_samples,) or (n_samples, n_outputs)
        sample_weight : array, (n_samples,), optional
        validation_data, callbacks
            As for `MLPClassifier.fit`.

        Returns
        -------
        MLPRegressor
            Itself.

        Raises
        ------
        ValueError
            If data or parameters are not of that kind, or parameters became infinite.
        """
        return self._fit(
            X, y, sample_weight, incremental=False, validation_data=validation_data,
            callbacks=callbacks,
        )  # fmt: skip

    @available_if(lambda estimator: estimator._check_solver())
    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """Train for one epoch, from where the last call ended.

        Parameters
        ----------
        X : array, frame or sparse matrix, (n_samples, n_features)
        y : array, (n_samples,) or (n_samples, n_outputs)
        sample_weight : array, (n_samples,), optional

        Returns
        -------
        MLPRegressor
            Itself.
        """
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> np.ndarray:
        """Return the values.

        Parameters
        ----------
        X : array, frame or sparse matrix, (n_samples, n_features)

        Returns
        -------
        ndarray, (n_samples,) or (n_samples, n_outputs)
        """
        outputs = self._outputs(X)
        if self.out_activation_ == "exp":
            outputs = np.exp(outputs)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs
