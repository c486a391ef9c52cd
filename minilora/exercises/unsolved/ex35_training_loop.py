"""Exercise 35 (lesson 7): LoRA from end to end. Inject, step, merge."""

from collections.abc import Callable

import numpy as np

Weights = dict[str, np.ndarray]


def tune(
    weights: Weights, A: Weights, alpha: float, lr: float, steps: int, gradient: Callable[[Weights], Weights]
) -> Weights:
    """Train LoRA on some of a model's weights, and return the model with the updates merged.

    weights    every weight by name, each (d, k), of any d and k
    A          the A at the start, (r, k), for each weight that is adapted, by the weight's name; r may differ
    alpha      the scale of an update is alpha / r with that A's r
    lr, steps  how far and how often (perhaps 0 times)
    gradient   gradient(weights) returns dL/dW for every weight by name. It wants all weights, under all their names,
               with the updates in: W + (alpha / r) B A

    Inject: every B starts at zero. Step: take the gradients at the model as it is now, compute dA and dB from them,
    then move both, A - lr dA and B - lr dB. Merge: W + (alpha / r) B A, once, after the last step.

    Returns a new dictionary with every weight: merged where there is an A, as it was where there is none. float32 stays
    float32. `weights` and `A` must be as before when you return.
    """
    raise NotImplementedError
