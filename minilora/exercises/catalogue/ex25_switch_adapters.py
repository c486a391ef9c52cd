"""Exercise 25: switching two adapters."""

import numpy as np

from minilora.exercises.spec import Case, Exercise, Floats, OneOf


def switch(W, old, new):
    A1, B1, alpha1 = old
    A2, B2, alpha2 = new
    s1 = alpha1 / len(A1)
    s2 = alpha2 / len(A2)
    return W - s1 * (B1 @ A1) + s2 * (B2 @ A2)


def arguments(case: Case):
    return {
        "W": case["W"],
        "old": (case["A1"], case["B1"], case["alpha1"]),
        "new": (case["A2"], case["B2"], case["alpha1"] if case["alpha2"] is None else case["alpha2"]),
    }


def magnitude(W, old, new):
    return np.abs(W) + sum(abs(alpha) / len(A) * np.abs(B) @ np.abs(A) for A, B, alpha in (old, new))


EXERCISE = Exercise(
    title="switching two adapters",
    lesson=12,
    minutes=10,
    functions={"switch": switch},
    inputs={
        "W": Floats("d k"),
        "A1": Floats("r1 k"),
        "B1": Floats("d r1"),
        "A2": Floats("r2 k"),
        "B2": Floats("d r2"),
        "alpha1": OneOf((1.0, 2.0, 0.0, 2.7)),
        "alpha2": OneOf((2.0, None, 5, None, -3.3)),
    },
    sizes={"r1": (1, 2), "r2": (1, 2)},
    arguments=arguments,
    magnitude=magnitude,
    outputs=("W = W - (alpha1 / r1) B1 A1 + (alpha2 / r2) B2 A2",),
    hints=(
        "W = W0 + the old update. Which two steps lead to W0 + the new update?",
        "Each update is (alpha / r) B A with the alpha and the r of that adapter: r is A.shape[0].",
        "A1, B1, alpha1 = old; A2, B2, alpha2 = new; "
        "return W - alpha1 / len(A1) * (B1 @ A1) + alpha2 / len(A2) * (B2 @ A2)",
    ),
    slips={
        "the old update is not taken off": "W - s1 * (B1 @ A1) -> W",
        "the new update is not added": " + s2 * (B2 @ A2) -> ",
        "old and new are swapped": "W - s1 * (B1 @ A1) + s2 -> W + s1 * (B1 @ A1) - s2",
        "the scaling alpha / r is missing": ("s1 = alpha1 / len(A1) -> s1 = 1", "s2 = alpha2 / len(A2) -> s2 = 1"),
        "scaled by alpha, not alpha / r": (" / len(A1) -> ", " / len(A2) -> "),
        "the old adapter's scaling is used for both": "s2 = alpha2 / len(A2) -> s2 = s1",
        "the old adapter's rank is used for both": "alpha2 / len(A2) -> alpha2 / len(A1)",
        "W is changed in place": ("return W - s1 -> W += -s1", "(B2 @ A2) -> (B2 @ A2); return W"),
    },
)
