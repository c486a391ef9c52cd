"""Exercise 28 (lesson 16): RMSNorm and its backward (Zhang and Sennrich 2019, equation 4)."""

import numpy as np


def rms_norm(x: np.ndarray, gamma: np.ndarray, eps: float) -> np.ndarray:
    """y = gamma * xhat with xhat = x / sqrt(mean(x^2) + eps); the mean is over the last axis, for each row by itself.

    x       (..., d): one row (d,), or rows with any number of axes before the last, as (n, d) or (b, n, t, d)
    gamma   (d,)
    eps     a number above 0

    Returns y, of x's shape.
    """
    raise NotImplementedError


def rms_norm_backward(dy: np.ndarray, x: np.ndarray, gamma: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """The gradients of y = rms_norm(x, gamma, eps) from dy, of y's shape.

    Every row has the same gamma, so dgamma is a sum over all rows, whatever axes they have.

    Returns dx, of x's shape, and dgamma (d,).
    """
    raise NotImplementedError
