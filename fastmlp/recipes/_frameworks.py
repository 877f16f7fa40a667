"""PyTorch and Keras, where they are installed, on the very task that a recipe trains.

Both train sigmoid outputs by binary cross-entropy from logits, averaged over samples and outputs.
They get our initial parameters and the samples in our order, so that after some steps the
parameters have to be the same ones, up to rounding.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["FRAMEWORKS", "Outcome", "Task"]


@dataclass(frozen=True)
class Task:
    """One epoch of plain SGD, the samples in order.

    Attributes
    ----------
    weights, biases : sequences of ndarray
        The initial parameters, (n_in, n_out) and (n_out,) each.
    X : ndarray, (n, n_in)
    Y : ndarray, (n, n_out)
        One-hot rows.
    batch_size : int
    learning_rate : float
        Of the loss that is averaged over outputs too.
    """

    weights: Sequence[np.ndarray]
    biases: Sequence[np.ndarray]
    X: np.ndarray
    Y: np.ndarray
    batch_size: int
    learning_rate: float


@dataclass(frozen=True)
class Outcome:
    """What a framework made of a task.

    Attributes
    ----------
    version : str
    parameters : list of ndarray
        The weights, then the biases, in our shapes.
    loss : float
        Mean over the epoch.
    seconds : float
        Of the training loop.
    """

    version: str
    parameters: list[np.ndarray]
    loss: float
    seconds: float


def run_torch(task: Task) -> Outcome | None:
    """Run the task as a PyTorch user would write it; None where PyTorch is missing."""
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return None
    linears, modules = [], []
    for weight, bias in zip(task.weights, task.biases, strict=True):
        linear = torch.nn.Linear(*weight.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight.T)))
            linear.bias.copy_(torch.from_numpy(np.array(bias)))
        linears.append(linear)
        modules += [linear, torch.nn.Sigmoid()]
    model = torch.nn.Sequential(*modules[:-1])  # the loss takes logits
    criterion = torch.nn.BCEWithLogitsLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=task.learning_rate)
    X, Y = torch.from_numpy(task.X), torch.from_numpy(task.Y)
    total = 0.0
    begun = time.perf_counter()
    for start in range(0, len(X), task.batch_size):
        x, y = X[start : start + task.batch_size], Y[start : start + task.batch_size]
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(x)
    seconds = time.perf_counter() - begun
    parameters = [linear.weight.detach().numpy().T for linear in linears]
    parameters += [linear.bias.detach().numpy() for linear in linears]
    return Outcome(str(torch.__version__), parameters, total / len(X), seconds)


def run_keras(task: Task) -> Outcome | None:
    """Run the task as a Keras user would write it; None where Keras or its backend is missing."""
    try:
        keras = importlib.import_module("keras")
    except ImportError:
        return None
    sizes = [bias.shape[0] for bias in task.biases]
    layers = [keras.layers.Dense(size, activation="sigmoid") for size in sizes[:-1]]
    layers.append(keras.layers.Dense(sizes[-1]))
    model = keras.Sequential([keras.Input((task.X.shape[1],)), *layers])
    for layer, weight, bias in zip(layers, task.weights, task.biases, strict=True):
        layer.set_weights([weight, bias])
    model.compile(
        optimizer=keras.optimizers.SGD(task.learning_rate),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
    )
    begun = time.perf_counter()
    history = model.fit(
        task.X, task.Y, batch_size=task.batch_size, epochs=1, shuffle=False, verbose=0
    )
    seconds = time.perf_counter() - begun
    parameters = [np.asarray(layer.get_weights()[0]) for layer in layers]
    parameters += [np.asarray(layer.get_weights()[1]) for layer in layers]
    return Outcome(str(keras.__version__), parameters, float(history.history["loss"][0]), seconds)


FRAMEWORKS: dict[str, Callable[[Task], Outcome | None]] = {
    "pytorch": run_torch,
    "keras": run_keras,
}
