"""Settings of the whole process: BLAS threads, how soon Python's lock changes hands, what the allocator keeps."""

from __future__ import annotations

import ctypes
import functools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np


class Setting:
    """A setting of the whole process that threads change for a while, each inside `changed`.

    They overlap in any order, so users are counted: the first saves the old value, the last puts it back.
    """

    def __init__(self) -> None:
        self.lock, self.users = threading.Lock(), 0
        self.before: Any = None

    @contextmanager
    def changed(self, get: Callable[[], Any], set_: Callable[[Any], object], value: Any) -> Iterator[None]:
        with self.lock:
            if not self.users:
                self.before = get()
                set_(value)
            self.users += 1
        try:
            yield
        finally:
            with self.lock:
                self.users -= 1
                if not self.users:
                    set_(self.before)


_blas_threads, _switch_interval = Setting(), Setting()


@functools.cache
def openblas(function: str) -> Any:
    """A function of NumPy's own OpenBLAS by its name without prefix; None where NumPy uses another library.

    NumPy's wheels link OpenBLAS with the prefix `scipy_`, other builds without; a suffix marks 64-bit integers. The
    symbol is looked up through the extension module that links the library.
    """
    try:
        core = sys.modules.get("numpy._core._multiarray_umath") or sys.modules["numpy.core._multiarray_umath"]
        library = ctypes.CDLL(core.__file__)
    except (KeyError, OSError):
        return None
    names = [f"{prefix}_{function}{suffix}" for prefix in ("scipy_openblas", "openblas") for suffix in ("64_", "")]
    return next((getattr(library, name) for name in names if hasattr(library, name)), None)


def blas_thread_controls() -> tuple[Callable[[], int], Callable[[int], object]] | None:
    """NumPy's own OpenBLAS as `(get_num_threads, set_num_threads)`, for which NumPy has no call; None where it uses
    another library."""
    get, set_ = openblas("get_num_threads"), openblas("set_num_threads")
    return None if get is None or set_ is None else (get, set_)


def single_threaded_blas() -> AbstractContextManager[None]:
    """Inside this context, a matrix product runs on the thread that asked for it.

    Worker threads that each own a part of the batch need no second level of threads: they would queue for it.
    Where the BLAS has no such control, results are the same and only the speed differs.
    """
    controls = blas_thread_controls()
    return nullcontext() if controls is None else _blas_threads.changed(*controls, 1)


def short_turns() -> AbstractContextManager[None]:
    """Inside this context, a thread that waits for Python's global lock asks for it after 5 us, not after 5 ms.

    NumPy releases the lock for each operation and takes it again afterwards. Where operations last microseconds, a
    thread that sleeps for the lock wakes too late: its holder has it again, and again, until this time is up.
    """
    return _switch_interval.changed(sys.getswitchinterval, sys.setswitchinterval, 5e-6)


def keep_freed_memory() -> None:
    """Make the C library keep the memory of freed arrays, instead of returning it to the system each time.

    A training step frees megabytes and asks for the same again at once; handed back and forth, every page of them
    costs a fault. glibc decides by the largest block it has seen freed, up to 32 MiB: so free one. Nothing is ever
    written to it, and with other C libraries it has no effect.
    """
    np.empty((32 << 20) - (1 << 16), dtype=np.uint8)
