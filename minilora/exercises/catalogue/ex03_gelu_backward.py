"""Exercise 3: the backward of GELU."""

import math

import numpy as np

from minilora.exercises.spec import Exercise, Floats


def gelu_backward(dy, x):
    c, a = math.sqrt(2 / math.pi), 0.044715
    t = np.tanh(c * (x + a * x**3))
    du = c * (1 + 3 * a * x**2)
    return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * du)


EXERCISE = Exercise(
    title="GELU, backward",
    lesson=2,
    minutes=15,
    functions={"gelu_backward": gelu_backward},
    inputs={"dy": Floats("n? k? d?"), "x": Floats("n? k? d?", unit=3.0, decades=(1,))},
    # 1 - tanh^2 loses a rounding of 1, which x u', a cubic, multiplies; that of u itself is lost in tanh's tails.
    magnitude=lambda dy, x: np.abs(dy) * (1 + np.abs(x)) ** 3,
    outputs=("dx = dy * dy/dx",),
    hints=(
        "y is a product of x/2 and (1 + tanh u): the product rule gives two terms.",
        "dy/dx = (1 + tanh u)/2 + x/2 (1 - tanh(u)^2) u'. What is u'?",
        "u' = c (1 + 3 a x^2); dx = dy * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * du) with t = np.tanh(u).",
    ),
    slips={
        "the second term of the product rule is missing": " + 0.5 * x * (1 - t**2) * du -> ",
        "u' lacks the factor 3: the derivative of x^3 is 3 x^2": "3 * a -> a",
        "u' lacks the factor c": "c * (1 + 3 -> (1 + 3",
        "u' is missing from the chain rule": " * du -> ",
        "dy is missing: this is dy/dx, not dx": "dy * (0.5 -> (0.5",
        "this is GELU itself, not its derivative": "(1 + t) + 0.5 * x * (1 - t**2) * du -> x * (1 + t)",
        "this is the derivative of ReLU": "(0.5 * (1 + t) + 0.5 * x * (1 - t**2) * du) -> (x > 0)",
        "dy is changed in place": ("return dy * -> dy *= ", "* du) -> * du)\n    return dy"),
    },
)
