"""Commands that fail, commands in processes of their own, and small data for them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

import fastmlp
from fastmlp.cli import main

SMALL = ("--backend", "numpy", "--layers", "6,8,3", "--batch-size", "16")
CHECKOUT = Path(fastmlp.__file__).parents[1]


def digits(n, rng):
    """Three classes told apart by which two of six pixels are bright."""
    y = rng.integers(0, 3, n)
    X = rng.integers(0, 60, (n, 6)).astype(np.uint8)
    X[np.arange(n), 2 * y] += 190
    X[np.arange(n), 2 * y + 1] += 190
    return X, y


def fails(capsys, *argv):
    """Run a command that has to end with 2 and one line of error; return that line."""
    before = set(os.listdir())
    assert main(list(argv)) == 2
    out, err = capsys.readouterr()
    assert re.fullmatch(r"fastmlp: error: [^\n]+\n", err), err
    assert set(os.listdir()) == before
    assert out == ""
    return err
