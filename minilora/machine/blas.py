"""How many threads a matrix product uses, how soon Python's lock changes hands, and what the allocator keeps."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


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
