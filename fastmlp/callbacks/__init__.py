"""What may be called while a network trains: stop, log, save, show.

=============================================  ====================================================
callback                                       does
=============================================  ====================================================
``EarlyStopping("val_loss", patience=10)``     ends the run, and goes back to the best epoch
``ModelCheckpoint("net-{epoch}.npz")``         saves the network and all that its run goes on from
``CSVLogger("log.csv")``                       a line of figures for every epoch
``ProgressBar()``                              a bar, in a terminal or a notebook
``TerminateOnNaN()``                           ends the run where a loss is no longer finite
``LearningRateFinder().run(net, X, y)``        tries learning rates on a copy of the network, and
                                               suggests one
=============================================  ====================================================

Your own is a `Callback` with hooks as Keras has them, around training, epochs and batch groups. A
batch group is about 0.1 s of steps; for a single batch nothing is called. All but the last go into
``net.fit(..., callbacks=[...])``.

**A run that may be killed at any moment**, and ends with the bits of one that was not: start these
lines again, as often as it takes. A checkpoint is written whole or not at all. It holds all that
training goes on from: parameters, optimizer, schedule, random state, history, what is held out for
validation, and the best epoch of early stopping.

>>> import os, tempfile
>>> import numpy as np, fastmlp
>>> X = np.random.default_rng(0).normal(size=(300, 4))
>>> y = (X[:, 0] > X[:, 1]).astype(int)
>>> def run(path, epochs):
...     exists = os.path.exists(path)
...     net = fastmlp.MLP.load(path) if exists else fastmlp.MLP((4, 8, 2), rng=0)
...     checkpoint = fastmlp.ModelCheckpoint(path)
...     net.fit(X, y, epochs=epochs, resume=True, callbacks=[checkpoint])
...     return net
>>> with tempfile.TemporaryDirectory() as folder:
...     whole = run(os.path.join(folder, "whole.npz"), epochs=5)
...     first = run(os.path.join(folder, "net.npz"), epochs=2)  # and then it was killed
...     again = run(os.path.join(folder, "net.npz"), epochs=5)
>>> len(again.history.loss), np.array_equal(again.weights[0], whole.weights[0])
(5, True)
"""

from .base import Callback, TerminateOnNaN
from .early_stopping import EarlyStopping
from .files import CSVLogger, ModelCheckpoint
from .learning_rate_finder import LearningRateFinder, LearningRates
from .progress import ProgressBar

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "LearningRateFinder",
    "LearningRates",
    "ModelCheckpoint",
    "ProgressBar",
    "TerminateOnNaN",
]
