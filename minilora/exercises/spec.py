"""What an exercise is: how its inputs are drawn, the right answer in float64, and the wrong answers people give.

Inputs carry the names of their axes ("n d", "n k"), so that a case can be drawn with sizes that fit, and made
smaller by taking index i of an axis out of every array that has it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol

import numpy as np

from minilora.exercises.sandbox import Trouble


@dataclass(frozen=True)
class Floats:
    """An array of multiples of a thousandth in [-2, 2], times `unit`; `axes` names its axes, "n d" say."""

    axes: str
    unit: float = 1.0


@dataclass(frozen=True)
class Indices:
    """An array of whole numbers from 0 up to, not including, the size of the axis `of`."""

    axes: str
    of: str


@dataclass(frozen=True)
class OneOf:
    """One of some values, the simplest first.  Numbers, names, or whatever else the exercise speaks of."""

    values: Sequence[Any]


Input = Floats | Indices | OneOf


@dataclass(frozen=True, eq=False)
class Case:
    """One drawn example: the size of each axis, and a value for each input."""

    sizes: Mapping[str, int]
    dtype: type[np.floating]
    values: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


class Call(Protocol):
    """Calls a function of the student's by name."""

    def __call__(self, function: str, /, **arguments: Any) -> Any: ...


@dataclass(eq=False)
class Broken(Exception):
    """A property that does not hold: what was expected, what came, and the call that shows it."""

    property: str
    expected: Any = None
    got: Any = None
    note: str = ""
    function: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    trouble: Trouble | None = None


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """One exercise.

    functions   name -> the right answer, which is given float64 arrays. What the student must write
    inputs      name -> how it is drawn
    arguments   case -> the named arguments of the first function; by default the inputs themselves
    outputs     for each result of the first function, its name and what it should be: "dW = dy^T x"
    sizes       axis -> (smallest, largest) size; 1 to 4 by default
    magnitude   arguments in float64 -> a bound on the size of the terms whose rounding the result collects, one
                for each output or one for all. By default the right answer of the absolute values, which is
                that bound for sums of products (Higham 2002, section 3.1)
    judge       (exercise, case, call) -> None, raises `Broken`; by default compares all outputs with the right ones
    wrong       what is wrong -> the function, or functions by name, that make that mistake
    """

    title: str
    lesson: int
    minutes: int
    functions: Mapping[str, Callable]
    inputs: Mapping[str, Input]
    hints: tuple[str, str, str]
    wrong: Mapping[str, Callable | Mapping[str, Callable]]
    outputs: tuple[str, ...] = ()
    arguments: Callable[[Case], dict[str, Any]] | None = None
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    magnitude: Callable[..., Any] | None = None
    judge: Callable[[Exercise, Case, Call], None] | None = None

    @property
    def function(self) -> str:
        """The name of the first function."""
        return next(iter(self.functions))

    def wrong_functions(self, mistake: str) -> dict[str, Callable]:
        """The right functions but for those that make this mistake."""
        wrong = self.wrong[mistake]
        return {**self.functions, **({self.function: wrong} if callable(wrong) else wrong)}

    def named_arguments(self, case: Case) -> dict[str, Any]:
        return dict(case.values) if self.arguments is None else self.arguments(case)


# ------------------------------------------------------------------------------------------------ the catalogue


def names() -> list[str]:
    """The exercises in order, as `ex01_linear_backward`."""
    from minilora.exercises import catalogue

    return sorted(module.name for module in pkgutil.iter_modules(catalogue.__path__))


@cache
def load(name: str) -> Exercise:
    """The exercise of this name."""
    exercise: Exercise = importlib.import_module(f"minilora.exercises.catalogue.{name}").EXERCISE
    return exercise


def number(name: str) -> str:
    """ "08" of "ex08_adam"."""
    return name[2:4]


def find(text: str) -> str:
    """The exercise that a user means by 8, 08, ex08, adam or a file's name.  ValueError if there is none."""
    wanted = text.replace("\\", "/").rpartition("/")[2].removesuffix(".py")
    digits = wanted.removeprefix("ex")
    for name in names():
        if wanted in (name, name[5:]) or (digits.isdecimal() and int(digits) == int(number(name))):
            return name
    raise ValueError(f"there is no exercise {text!r}: `minilora exercises` lists 1 to {len(names())}")


# ----------------------------------------------------------------------------------------- comparing with the right


def wide(value: Any) -> Any:
    """The value with its floating-point arrays in float64, however deep they stand."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return value.astype(np.float64)
    if isinstance(value, (list, tuple)):
        return type(value)(wide(part) for part in value)
    if isinstance(value, dict):
        return {key: wide(part) for key, part in value.items()}
    return value


def sizes_of(value: Any) -> Any:
    """The value with absolute values in its floating-point arrays."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return np.abs(value)
    if isinstance(value, (list, tuple)):
        return type(value)(sizes_of(part) for part in value)
    if isinstance(value, dict):
        return {key: sizes_of(part) for key, part in value.items()}
    return value


def compare_with_right(exercise: Exercise, case: Case, call: Call) -> None:
    """Every output of the first function is the right one, up to rounding."""
    arguments = exercise.named_arguments(case)
    right = exercise.functions[exercise.function]
    expected = right(**wide(arguments))
    if exercise.magnitude is None:
        magnitude = right(**sizes_of(wide(arguments)))
    else:
        magnitude = exercise.magnitude(**wide(arguments))
    got = call(exercise.function, **arguments)
    if len(exercise.outputs) == 1:
        expected, got, magnitude = (expected,), (got,), (magnitude,)
    elif not isinstance(magnitude, tuple):
        magnitude = (magnitude,) * len(exercise.outputs)
    check_results(exercise.outputs, expected, got)
    for name, right_one, found, size in zip(exercise.outputs, expected, got, magnitude, strict=True):
        check_equal(name, right_one, found, rounding(case, size))


def check_results(outputs: Sequence[str], expected: Any, got: Any) -> None:
    """As many results as there should be."""
    if not isinstance(got, (tuple, list)) or len(got) != len(expected):
        wanted = ", ".join(output.split(" = ")[0] for output in outputs)
        found = f"{len(got)} values" if isinstance(got, (tuple, list)) else shown(got)
        raise Broken(f"returns {wanted}", note=f"expected {len(expected)} values, got {found}")


def rounding(case: Case, magnitude: Any) -> Any:
    """How far rounding may move a right result whose terms add up to `magnitude`: gamma_N times it (Higham, 3.1).

    N counts roundings: no term of any result here meets more than two for each index of every axis (its sums) and
    50 more (products, powers, exp, tanh, roots, steps of a short recursion). Below the range of normal numbers,
    a result may also lose the smallest subnormal in each.
    """
    roundings = 2 * sum(case.sizes.values()) + 50
    u = float(np.finfo(case.dtype).eps) / 2
    gamma = roundings * u / (1 - roundings * u)
    least = roundings * float(np.finfo(case.dtype).smallest_subnormal)
    if isinstance(magnitude, dict):
        return {key: rounding(case, part) for key, part in magnitude.items()}
    if isinstance(magnitude, (list, tuple)):
        return [rounding(case, part) for part in magnitude]
    return gamma * np.abs(np.asarray(magnitude, np.float64)) + least


def check_equal(property: str, expected: Any, got: Any, tolerance: Any = 0.0, note: str = "") -> None:
    """`Broken` unless got is expected: the same kind of value, shapes, names, and numbers within the tolerance."""
    __tracebackhide__ = True
    difference = _difference(expected, got, tolerance)
    if difference is not None:
        raise Broken(property, expected, got, "; ".join(part for part in (difference, note) if part))


def check_that(property: str, holds: bool, note: str, expected: Any = None, got: Any = None) -> None:
    """`Broken` unless a property holds."""
    if not holds:
        raise Broken(property, expected, got, note)


def _difference(expected: Any, got: Any, tolerance: Any) -> str | None:
    """What differs, in a few words, "" if the numbers do."""
    if isinstance(expected, dict):
        if not isinstance(got, dict):
            return f"expected a dict, got {shown(got)}"
        if missing := [key for key in expected if key not in got]:
            return f"{missing[0]} is missing"
        if extra := [key for key in got if key not in expected]:
            return f"{extra[0]} should not be there"
        parts = [(key, expected[key], got[key], _part(tolerance, key)) for key in expected]
    elif isinstance(expected, (list, tuple)):
        if not isinstance(got, (list, tuple)) or len(got) != len(expected):
            return f"expected {len(expected)} values, got {shown(got)}"
        parts = [(i, expected[i], got[i], _part(tolerance, i)) for i in range(len(expected))]
    elif isinstance(expected, str) or expected is None:
        return None if type(got) is type(expected) and got == expected else ""
    else:
        return _number_difference(expected, got, tolerance)
    for key, right, found, allowed in parts:
        if (difference := _difference(right, found, allowed)) is not None:
            return f"in {key}" + (f": {difference}" if difference else "")
    return None


def _part(tolerance: Any, key: Any) -> Any:
    return tolerance[key] if isinstance(tolerance, (dict, list, tuple)) else tolerance


def _number_difference(expected: Any, got: Any, tolerance: Any) -> str | None:
    if not isinstance(got, (np.ndarray, int, float)):
        return f"expected {shape_of(expected)}, got {shown(got)}"
    right, found = np.asarray(expected), np.asarray(got)
    if right.shape != found.shape:
        return f"the shape is {found.shape}, expected {right.shape}"
    if right.dtype.kind != "f":
        tolerance = 0.0  # a count is exact
    right, found = right.astype(np.float64), found.astype(np.float64)
    with np.errstate(all="ignore"):
        near = (right == found) | (np.abs(found - right) <= tolerance)  # which NaN is not
    return None if near.all() else ""


def shape_of(value: Any) -> str:
    """ "a number" or "an array of shape (2, 3)"."""
    return f"an array of shape {np.shape(value)}" if np.ndim(value) else "a number"


def shown(value: Any) -> str:
    """A value in a message: its shape, and its numbers when there are few."""
    if isinstance(value, np.ndarray):
        kind = "" if value.dtype == np.float64 else f" {value.dtype}"
        if value.ndim == 0:
            return f"{value.item():.6g}" if value.dtype.kind == "f" else str(value.item())
        head = f"{value.shape}{kind}"
        if value.size > 16:
            return head
        text = np.array2string(value, precision=4, separator=", ", floatmode="maxprec", max_line_width=1000)
        return f"{head} {' '.join(text.split())}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {shown(part)}" for key, part in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "(" + ", ".join(shown(part) for part in value) + ")"
    if callable(value):
        return value.__doc__ or "a function"
    text = repr(value)
    return text if len(text) < 120 else f"{text[:117]}..."
