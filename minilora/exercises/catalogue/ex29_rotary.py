"""Exercise 29: rotary positions, forward and backward."""

import numpy as np

from minilora.exercises.findings import compare, of_dtype, wide
from minilora.exercises.spec import Case, Exercise, Floats, OneOf


def turned(x, angle):
    half = x.shape[-1] // 2
    cos, sin = np.cos(angle).astype(x.dtype), np.sin(angle).astype(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def angles(x, start, theta):
    T, D = x.shape[-2:]
    positions = start + np.arange(T)
    frequencies = theta ** (-2 * np.arange(D // 2) / D)
    return positions[:, None] * frequencies


def rotary(x, start, theta):
    forward = angles(x, start, theta)
    return turned(x, forward)


def rotary_backward(dy, start, theta):
    backward = -angles(dy, start, theta)
    return turned(dy, backward)


def arguments(case: Case):
    def whole(a):
        return case.laid_out(np.concatenate([case.values[f"{a}1"], case.values[f"{a}2"]], axis=-1))

    return {"x": whole("x"), "dy": whole("dy"), "start": case["start"], "theta": case["theta"]}


def judge(case, call):
    """An angle computed in the dtype of x is out by a rounding of itself, and moves cos and sin by as much."""
    for function, x in (("rotary", "x"), ("rotary_backward", "dy")):
        given = {name: EXERCISE.named_arguments(case)[name] for name in (x, "start", "theta")}
        expected = EXERCISE.functions[function](**wide(given))
        a, b = np.split(np.abs(wide(given[x])), 2, axis=-1)
        size = np.concatenate([a + b, a + b], axis=-1) * (1 + angles(given[x], case["start"], 1.0).max())
        got = call(function, **given)
        yield from compare(EXERCISE.outputs[function], expected, got, case.rounding(size))
        yield of_dtype(f"{function} keeps the dtype", case.dtype, got)


EXERCISE = Exercise(
    title="rotary positions, forward and backward",
    lesson=16,
    minutes=25,
    functions={"rotary": rotary, "rotary_backward": rotary_backward},
    inputs={
        **{name: Floats("b? h? T p") for name in ("x1", "x2", "dy1", "dy2")},
        "start": OneOf((0, 1, 7, 300, 70_000)),
        "theta": OneOf((100.0, 10_000, 2.5, 5e5)),
    },
    arguments=arguments,
    judge=judge,
    outputs={
        "rotary": ("y = pairs (x_i, x_{i + D/2}) turned by position * theta^(-2i/D)",),
        "rotary_backward": ("dx = pairs of dy turned back by the same angles",),
    },
    hints=(
        "The angles are a table (T, D/2): a row for each position, a column for each pair. Half of x has that shape.",
        "Turning (a, b) by an angle gives (a cos - b sin, b cos + a sin). Backward uses the transpose of that 2 x 2 "
        "matrix, which is the rotation by minus the angle.",
        "angle = (start + np.arange(T))[:, None] * theta ** (-2 * np.arange(D // 2) / D); cos = np.cos(angle)"
        ".astype(x.dtype), sin likewise; return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1). "
        "Backward: the same with -sin",
    ),
    slips={
        "neighbours (2i, 2i + 1) are paired: pair i with i + D/2": (
            "a, b = x[..., :half], x[..., half:] -> a, b = x[..., ::2], x[..., 1::2]",
            "np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1) -> "
            "np.stack([a * cos - b * sin, b * cos + a * sin], axis=-1).reshape(x.shape)",
        ),
        "the forward turns the wrong way: (a cos - b sin, b cos + a sin)": "forward = angles( -> forward = -angles(",
        "the backward turns as the forward does: it must turn back": "backward = -angles( -> backward = angles(",
        "both halves have a minus: the second is b cos + a sin": "b * cos + a * sin -> b * cos - a * sin",
        "the second half uses the new first half": (
            "np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1) -> "
            "np.concatenate([a * cos - b * sin, b * cos + (a * cos - b * sin) * sin], axis=-1)"
        ),
        "the exponent is -i/D: it is -2i/D": "-2 * np.arange -> -np.arange",
        "the exponent is positive: later pairs turn more slowly": "(-2 * np.arange -> (2 * np.arange",
        "the exponent divides by D/2, not by D": "/ D) -> / (D // 2))",
        "start is ignored": "positions = start + np.arange(T) -> positions = np.arange(T)",
        "the first position is start + 1: it is start": "start + np.arange(T) -> start + 1 + np.arange(T)",
        "positions are along the first axis: right only for two axes": (
            "T, D = x.shape[-2:] -> T, D = x.shape[0], x.shape[-1]",
            "positions[:, None] * frequencies -> (positions[:, None] * frequencies)"
            ".reshape([T] + [1] * (x.ndim - 2) + [D // 2])",
        ),
        "the result is float64 whatever x is: cos and sin are": (
            "np.cos(angle).astype(x.dtype) -> np.cos(angle)",
            "np.sin(angle).astype(x.dtype) -> np.sin(angle)",
        ),
        "x is turned in place": "return np.concatenate( -> x[...] = np.concatenate([a * cos - b * sin, b * cos + "
        "a * sin], axis=-1); return x; np.concatenate(",
    },
)
