"""Exercise 18: merging."""

import numpy as np

from minilora.exercises.spec import Exercise, Floats, OneOf


def _right(W0, A, B, alpha):
    return W0 + alpha / len(A) * (B @ A)


def _in_place(W0, A, B, alpha):
    W0 += alpha / len(A) * (B @ A)
    return W0


EXERCISE = Exercise(
    title="merging",
    lesson=7,
    minutes=5,
    functions={"merge": _right},
    inputs={"W0": Floats("d k"), "A": Floats("r k"), "B": Floats("d r"), "alpha": OneOf((2.0, 1.0, 8.0, 16.0))},
    outputs=("W = W0 + (alpha / r) B A",),
    hints=(
        "x W^T must equal x W0^T + s x A^T B^T for every x. Take x out to the left.",
        "s A^T B^T = (s B A)^T, so W = W0 + s B A. Check the shape: (d, r) times (r, k).",
        "return W0 + (alpha / A.shape[0]) * (B @ A)",
    ),
    wrong={
        "the merge forgets the scale alpha / r": lambda W0, A, B, alpha: W0 + B @ A,
        "the scale is applied twice": lambda W0, A, B, alpha: W0 + (alpha / len(A)) ** 2 * (B @ A),
        "scaled by alpha, not alpha / r": lambda W0, A, B, alpha: W0 + alpha * (B @ A),
        "the update is subtracted: that is unmerging": lambda W0, A, B, alpha: W0 - alpha / len(A) * (B @ A),
        "the update replaces W0: it must be added": lambda W0, A, B, alpha: alpha / len(A) * (B @ A),
        "the update is transposed, which fits only if W0 is square": lambda W0, A, B, alpha: (
            W0 + alpha / len(A) * (B @ A).T
        ),
        "right only for r = 1: an outer product of the first row and column": lambda W0, A, B, alpha: (
            W0 + alpha / len(A) * np.outer(B[:, 0], A[0])
        ),
        "float16 is used on the way": lambda W0, A, B, alpha: (
            W0 + (alpha / len(A) * (B.astype("f2") @ A.astype("f2"))).astype(W0.dtype)
        ),
        "W0 is changed in place": _in_place,
    },
)
