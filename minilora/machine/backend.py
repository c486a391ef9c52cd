"""Which array library computes: NumPy on the host, CuPy on a GPU, chosen by the array in hand.

There is no global switch. A function that receives an array asks `xp = array_module(x)` for the module
that owns it and calls `xp.exp`, `xp.matmul`, ... so the same source runs on either device.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import numpy as np

# The annotation for an array of either library: CuPy's class has NumPy's interface.
Array = np.ndarray
# A number. On a GPU it is an array without axes, because turning it into a float means waiting until it is computed.
Scalar = float

DEVICES = {"cpu": "numpy", "gpu": "cupy"}  # a device, and the library that computes on it


class DeviceError(RuntimeError):
    """There is no GPU to compute on, or CuPy cannot use it; the message says what is missing."""


def array_module(x: Array) -> ModuleType:
    """The module that owns array `x`: `numpy`, or the top-level package that defines its class (`cupy`)."""
    if isinstance(x, (np.ndarray, np.generic)):
        return np
    return sys.modules[type(x).__module__.partition(".")[0]]


def load_cupy() -> ModuleType:
    """CuPy, once it has computed something on a GPU.  DeviceError if it is not there or cannot."""
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
    try:  # a product and a sum want cuBLAS and the CUDA compiler, which a driver alone does not bring
        (cupy.ones((2, 2)) @ cupy.ones((2, 2))).sum().get()
    except (ImportError, OSError, RuntimeError) as error:
        raise DeviceError(
            f"no GPU: CuPy {cupy.__version__} cannot compute on the device ({error}): "
            f'pip install "cupy-cuda12x[ctk]" brings the CUDA libraries, {cure}'
        ) from None
    return cupy


def to_host(x: Array) -> np.ndarray:
    """`x` as a NumPy array: itself if it is one already, else a copy brought from the device."""
    return x if isinstance(x, np.ndarray) else x.get()


def on_host(x: Array) -> bool:
    """Whether NumPy owns `x`."""
    return array_module(x) is np


def number(x: Array) -> Scalar:
    """An array without axes as a number: a float if it is on the host; on a device it stays there."""
    return float(x) if on_host(x) else x  # type: ignore[return-value]


def synchronize(x: Array) -> None:
    """Wait until the device has done what was asked of it; NumPy has when it returns.  For those who take the time."""
    if not on_host(x):
        array_module(x).cuda.get_current_stream().synchronize()
