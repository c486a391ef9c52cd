"""Exercise 32 (lesson 18): a block in four bits, and a bound on its error (Dettmers et al. 2023, section 2)."""

import numpy as np


def quantize(w: np.ndarray, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each number as one of sixteen levels, times the largest magnitude of its block.

    w        (n, m): n blocks of m numbers
    levels   (16,), rising from -1 to 1, in w's dtype; in any spacing, with or without a 0

    c is max |w| of each block. Every number gets the code (0 to 15) of the level nearest to w / c; of two that are
    equally near, either. In a block of zeros c is 0, and any codes do.

    Returns codes (n, m), uint8, and c (n,), in w's dtype.
    """
    raise NotImplementedError


def dequantize(codes: np.ndarray, stored: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """The numbers that the codes stand for: (n, m), in the dtype of `stored`.

    codes (n, m) uint8   stored (n,): every block's c, as it has been stored   levels (16,)
    """
    raise NotImplementedError


def error_bound(c: np.ndarray, stored: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """How far at most a number w of a block can be from stored * level, for each block: (n,), in the dtype of `stored`.

    c (n,) chose the codes; stored (n,) is what was kept of it in fewer bits, a little more or less. The bound is the
    sum of two: how far w can be from c * level (use the levels), and how far c * level can be from stored * level
    (no level is larger than 1). Every w from -c to c counts, not only those of one block.
    """
    raise NotImplementedError
