"""Exercise 4 (lesson 2): the backward of LayerNorm (Ba, Kiros and Hinton 2016, equation 4)."""

import numpy as np


def layer_norm_backward(
    dy: np.ndarray, x: np.ndarray, gamma: np.ndarray, eps: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gradients of y = gamma * xhat + beta with xhat = (x - mean) / sqrt(var + eps).

    Mean and variance are over the last axis, for each row by itself; the variance divides by d, not d - 1.

    dy, x   (n, d)
    gamma   (d,)
    eps     a number

    Returns dx (n, d), dgamma (d,), dbeta (d,).
    """
    raise NotImplementedError
