"""Exercise 26 (lesson 12): one batch, many tasks: each row has its own adapter."""

import numpy as np

Adapter = tuple[np.ndarray, np.ndarray, float]  # A (r, k), B (d, r), alpha


def mixed_forward(x: np.ndarray, which: np.ndarray, W0: np.ndarray, adapters: list[Adapter]) -> np.ndarray:
    """Row n of the result is W0 x_n + (alpha / r) B A x_n with the adapter number which[n], or W0 x_n if that is -1.

    x        (n, k)
    which    (n,), whole numbers from -1 to len(adapters) - 1
    W0       (d, k)
    adapters one or more

    Returns (n, d), rows in the order of x.
    """
    raise NotImplementedError
