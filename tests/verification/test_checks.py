"""`fastmlp verify`: it passes here, and it finds what is broken."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fastmlp import kernels
from fastmlp.cli import main
from fastmlp.verification import checks


def test_this_machine_passes(tmp_path, capsys):
    path = tmp_path / "found.json"
    assert main(["verify", "gradients", "threads", "--json", str(path)]) == 0
    found = json.loads(path.read_text())
    assert len(found) > 10
    assert all(finding["ok"] for finding in found)
    assert f"{len(found)} of {len(found)} checks passed" in capsys.readouterr().out


def test_a_broken_kernel_is_found(monkeypatch, capsys):
    honest = kernels.softmax
    monkeypatch.setattr(kernels, "softmax", lambda z: honest(z) * z.dtype.type(1.0001))
    assert main(["verify", "parity"]) == 1
    assert "FAILED parity softmax float32" in capsys.readouterr().out


def test_a_wrong_gradient_is_found(monkeypatch):
    honest = checks.MLP.loss_and_gradients

    def wrong(self, *args, **options):
        loss, gradients = honest(self, *args, **options)
        gradients.biases[0] *= 1.001
        return loss, gradients

    monkeypatch.setattr(checks.MLP, "loss_and_gradients", wrong)
    assert not any(finding.ok for finding in checks.verify(["gradients"]))


def test_bits_that_differ_are_found(monkeypatch):
    honest = checks.MLP.fit

    def shaken(self, *args, **options):
        honest(self, *args, **options)
        self.weights[0][0, 0] += np.float32(1e-5) * self.threads

    monkeypatch.setattr(checks.MLP, "fit", shaken)
    assert not any(finding.ok for finding in checks.verify(["threads"]))


def test_an_unknown_check(capsys):
    assert main(["verify", "everything"]) == 2
    assert "expected any of parity, gradients, threads" in capsys.readouterr().err
    with pytest.raises(ValueError, match="'x'"):
        list(checks.verify(["x"]))


def test_nothing_is_not_ok():
    assert not checks.Finding("x", float("nan"), 1.0).ok
