"""Exercise 2 (lesson 1): the gradient by finite differences, which checks every gradient you derive by hand."""

from collections.abc import Callable

import numpy as np


def numerical_gradient(f: Callable[[np.ndarray], float], x: np.ndarray, h: float) -> np.ndarray:
    """The gradient of f at x by central differences: (f(x + h e) - f(x - h e)) / (2 h) for each entry's direction e.

    f   takes an array of x's shape and returns a number
    x   an array of any shape; it must be as before when you return
    h   the step, a number

    Returns an array of x's shape.
    """
    raise NotImplementedError
