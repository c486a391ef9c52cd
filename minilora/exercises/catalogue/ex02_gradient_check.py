"""Exercise 2: the gradient by finite differences.

f is a cubic, whose central difference differs from its derivative: an exact derivative would not pass either.
"""

import numpy as np

from minilora.exercises.spec import Case, Exercise, Floats, OneOf


def _cubic(x):
    """the function sum(x^3) + sum(x)^2 of x"""
    x = np.asarray(x, np.float64)
    return float((x**3).sum() + x.sum() ** 2)


def _arguments(case: Case):
    return {"f": _cubic, "x": case["x"], "h": case["h"]}


def _right(f, x, h):
    return np.array(3 * x**2 + h**2 + 2 * x.sum())


def _magnitude(f, x, h):
    """Two losses are subtracted and divided by 2 h, and the step moves x by a rounding more."""
    x = np.abs(x) + h
    return ((x**3).sum() + x.sum() ** 2) / h + (3 * x**2 + 2 * x.sum()) * x / h


def _differences(f, x, pairs, divisor):
    """The slopes from pairs(step) = two displacements."""
    slopes = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[index] = 1.0
        above, below = pairs(step)
        slopes[index] = (f(x + above) - f(x + below)) / divisor
    return slopes


def _forward(f, x, h):
    return _differences(f, x, lambda e: (h * e, 0 * e), h)


def _divides_by_h(f, x, h):
    return _differences(f, x, lambda e: (h * e, -h * e), h)


def _precedence(f, x, h):
    return _differences(f, x, lambda e: (h * e, -h * e), 2 / h)


def _all_at_once(f, x, h):
    return _differences(f, x, lambda e: (h + 0 * e, -h + 0 * e), 2 * h)


def _not_restored(f, x, h):
    x = x.copy()
    slopes = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        x[index] += h
        above = f(x)
        x[index] -= 2 * h
        slopes[index] = (above - f(x)) / (2 * h)
    return slopes


def _changes_input(f, x, h):
    slopes = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        x[index] += h
        above = f(x)
        x[index] -= 2 * h
        slopes[index] = (above - f(x)) / (2 * h)
        x[index] += h
    return slopes


def _first_axis_only(f, x, h):
    slopes = np.zeros(x.shape)
    for i in range(len(x)):
        step = np.zeros(x.shape)
        step[i] = h
        slopes[i] = (f(x + step) - f(x - step)) / (2 * h)
    return slopes


EXERCISE = Exercise(
    title="gradient check by finite differences",
    lesson=1,
    minutes=15,
    functions={"numerical_gradient": _right},
    inputs={"x": Floats("n k"), "h": OneOf((0.5, 0.25, 0.1))},
    arguments=_arguments,
    magnitude=_magnitude,
    outputs=("the result = (f(x + h e) - f(x - h e)) / (2 h) in every entry",),
    hints=(
        "Move one entry at a time: two calls of f for each entry of x. np.ndindex(x.shape) yields every index.",
        "Make a step array of zeros with h at the index; x + step and x - step are new arrays, so x stays as it is.",
        "for index in np.ndindex(x.shape): step = np.zeros(x.shape); step[index] = h; "
        "gradient[index] = (f(x + step) - f(x - step)) / (2 * h)",
    ),
    wrong={
        "a forward difference, (f(x + h) - f(x)) / h: take the central one": _forward,
        "divided by h: the two points lie 2 h apart": _divides_by_h,
        "/ 2 * h divides by 2 and multiplies by h: put 2 * h in brackets": _precedence,
        "all entries are moved at once: move one at a time": _all_at_once,
        "x is not put back before the next entry is moved": _not_restored,
        "x is moved in place, and adding h back does not restore its last digit": _changes_input,
        "whole rows are moved: right only for a vector x": _first_axis_only,
    },
)
