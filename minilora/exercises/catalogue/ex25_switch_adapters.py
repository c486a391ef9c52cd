"""Exercise 25: switching two adapters."""

import numpy as np

from minilora.exercises.spec import Case, Exercise, Floats, OneOf


def _update(adapter, scaling=lambda alpha, r: alpha / r):
    A, B, alpha = adapter
    return scaling(alpha, len(A)) * (B @ A)


def _right(W, old, new):
    return W - _update(old) + _update(new)


def _arguments(case: Case):
    return {
        "W": case["W"],
        "old": (case["A1"], case["B1"], case["alpha1"]),
        "new": (case["A2"], case["B2"], case["alpha2"]),
    }


def _in_place(W, old, new):
    W -= _update(old)
    W += _update(new)
    return W


EXERCISE = Exercise(
    title="switching two adapters",
    lesson=12,
    minutes=10,
    functions={"switch": _right},
    inputs={
        "W": Floats("d k"),
        "A1": Floats("r1 k"),
        "B1": Floats("d r1"),
        "A2": Floats("r2 k"),
        "B2": Floats("d r2"),
        "alpha1": OneOf((1.0, 8.0, 3.0)),
        "alpha2": OneOf((2.0, 5.0)),
    },
    sizes={"r1": (1, 3), "r2": (1, 3)},
    arguments=_arguments,
    magnitude=lambda W, old, new: np.abs(W) + sum(alpha / len(A) * np.abs(B) @ np.abs(A) for A, B, alpha in (old, new)),
    outputs=("W = W - (alpha1 / r1) B1 A1 + (alpha2 / r2) B2 A2",),
    hints=(
        "W = W0 + the old update. Which two steps lead to W0 + the new update?",
        "Each update is (alpha / r) B A with the alpha and the r of that adapter: r is A.shape[0].",
        "A1, B1, alpha1 = old; A2, B2, alpha2 = new; "
        "return W - alpha1 / len(A1) * (B1 @ A1) + alpha2 / len(A2) * (B2 @ A2)",
    ),
    wrong={
        "the old update is not taken off": lambda W, old, new: W + _update(new),
        "the new update is not added": lambda W, old, new: W - _update(old),
        "old and new are swapped": lambda W, old, new: W + _update(old) - _update(new),
        "the scaling alpha / r is missing": lambda W, old, new: (
            W - _update(old, lambda alpha, r: 1) + _update(new, lambda alpha, r: 1)
        ),
        "scaled by alpha, not alpha / r": lambda W, old, new: (
            W - _update(old, lambda alpha, r: alpha) + _update(new, lambda alpha, r: alpha)
        ),
        "the old adapter's scaling is used for both": lambda W, old, new: (
            W - _update(old) + old[2] / len(old[0]) * (new[1] @ new[0])
        ),
        "the old adapter's rank is used for both": lambda W, old, new: (
            W - _update(old) + _update(new, lambda alpha, r: alpha / len(old[0]))
        ),
        "W is changed in place": _in_place,
    },
)
