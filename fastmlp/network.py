"""MLP: a network's parameters, and what can be asked of it."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np

from .architecture import Architecture
from .backends import BACKENDS, Backend, get_backend
from .contract.operations import Gradients
from .contract.parameters import Parameters, ParameterViews, replace
from .initializers import Initializer, get_initializer, random_source
from .optimizers import SGD, Optimizer, OptimizerState, get_optimizer
from .schedules import Schedule
from .support.attributes import Checked, Fixed
from .support.extras import MethodElsewhere
from .support.frames import column_names, in_order
from .support.interrupts import CtrlC
from .support.validation import (
    as_rows,
    check_choice,
    check_finite,
    check_integer,
    check_names,
    check_number,
    check_sample_weight,
    check_targets,
)
from .training.history import History, check_history

__all__ = ["MLP"]


class MLP:
    """A multilayer perceptron.

    Parameters
    ----------
    layer_sizes : sequence of int
        Inputs, hidden layers, outputs, as (784, 128, 10).
    activation : str or sequence of str, default "sigmoid"
        Of the hidden layers, one name or one per layer, of `fastmlp.activations.ACTIVATIONS`.
    output : {"softmax", "sigmoid", "identity"}, default "softmax"
        Exclusive classes, independent labels, or values.
    loss : str, optional
        softmax: cross_entropy. sigmoid: binary_cross_entropy, squared_error, absolute_error, huber.
        identity: the last three, or poisson, of the rate's logarithm. The first is the default.
    bias : bool, default True
    init : str or Initializer, default "glorot_uniform"
        A name of `fastmlp.initializers.INITIALIZERS`, or an object such as ``Normal(0.01)``.
    input_scale : float, optional
        X is divided by it as it is read.
    dtype : {"float32", "float64"}, default "float32"
    rng : int, numpy Generator or RandomState, optional
        Where weights and the order of samples are drawn from.
    backend : {"numba", "numpy"}, default "numba"
    threads : int, optional
        How many threads a step may use, chosen by default; the result is the same for any number.
    precision : {"highest", "high", "medium"}, default "highest"
        How wide layers multiply in `fit`: float32 or, summed in it, bfloat16: `fastmlp.kernels`.

    Attributes
    ----------
    feature_names : tuple of str or None
        The columns of the frame that the network was trained on. They are saved with it, and
        columns of another frame are put into their order; one that is missing or new is an error.
    class_names : tuple of str or None
        What the classes are called: saved too, and used by reports and the command line.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of that kind.

    Examples
    --------
    >>> import numpy as np, fastmlp
    >>> X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> y = np.array([0, 1, 1, 0])
    >>> net = fastmlp.MLP((2, 8, 2), activation="tanh", rng=1, backend="numpy")
    >>> history = net.fit(X, y, epochs=300, batch_size=None, optimizer=fastmlp.Adam(0.05))
    >>> net.predict(X).tolist()
    [0, 1, 1, 0]
    """

    layer_sizes = Fixed[tuple[int, ...]]("layer_sizes", "Inputs, hidden layers, outputs.")
    activation = Fixed[tuple[str, ...]]("activations", "The hidden layers' activations.")
    output = Fixed[str]("output", "What the last layer's logits become.")
    loss = Fixed[str]("loss", "What `fit` makes small.")
    bias = Fixed[bool]("bias", "Whether layers have biases.")
    input_scale = Fixed[float | None]("input_scale", "What X is divided by.")
    precision = Fixed[str]("precision", "How wide layers multiply in training.")
    dtype = Fixed[np.dtype]("dtype", "The type of parameters and arithmetic.", np.dtype)
    n_parameters = Fixed[int]("n_parameters", "How many weights and biases there are.")
    history = Checked[History](check_history, "The last fit, epoch by epoch.")
    backend = Checked[str](
        lambda name, _: check_choice("backend", name, tuple(BACKENDS)), "What computes."
    )
    threads = Checked[int | None](
        lambda count, _: None if count is None else check_integer("threads", count, low=1),
        "How many threads a step may use; None is chosen from the work at hand.",
    )
    feature_names = Checked[tuple[str, ...] | None](
        lambda names, net: check_names("feature_names", names, net.architecture.n_in),
        "What the columns of X are called, in the order of the inputs.",
    )
    class_names = Checked[tuple[str, ...] | None](
        lambda names, net: check_names("class_names", names, net.architecture.n_classes),
        "What classes, labels or outputs are called; of one sigmoid output both classes.",
    )

    def __init__(
        self,
        layer_sizes: Sequence[int],
        *,
        activation: str | Sequence[str] = "sigmoid",
        output: str = "softmax",
        loss: str | None = None,
        bias: bool = True,
        init: str | Initializer = "glorot_uniform",
        input_scale: float | None = None,
        dtype: Any = "float32",
        rng: Any = None,
        backend: str = "numba",
        threads: int | None = None,
        precision: str = "highest",
    ) -> None:
        architecture = Architecture(
            layer_sizes, activation=activation, output=output, loss=loss, bias=bias,
            input_scale=input_scale, dtype=dtype, precision=precision,
        )  # fmt: skip
        initializer = get_initializer(init)
        self.backend, self.threads = backend, threads
        self._rng = random_source(rng)
        self._start(architecture)
        self._parameters.draw(initializer, self._rng)

    def _start(self, architecture: Architecture) -> None:
        """Set everything that training changes to its beginning."""
        self.architecture = architecture
        self._parameters = Parameters(architecture)
        self._optimizer: Optimizer = SGD(0.1)
        self._state = OptimizerState()
        self._schedule: Schedule | None = None
        self._schedule_memory: dict[str, float] = {}
        self.history = History()
        self._held_out: dict[str, Any] | None = None  # the state of rng that drew them
        self._best: np.ndarray | None = None  # kept by early stopping
        self.stop_training = self._trains = False
        self.feature_names = self.class_names = None

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer of the last fit; assigning another one starts its state afresh."""
        return self._optimizer

    @optimizer.setter
    def optimizer(self, value: Optimizer | str) -> None:
        optimizer = get_optimizer(value)
        if optimizer is not self._optimizer and self._trains:
            raise ValueError(f"optimizer: in fit, expected a schedule instead, got {optimizer}")
        with CtrlC():
            if optimizer is not self._optimizer:
                self._parameters.clear_slots()
                self._state.step, self._optimizer = 0, optimizer
            self._state.slots = self._parameters.slot_views(optimizer.slots)

    @property
    def weights(self) -> ParameterViews:
        """The weights, (n_in, n_out) each: live arrays, assigning into them takes effect."""
        return ParameterViews("weights", self._parameters.weights)

    @weights.setter
    def weights(self, values: Sequence[Any]) -> None:
        replace("weights", self._parameters.weights, values)

    @property
    def biases(self) -> ParameterViews:
        """The biases, (n_out,) each, live; empty for a network without biases."""
        return ParameterViews("biases", self._parameters.biases)

    @biases.setter
    def biases(self, values: Sequence[Any]) -> None:
        replace("biases", self._parameters.biases, values)

    def _backend(self) -> Backend:
        return get_backend(self.backend)

    def _rows(self, X: Any) -> Any:
        X = in_order("X", X, self.feature_names)
        a, names = self.architecture, column_names(X)
        X = as_rows("X", X, a.n_in)
        finite = partial(self._backend().finite, threads=self.threads)
        check_finite("X", X, names, finite, dtype=a.dtype, scale=a.input_scale)
        return X

    def _samples(self, X: Any, y: Any, sample_weight: Any) -> tuple[Any, np.ndarray, Any]:
        X = self._rows(X)
        if X.shape[0] == 0:
            raise ValueError("X: expected at least one sample, got none")
        a = self.architecture
        targets = check_targets("y", y, X.shape[0], a.n_out, a.output, a.loss, self.dtype)
        return X, targets, check_sample_weight(sample_weight, X.shape[0])

    def forward(self, X: Any) -> list[np.ndarray]:
        """Return the activations, layer by layer, the output last.

        Parameters
        ----------
        X : array, frame or sparse matrix, (n, n_in)

        Returns
        -------
        list of ndarray, (n, n_out) each
        """
        return self._backend().activations(self._parameters, self._rows(X), self.threads)

    def loss_and_gradients(
        self, X: Any, y: Any, *, l2: float = 0.0, sample_weight: Any = None
    ) -> tuple[float, Gradients]:
        """Return the mean loss over X and its gradients.

        Parameters
        ----------
        X : array, frame or sparse matrix, (n, n_in)
        y : array
            Labels (n,) or targets (n, n_out).
        l2 : float, default 0
            Adds ``l2 / 2 * sum(W^2)``, biases excluded.
        sample_weight : array, (n,), optional
            The loss becomes the weighted mean.

        Returns
        -------
        loss : float
        gradients : Gradients
            With ``.weights`` and ``.biases`` shaped as the parameters.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit the network.
        """
        X, targets, weight = self._samples(X, y, sample_weight)
        l2 = check_number("l2", l2, low=0.0)
        return self._backend().loss_and_gradients(
            self._parameters, X, targets, l2, weight, self.threads
        )

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the outputs: probabilities of classes or labels; values for identity.

        Parameters
        ----------
        X : array, frame or sparse matrix, (n, n_in)

        Returns
        -------
        ndarray, (n, n_out)
        """
        return self._backend().answers(self._parameters, X, self._rows, self.threads)

    def predict(self, X: Any) -> np.ndarray:
        """Return labels (softmax), a 0/1 matrix (sigmoid), values (identity; poisson: logarithms).

        Parameters
        ----------
        X : array, frame or sparse matrix, (n, n_in)

        Returns
        -------
        ndarray of int64 (n,) or (n, n_out), or of the network's dtype (n, n_out)
        """
        outputs, kind = self.predict_proba(X), self.architecture.output
        if kind == "softmax":
            return outputs.argmax(axis=1)
        return (outputs > 0.5).astype(np.int64) if kind == "sigmoid" else outputs

    def evaluate(self, X: Any, y: Any, *, sample_weight: Any = None) -> dict[str, float]:
        """Return the mean loss, without penalty, and for classifiers the accuracy.

        The accuracy of a sigmoid output is the share of samples whose labels are all right.

        Parameters
        ----------
        X : array, frame or sparse matrix, (n, n_in)
        y : array
        sample_weight : array, (n,), optional
            Weights of the loss; the accuracy counts every sample once.

        Returns
        -------
        dict
            ``loss`` and, unless the output is identity, ``accuracy``.
        """
        X, targets, weight = self._samples(X, y, sample_weight)
        loss, accuracy = self._backend().evaluator(
            self._parameters, X, targets, weight, self.threads, repeated=False
        )()
        return {"loss": loss} | ({} if self.output == "identity" else {"accuracy": accuracy})

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        epochs: int = 10,
        batch_size: int | None = 64,
        optimizer: Optimizer | str | None = None,
        schedule: Schedule | str | None = None,
        l2: float = 0.0,
        dropout: float | Sequence[float] = 0.0,
        shuffle: bool = True,
        validation_data: tuple[Any, Any] | None = None,
        validation_split: float = 0.0,
        early_stopping: Any = None,
        callbacks: Sequence[Any] = (),
        sample_weight: Any = None,
        class_weight: Any = None,
        l1: float = 0.0,
        clip_norm: float | None = None,
        label_smoothing: float = 0.0,
        max_norm: float | None = None,
        metrics: Sequence[Any] = (),
        on_divergence: str = "raise",
        resume: bool = False,
        progress: bool | None = None,
    ) -> History:
        """Train, from the present parameters and optimizer state on.

        Parameters
        ----------
        X : array, frame, sparse matrix (n, n_in), or chunks
            Of any real dtype and layout; never converted or copied whole. Without y: an iterable
            of chunks ``(X, y)`` or ``(X, y, sample_weight)``, or a function that returns one for
            every epoch. One is held at a time, and batches are cut and shuffled within it. A list
            is checked whole first, an iterator's are trained on up to one that is refused.
        y : array
            Labels (n,) or targets (n, n_out).
        epochs : int, default 10
        batch_size : int or None, default 64
            Samples of a step; None is all, 1 is stochastic. A smaller last batch counts as well.
        optimizer : Optimizer or str, optional
            Another object than the network has, also an equal one, starts its state afresh.
        schedule : Schedule or str, optional
            Goes on where it was if it equals the one of the last fit.
        l1, l2 : float, default 0
            Add ``l1 * sum(|W|) + l2 / 2 * sum(W^2)``, biases excluded, to the loss.
        dropout : float in [0, 1) or one per hidden layer, default 0
            The share of hidden activations left out in a step; the others are scaled up.
        shuffle : bool, default True
            Draw a new order of the samples for every epoch.
        validation_data : (X, y), optional
            Evaluated after every epoch, without penalties, dropout and smoothing.
        validation_split : float in [0, 1), default 0
            The share of samples that is held out as validation data, drawn once; with early
            stopping a classifier's class by class.
        early_stopping : bool or EarlyStopping, optional
            Ends the fit when validation has stopped improving, and goes back to the best epoch.
            Holds a tenth of the samples out where there are no validation data.
        callbacks : sequence of Callback, default none
            See `fastmlp.callbacks`.
        sample_weight : array, (n,), optional
            Up to 1e30; less than 1e-30 counts as 0.
        class_weight : dict or "balanced", optional
            A weight per label, times that of the sample.
        clip_norm : float, optional
            The most that the norm of the whole gradient may be; a larger one is scaled down.
        label_smoothing : float in [0, 1), default 0
            The share of a target that is spread evenly over all classes.
        max_norm : float, optional
            The most that the norm of each neuron's incoming weights may be after a step.
        metrics : sequence of str, callable or Metric, default none
            Measured after every epoch, of validation data where there are any: `fastmlp.metrics`.
        on_divergence : {"raise", "restore", "ignore"}, default "raise"
            When the loss is not finite: raise; end, at the last finite parameters; or go on.
        resume : bool, default False
            Go on with the run of ``net.history``, whose whole length is `epochs`: with the same
            arguments a checkpoint ends with the bits of a run that was never broken off.
        progress : bool, optional
            A bar, and a line if kernels are compiled; by default where somebody is watching.

        Returns
        -------
        History
            Also kept as ``net.history``. Ctrl-C ends the fit with a warning and what there is.

        Raises
        ------
        DivergenceError
            If the loss or a parameter is finite no more; it says where, and what to try.
        TypeError, ValueError
            If an argument is not of that kind; nothing is changed then.
        """
        with CtrlC():
            from .training.options import FitOptions
            from .training.trainer import fit
        options = FitOptions(
            epochs=epochs, batch_size=batch_size, optimizer=optimizer, schedule=schedule, l1=l1,
            l2=l2, dropout=dropout, clip_norm=clip_norm, label_smoothing=label_smoothing,
            max_norm=max_norm, shuffle=shuffle, validation_data=validation_data,
            validation_split=validation_split, early_stopping=early_stopping, callbacks=callbacks,
            sample_weight=sample_weight, class_weight=class_weight, metrics=metrics,
            on_divergence=on_divergence, resume=resume, progress=progress,
        )  # fmt: skip
        return fit(self, X, y, options)

    # Files and models of other libraries: nothing of them is loaded before it is asked for.
    save = MethodElsewhere[None]("fastmlp.persistence", of="object")
    load = MethodElsewhere["MLP"]("fastmlp.persistence", of="class")
    to_onnx = MethodElsewhere[Any]("fastmlp.interchange.onnx_file", of="object")
    to_safetensors = MethodElsewhere[None]("fastmlp.interchange.tensor_file", of="object")
    from_safetensors = MethodElsewhere["MLP"]("fastmlp.interchange.tensor_file", of="class")
    from_sklearn = MethodElsewhere["MLP"]("fastmlp.interchange.sklearn_model", of="class")
    from_torch = MethodElsewhere["MLP"]("fastmlp.interchange.torch_model", of="class")
    from_keras = MethodElsewhere["MLP"]("fastmlp.interchange.keras_model", of="class")

    __copy__ = deepcopy  # a copy shares nothing with the network

    def __getstate__(self) -> dict[str, Any]:
        """Return arrays and plain values; nothing compiled, no views."""
        from .persistence import attached, pack

        header, arrays = pack(self)
        return {
            "header": header, "arrays": arrays, "backend": self.backend, "threads": self.threads,
            "rng": self._rng, "history": self.history, "attached": attached(self),
        }  # fmt: skip

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Rebuild the network from `__getstate__`."""
        from .persistence import unpack

        self.backend, self.threads = state["backend"], state["threads"]
        unpack(self, state["header"], state["arrays"])
        self._rng, self.history = state["rng"], state["history"]
        vars(self).update(state.get("attached", {}))

    def __repr__(self) -> str:
        """Return sizes, activations, output and dtype; another precision than the highest."""
        return f"MLP({self.architecture.described()})"

    def _repr_html_(self) -> str | None:
        from .report._notebook import network_html

        return network_html(self)
