"""Exercise 5: a softmax that does not overflow."""

import numpy as np

from minilora.exercises.spec import Case, Exercise, Floats, OneOf


def _normalised(e, **over):
    return e / e.sum(**over)


def _right(scores):
    return _normalised(np.exp(scores - scores.max(axis=-1, keepdims=True)), axis=-1, keepdims=True)


def _arguments(case: Case):
    return {"scores": case["scores"] * case.dtype(case["size"])}


def _in_place(scores):
    scores -= scores.max(axis=-1, keepdims=True)
    return _normalised(np.exp(scores), axis=-1, keepdims=True)


EXERCISE = Exercise(
    title="softmax without overflow",
    lesson=2,
    minutes=10,
    functions={"softmax": _right},
    inputs={"scores": Floats("b t v"), "size": OneOf((1, 100, 1000))},
    arguments=_arguments,
    # exp turns an absolute error of u |score| into a relative one.
    magnitude=lambda scores: 1 + 2 * np.abs(scores).max(),
    outputs=("the result = exp(scores) / sum(exp(scores)) over the last axis",),
    hints=(
        "softmax(scores) = softmax(scores - c) for any number c. Which c keeps every exp at or below 1?",
        "Subtract each row's own maximum: scores.max(axis=-1, keepdims=True). The maximum of all would starve a row.",
        "e = np.exp(scores - scores.max(axis=-1, keepdims=True)); return e / e.sum(axis=-1, keepdims=True)",
    ),
    wrong={
        "exp overflows: subtract the maximum first": lambda scores: _normalised(np.exp(scores), axis=-1, keepdims=True),
        "the maximum of the whole array is subtracted: take each row's own": lambda scores: _normalised(
            np.exp(scores - scores.max()), axis=-1, keepdims=True
        ),
        "the mean is subtracted: exp can still overflow": lambda scores: _normalised(
            np.exp(scores - scores.mean(axis=-1, keepdims=True)), axis=-1, keepdims=True
        ),
        "normalised over the whole array: each row must sum to 1": lambda scores: _normalised(
            np.exp(scores - scores.max())
        ),
        "the sum is over the first axis": lambda scores: _normalised(
            np.exp(scores - scores.max(axis=0)), axis=0, keepdims=True
        ),
        "right only for two axes: the sum is over axis 1": lambda scores: _normalised(
            np.exp(scores - scores.max(axis=1, keepdims=True)), axis=1, keepdims=True
        ),
        "the sum lost its axis: keepdims=True leaves it as an axis of 1, along which / repeats it": (
            lambda scores: _normalised(np.exp(scores - scores.max(axis=-1, keepdims=True)), axis=-1)
        ),
        "an epsilon is added to the sum": lambda scores: (
            np.exp(scores - scores.max(axis=-1, keepdims=True))
            / (np.exp(scores - scores.max(axis=-1, keepdims=True)).sum(axis=-1, keepdims=True) + 1e-3)
        ),
        "scores is changed in place": _in_place,
    },
)
