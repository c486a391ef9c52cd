"""Exercise 3 (lesson 2): the backward of GELU, the transformer's nonlinearity (Hendrycks and Gimpel 2016)."""

import numpy as np


def gelu_backward(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The gradient at the input of GPT-2's GELU,

        y = x/2 (1 + tanh(u)),   u = c (x + a x^3),   c = sqrt(2 / pi),   a = 0.044715.

    dy, x   arrays of one shape, any shape

    Returns dx, of the same shape. (The derivative of tanh(u) is 1 - tanh(u)^2.)
    """
    raise NotImplementedError
