"""Exercise 21: a step in a random subspace."""

import numpy as np

from minilora.exercises.spec import Case, Exercise, Floats, OneOf


def subspace_step(theta0, P, z, gradient, lr):
    theta = theta0 + P @ z
    step = lr * P.T @ gradient(theta)
    return z - step


class Gradient:
    """c theta^2 + 1/2, of arrays in one shape only."""

    def __init__(self, c, shape):
        self.c, self.shape = c, shape
        self.__doc__ = f"the function {c:g} theta^2 + 1/2 of theta"

    def __call__(self, theta):
        if np.shape(theta) != self.shape:
            raise ValueError(f"gradient takes arrays of shape {self.shape}")
        return self.c * np.asarray(theta) ** 2 + 0.5


def arguments(case: Case):
    return {**case.values, "gradient": Gradient(case["c"], case["theta0"].shape)}


def magnitude(theta0, P, z, gradient, lr):
    theta0, P, z = np.abs(theta0), np.abs(P), np.abs(z)
    return z + abs(lr) * P.T @ (abs(gradient.c) * (theta0 + P @ z) ** 2 + 0.5)


EXERCISE = Exercise(
    title="training in a random subspace",
    lesson=9,
    minutes=10,
    functions={"subspace_step": subspace_step},
    inputs={
        "theta0": Floats("D"),
        "P": Floats("D m"),
        "z": Floats("m"),
        "lr": OneOf((1.0, 0.1, 0.0, -0.3)),
        "c": OneOf((1.0, -0.7)),
    },
    sizes={"m": (1, 5), "D": (1, 5)},
    arguments=arguments,
    magnitude=magnitude,
    outputs=("z = z - lr P^T dL/dtheta at theta0 + P z",),
    hints=(
        "Where is the model now? Compute theta from z, and ask for the gradient there.",
        "theta_i = theta0_i + sum_j P_ij z_j, so dL/dz_j = sum_i P_ij dL/dtheta_i: a product with P^T.",
        "return z - lr * P.T @ gradient(theta0 + P @ z)",
    ),
    slips={
        "the gradient is taken at theta0: take it at theta0 + P z": "theta = theta0 + P @ z -> theta = theta0",
        "theta0 is left out of theta": "theta = theta0 + P @ z -> theta = P @ z",
        "P is not transposed, which fits only if it is square": "P.T -> P",
        "the new theta is returned: return z": "return z - step -> return theta0 + P @ (z - step)",
        "the step is returned, not the new z": "return z - step -> return -step",
        "the step goes up the gradient: subtract it": "z - step -> z + step",
        "the learning rate is left out": "lr * -> ",
        "theta0 is changed in place": "theta = theta0 + P @ z -> theta = theta0; theta += P @ z",
    },
)
