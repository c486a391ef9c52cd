"""Exercise 21: a step in a random subspace."""

import numpy as np

from minilora.exercises.spec import Case, Exercise, Floats, OneOf


def _gradient(theta):
    """the function theta^2 + 1/2 of theta"""
    return np.asarray(theta) ** 2 + 0.5


def _arguments(case: Case):
    return {"theta0": case["theta0"], "P": case["P"], "z": case["z"], "gradient": _gradient, "lr": case["lr"]}


def _right(theta0, P, z, gradient, lr):
    return z - lr * P.T @ gradient(theta0 + P @ z)


def _magnitude(theta0, P, z, gradient, lr):
    theta0, P, z = np.abs(theta0), np.abs(P), np.abs(z)
    return z + lr * P.T @ gradient(theta0 + P @ z)


def _in_place(theta0, P, z, gradient, lr):
    theta0 += P @ z
    return z - lr * P.T @ gradient(theta0)


EXERCISE = Exercise(
    title="training in a random subspace",
    lesson=9,
    minutes=10,
    functions={"subspace_step": _right},
    inputs={"theta0": Floats("D"), "P": Floats("D m"), "z": Floats("m"), "lr": OneOf((1.0, 0.1))},
    sizes={"m": (1, 3), "D": (1, 5)},
    arguments=_arguments,
    magnitude=_magnitude,
    outputs=("z = z - lr P^T dL/dtheta at theta0 + P z",),
    hints=(
        "Where is the model now? Compute theta from z, and ask for the gradient there.",
        "theta_i = theta0_i + sum_j P_ij z_j, so dL/dz_j = sum_i P_ij dL/dtheta_i: a product with P^T.",
        "return z - lr * P.T @ gradient(theta0 + P @ z)",
    ),
    wrong={
        "the gradient is taken at theta0: take it at theta0 + P z": lambda theta0, P, z, gradient, lr: (
            z - lr * P.T @ gradient(theta0)
        ),
        "theta0 is left out of theta": lambda theta0, P, z, gradient, lr: z - lr * P.T @ gradient(P @ z),
        "P is not transposed, which fits only if it is square": lambda theta0, P, z, gradient, lr: (
            z - lr * P @ gradient(theta0 + P @ z)
        ),
        "the new theta is returned: return z": lambda theta0, P, z, gradient, lr: (
            theta0 + P @ _right(theta0, P, z, gradient, lr)
        ),
        "the step is returned, not the new z": lambda theta0, P, z, gradient, lr: (
            _right(theta0, P, z, gradient, lr) - z
        ),
        "the step goes up the gradient: subtract it": lambda theta0, P, z, gradient, lr: _right(
            theta0, P, z, gradient, -lr
        ),
        "the learning rate is left out": lambda theta0, P, z, gradient, lr: _right(theta0, P, z, gradient, 1.0),
        "theta0 is changed in place": _in_place,
    },
)
