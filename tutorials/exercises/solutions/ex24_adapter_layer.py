"""Exercise 24: two linear layers with a relu between them, beside a skip connection."""

import numpy as np


def adapter_forward(h, D, b, U, c):
    return h + np.maximum(h @ D.T + b, 0) @ U.T + c


def adapter_backward(dy, h, D, b, U):
    open_gates = h @ D.T + b > 0
    return dy + (dy @ U * open_gates) @ D
