"""Exercise 16 (lesson 5): a training step that leaves the frozen parameters alone."""

import numpy as np


def train_step(
    parameters: dict[str, np.ndarray], gradients: dict[str, np.ndarray], trainable: list[str], lr: float
) -> dict[str, np.ndarray]:
    """One step of gradient descent, w - lr * gradient, on the trainable parameters.

    parameters   all parameters by name; the arrays must be as before when you return
    gradients    some gradients by name; a frozen parameter may have one, a trainable one may have none (then it stays)
    trainable    names of the parameters that train
    lr           the learning rate

    Returns all parameters by name, the frozen ones unchanged.
    """
    raise NotImplementedError
