"""Exercise 2, moving one entry of a flat copy and putting it back."""

import numpy as np


def numerical_gradient(f, x, h):
    moved = x.astype(np.float64).ravel()
    slopes = []
    for i, value in enumerate(moved.copy()):
        moved[i] = value + h
        above = f(moved.reshape(x.shape))
        moved[i] = value - h
        below = f(moved.reshape(x.shape))
        moved[i] = value
        slopes.append((above - below) / (2 * h))
    return np.array(slopes).reshape(x.shape)
