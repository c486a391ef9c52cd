"""Exercise 29 (lesson 16): rotary positions and their backward (Su et al. 2021, section 3.2), in Llama's order."""

import numpy as np


def rotary(x: np.ndarray, start: int, theta: float) -> np.ndarray:
    """Turn every pair of numbers of x by an angle that grows with the position.

    x       (..., T, D) with D even: T positions, the first of which is number `start`; any axes before, such as heads
    start   0 for a whole text; more if earlier positions are in a cache
    theta   a number above 1

    The pairs are (x_i, x_{i + D/2}) for i = 0 ... D/2 - 1. At position t, pair i turns by t * theta^(-2i/D) radians;
    to turn (a, b) by an angle gives (a cos - b sin, b cos + a sin).

    Returns y, of x's shape and dtype (float32 stays float32).
    """
    raise NotImplementedError


def rotary_backward(dy: np.ndarray, start: int, theta: float) -> np.ndarray:
    """dL/dx from dy = dL/dy for y = rotary(x, start, theta), of dy's shape and dtype."""
    raise NotImplementedError
