"""Networks as safetensors: the state dict of PyTorch's Sequential, the architecture beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..architecture import Architecture
from ..support.atomic import replacing
from ..support.extras import require
from ..support.sources import open_regular
from ..support.validation import check_finite, check_path
from .layers import NetworkOptions, make_network, network_of
from .torch_model import layers_of_state

if TYPE_CHECKING:
    from ..network import MLP

__all__ = ["from_safetensors", "to_safetensors"]

KEY, VERSION = "fastmlp", 1
_MOST_HEADER = 8 << 20  # bytes: 50,000 tensors
_NUMPY = {"F16": "float16", "F32": "float32", "F64": "float64"}


def to_safetensors(net: MLP, path: str | Path) -> None:
    """Write architecture and parameters as safetensors; needs the ``export`` extra.

    The tensors are named and shaped as in the state dict of the ``torch.nn.Sequential`` of
    the same layers, an activation module after each but the last: ``0.weight`` (n_out, n_in),
    ``0.bias``, ``2.weight`` and so on. PyTorch takes them with
    ``model.load_state_dict(safetensors.torch.load_file(path))``; ``input_scale`` is no tensor,
    so a framework is given X divided. The file's metadata carry the architecture, not the
    optimizer and random state; `save` keeps those.

    Parameters
    ----------
    path : str or Path
        A file, written whole or not at all.

    Raises
    ------
    ImportError
        If safetensors is missing.
    OSError
        If the file cannot be written; an older file of that name stays as it was.
    ValueError
        If a parameter is NaN or infinite.

    Examples
    --------
    >>> import os, tempfile, fastmlp
    >>> net = fastmlp.MLP((4, 8, 2), rng=0, backend="numpy")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "net.safetensors")
    ...     net.to_safetensors(path)
    ...     again = fastmlp.MLP.from_safetensors(path, backend="numpy")
    >>> bool((again.weights[0] == net.weights[0]).all())
    True
    """
    save = require("safetensors.numpy", "export").save
    tensors = {}
    for i, W in enumerate(net.weights):
        check_finite(f"weights[{i}]", W)
        tensors[f"{2 * i}.weight"] = np.ascontiguousarray(W.T)
    for i, b in enumerate(net.biases):
        check_finite(f"biases[{i}]", b[:, None])
        tensors[f"{2 * i}.bias"] = np.ascontiguousarray(b)
    told = {"version": VERSION, "architecture": net.architecture.config(), "by": __version__}
    # "format" is what other readers look for: the tensors' layout is PyTorch's
    data = save(tensors, metadata={"format": "pt", KEY: json.dumps(told)})
    with replacing(path) as name, open(name, "wb") as file:
        file.write(data)


def _architecture(text: str) -> Architecture:
    told = json.loads(text)
    if type(told["version"]) is not int or told["version"] != VERSION:
        raise ValueError(f"its format has version {told['version']!r}, not {VERSION}")
    config = dict(told["architecture"])
    return Architecture(config.pop("layer_sizes"), **config)


def _expected(a: Architecture) -> dict[str, list[int]]:
    """Return the shapes of the tensors by name."""
    shapes = {f"{2 * i}.weight": [n_out, n_in] for i, (n_in, n_out) in enumerate(a.layers)}
    if a.bias:
        shapes |= {f"{2 * i}.bias": [n_out] for i, (_, n_out) in enumerate(a.layers)}
    return shapes


def _own(file: Any, text: str) -> tuple[Architecture, dict[str, np.ndarray]]:
    """Return what `to_safetensors` has written, all of it looked at before any is read."""
    names, architecture = sorted(file.keys()), _architecture(text)
    expected = _expected(architecture)
    if names != sorted(expected):
        raise ValueError(f"expected tensors {sorted(expected)[:8]}, got {names[:8]}")
    dtype = architecture.dtype
    for name, shape in expected.items():
        found = file.get_slice(name)
        if found.get_shape() != shape or _NUMPY.get(found.get_dtype()) != dtype:
            raise ValueError(
                f"{name}: expected {dtype} {shape}, got {found.get_dtype()} {found.get_shape()}"
            )
    tensors = {name: file.get_tensor(name) for name in expected}
    for name, tensor in tensors.items():
        check_finite(name, tensor.reshape(len(tensor), -1))
    return architecture, tensors


def _foreign(file: Any) -> dict[str, np.ndarray]:
    """Return a state dict, which the names and shapes say is a perceptron's before it is read."""
    names, shapes = list(file.keys()), {}
    for name in names:
        found = file.get_slice(name)
        if found.get_dtype() not in _NUMPY:
            raise ValueError(f"{name}: expected {', '.join(_NUMPY)}, got {found.get_dtype()}")
        shapes[name] = np.broadcast_to(np.float32(0), found.get_shape())  # takes no memory
    layers_of_state("state dict", shapes)
    return {name: file.get_tensor(name) for name in names}


def from_safetensors(
    cls: type[MLP],
    path: str | Path,
    *,
    activation: str | Sequence[str] | None = None,
    output: str | None = None,
    loss: str | None = None,
    input_scale: float | None = None,
    dtype: Any = None,
    rng: Any = None,
    backend: str = "numba",
    threads: int | None = None,
) -> MLP:
    """Read a safetensors file; needs the ``export`` extra.

    Of `to_safetensors`, or of a state dict of a ``torch.nn.Sequential``; then what the file
    does not say is given by name.

    Parameters
    ----------
    path : str or Path
    activation, output, loss, input_scale, dtype
        For a file that `to_safetensors` has not written, as for `from_torch`; a file that
        it has written names them itself.
    rng, backend, threads
        As for `MLP`.

    Returns
    -------
    MLP

    Raises
    ------
    ImportError
        If safetensors is missing.
    OSError
        If the file cannot be read.
    TypeError, ValueError
        If it is damaged, holds something else than a perceptron or numbers that are not
        finite, or an argument does not fit.
    """
    safetensors = require("safetensors", "export")
    told = {
        "activation": activation, "output": output, "loss": loss, "input_scale": input_scale,
        "dtype": dtype,
    }  # fmt: skip
    kept = {"rng": rng, "backend": backend, "threads": threads}
    given = [name for name, value in told.items() if value is not None]
    path = check_path(path)
    network: Any = None
    try:
        with open_regular(path) as opened:
            size = int.from_bytes(opened.read(8), "little")
        if size > _MOST_HEADER:
            raise ValueError(f"its header states {size} bytes, more than {_MOST_HEADER}")
        with safetensors.safe_open(os.fspath(path), framework="np") as file:
            text = (file.metadata() or {}).get(KEY)
            network = _foreign(file) if text is None else _own(file, text)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        # safetensors, NumPy and json have many ways of saying that a file is damaged
        raise ValueError(
            f"path: expected a network in safetensors, but {path} cannot be read as one: {error}"
        ) from error
    if text is None:
        layers = layers_of_state("path", network)
        return network_of(cls, "path", layers, NetworkOptions(**told, **kept))
    if given:
        raise ValueError(
            f"{given[0]}: expected None for a file of to_safetensors, which names its own, got "
            f"{told[given[0]]!r}"
        )
    architecture, tensors = network
    n = architecture.n_layers
    weights = [tensors[f"{2 * i}.weight"].T for i in range(n)]
    biases = [tensors[f"{2 * i}.bias"] for i in range(n * architecture.bias)]
    return make_network(cls, architecture, weights, biases, **kept)
