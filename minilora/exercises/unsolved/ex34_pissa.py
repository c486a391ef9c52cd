"""Exercise 34 (lesson 11): PiSSA, a start that trains the largest directions of W (Meng et al. 2024, section 3)."""

import numpy as np


def pissa_start(W: np.ndarray, r: int, alpha: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split W into a frozen residual and factors that start with W's r largest singular values.

    W (d, k)   r from 1 to min(d, k)   alpha a number above 0

    The layer's weight is residual + (alpha / r) B A, as in LoRA, and must be W at the start, up to rounding. The update
    (alpha / r) B A is the best part of W of rank r (exercise 10). A and B share it evenly: each has the square roots,

        A A^T = B^T B = diag(sigma_1, ..., sigma_r) r / alpha        sigma: the r largest singular values of W

    Returns residual (d, k), A (r, k), B (d, r), all in W's dtype.
    """
    raise NotImplementedError
