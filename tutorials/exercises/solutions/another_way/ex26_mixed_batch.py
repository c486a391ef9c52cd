"""Exercise 26 row by row."""

import numpy as np


def mixed_forward(x, which, W0, adapters):
    rows = []
    for row, i in zip(x, which, strict=True):
        y = W0 @ row
        if i >= 0:
            A, B, alpha = adapters[i]
            y = y + alpha / len(A) * (B @ (A @ row))
        rows.append(y)
    return np.array(rows)
