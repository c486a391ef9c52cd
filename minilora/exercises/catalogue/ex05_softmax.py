"""Exercise 5: a softmax that does not overflow."""

import numpy as np

from minilora.exercises.spec import Case, Exercise, Floats, OneOf


def softmax(scores):
    shifted = scores - scores.max(axis=-1, keepdims=True)
    e = np.exp(shifted)
    return e / e.sum(axis=-1, keepdims=True)


def arguments(case: Case):
    return {"scores": case["scores"] * case.dtype(case["size"]) + case.dtype(case["offset"])}


def magnitude(scores):
    """exp turns an absolute error of u |score| into a relative one, as long as it is small; 1e-20 is nearly 0."""
    size = 1 + 2 * np.abs(scores).max()
    return size * softmax(scores) + 1e-20 if size < 1e4 else size


EXERCISE = Exercise(
    title="softmax without overflow",
    lesson=2,
    minutes=10,
    functions={"softmax": softmax},
    inputs={"scores": Floats("b? t? v"), "size": OneOf((1, 10, 1000, 1e5)), "offset": OneOf((0, 1000, -1000))},
    sizes={"v": (1, 6)},
    arguments=arguments,
    magnitude=magnitude,
    outputs=("the result = exp(scores) / sum(exp(scores)) over the last axis",),
    hints=(
        "softmax(scores) = softmax(scores - c) for any number c. Which c keeps every exp at or below 1?",
        "Subtract each row's own maximum, scores.max(axis=-1, keepdims=True). With the maximum of all, a whole row can "
        "become 0.",
        "e = np.exp(scores - scores.max(axis=-1, keepdims=True)); return e / e.sum(axis=-1, keepdims=True)",
    ),
    slips={
        "exp overflows: subtract the maximum first": "exp(shifted) -> exp(scores)",
        "the maximum of the whole array is subtracted: take each row's own": "scores.max(axis=-1, keepdims=True) -> "
        "scores.max()",
        "the mean is subtracted: exp can still overflow": "scores.max( -> scores.mean(",
        "normalised over the whole array: each row must sum to 1": (
            "scores.max(axis=-1, keepdims=True) -> scores.max()",
            "e.sum(axis=-1, keepdims=True) -> e.sum()",
        ),
        "the sum is over the first axis": "axis=-1 -> axis=0",
        "right only for two axes: the sum is over axis 1": "axis=-1 -> axis=1",
        "the sum lost its axis: keepdims=True keeps it, with size 1, so that / divides row by row": "e.sum(axis=-1, "
        "keepdims=True) -> e.sum(axis=-1)",
        "an epsilon is added to the sum": "e.sum(axis=-1, keepdims=True) -> (e.sum(axis=-1, keepdims=True) + 1e-3)",
        "scores is changed in place": "shifted = scores - -> shifted = scores; shifted -= ",
    },
)
