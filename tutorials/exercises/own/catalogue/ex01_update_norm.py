"""Exercise 1 of a course of your own: the size of a LoRA update."""

import numpy as np

from minilora.exercises.spec import Exercise, Floats, OneOf


def update_norm(A, B, alpha):
    r = A.shape[0]
    return alpha / r * np.sqrt(np.sum((B @ A) ** 2))


EXERCISE = Exercise(
    title="the size of an update",
    lesson=5,
    minutes=5,
    # The right answer is a function of the module, under the name that students must write. It is given float64.
    functions={"update_norm": update_norm},
    # How its arguments are drawn. Axes have names: here the r of A is the r of B.
    inputs={"A": Floats("r k"), "B": Floats("d r"), "alpha": OneOf((1.0, 16.0, 0.5))},
    # What each result should be, in words; a student whose result is wrong reads this. Credit is given for each.
    outputs=("||(alpha/r) B A||, the root of the sum of squares",),
    hints=(
        "First the matrix that is added to W, then the root of the sum of the squares of its numbers.",
        "r is A's first size: A.shape[0].",
        "return alpha / A.shape[0] * np.sqrt(np.sum((B @ A) ** 2))",
    ),
    # The mistakes that students make, each as an edit of the right answer above: they read which one is likely theirs.
    slips={
        "alpha is not divided by r": "alpha / r -> alpha",
        "r is the number of A's rows, not of its columns": "A.shape[0] -> A.shape[1]",
        "the root is missing": "np.sqrt(np.sum((B @ A) ** 2)) -> np.sum((B @ A) ** 2)",
        "it is the mean of the squares: take their sum": "np.sum -> np.mean",
        "it is the largest singular value: take the root of the sum of squares": (
            "np.sqrt(np.sum((B @ A) ** 2)) -> np.linalg.norm(B @ A, 2)"
        ),
    },
)
