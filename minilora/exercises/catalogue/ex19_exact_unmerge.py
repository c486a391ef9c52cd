"""Exercise 19: a merge that can be undone to the last bit."""

import numpy as np

from minilora.exercises.findings import Finding, equal, sizes_of, wide
from minilora.exercises.spec import Exercise, Floats, OneOf


def merge(W0, A, B, alpha):
    update = alpha / A.shape[0] * (B @ A)
    W = W0 + update
    kept = W0.copy()
    return W, kept


def unmerge(W, kept):
    return kept


def judge(case, call):
    right = wide(dict(case.values))
    W, kept = call("merge", **EXERCISE.named_arguments(case))
    tolerance = case.rounding(merge(**sizes_of(right))[0])
    yield equal("W = W0 + (alpha / r) B A", merge(**right)[0], W, tolerance)
    W0 = call("unmerge", W=W, kept=kept)
    exact = equal("unmerge gives back W0 to the last bit", case["W0"], W0)
    if exact.holds and (np.asarray(W0).dtype != case.dtype or np.asarray(W0).tobytes() != case["W0"].tobytes()):
        exact = Finding(exact.claim, "-0.0 is not 0.0" if W0.dtype == case.dtype else f"the dtype is {W0.dtype}")
    yield exact


EXERCISE = Exercise(
    title="a merge undone to the last bit",
    lesson=7,
    minutes=10,
    functions={"merge": merge, "unmerge": unmerge},
    inputs={
        "W0": Floats("d k", decades=(-30, 30)),
        "A": Floats("r k"),
        "B": Floats("d r"),
        "alpha": OneOf((3.0, 1.0, 8, 100.0, 0.5, 0.0, -2.7)),
    },
    judge=judge,
    hints=(
        "Adding a large update rounds away the last bits of W0. Can any later arithmetic bring them back?",
        "It cannot: keep W0 itself. The price is a second copy of the weight, on disk or in memory, while merged.",
        "merge: return W0 + s * (B @ A), W0.copy(). unmerge: return kept",
    ),
    slips={
        "unmerge subtracts the update: it drifts by rounding": (
            "kept = W0.copy() -> kept = update",
            "return kept -> return W - kept",
        ),
        "the difference W - W0 is kept: it is rounded as well": (
            "kept = W0.copy() -> kept = W - W0",
            "return kept -> return W - kept",
        ),
        "W0 is kept in float16, which drops digits": (
            "kept = W0.copy() -> kept = W0.astype(np.float16)",
            "return kept -> return kept.astype(W.dtype)",
        ),
        "the merged weight is kept, not W0": "kept = W0.copy() -> kept = W",
        "unmerge adds the update once more": ("kept = W0.copy() -> kept = update", "return kept -> return W + kept"),
        "the merge forgets the scale alpha / r": "alpha / A.shape[0] * (B @ A) -> B @ A",
        "right only for float64: W0 comes back in float64": "kept = W0.copy() -> kept = W0.astype(np.float64)",
        "W0 is changed in place": "W = W0 + update\n    kept = W0.copy() -> kept = W0.copy(); W = W0; W += update",
    },
)
