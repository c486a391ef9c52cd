"""Exercise 31 (lesson 16): the gated MLP of modern decoders and its backward (Shazeer 2020, equation 6)."""

import numpy as np


def swiglu(x: np.ndarray, Wg: np.ndarray, Wu: np.ndarray, Wd: np.ndarray) -> np.ndarray:
    """y = (silu(g) * u) Wd^T with g = x Wg^T (the gate), u = x Wu^T (up), silu(g) = g / (1 + exp(-g)).

    x        (t, k) or (b, t, k)
    Wg, Wu   (m, k)
    Wd       (k, m)

    g may be thousands, positive or negative: the result must be right, and so finite, there too.

    Returns y, of x's shape.
    """
    raise NotImplementedError


def swiglu_backward(
    dy: np.ndarray, x: np.ndarray, Wg: np.ndarray, Wu: np.ndarray, Wd: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The gradients of y = swiglu(x, Wg, Wu, Wd) from dy, of y's shape.

    Returns dx, of x's shape, dWg (m, k), dWu (m, k) and dWd (k, m), each dW summed over all rows.
    """
    raise NotImplementedError
