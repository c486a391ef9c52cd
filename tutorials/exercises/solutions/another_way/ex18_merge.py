"""Exercise 18 as a sum of r rank-one updates."""

import numpy as np


def merge(W0, A, B, alpha):
    W = W0.copy()
    for a, b in zip(A, B.T, strict=True):
        W += np.outer(alpha / len(A) * b, a)
    return W
