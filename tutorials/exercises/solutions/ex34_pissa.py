"""Exercise 34: each factor gets the square root, and the scale is taken out of both."""

import numpy as np


def pissa_start(W, r, alpha):
    s = alpha / r
    U, sigma, Vt = np.linalg.svd(W, full_matrices=False)
    root = np.sqrt(sigma[:r] / s)
    B = U[:, :r] * root
    A = root[:, None] * Vt[:r]
    return W - s * B @ A, A.astype(W.dtype), B.astype(W.dtype)
