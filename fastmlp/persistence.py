"""Networks on disk: one ``.npz`` file, written whole or not at all, read without pickle."""

from __future__ import annotations

import json
import math
import platform
import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from . import __version__
from .architecture import Architecture
from .initializers import RandomSource
from .optimizers import OptimizerState, make_optimizer
from .schedules import get_schedule
from .support.atomic import replacing
from .support.interrupts import CtrlC
from .support.notices import warn
from .support.sources import check_directory, open_regular
from .support.validation import check_choice, check_integer, check_number, check_path
from .training.history import History

if TYPE_CHECKING:
    from .network import MLP

__all__ = ["load", "make_rng", "pack", "rng_state", "save", "saved_with", "set_rng", "unpack"]

FORMAT = "fastmlp-network"
VERSION = 1
_HEADER_BYTES = 1 << 20  # read as JSON, it takes up to thirty times as many
_FIELDS = (
    "format", "version", "architecture", "optimizer", "step", "slots", "schedule",
    "schedule_memory", "rng",
)  # fmt: skip
_LATER_FIELDS = ("history", "held_out", "best", "saved_with")  # older files go without
_MEMORY = ("epoch", "scale", "loss", "best", "waited")  # what schedules remember
_NAMES = ("feature_names", "class_names")  # beside the header, as wide tables have many
_STATE_DTYPES = ("uint32", "uint64")  # of random generators


def _plain(value: Any) -> Any:
    """Return nested dicts with arrays and NumPy numbers turned into what JSON holds."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": value.dtype.name}
    return value.item() if isinstance(value, np.generic) else value


def _restored(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"array", "dtype"}:
            return np.array(value["array"], check_choice("dtype", value["dtype"], _STATE_DTYPES))
        return {key: _restored(item) for key, item in value.items()}
    return value


def rng_state(rng: RandomSource) -> dict[str, Any]:
    """Return the state of a random generator as JSON can hold it."""
    if isinstance(rng, np.random.RandomState):
        return {"kind": "RandomState", "state": _plain(rng.get_state(legacy=False))}
    return {"kind": "Generator", "state": _plain(rng.bit_generator.state)}


def make_rng(saved: dict[str, Any]) -> RandomSource:
    """Return the generator of which `rng_state` gave the state.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is none.
    """
    state = _restored(saved["state"])
    name = state["bit_generator"]
    if name not in ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"):
        raise ValueError(f"unknown random generator {name!r}")
    rng: RandomSource
    if saved["kind"] == "RandomState":
        rng = np.random.RandomState(0)
        rng.set_state(state)
    else:
        bits = getattr(np.random, name)(0)
        bits.state = state
        rng = np.random.Generator(bits)
    if rng_state(rng)["state"] != saved["state"]:  # NumPy 1.26 takes -1 for the largest number
        raise ValueError(f"no state of {name}: {saved['state']!r:.200}")
    return rng


def set_rng(rng: RandomSource, other: RandomSource) -> None:
    """Bring a random generator to the state of another one of its kind."""
    if isinstance(rng, np.random.RandomState):
        rng.set_state(other.get_state(legacy=False))  # type: ignore[union-attr]
    else:
        rng.bit_generator.state = other.bit_generator.state  # type: ignore[union-attr]


def pack(net: MLP) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return a header that JSON can hold, and the arrays by name."""
    slots = net.optimizer.slots if net._state.step else 0
    parameters, best = net._parameters, net._best
    if best is not None and np.array_equal(best, parameters.flat):
        best = None  # early stopping takes the present ones where there are no others
    header = {
        "format": FORMAT,
        "version": VERSION,
        "architecture": net.architecture.config(),
        "optimizer": _plain(net.optimizer.config()),
        "step": net._state.step,
        "slots": slots,
        "schedule": None if net._schedule is None else _plain(net._schedule.config()),
        "schedule_memory": net._schedule_memory,
        "rng": rng_state(net._rng),
        "history": list(net.history.as_dict()),
        "held_out": net._held_out,
        "best": best is not None,
        "saved_with": {
            "fastmlp": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
        },
    }
    arrays = {
        f"history_{i}": np.array(numbers, np.float64)
        for i, numbers in enumerate(net.history.as_dict().values())
    }
    arrays |= {f"weights_{i}": w for i, w in enumerate(parameters.weights)}
    arrays |= {f"biases_{i}": b for i, b in enumerate(parameters.biases)}
    for k, slot in enumerate(parameters.slot_views(slots)):
        arrays |= {f"slot_{k}_{i}": array for i, array in enumerate(slot)}
    if best is not None:
        weights, biases = parameters.views(best)
        arrays |= {f"best_{i}": array for i, array in enumerate([*weights, *biases])}
    for what in _NAMES:
        if (names := getattr(net, what)) is not None:
            arrays[what] = np.frombuffer(json.dumps(names).encode(), np.uint8)
    return header, {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _history(names: Any, arrays: dict[str, np.ndarray], output: str) -> History:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("history: expected names")
    if len(set(names)) != len(names):
        raise ValueError("history: expected every name once")
    found = [arrays[f"history_{i}"] for i in range(len(names))]
    for name, array in zip(names, found, strict=True):
        if array.dtype != np.float64 or array.ndim != 1:
            raise ValueError(f"history: expected numbers of every epoch as {name}")
    history = History.from_dict(
        {name: array.tolist() for name, array in zip(names, found, strict=True)}
    )
    for name, numbers in history.as_dict().items():
        if len(numbers) not in (0, len(history)):
            raise ValueError(
                f"history: expected one number an epoch, got {len(numbers)} of {name} and "
                f"{len(history)} of loss"
            )
    if output == "identity" and history.accuracy:
        raise ValueError("history: expected no accuracy of an identity output")
    return history


def _check_memory(memory: Any) -> None:
    """Raise unless this is what a schedule remembers."""
    if not isinstance(memory, dict) or not all(type(v) in (int, float) for v in memory.values()):
        raise ValueError("schedule_memory: expected numbers by name")
    if unknown := sorted(set(memory) - set(_MEMORY)):
        raise ValueError(f"schedule_memory: expected some of {', '.join(_MEMORY)}, got {unknown}")
    check_integer("schedule_memory: epoch", memory.get("epoch", 0), low=0)
    for name in ("scale", "waited"):
        check_number(f"schedule_memory: {name}", memory.get(name, 0.0), low=0.0)


def _check_fields(header: dict[str, Any]) -> None:
    """Raise unless a header has the fields that `pack` writes, of their types."""
    missing = [name for name in _FIELDS if name not in header]
    unknown = [name for name in header if name not in (*_FIELDS, *_LATER_FIELDS)]
    if missing or unknown:
        raise ValueError(
            f"its header lacks {missing or 'nothing'}, and has {unknown or 'no'} others"
        )
    if not isinstance(header.get("best", False), bool):
        raise ValueError(f"best: expected true or false, got {header['best']!r}")
    told = header.get("saved_with", {})
    if not isinstance(told, dict) or not all(isinstance(text, str) for text in told.values()):
        raise ValueError("saved_with: expected versions by name")


def _names(what: str, arrays: dict[str, np.ndarray]) -> tuple[str, ...] | None:
    if what not in arrays:
        return None
    if arrays[what].dtype != np.uint8 or arrays[what].ndim != 1:
        raise ValueError(f"{what}: expected text")
    names = json.loads(arrays[what].tobytes())
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{what}: expected names")
    return tuple(names)


def unpack(net: MLP, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Give a bare network what `pack` has returned.

    Raises
    ------
    ValueError, TypeError, KeyError
        If the header or an array is not what the architecture asks for.
    """
    config = dict(header["architecture"])
    if len(config["layer_sizes"]) > len(arrays) + 1:
        raise ValueError("layer_sizes: expected no more layers than arrays")
    architecture = Architecture(config.pop("layer_sizes"), **config)
    optimizer = make_optimizer(header["optimizer"])
    _check_fields(header)
    step = check_integer("step", header["step"], low=0)
    if step >= 2**62:
        raise ValueError(f"step: expected a number of steps, got {step}")
    slots = optimizer.slots if step else 0
    if type(header["slots"]) is not int or header["slots"] != slots:
        raise ValueError(f"slots: expected {slots}, got {header['slots']!r}")
    names = [f"weights_{i}" for i in range(architecture.n_layers)]
    names += [f"biases_{i}" for i in range(architecture.n_layers * architecture.bias)]
    count = len(names)
    names += [f"slot_{k}_{i}" for k in range(slots) for i in range(count)]
    has_best = header.get("best") is True
    names += [f"best_{i}" for i in range(count * has_best)]
    history = History()
    if "history" in header:
        history = _history(header["history"], arrays, architecture.output)
    numbers = [f"history_{i}" for i in range(len(header.get("history", ())))]
    if unknown := sorted(set(arrays).difference(names, numbers, _NAMES)):
        raise ValueError(f"expected no arrays beside the architecture's, got {unknown[:4]}")
    shapes: list[tuple[int, ...]] = list(architecture.layers)
    shapes += [(n_out,) for _, n_out in architecture.layers] * architecture.bias
    for i, name in enumerate(names):
        shape = shapes[i % count]
        if arrays[name].shape != shape or arrays[name].dtype != architecture.dtype:
            raise ValueError(
                f"{name}: expected {architecture.dtype} {shape}, "
                f"got {arrays[name].dtype} {arrays[name].shape}"
            )
    feature_names, class_names = (_names(what, arrays) for what in _NAMES)
    if feature_names is not None and len(feature_names) != architecture.n_in:
        raise ValueError(
            f"feature_names: expected {architecture.n_in} names, got {len(feature_names)}"
        )
    schedule = header["schedule"]
    rng, held_out = make_rng(header["rng"]), header.get("held_out")
    if held_out is not None:
        make_rng(held_out)
    memory = header["schedule_memory"]
    _check_memory(memory)
    if schedule is None and memory:
        raise ValueError("schedule_memory: expected none without a schedule")
    net._start(architecture)
    parameters = net._parameters
    targets = [*parameters.weights, *parameters.biases]
    for slot in parameters.slot_views(slots):
        targets += slot
    if has_best:
        net._best = parameters.flat.copy()  # with its padding
        weights, biases = parameters.views(net._best)
        targets += [*weights, *biases]
    for target, name in zip(targets, names, strict=True):
        target[...] = arrays[name]
    net._optimizer = optimizer
    net._state = OptimizerState(step, parameters.slot_views(optimizer.slots))
    net._schedule = None if schedule is None else get_schedule(schedule)
    net._schedule_memory = memory
    net._rng, net._held_out, net.history = rng, held_out, history
    net.feature_names, net.class_names = feature_names, class_names


_OWN = {
    "_best", "_held_out", "_optimizer", "_parameters", "_rng", "_schedule", "_schedule_memory",
    "_state", "_trains", "architecture", "backend", "class_names", "feature_names", "history",
    "stop_training", "threads",
}  # fmt: skip


def attached(net: MLP) -> dict[str, Any]:
    """Return the attributes that a user or a subclass has given the network, for its copies."""
    return {name: value for name, value in vars(net).items() if name not in _OWN}


def save(net: MLP, path: str | Path) -> None:
    """Write the network to one ``.npz`` file, whole or not at all.

    Architecture, parameters, optimizer, schedule and random state go along, so that a
    loaded network trains on as this one would.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    OSError
        If the file cannot be written; an older file of that name stays as it was.
    """
    header, arrays = pack(net)
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    # an archive whose writing is broken off raises ValueError instead of what broke it off
    with replacing(path) as name, open(name, "wb") as file, CtrlC():
        _write({"header": text, **arrays}, file)


def _write(arrays: dict[str, np.ndarray], file: IO[bytes]) -> None:
    """Write arrays as `numpy.savez` does; NumPy 1.26 leaves an archive open where that fails."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _check_members(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse what would take more memory than the file has bytes: `save` does not compress."""
    room = length = path.stat().st_size
    names = archive.namelist()
    if len(set(names)) != len(names):
        raise ValueError("it holds something twice")
    for member in archive.infolist():
        if not 0 <= member.header_offset < length:
            # the operating system's error for such a seek would not name the file
            raise ValueError(f"{member.filename} does not begin within its {length} bytes")
        room -= member.file_size
        if room < 0:
            raise ValueError("its members state more bytes than it has")
        with archive.open(member) as file:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError(f"{member.filename} is no array")
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            if file.tell() + math.prod(shape) * dtype.itemsize != member.file_size:
                raise ValueError(f"{member.filename} has not the size that it states")


def _integer(digits: str) -> int:
    value = int(digits)
    if abs(value) >= 2**128:  # as long as a random generator's state is, and no float's overflow
        raise ValueError(f"its header has a number of {len(digits)} digits")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("its header names something twice")
    return found


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with open_regular(path) as file:
        check_directory(file)
        with zipfile.ZipFile(file) as archive:
            _check_members(path, archive)
    with np.load(path, allow_pickle=False) as archive:
        if "header" not in archive.files:
            raise ValueError("it holds no header")
        text = archive["header"]
        if text.dtype != np.uint8 or text.ndim != 1 or text.size > _HEADER_BYTES:
            raise ValueError("its header is not text")
        header = json.loads(text.tobytes(), parse_int=_integer, object_pairs_hook=_object)
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise ValueError("its header is not a network's")
        if type(header.get("version")) is not int or header["version"] != VERSION:
            raise ValueError(f"its format has version {header.get('version')!r}, not {VERSION}")
        return header, {name: archive[name] for name in archive.files if name != "header"}


def load(
    cls: type[MLP], path: str | Path, *, backend: str = "numba", threads: int | None = None
) -> MLP:
    """Read a network that `save` has written.

    Parameters
    ----------
    path : str or Path
    backend, threads
        As for `MLP`.

    Returns
    -------
    MLP

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is damaged or not a network's.

    Warns
    -----
    RuntimeWarning
        If a parameter is NaN or infinite.
    """
    path = check_path(path)
    net = cls.__new__(cls)
    net.backend, net.threads = backend, threads
    try:
        header, arrays = _read(path)
        unpack(net, header, arrays)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        # zipfile, NumPy and json have many ways of saying that a file is damaged
        raise ValueError(
            f"path: expected a network saved by fastmlp, but {path} cannot be read as one: {error}"
        ) from error
    state = net._parameters.state
    with np.errstate(all="ignore"):  # a sum needs no memory
        finite = math.isfinite(state.sum()) or bool(np.isfinite(state).all())
    if not finite:
        warn(
            f"{path}: the network has parameters, or its optimizer a state, that are no finite "
            "numbers: its training had diverged"
        )
    return net


def saved_with(path: str | Path) -> dict[str, str]:
    """Return the versions that a file states, by name; of an older file none.

    Raises
    ------
    OSError, ValueError
        If the file cannot be read.
    """
    found = _read(Path(path))[0].get("saved_with")
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}
