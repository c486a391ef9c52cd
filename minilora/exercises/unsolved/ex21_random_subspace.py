"""Exercise 21 (lesson 9): training in a random subspace (Li et al. 2018, equation 2), LoRA's ancestor."""

from collections.abc import Callable

import numpy as np


def subspace_step(
    theta0: np.ndarray,
    P: np.ndarray,
    z: np.ndarray,
    gradient: Callable[[np.ndarray], np.ndarray],
    lr: float,
) -> np.ndarray:
    """One step of gradient descent on z, when the model's parameters are theta = theta0 + P z.

    theta0     (D,)     where training started; frozen
    P          (D, m)   a fixed random matrix
    z          (m,)     what trains
    gradient            takes theta (D,) and returns dL/dtheta (D,)
    lr                  the learning rate

    Returns the new z (m,).
    """
    raise NotImplementedError
