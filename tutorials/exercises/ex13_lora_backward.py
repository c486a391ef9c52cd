"""Exercise 13 (lesson 5): the backward of the LoRA layer."""

import numpy as np


def lora_backward(
    dy: np.ndarray, x: np.ndarray, W0: np.ndarray, A: np.ndarray, B: np.ndarray, alpha: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gradients of y = x W0^T + (alpha / r) x A^T B^T (exercise 11). W0 is frozen: no dW0.

    dy (n, d)   x (n, k)   W0 (d, k)   A (r, k)   B (d, r)   alpha a number

    Returns dx (n, k), dA (r, k), dB (d, r).
    """
    raise NotImplementedError
