"""Files: whole round trips, and atomic writes."""

from __future__ import annotations

import json
import os
import stat
from functools import partial

import numpy as np
import pytest
from models import LABELS, X, everything, make, trained

from fastmlp import (
    MLP,
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    AnnealOnRise,
    CosineDecay,
    ModelCheckpoint,
    OneCycle,
    ReduceOnPlateau,
    RMSProp,
    StepDecay,
)
from fastmlp.activations import ACTIVATIONS
from fastmlp.losses import OUTPUTS
from fastmlp.report import write_report


@pytest.mark.parametrize(
    ("path", "error"),
    [(None, TypeError), (5, TypeError), (b"net.npz", TypeError), ("", ValueError),
     ("a\0b", ValueError)],
)  # fmt: skip
def test_what_is_no_path_is_named(path, error):
    calls = (make().save, MLP.load, partial(write_report, make()), ModelCheckpoint)
    for call in calls:
        with pytest.raises(error, match="path: expected"):
            call(path)


# round trips

NETWORKS = {name: {"activation": name} for name in ACTIVATIONS}
NETWORKS |= {
    f"{output} {loss}": {"output": output, "loss": loss}
    for output, losses in OUTPUTS.items()
    for loss in losses
}
NETWORKS |= {
    "mixed activations": {"activation": ("relu", "gelu")},
    "no bias": {"bias": False},
    "input_scale": {"input_scale": 255.0},
    "float64": {"dtype": "float64"},
    "momentum": {"optimizer": SGD(0.1, momentum=0.9, nesterov=True)},
    "adagrad": {"optimizer": AdaGrad(0.02, epsilon=1e-6)},
    "rmsprop": {"optimizer": RMSProp(0.01, rho=0.8)},
    "adam": {"optimizer": Adam(0.01, beta_1=0.8), "dtype": "float64", "bias": False},
    "adamw": {"optimizer": AdamW(0.01, weight_decay=0.2)},
    "annealed": {"schedule": AnnealOnRise(0.7), "optimizer": SGD(20.0)},
    "plateau": {"schedule": ReduceOnPlateau(patience=0, min_delta=1.0)},
    "cosine": {"schedule": CosineDecay(epochs=7, warmup=0.1)},
    "one cycle": {"schedule": OneCycle()},
    "steps": {"schedule": StepDecay(every=1)},
}


@pytest.mark.parametrize("options", NETWORKS.values(), ids=NETWORKS)
def test_a_loaded_network_is_the_saved_one(tmp_path, options):
    net, path = trained(**options), tmp_path / "net.npz"
    net.save(path)
    assert os.listdir(tmp_path) == ["net.npz"]
    twin = MLP.load(path, backend="numpy")
    assert everything(twin) == everything(net)
    np.testing.assert_array_equal(twin.predict_proba(X), net.predict_proba(X))
    assert twin.weights[0].flags.writeable
    y = LABELS if net.architecture.output == "softmax" else np.eye(3)[LABELS]
    for each in (net, twin):
        each.fit(X, y, epochs=1, batch_size=16, schedule=options.get("schedule"))
    assert everything(twin)[:-1] == everything(net)[:-1]


BITS = (np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64)


@pytest.mark.parametrize("bits", BITS)
def test_every_random_generator_goes_on(tmp_path, bits):
    net = make(rng=np.random.Generator(bits(5)))
    net._rng.integers(0, 9, dtype=np.int32)  # half of a 64-bit draw is kept for later
    net.save(tmp_path / "net")
    twin = MLP.load(tmp_path / "net")
    for draw in (lambda rng: rng.integers(0, 99, 5, dtype=np.int32), lambda rng: rng.random(9)):
        np.testing.assert_array_equal(draw(twin._rng), draw(net._rng))


def test_a_legacy_stream_goes_on(tmp_path):
    net = make(rng=np.random.RandomState(5))
    net._rng.randn()  # the second normal number of a pair is kept for later
    net.save(tmp_path / "net")
    twin = MLP.load(tmp_path / "net")
    assert isinstance(twin._rng, np.random.RandomState)
    np.testing.assert_array_equal(twin._rng.randn(5), net._rng.randn(5))


def test_a_file_serves_both_backends(tmp_path):
    net = trained(Adam(0.01), dtype="float64")
    net.save(tmp_path / "net.npz")
    twin = MLP.load(tmp_path / "net.npz", threads=2)
    assert (twin.backend, twin.threads) == ("numba", 2)
    np.testing.assert_allclose(twin.predict_proba(X), net.predict_proba(X), rtol=1e-12)
    for wrong in ({"backend": "torch"}, {"threads": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            MLP.load(tmp_path / "net.npz", **wrong)


@pytest.mark.parametrize("name", ["net", "net.model", "net.npz", "größe 1.npz", ".hidden"])
@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_the_path_is_taken_as_it_is(tmp_path, monkeypatch, name, kind):
    make().save(kind(tmp_path / name))
    assert os.listdir(tmp_path) == [name]
    monkeypatch.chdir(tmp_path)
    trained().save(name)
    assert os.listdir(tmp_path) == [name]
    assert MLP.load(name).history.loss


@pytest.mark.skipif(os.name != "posix", reason="modes are a matter of POSIX")
def test_the_mode_is_that_of_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    make().save(tmp_path / "net")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "net")]
    assert modes[0] == modes[1]


def test_a_diverged_network_can_be_kept(tmp_path):
    net = make()
    net.weights[0][0, 0] = np.nan
    net.history.loss.extend([np.inf, np.nan])
    net.save(tmp_path / "net")
    with pytest.warns(RuntimeWarning, match=r"net: the network has parameters.* no finite numbers"):
        twin = MLP.load(tmp_path / "net")
    assert np.isnan(twin.weights[0][0, 0])
    assert repr(twin.history.loss) == "[inf, nan]"


# writing whole or not at all


def _partly(file, array, **options):
    file.write(b"half of it")
    raise KeyboardInterrupt


def _refuse(*arguments):
    raise OSError("no space left")


@pytest.mark.parametrize(
    ("place", "name", "broken", "error"),
    [
        (np.lib.format, "write_array", _partly, KeyboardInterrupt),
        (os, "fsync", _refuse, OSError),
        (os, "replace", _refuse, OSError),
        (json, "dumps", _refuse, OSError),
    ],
)
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, place, name, broken, error):
    path = tmp_path / "net.npz"
    make().save(path)
    before = path.read_bytes()
    net = trained()
    with monkeypatch.context() as patch:
        patch.setattr(place, name, broken)
        with pytest.raises(error):
            net.save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["net.npz"]


def test_places_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError):
        make().save(tmp_path / "no" / "net.npz")
    with pytest.raises(FileNotFoundError):
        MLP.load(tmp_path / "net.npz")
    with pytest.raises(OSError, match="directory"):
        MLP.load(tmp_path)
