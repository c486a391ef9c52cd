"""Which array library computes: NumPy on the host, CuPy on a GPU, depending on the array at hand.

There is no global switch. A function that receives an array asks `xp = array_module(x)` for the module that owns it
and calls `xp.exp`, `xp.matmul`, ... so the same source runs on either.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType

import numpy as np

# The annotation for an array of either library: CuPy's class has NumPy's interface.
Array = np.ndarray
# A number. On a GPU it is an array without axes, because turning it into a float means waiting until it is computed.
Scalar = float | np.ndarray

# What the command line calls a device -> what Python code calls it: the library that computes there.
DEVICES = {"cpu": "numpy", "gpu": "cupy"}


class DeviceError(RuntimeError):
    """There is no GPU to compute on, or CuPy cannot use it; the message names what is missing."""


def array_module(x: Array) -> ModuleType:
    """The module that owns array `x`: `numpy`, or the top-level package that defines its class (`cupy`)."""
    if isinstance(x, (np.ndarray, np.generic)):
        return np
    return sys.modules[type(x).__module__.partition(".")[0]]


def mover(library: str) -> Callable[[Array], Array]:
    """The function that moves an array to "numpy" (the host) or "cupy" (a GPU).

    ValueError for another library; DeviceError if there is no CuPy or no GPU.
    """
    if library not in DEVICES.values():
        raise ValueError(f'{library!r} is unknown: use "numpy" (the host) or "cupy" (a GPU)')
    return to_host if library == "numpy" else load_cupy().asarray


def load_cupy() -> ModuleType:
    """CuPy, after it has computed something on a GPU.  DeviceError if it is missing or cannot."""
    cure = 'or stay on the CPU: model.to("numpy"), --device cpu'
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        raise DeviceError(
            f'no GPU: CuPy cannot be imported ({error}): pip install "minilora[gpu]" beside an NVIDIA GPU, {cure}'
        ) from None
    try:
        count, reason = cupy.cuda.runtime.getDeviceCount(), "it counts none"
    except RuntimeError as error:
        count, reason = 0, str(error)
    if not count:
        raise DeviceError(f"no GPU: CuPy {cupy.__version__} finds no device ({reason}): look at nvidia-smi, {cure}")
    try:  # a product and a sum need cuBLAS and the CUDA compiler, which a driver alone does not bring
        (cupy.ones((2, 2)) @ cupy.ones((2, 2))).sum().get()
    except (ImportError, OSError, RuntimeError) as error:
        raise DeviceError(
            f"no GPU: CuPy {cupy.__version__} cannot compute on the device ({error}): "
            f'pip install "cupy-cuda12x[ctk]" brings the CUDA libraries, {cure}'
        ) from None
    return cupy


def to_host(x: Array) -> np.ndarray:
    """`x` as a NumPy array: itself if it is one already, otherwise a copy from the GPU."""
    return x if isinstance(x, np.ndarray) else x.get()


def on_host(x: Array) -> bool:
    """Whether NumPy owns `x`."""
    return array_module(x) is np


def number(x: Array) -> Scalar:
    """An array without axes as a number: a float on the host; on a GPU it stays an array, and nobody waits for it."""
    return float(x) if on_host(x) else x


def synchronize(x: Array) -> None:
    """Wait until the GPU has finished what was asked of it; NumPy always has.  Call before reading a clock."""
    if not on_host(x):
        array_module(x).cuda.get_current_stream().synchronize()
