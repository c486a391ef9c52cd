"""Exercise 18 (lesson 7): merging, which is why LoRA adds no latency (Hu et al. 2021, section 4.1)."""

import numpy as np


def merge(W0: np.ndarray, A: np.ndarray, B: np.ndarray, alpha: float) -> np.ndarray:
    """One plain weight that computes what base and LoRA compute together: x W^T = x W0^T + (alpha / r) x A^T B^T.

    W0 (d, k)   A (r, k)   B (d, r)   alpha a number. W0 must be as before when you return.

    Returns W (d, k).
    """
    raise NotImplementedError
