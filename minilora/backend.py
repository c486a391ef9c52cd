"""Which array library computes: NumPy on the host, CuPy on a GPU, chosen by the array in hand.

There is no global switch. A function that receives an array asks `xp = array_module(x)` for the module
that owns it and calls `xp.exp`, `xp.matmul`, ... so the same source runs on either device.
"""

from __future__ import annotations

import ctypes
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import numpy as np

# The annotation for "an array of whichever backend": CuPy's class has the same interface.
Array = np.ndarray
# The annotation for "a number of whichever backend": on a device an array without axes, since to make it a float
# is to wait until the device has computed it.
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


def blas_thread_controls() -> tuple | None:
    """NumPy's own OpenBLAS as `(get_num_threads, set_num_threads)`; None where it is another library.

    NumPy has no call for it. Its wheels link OpenBLAS under the prefix `scipy_`, other builds without; the
    suffix tells 64-bit integers. A symbol is looked up through the extension module that links the library.
    """
    try:
        core = sys.modules.get("numpy._core._multiarray_umath") or sys.modules["numpy.core._multiarray_umath"]
        library = ctypes.CDLL(core.__file__)
    except (KeyError, OSError):
        return None
    for prefix in ("scipy_openblas", "openblas"):
        for suffix in ("64_", ""):
            try:
                get = getattr(library, f"{prefix}_get_num_threads{suffix}")
                return get, getattr(library, f"{prefix}_set_num_threads{suffix}")
            except AttributeError:
                continue
    return None


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Inside, a matrix product runs on the thread that asked for it.

    Worker threads that each own a part of the batch need no second level of threads under them: with one
    they would queue for it. Where the BLAS cannot be told, results are the same and only the speed differs.
    """
    controls = blas_thread_controls()
    if controls is None:
        yield
        return
    get, set_ = controls
    before = get()
    set_(1)
    try:
        yield
    finally:
        set_(before)


@contextmanager
def short_turns() -> Iterator[None]:
    """Inside, a thread that waits for Python's global lock asks for it after 5 us, not after 5 ms.

    NumPy lets go of the lock for each operation and takes it back behind it. Where operations last microseconds, a
    thread that sleeps for the lock wakes too late: its holder has it again, and again, until this time is up.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def keep_freed_memory() -> None:
    """Let the C library keep memory that arrays give back, instead of returning it to the system each time.

    A training step frees megabytes and asks for the same again at once; handed back and forth, every page of
    them costs a fault. glibc decides by the largest block it has seen freed, up to 32 MiB: so free one. Nothing
    is ever written to it; elsewhere this does nothing.
    """
    np.empty((32 << 20) - (1 << 16), dtype=np.uint8)
