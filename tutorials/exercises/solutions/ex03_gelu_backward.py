"""Exercise 3: the product rule, then the chain rule through tanh."""

import math

import numpy as np


def gelu_backward(dy, x):
    c, a = math.sqrt(2 / math.pi), 0.044715
    t = np.tanh(c * (x + a * x**3))
    du = c * (1 + 3 * a * x**2)
    return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * du)
