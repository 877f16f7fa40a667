"""Zero change: these classes in the place of scikit-learn's, for the whole process.

`patch` changes four things, and `unpatch` changes them back:

- names: wherever a module has scikit-learn's class under a name, it gets ours. Its own module
  keeps its own, by which pickles find it;
- calls: what still holds scikit-learn's class, in a list or a default argument, makes ours by
  calling it; ``isinstance`` and ``issubclass`` take the two for one another;
- warnings, once each, where something stays scikit-learn's, and why;
- processes that are started, by multiprocessing or joblib, do the same before anything else.

Nothing is imported for it: scikit-learn's module is changed when the program loads it.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import sys
from abc import ABCMeta
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import FunctionType, ModuleType
from typing import Any

from ..support.notices import warn
from ._warnings import HOME

__all__ = ["patch", "unpatch"]

_PACKAGE = "sklearn.neural_network"
_NAMES = ("MLPClassifier", "MLPRegressor")
_STARTERS = (  # of processes: each says what a new one has to know
    "multiprocessing.spawn",
    "joblib.externals.loky.backend.spawn",
    "loky.backend.spawn",
)
_LIBRARIES = {"fastmlp", "sklearn", "joblib", "loky"} | sys.stdlib_module_names


class _Patch:
    """What is changed now.

    Attributes
    ----------
    on, verbose : bool
    ours, theirs : dict of type
        Each class by its other one, once scikit-learn's module is loaded.
    undo : list of function
    said : set of str
        What was said already.
    """

    def __init__(self) -> None:
        self.on = self.verbose = False
        self.ours: dict[type, type] = {}
        self.theirs: dict[type, type] = {}
        self.undo: list[Callable[[], None]] = []
        self.said: set[str] = set()

    def other(self, cls: type) -> type | None:
        """Return what stands for a class, or the class for which it stands."""
        return self.ours.get(cls) or self.theirs.get(cls)

    def put(self, holder: Any, name: str, value: Any) -> None:
        """Set an attribute until `unpatch`."""
        before = vars(holder).get(name, self)
        setattr(holder, name, value)
        back = functools.partial(setattr, holder, name, before)
        self.undo.append(functools.partial(delattr, holder, name) if before is self else back)

    def new(self, text: str) -> bool:
        """Tell whether a text was not said before, and remember it."""
        fresh = text not in self.said
        self.said.add(text)
        return fresh


_state = _Patch()


def _warn(text: str) -> None:
    if _state.new(text):
        warn(f"fastmlp.sklearn.patch: {text}")


# what a call is served by


class _Twin(ABCMeta):
    """The type of both classes while one stands for the other."""

    def __new__(
        mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any
    ) -> Any:
        own = {n for n, value in namespace.items() if isinstance(value, FunctionType)}
        for base in bases:
            theirs = _state.theirs.get(base, base)
            changed = sorted(own & _internals(theirs)) if theirs in _state.ours else []
            if changed:
                _warn(
                    f"{name} changes {', '.join(changed)}, which only scikit-learn's own "
                    f"{theirs.__name__} calls: it stays scikit-learn's"
                )
                bases = tuple(_state.theirs.get(b, b) for b in bases)
                break
        else:
            bases = tuple(_state.ours.get(b, b) for b in bases)
        return super().__new__(mcs, name, bases, namespace, **options)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if _state.other(cls) is None:
            return super().__call__(*args, **kwargs)
        ours = _state.ours.get(cls, cls)
        try:
            return ABCMeta.__call__(ours, *args, **kwargs)
        except TypeError as error:  # parameters that a newer scikit-learn has, or nobody
            made = ABCMeta.__call__(_state.theirs[ours], *args, **kwargs)
            _warn(f"{error}: this {ours.__name__} stays scikit-learn's")
            return made

    @property
    def __signature__(cls) -> inspect.Signature:
        whole = inspect.signature(cls.__init__)  # type: ignore[misc]
        return whole.replace(parameters=list(whole.parameters.values())[1:])

    def __instancecheck__(cls, instance: Any) -> bool:
        return super().__instancecheck__(instance) or _is_kin(type(instance), cls)

    def __subclasscheck__(cls, subclass: Any) -> bool:
        return super().__subclasscheck__(subclass) or _is_kin(subclass, cls)


def _is_kin(subclass: Any, cls: type) -> bool:
    return _state.other(cls) in getattr(subclass, "__mro__", ())


def _internals(theirs: type) -> set[str]:
    """Return the names of functions that scikit-learn's class calls and does not document."""
    return {
        name
        for base in theirs.__mro__
        if base.__module__ == HOME
        for name, value in vars(base).items()
        if isinstance(value, FunctionType) and name.startswith("_") and not name.endswith("__")
    }


def _place() -> str:
    """Return file and line of the program that calls, where there is one."""
    frame = sys._getframe(1)
    while frame.f_globals.get("__name__", "").split(".")[0] in _LIBRARIES:
        if frame.f_back is None:
            return ""
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}: "


def _told(function: Any, method: str, by: str) -> Any:
    """Return a function that says first who serves the call."""

    @functools.wraps(function)
    def told(self: Any, *args: Any, **kwargs: Any) -> Any:
        called = "partial_fit" if kwargs.get("incremental") else method
        text = f"{_place()}{type(self).__name__}.{called}: by {by}"
        if _state.new(text):
            print(f"fastmlp: {text}", file=sys.stderr, flush=True)
        return function(self, *args, **kwargs)

    return told


# what changes


def _take() -> None:
    """Put these classes in the place of those that scikit-learn's module has just defined."""
    home = sys.modules[HOME]
    try:
        from . import _base, _classifier, _regressor
    except ImportError as error:
        _warn(f"{error}: everything stays scikit-learn's")
        return
    both = (_classifier.MLPClassifier, _regressor.MLPRegressor)
    for name, ours in zip(_NAMES, both, strict=True):
        theirs = getattr(home, name)
        _state.ours[theirs], _state.theirs[ours] = ours, theirs
        older = {cls.__module__ for cls in theirs.__subclasses__()}
        if older:
            _warn(
                f"{', '.join(sorted(older))} made classes of {name} earlier: they stay "
                "scikit-learn's"
            )
        for module in list(sys.modules.values()):
            _rename(module, theirs, ours, {HOME, *older})
        for cls in (ours, theirs):
            _state.undo.append(functools.partial(setattr, cls, "__class__", type(cls)))
            cls.__class__ = _Twin  # type: ignore[assignment]
        for inner in _internals(theirs):  # programs call some, to see what hidden layers say
            if not hasattr(ours, inner):
                _state.put(ours, inner, getattr(theirs, inner))
    if _state.verbose:
        ours, theirs = _base.BaseMLP, home.BaseMultilayerPerceptron
        _state.put(ours, "_fit", _told(ours._fit, "fit", "fastmlp"))
        _state.put(ours, "_outputs", _told(ours._outputs, "predict", "fastmlp"))
        _state.put(theirs, "_fit", _told(theirs._fit, "fit", "scikit-learn"))
        predict = _told(theirs._forward_pass_fast, "predict", "scikit-learn")
        _state.put(theirs, "_forward_pass_fast", predict)
    _state.undo.append(home.BaseMultilayerPerceptron._abc_caches_clear)


def _rename(module: Any, theirs: type, ours: type, kept: set[str]) -> None:
    names = getattr(module, "__dict__", None)
    own = getattr(module, "__name__", "")
    if isinstance(module, ModuleType) and names and own not in kept and own != __name__:
        for name in [name for name, value in list(names.items()) if value is theirs]:
            _state.put(module, name, ours)


class _InChild:
    """Patches the process that unpickles it."""

    def __reduce__(self) -> Any:
        return _patch_child, (_state.verbose,)


def _patch_child(verbose: bool) -> None:
    patch(verbose=verbose)


def _hand_on(starter: ModuleType) -> None:
    """Let new processes be patched as this one is."""
    prepare = starter.get_preparation_data

    @functools.wraps(prepare)
    def get_preparation_data(*args: Any, **kwargs: Any) -> dict[str, Any]:
        return {"fastmlp": _InChild(), **prepare(*args, **kwargs)}

    _state.put(starter, "get_preparation_data", get_preparation_data)


class _Finder:
    """Finds modules as others do, and changes them once they are loaded."""

    def __init__(self) -> None:
        self._after: dict[str, Callable[[ModuleType], None]] = dict.fromkeys(_STARTERS, _hand_on)
        self._after[_PACKAGE] = lambda module: _take()

    def begin(self) -> None:
        """Change what is loaded, and wait for the rest."""
        for name in list(self._after):
            if name in sys.modules:
                self._after.pop(name)(sys.modules[name])
        sys.meta_path.insert(0, self)
        _state.undo.append(lambda: sys.meta_path.remove(self))

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where a module is that will be changed."""
        change = self._after.pop(name, None)
        spec = importlib.util.find_spec(name) if change is not None else None
        if spec is None or spec.loader is None or change is None:
            return None
        loader: Any = spec.loader
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            del loader.exec_module
            execute(module)
            change(module)

        loader.exec_module = exec_module
        return spec


def _end_workers() -> None:
    """Have joblib start new processes: those it keeps are as the last state was."""
    reusable = sys.modules.get("joblib.externals.loky.reusable_executor")
    executor = getattr(reusable, "_executor", None)
    if executor is not None:
        executor.shutdown(wait=True)


def patch(*, verbose: bool = False) -> None:
    """Put `MLPClassifier` and `MLPRegressor` in the place of scikit-learn's, in this process.

    From then on ``from sklearn.neural_network import MLPClassifier`` is this package's class, also
    in modules that were imported before, and in processes that are started later. Objects that
    exist stay what they are; their clones are new ones. What cannot be served (a class of the
    program's that changes scikit-learn's internals, a parameter that is not known here) stays
    scikit-learn's, with a warning that says why.

    Parameters
    ----------
    verbose : bool, default False
        Say on standard error who serves which call, each line once.

    Raises
    ------
    TypeError
        If `verbose` is no bool.

    Examples
    --------
    >>> import fastmlp.sklearn
    >>> fastmlp.sklearn.patch()  # doctest: +SKIP
    >>> from sklearn.neural_network import MLPClassifier
    >>> MLPClassifier is fastmlp.sklearn.MLPClassifier  # doctest: +SKIP
    True
    >>> fastmlp.sklearn.unpatch()
    """
    if not isinstance(verbose, bool):
        raise TypeError(f"verbose: expected True or False, got {verbose!r}")
    if _state.on and _state.verbose == verbose:
        return
    unpatch()
    _state.on, _state.verbose = True, verbose
    _Finder().begin()
    _end_workers()


def unpatch() -> None:
    """Undo `patch`: scikit-learn's classes are where they were; estimators stay what they are.

    Examples
    --------
    >>> import fastmlp.sklearn
    >>> fastmlp.sklearn.patch()  # doctest: +SKIP
    >>> fastmlp.sklearn.unpatch()
    >>> from sklearn.neural_network import MLPClassifier
    >>> MLPClassifier.__module__
    'sklearn.neural_network._multilayer_perceptron'
    """
    if not _state.on:
        return
    for undo in reversed(_state.undo):
        undo()
    _state.__init__()  # type: ignore[misc]
    _end_workers()
