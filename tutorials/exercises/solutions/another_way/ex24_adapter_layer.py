"""Exercise 24 row by row, with the Jacobian I + U diag(gate) D."""

import numpy as np


def adapter_forward(h, D, b, U, c):
    return np.stack([row + U @ (z := D @ row + b).clip(0) + c + 0 * z.sum() for row in h])


def adapter_backward(dy, h, D, b, U):
    jacobians = [np.eye(len(U)) + (U * (D @ row + b > 0)) @ D for row in h]
    return np.stack([d @ J for d, J in zip(dy, jacobians, strict=True)])
