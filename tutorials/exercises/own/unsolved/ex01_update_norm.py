"""Exercise 1 (lesson 5): the size of a LoRA update."""

import numpy as np


def update_norm(A: np.ndarray, B: np.ndarray, alpha: float) -> float:
    """The Frobenius norm of the update (alpha/r) B A: the root of the sum of the squares of its numbers.

    A (r, k), B (d, r)
    """
    raise NotImplementedError
