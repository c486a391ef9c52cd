"""Exercise 19: a merge that can be undone to the last bit."""

import numpy as np

from minilora.exercises.spec import (
    Broken,
    Call,
    Case,
    Exercise,
    Floats,
    OneOf,
    check_equal,
    check_results,
    rounding,
    sizes_of,
    wide,
)


def _update(A, B, alpha):
    return alpha / len(A) * (B @ A)


def _merge(W0, A, B, alpha):
    return W0 + _update(A, B, alpha), W0.copy()


def _unmerge(W, kept):
    return kept


def _judge(exercise: Exercise, case: Case, call: Call) -> None:
    arguments = exercise.named_arguments(case)
    pair = call("merge", **arguments)
    check_results(("W", "kept"), (0, 0), pair)
    W, kept = pair
    right = wide(arguments)
    tolerance = rounding(case, _merge(**sizes_of(right))[0])
    check_equal("W = W0 + (alpha / r) B A", _merge(**right)[0], W, tolerance)
    W0 = call("unmerge", W=W, kept=kept)
    check_equal("unmerge gives back W0 to the last bit", case["W0"], W0)
    if np.asarray(W0).dtype != case["W0"].dtype:
        raise Broken("unmerge gives back W0 to the last bit", case["W0"], W0, f"the dtype is {W0.dtype}")


def _keeping(kept, unmerge):
    return {
        "merge": lambda W0, A, B, alpha: (_merge(W0, A, B, alpha)[0], kept(W0, A, B, alpha)),
        "unmerge": unmerge,
    }


def _in_place(W0, A, B, alpha):
    kept = W0.copy()
    W0 += _update(A, B, alpha)
    return W0, kept


EXERCISE = Exercise(
    title="a merge undone to the last bit",
    lesson=7,
    minutes=10,
    functions={"merge": _merge, "unmerge": _unmerge},
    inputs={"W0": Floats("d k"), "A": Floats("r k"), "B": Floats("d r"), "alpha": OneOf((3.0, 1.0, 8.0, 100.0))},
    judge=_judge,
    hints=(
        "Adding rounds W0's last bits away if the update is large. Can any later arithmetic bring them back?",
        "It cannot: keep W0 itself. The price is a second copy of the weight, on disk or in memory, while merged.",
        "merge: return W0 + s * (B @ A), W0.copy(). unmerge: return kept",
    ),
    wrong={
        "unmerge subtracts the update: it drifts by rounding": _keeping(
            lambda W0, A, B, alpha: _update(A, B, alpha), lambda W, kept: W - kept
        ),
        "unmerge computes the update anew and subtracts it: it drifts by rounding": _keeping(
            lambda W0, A, B, alpha: {"A": A, "B": B, "alpha": alpha},
            lambda W, kept: W - kept["alpha"] * (kept["B"] @ kept["A"]) / len(kept["A"]),
        ),
        "the difference W - W0 is kept: it is rounded as well": _keeping(
            lambda W0, A, B, alpha: _merge(W0, A, B, alpha)[0] - W0, lambda W, kept: W - kept
        ),
        "W0 is kept in float16, which drops digits": _keeping(
            lambda W0, A, B, alpha: W0.astype(np.float16), lambda W, kept: kept.astype(W.dtype)
        ),
        "the merged weight is kept, not W0": _keeping(
            lambda W0, A, B, alpha: _merge(W0, A, B, alpha)[0], lambda W, kept: kept
        ),
        "unmerge adds the update once more": _keeping(
            lambda W0, A, B, alpha: _update(A, B, alpha), lambda W, kept: W + kept
        ),
        "the merge forgets the scale alpha / r": {"merge": lambda W0, A, B, alpha: (W0 + B @ A, W0.copy())},
        "right only for float64: W0 comes back in float64": _keeping(
            lambda W0, A, B, alpha: W0.astype(np.float64), lambda W, kept: kept
        ),
        "W0 is changed in place": {"merge": _in_place},
    },
)
