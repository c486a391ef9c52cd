"""Exercise 2: the gradient by finite differences.

f is a cubic, whose central difference differs from its derivative: an exact derivative would not pass either.
"""

import numpy as np

from minilora.exercises.findings import compare, wide
from minilora.exercises.spec import Exercise, Floats, OneOf


def numerical_gradient(f, x, h):
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[index] = h
        gradient[index] = (f(x + step) - f(x - step)) / (2 * h)
    return gradient


class Cubic:
    """c sum(x^3) + sum(x)^2, of arrays in one shape only."""

    def __init__(self, c, shape):
        self.c, self.shape = c, shape
        self.__doc__ = f"the function {c:g} sum(x^3) + sum(x)^2 of x"

    def __call__(self, x):
        if np.shape(x) != self.shape:
            raise ValueError(f"f takes arrays of shape {self.shape}")
        x = np.asarray(x, np.float64)
        return float(self.c * (x**3).sum() + x.sum() ** 2)


def judge(case, call):
    """Two losses are subtracted and divided by 2 h, and the step moves x by one rounding more."""
    x, h, c = wide(case["x"]), case["h"], case["c"]
    expected, size = c * (3 * x**2 + h**2) + 2 * x.sum(), np.abs(x) + h
    terms = ((size**3).sum() + size.sum() ** 2) / h + (3 * size**2 + 2 * size.sum()) * size / h
    got = call("numerical_gradient", f=Cubic(c, x.shape), x=case["x"], h=h)
    yield from compare(EXERCISE.outputs, expected, got, case.rounding(abs(c) * terms + terms))


EXERCISE = Exercise(
    title="gradient check by finite differences",
    lesson=1,
    minutes=15,
    functions={"numerical_gradient": numerical_gradient},
    inputs={"x": Floats("n? k? m?"), "h": OneOf((0.5, 0.1, 1e-3)), "c": OneOf((1.0, -0.5))},
    longest=6,  # every entry is two calls
    outputs=("the result = (f(x + h e) - f(x - h e)) / (2 h) for every entry",),
    judge=judge,
    hints=(
        "Move one entry at a time: two calls of f for each entry of x. np.ndindex(x.shape) yields every index.",
        "Make a step array of zeros with h at the index; x + step and x - step are new arrays, so x does not change.",
        "for index in np.ndindex(x.shape): step = np.zeros(x.shape); step[index] = h; "
        "gradient[index] = (f(x + step) - f(x - step)) / (2 * h)",
    ),
    slips={
        "a forward difference, (f(x + h) - f(x)) / h: take the central one": ("f(x - step) -> f(x)", "2 * h -> h"),
        "divided by h: the two points are 2 h apart": "2 * h -> h",
        "/ 2 * h divides by 2 and multiplies by h: put 2 * h in brackets": "(2 * h) -> 2 * h",
        "all entries are moved at once: move one at a time": "step[index] = h -> step[:] = h",
        "x is not put back before the next entry is moved": (
            "zeros(x.shape)\n    for -> zeros(x.shape)\n    x = x.copy()\n    for",
            "gradient[index] = -> x[index] -= h; gradient[index] =",
            "x + step -> x + 2 * step",
            "x - step -> x",
        ),
        "x is moved in place, and adding h back does not restore its last digit": (
            "step[index] = h -> x[index] += h; above = f(x); x[index] -= 2 * h",
            "f(x + step) - f(x - step) -> above - f(x)",
            "(2 * h) -> (2 * h); x[index] += h",
        ),
        "whole rows are moved: right only for a vector x": "np.ndindex(x.shape) -> range(len(x))",
    },
)
