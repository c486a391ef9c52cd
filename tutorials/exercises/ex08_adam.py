"""Exercise 8 (lesson 3): one step of Adam (Kingma and Ba 2015, algorithm 1)."""

import numpy as np


def adam_step(
    w: np.ndarray,
    g: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    t: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The weights and moments after step t.

        m <- beta1 m + (1 - beta1) g          mhat = m / (1 - beta1^t)
        v <- beta2 v + (1 - beta2) g^2        vhat = v / (1 - beta2^t)
        w <- w - lr mhat / (sqrt(vhat) + eps)

    w, g, m, v   arrays of one shape; they must be as before when you return
    t            the number of this step: 1 for the first

    Returns the new w, m, v. (m and v are what the next step is given: without hats.)
    """
    raise NotImplementedError
