"""Exercise 24 (lesson 11): a bottleneck adapter, forward and backward (Houlsby et al. 2019, section 2.1)."""

import numpy as np


def adapter_forward(h: np.ndarray, D: np.ndarray, b: np.ndarray, U: np.ndarray, c: np.ndarray) -> np.ndarray:
    """y = h + relu(h D^T + b) U^T + c: down to m dimensions, a nonlinearity, up again, and a skip connection.

    h (n, k)   D (m, k)   b (m,)   U (k, m)   c (k,)

    Returns y (n, k).
    """
    raise NotImplementedError


def adapter_backward(dy: np.ndarray, h: np.ndarray, D: np.ndarray, b: np.ndarray, U: np.ndarray) -> np.ndarray:
    """The gradient at the input: dy (n, k) -> dh (n, k).  relu's slope is 1 above zero and 0 below."""
    raise NotImplementedError
