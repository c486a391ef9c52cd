"""Exercise 1 (lesson 1): the backward of a linear layer.

A linear layer computes y = x W^T + b for a batch of n rows. Given dy = dL/dy, find the gradients of L.
"""

import numpy as np


def linear_backward(dy: np.ndarray, x: np.ndarray, W: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gradients of the loss with respect to x, W and b.

    dy (n, d)   the gradient at the layer's output
    x  (n, k)   the layer's input
    W  (d, k)   its weight

    Returns dx (n, k), dW (d, k), db (d,).
    """
    raise NotImplementedError
