"""A stand-in for CuPy where there is no GPU: the same interface and the same refusals, with NumPy underneath.

`strict_array.cupy` is a module that takes CuPy's place in `sys.modules` (`installed()` puts it there), so that
`model.to("cupy")` finds it and `array_module` finds it again by the class of its arrays. It has

- only the functions, methods and keyword arguments that CuPy has (`cupy_interface.json`);
- an `ndarray` that is not a `numpy.ndarray`, and refuses to be mixed with one or to become one implicitly (TypeError,
  as in CuPy). It is stricter in one way: CuPy lets `np.exp(x)` call `cupy.exp`, here every `np.` function is refused,
  since the package asks the array for its module;
- reductions and elements that are arrays without axes, not numbers, as CuPy's are;
- a count of copies between host and device (`transfers`), explicit or implied by `float(x)` or `bool(x)`.

The arithmetic is NumPy's, to the bit. Only a GPU can show what CuPy computes, and how fast.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from tests.machine.cupy_interface import ANY, committed

INTERFACE: dict[str, list[str] | None] = committed()["names"]


@dataclass
class Transfers:
    """How often arrays, or single numbers, were copied to the device and back."""

    to_device: int = 0
    to_host: int = 0

    def reset(self) -> None:
        self.to_device = self.to_host = 0


transfers = Transfers()


# ------------------------------------------------------------------------------------------------- arrays


class ndarray:
    """An array "on the device": a NumPy array that others reach only through `get`."""

    __array_ufunc__ = None  # makes NumPy leave `numpy_array + x` to us, and refuse np.exp(x)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, array: Any, owner: ndarray | None = None) -> None:
        self._array = np.asarray(array)
        is_view = owner is not None and self._array.size and np.shares_memory(self._array, owner._array)
        self.base = (owner.base if owner.base is not None else owner) if is_view else None

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Use `.get()` to construct one explicitly")

    T = property(lambda self: ndarray(self._array.T, self))

    def __getattr__(self, name: str) -> Any:
        """A method that CuPy's class has too."""
        parameters = INTERFACE.get(f"ndarray.{name}")
        if name.startswith("_") or parameters is None or not hasattr(np.ndarray, name):
            raise AttributeError(f"cupy.ndarray has no attribute {name!r}, or this stand-in does not know it")
        return _checked(f"ndarray.{name}", getattr(self._array, name), owner=self)

    def get(self) -> np.ndarray:
        """A copy on the host, counted."""
        transfers.to_host += 1
        return self._array.copy()

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec)

    def __repr__(self) -> str:
        return f"strict {self._array!r}"

    def __len__(self) -> int:
        return len(self._array)

    def __iter__(self) -> Iterator[ndarray]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> ndarray:
        return ndarray(self._array[_inner(index)], self)

    def __setitem__(self, index: Any, value: Any) -> None:
        self._array[_inner(index)] = _inner(value)

    def __deepcopy__(self, memo: Any) -> ndarray:
        return ndarray(self._array.copy())


def _on_the_host(name: str) -> Callable[[ndarray], Any]:
    return lambda self: getattr(self.get(), name)()


def _operator(name: str) -> Callable[..., Any]:
    def operate(self: ndarray, *other: Any) -> Any:
        result = getattr(self._array, name)(*_inner(other))
        return result if result is NotImplemented else ndarray(result)

    return operate


def _in_place(name: str) -> Callable[[ndarray, Any], ndarray]:
    def operate(self: ndarray, other: Any) -> ndarray:
        getattr(self._array, name)(_inner(other))
        return self

    return operate


for _name in ["shape", "dtype", "ndim", "size", "nbytes", "itemsize", "strides", "flags"]:
    setattr(ndarray, _name, property(lambda self, name=_name: getattr(self._array, name)))
for _name in ["item", "tolist", "tobytes", "__float__", "__int__", "__index__", "__bool__"]:
    setattr(ndarray, _name, _on_the_host(_name))
for _name in ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"]:
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))
    setattr(ndarray, f"__r{_name}__", _operator(f"__r{_name}__"))
    setattr(ndarray, f"__i{_name}__", _in_place(f"__i{_name}__"))
for _name in ["lt", "le", "gt", "ge", "eq", "ne", "neg", "abs", "invert"]:
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))
ndarray.__module__ = "cupy"  # what `array_module` goes by


def _inner(value: Any) -> Any:
    """The NumPy array in a stand-in's array; other values unchanged.  TypeError for a NumPy array."""
    if isinstance(value, ndarray):
        return value._array
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}: an array on the host met one on the device")
    if isinstance(value, (tuple, list)):
        return type(value)(_inner(item) for item in value)
    return value


def _outer(value: Any, owner: ndarray | None = None) -> Any:
    """NumPy's results as the stand-in's arrays; a number becomes an array without axes."""
    if isinstance(value, (np.ndarray, np.generic)):
        return ndarray(value, owner)
    if isinstance(value, tuple) and any(isinstance(item, np.ndarray) for item in value):
        return tuple(ndarray(item, owner) for item in value)
    return value


# ------------------------------------------------------------------------------------------------ functions


def _checked(name: str, function: Callable[..., Any], owner: ndarray | None = None) -> Callable[..., Any]:
    """NumPy's `function` on the stand-in's arrays, with the keyword arguments that CuPy's has."""
    parameters = INTERFACE[name] or []

    def call(*args: Any, **kwargs: Any) -> Any:
        if (odd := [key for key in kwargs if key not in parameters]) and parameters.count(ANY) < 2:
            raise TypeError(f"cupy.{name} has no argument {odd[0]!r}: it has {', '.join(parameters)}")
        out = kwargs.get("out")
        result = function(*_inner(args), **{key: _inner(value) for key, value in kwargs.items()})
        return _outer(result, owner) if out is None else out

    return call


class _Ufunc:
    """A universal function: calls, and `at` for the few with which CuPy can scatter."""

    def __init__(self, name: str) -> None:
        self._call = _checked(name, getattr(np, name))
        if name in ("add", "subtract", "maximum", "minimum", "bitwise_and", "bitwise_or", "bitwise_xor"):
            self.at = _checked("ufunc.at", getattr(np, name).at)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(*args, **kwargs)


class _Module(ModuleType):
    """`cupy` or a module in it: NumPy's functions of the same name, as far as CuPy has them too."""

    def __init__(self, path: str, numpy_module: ModuleType) -> None:
        super().__init__(f"cupy.{path}".rstrip("."))
        self._prefix, self._numpy = path and path + ".", numpy_module

    def __getattr__(self, name: str) -> Any:
        full = self._prefix + name
        if full not in INTERFACE or not hasattr(self._numpy, name):
            raise AttributeError(f"module 'cupy' has no attribute {full!r}, or this stand-in does not know it")
        value = getattr(self._numpy, name)
        if isinstance(value, np.ufunc):
            return _Ufunc(name)
        return _checked(full, value) if callable(value) and not isinstance(value, type) else value


def _asarray(a: Any, dtype: Any = None) -> ndarray:
    if isinstance(a, ndarray):
        return a if dtype in (None, a.dtype) else ndarray(a._array.astype(dtype))
    transfers.to_device += 1
    return ndarray(np.array(a, dtype=dtype))


def _array(obj: Any, dtype: Any = None) -> ndarray:
    return ndarray(_asarray(obj, dtype)._array.copy())


class _Generator:
    """Random numbers made on the device: not NumPy's from the same seed, just as with CuPy."""

    def __init__(self, seed: Any) -> None:
        self._rng = np.random.Generator(np.random.MT19937(seed))

    def __getattr__(self, name: str) -> Any:
        if f"random.Generator.{name}" not in INTERFACE:
            raise AttributeError(f"cupy.random.Generator has no attribute {name!r}")
        return _checked(f"random.Generator.{name}", getattr(self._rng, name))


class _Pool:
    """The memory pool. The stand-in's memory is the host's, which is not counted."""

    def total_bytes(self) -> int:
        return 0

    def free_all_blocks(self) -> None:
        pass


def _make() -> ModuleType:
    cupy = _Module("", np)
    cupy.ndarray, cupy.asarray, cupy.array = ndarray, _asarray, _array  # type: ignore[attr-defined]
    cupy.asnumpy = lambda a: a.get()  # type: ignore[attr-defined]
    cupy.get_default_memory_pool = _Pool  # type: ignore[attr-defined]
    cupy.linalg = _Module("linalg", np.linalg)  # type: ignore[attr-defined]
    cupy.random = _Module("random", np.random)  # type: ignore[attr-defined]
    cupy.random.default_rng = _Generator
    cupy.cuda = SimpleNamespace(  # type: ignore[attr-defined]
        runtime=SimpleNamespace(
            getDeviceCount=lambda: 1,
            getDeviceProperties=lambda device: {"name": b"stand-in"},
            runtimeGetVersion=lambda: 0,
        ),
        get_current_stream=lambda: SimpleNamespace(synchronize=lambda: None),
    )
    cupy.__version__ = committed()["version"]
    return cupy


cupy = _make()


@contextmanager
def installed() -> Iterator[None]:
    """Inside, the stand-in is what `import cupy` finds; its transfers are counted from zero."""
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "cupy"}
    sys.modules["cupy"] = cupy
    transfers.reset()
    try:
        yield
    finally:
        del sys.modules["cupy"]
        sys.modules.update(before)
