"""Fast float32 products for Pyodide, whose NumPy has no BLAS: `np.matmul`'s own loop, replaced by SIMD code.

The code is `matmul.wasm` (from `../matmul/matmul.ts`). It takes the place of one function pointer in the ufunc object
`np.matmul`, so this file knows the layout of that object in one NumPy, on a platform whose pointers have 32 bits.
`install` makes sure of both, compares the new products with float64 ones, and puts the old pointer back if anything is
not as expected: everything then works as before, only slower.
"""

from __future__ import annotations

import ctypes
import sys
from itertools import product
from pathlib import Path

import numpy as np

NUMPY = "2.4.3"  # the one whose ufunc object has these offsets, in bytes
NIN, NOUT, NARGS, LOOPS = 8, 12, 16, 24
SIZES = ((1, 1, 1), (3, 5, 7), (4, 8, 8), (64, 64, 64), (65, 33, 17), (5, 300, 1))  # m, n, p


def install() -> bool:
    """Make float32 products fast.  False, and nothing is changed, where that cannot be done or a product is wrong."""
    if sys.platform != "emscripten" or np.__version__ != NUMPY or ctypes.sizeof(ctypes.c_void_p) != 4:
        return False
    ufunc = id(np.matmul)
    if [_word(ufunc + offset).value for offset in (NIN, NOUT, NARGS)] != [2, 1, 3]:
        return False
    pointer = _word(_word(ufunc + LOOPS).value + 4 * np.matmul.types.index("ff->f"))
    before = pointer.value
    try:
        library = ctypes.CDLL(str(Path(__file__).with_name("matmul.wasm")))
        pointer.value = ctypes.cast(library.loop, ctypes.c_void_p).value
        right = products_are_right()
    except (OSError, AttributeError):
        right = False
    if not right:
        pointer.value = before
    return right


def _word(address: int) -> ctypes.c_uint32:
    return ctypes.c_uint32.from_address(address)


def products_are_right() -> bool:
    """Whether each entry of A B is within gamma_n |A| |B| (Higham 2002, 3.5), for several sizes and all layouts."""
    rng, u = np.random.default_rng(0), 2.0**-24
    for (m, n, p), A_turned, B_turned in product(SIZES, (False, True), (False, True)):
        A = rng.standard_normal((n, m) if A_turned else (m, n)).astype("f4")
        B = rng.standard_normal((p, n) if B_turned else (n, p)).astype("f4")
        A, B = A.T if A_turned else A, B.T if B_turned else B
        wide, most = A.astype("f8") @ B.astype("f8"), np.abs(A).astype("f8") @ np.abs(B).astype("f8")
        if not (np.abs(A @ B - wide) <= n * u / (1 - n * u) * most).all():
            return False
    return True
