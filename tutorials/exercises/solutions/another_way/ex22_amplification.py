"""Exercise 22 with projections onto dW's column and row spaces, which leave the norm as it is."""

import numpy as np


def amplification_factor(W, dW, r):
    U, sigma, Vt = np.linalg.svd(dW)
    left, right = U[:, :r] @ U[:, :r].T, Vt[:r].T @ Vt[:r]
    return np.sqrt((sigma**2).sum() / np.square(left @ W @ right).sum())
