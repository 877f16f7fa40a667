"""Checkpoints and logs."""

from __future__ import annotations

import csv
import os

import numpy as np
from classifiers import HELD, LABELS, X, flat, make

from fastmlp import MLP, SGD, Adam, ModelCheckpoint
from fastmlp.callbacks import CSVLogger


def test_checkpoints_hold_what_a_run_goes_on_from(backend, tmp_path):
    whole, broken = make(backend), make(backend)
    options = {"batch_size": 16, "optimizer": Adam(0.01), "dropout": 0.2}
    whole.fit(X, LABELS, epochs=4, **options)
    saver = ModelCheckpoint(tmp_path / "net-{epoch:02d}.npz")
    broken.fit(X, LABELS, epochs=2, callbacks=[saver], **options)
    assert saver.saved == [str(tmp_path / f"net-0{k}.npz") for k in (1, 2)]
    resumed = MLP.load(saver.saved[1], backend=backend)
    assert len(resumed.history) == 2
    resumed.fit(X, LABELS, epochs=2, batch_size=16, dropout=0.2)
    np.testing.assert_array_equal(flat(resumed), flat(whole))


def test_checkpoints_of_the_best_alone(tmp_path):
    saver = ModelCheckpoint(
        tmp_path / "{epoch}-{val_accuracy:.4f}.npz", monitor="val_accuracy", best_only=True
    )
    history = make().fit(
        X, LABELS, epochs=12, optimizer=SGD(1.0), validation_data=HELD, callbacks=[saver]
    )
    best = np.maximum.accumulate(history.val_accuracy)
    rises = [0, *(1 + np.flatnonzero(np.diff(best)))]
    names = [f"{k + 1}-{history.val_accuracy[k]:.4f}.npz" for k in rises]
    assert [os.path.basename(path) for path in saver.saved] == names
    assert len(names) < 12
    one = ModelCheckpoint(tmp_path / "one.npz")
    net = make()
    net.fit(X, LABELS, epochs=3, callbacks=[one])
    np.testing.assert_array_equal(flat(MLP.load(tmp_path / "one.npz")), flat(net))


def test_a_log_has_a_line_per_epoch(tmp_path):
    path, net = tmp_path / "run.csv", make()
    path.write_text("old\n")
    history = net.fit(
        X, LABELS, epochs=3, validation_data=HELD, metrics=["f1"], callbacks=[CSVLogger(path)]
    )
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row.pop("epoch") for row in rows] == ["1", "2", "3"]
    for k, row in enumerate(rows):
        assert {n: float(v) for n, v in row.items()} == {
            name: values[k] for name, values in history.as_dict().items()
        }
    net.fit(X, LABELS, epochs=1, validation_data=HELD, metrics=["f1"],
            callbacks=[CSVLogger(path, append=True)])  # fmt: skip
    lines = path.read_text().splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("epoch,loss,accuracy,val_loss,val_accuracy,val_f1,learning_rate")
    net.fit(X, LABELS, epochs=1, callbacks=[CSVLogger(path, separator=";")])
    assert path.read_text().startswith("epoch;loss;accuracy;learning_rate;seconds\n1;")
