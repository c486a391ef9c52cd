"""Exercise 3: the backward of GELU."""

import math

import numpy as np

from minilora.exercises.spec import Exercise, Floats

C, A = math.sqrt(2 / math.pi), 0.044715


def _slope(x, du):
    t = np.tanh(C * (x + A * x**3))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t**2) * du


def _right(dy, x):
    return dy * _slope(x, C * (1 + 3 * A * x**2))


def _in_place(dy, x):
    dy *= _slope(x, C * (1 + 3 * A * x**2))
    return dy


EXERCISE = Exercise(
    title="GELU, backward",
    lesson=2,
    minutes=15,
    functions={"gelu_backward": _right},
    inputs={"dy": Floats("n d"), "x": Floats("n d", unit=1.5)},
    # 1 - tanh^2 loses a rounding of 1, which x u' multiplies; u carries one of its own size.
    magnitude=lambda dy, x: np.abs(dy) * (1 + np.abs(x)) ** 4,
    outputs=("dx = dy * dy/dx",),
    hints=(
        "y is a product of x/2 and (1 + tanh u): the product rule gives two terms.",
        "dy/dx = (1 + tanh u)/2 + x/2 (1 - tanh(u)^2) u'. What is u'?",
        "u' = c (1 + 3 a x^2); dx = dy * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * du) with t = np.tanh(u).",
    ),
    wrong={
        "the second term of the product rule is missing": lambda dy, x: dy * _slope(x, 0.0),
        "u' lacks the factor 3: the derivative of x^3 is 3 x^2": lambda dy, x: dy * _slope(x, C * (1 + A * x**2)),
        "u' lacks the factor c": lambda dy, x: dy * _slope(x, 1 + 3 * A * x**2),
        "u' is left out of the chain rule": lambda dy, x: dy * _slope(x, 1.0),
        "dy is missing: this is dy/dx, not dx": lambda dy, x: _slope(x, C * (1 + 3 * A * x**2)),
        "this is GELU itself, not its derivative": lambda dy, x: dy * x * _slope(x, 0.0),
        "this is the derivative of ReLU": lambda dy, x: dy * (x > 0),
        "dy is changed in place": _in_place,
    },
)
