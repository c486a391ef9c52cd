"""Exercise 11 (lesson 5): the LoRA layer (Hu et al. 2021, equation 3)."""

import numpy as np


def lora_forward(x: np.ndarray, W0: np.ndarray, A: np.ndarray, B: np.ndarray, alpha: float) -> np.ndarray:
    """h = W0 x + (alpha / r) B A x, for a batch of row vectors x.

    x    (n, k)
    W0   (d, k)   frozen
    A    (r, k)
    B    (d, r)
    alpha         a number; the rank r is in the shapes

    Returns h (n, d).
    """
    raise NotImplementedError
