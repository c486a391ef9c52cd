"""Exercise 7 (lesson 2): the backward of causal attention, one head (Vaswani et al. 2017, equation 1)."""

import numpy as np


def attention_backward(
    dy: np.ndarray, q: np.ndarray, k: np.ndarray, v: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gradients of y = P v, where P = softmax(S) row by row and S = q k^T / sqrt(D).

    Causal: query i sees the keys 0 .. i, so S[i, j] = -inf for j > i.

    dy, q, k, v   (T, D)

    Returns dq, dk, dv, each (T, D).
    """
    raise NotImplementedError
