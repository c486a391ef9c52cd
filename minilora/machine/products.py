"""x W^T for few rows x, and memory for large W: where reading W takes as long as computing with it.

A BLAS first packs its operands, that is, copies them into an order of its own. In dy W, and in x W^T with hundreds of
rows, that costs little. With fewer rows each number of W is used too seldom to pay for the copy, and two forms do
without it:

- one row: a dot product with each row of W, which reads W once from front to back;
- up to MOST_ROWS: OpenBLAS multiplies small matrices without packing where it has AVX-512, so W goes in slices of
  SLICE rows, each small enough (SMALL is OpenBLAS's own limit).
"""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Mapping

import numpy as np

from minilora.machine.backend import Array, on_host
from minilora.machine.blas import openblas

SLICE, MOST_ROWS, SMALL = 8, 128, 10**6
UNPACKED = {"SkylakeX", "Cooperlake", "SapphireRapids"}  # OpenBLAS's names for kernels that have the small products


def times_transposed(x: Array, W: Array) -> Array:
    """x W^T.  x (n, k), W (d, k) -> (n, d), contiguous."""
    (n, k), d = x.shape, len(W)
    if not on_host(x) or not n:
        return x @ W.T
    if n == 1:
        return (W[:, None] @ x[0, :, None]).reshape(1, d)
    if n > MOST_ROWS or n * SLICE * k > SMALL or d % SLICE or not multiplies_unpacked():
        return x @ W.T
    y = np.empty((n, d), np.result_type(x, W))
    np.matmul(x, W.reshape(-1, SLICE, k).swapaxes(1, 2), out=y.reshape(n, -1, SLICE).swapaxes(0, 1))
    return y


@functools.cache
def multiplies_unpacked() -> bool:
    """Whether NumPy's BLAS is an OpenBLAS that multiplies small matrices as they are, on this processor."""
    name = openblas("get_corename")
    if name is None:
        return False
    name.restype = ctypes.c_char_p
    return name().decode() in UNPACKED


def one_block(shapes: Mapping[str, tuple[int, ...]], dtype: str) -> dict[str, np.ndarray]:
    """Arrays, not yet filled, that lie one behind the other in memory.

    A model's weights are read at memory's speed. Linux gives large pages to a block of many megabytes, which NumPy asks
    it for, and not to a few megabytes each: with small pages, a dot product over a large model took 1.6 times as long.
    """
    line = 64 // np.dtype(dtype).itemsize  # each begins on a cache line
    places, end = {}, 0
    for name, shape in shapes.items():
        places[name], end = end, end + -(-math.prod(shape) // line) * line
    block = np.empty(end, dtype)
    return {name: block[at : at + math.prod(shapes[name])].reshape(shapes[name]) for name, at in places.items()}
