"""Exercise 23 (lesson 11): BitFit, which trains only the biases (Ben Zaken et al. 2022)."""

import numpy as np


def bitfit_step(
    parameters: dict[str, np.ndarray], gradients: dict[str, np.ndarray], lr: float
) -> dict[str, np.ndarray]:
    """One step of gradient descent, w - lr * gradient, on every parameter whose last name is "bias".

    parameters   all parameters by name, such as "blocks.0.ln_1.bias"; the arrays must be as before when you return
    gradients    a gradient for each of them

    Returns all parameters by name.
    """
    raise NotImplementedError
