"""Does a property hold in one case?  Comparing with the right answer, within what rounding explains."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike


@dataclass(frozen=True)
class Finding:
    """`claim` is a property in words. `wrong` is None if it holds, else what is wrong, or "" if the numbers show it."""

    claim: str
    wrong: str | None = None
    expected: Any = None
    got: Any = None

    @property
    def holds(self) -> bool:
        return self.wrong is None


def equal(claim: str, expected: Any, got: Any, tolerance: Any = 0.0, note: str = "") -> Finding:
    """Is got expected: the same kind of value, shapes, names, and numbers within the tolerance?"""
    difference = _difference(expected, got, tolerance)
    wrong = None if difference is None else "; ".join(part for part in (difference, note) if part)
    return Finding(claim, wrong, expected, got)


def true(claim: str, condition: Any, note: str = "", expected: Any = None, got: Any = None) -> Finding:
    """Is a condition true?"""
    return Finding(claim, None if condition else note, expected, got)


def shapes(claim: str, got: Any, **expected: tuple[int, ...]) -> Finding:
    """Is got as many arrays as are expected, each in its shape?"""
    if not isinstance(got, (tuple, list)) or len(got) != len(expected):
        return Finding(claim, f"expected {len(expected)} values, got {counted(got)}")
    for (name, right), part in zip(expected.items(), got, strict=True):
        if not isinstance(part, np.ndarray):
            return Finding(claim, f"{name} should be {shape_of(np.empty(right))}, but is {shown(part)}")
        if np.shape(part) != right:
            return Finding(claim, f"{name} has shape {np.shape(part)}, expected {right}")
    return Finding(claim)


def of_dtype(claim: str, dtype: DTypeLike, got: Any) -> Finding:
    """Is got an array, or a tuple of arrays, of this dtype?"""
    parts = got if isinstance(got, (tuple, list)) else [got]
    wrong = next((part for part in parts if not isinstance(part, np.ndarray) or part.dtype != dtype), None)
    found = getattr(wrong, "dtype", type(wrong).__name__)
    return Finding(claim, None if wrong is None else f"expected {np.dtype(dtype)}, got {found}")


def compare(outputs: Sequence[str], expected: Any, got: Any, tolerance: Any) -> Iterator[Finding]:
    """Is every output right?  One output is a value; several are a tuple, and the tolerance may be one for each."""
    if len(outputs) == 1:
        yield equal(outputs[0], expected, got, tolerance)
    elif not isinstance(got, (tuple, list)) or len(got) != len(outputs):
        wanted = ", ".join(output.split(" = ")[0] for output in outputs)
        yield Finding(f"returns {wanted}", f"expected {len(outputs)} values, got {counted(got)}")
    else:
        for i, output in enumerate(outputs):
            yield equal(output, expected[i], got[i], tolerance[i] if isinstance(tolerance, tuple) else tolerance)


# ------------------------------------------------------------------------------------------------- rounding


def rounding(dtype: type[np.floating], count: int, magnitude: Any) -> Any:
    """How far rounding may move a right result whose terms add up to `magnitude`: gamma_N times it (Higham, 3.1).

    N counts roundings. No term of any result here meets more than two for each index of every axis, of which there
    are `count` (its sums), and 50 more (products, powers, exp, tanh, roots, a few recursive steps). Near zero, each
    may also lose the smallest subnormal number. Terms beyond the largest number may turn into anything.
    """
    if isinstance(magnitude, (dict, list, tuple)):
        return map_values(lambda part: rounding(dtype, count, part), magnitude)
    roundings = 2 * count + 50
    u = float(np.finfo(dtype).eps) / 2
    gamma = roundings * u / (1 - roundings * u)
    size = np.abs(np.asarray(magnitude, np.float64))
    bound = gamma * size + roundings * float(np.finfo(dtype).smallest_subnormal)
    return np.where(size < float(np.finfo(dtype).max), bound, np.inf)


def map_values(change: Callable[[Any], Any], value: Any) -> Any:
    """The value with `change` applied to every part that is not a list, tuple or dictionary."""
    if isinstance(value, (list, tuple)):
        return type(value)(map_values(change, part) for part in value)
    if isinstance(value, dict):
        return {key: map_values(change, part) for key, part in value.items()}
    return change(value)


def is_float(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def wide(value: Any) -> Any:
    """The value with its floating-point arrays in float64."""
    return map_values(lambda part: part.astype(np.float64) if is_float(part) else part, value)


def sizes_of(value: Any) -> Any:
    """The value with absolute values of its floating-point numbers."""
    return map_values(lambda part: np.abs(part) if is_float(part) or isinstance(part, float) else part, value)


# ---------------------------------------------------------------------------------------------- differences


def _difference(expected: Any, got: Any, tolerance: Any) -> str | None:
    """What differs, in a few words, "" if only the numbers do, None if nothing does."""
    if isinstance(expected, dict):
        if not isinstance(got, dict):
            return f"expected a dict, got {shown(got)}"
        if missing := [key for key in expected if key not in got]:
            return f"{missing[0]} is missing"
        if extra := [key for key in got if key not in expected]:
            return f"{extra[0]} should not be there"
        parts = [(key, expected[key], got[key]) for key in expected]
    elif isinstance(expected, (list, tuple)):
        if not isinstance(got, (list, tuple)) or len(got) != len(expected):
            return f"expected {len(expected)} values, got {shown(got)}"
        parts = list(zip(range(len(expected)), expected, got, strict=True))
    elif isinstance(expected, str) or expected is None:
        return None if type(got) is type(expected) and got == expected else ""
    else:
        return _number_difference(expected, got, tolerance)
    for key, right, found in parts:
        allowed = tolerance[key] if isinstance(tolerance, (dict, list, tuple)) else tolerance
        if (difference := _difference(right, found, allowed)) is not None:
            return f"in {key}" + (f": {difference}" if difference else "")
    return None


def _number_difference(expected: Any, got: Any, tolerance: Any) -> str | None:
    if not isinstance(got, (np.ndarray, int, float)):
        return f"expected {shape_of(expected)}, got {shown(got)}"
    right, found = np.asarray(expected), np.asarray(got)
    if right.shape != found.shape:
        return f"the shape is {found.shape}, expected {right.shape}"
    if right.dtype.kind != "f":  # a count is exact
        whole = found.dtype.kind != "f" or not found.any()  # NumPy's sum of nothing is 0.0
        return ("" if (right != found).any() else None) if whole else f"expected a whole number, got {shown(got)}"
    right, found = right.astype(np.float64), found.astype(np.float64)
    with np.errstate(all="ignore"):
        near = (right == found) | (np.abs(found - right) <= tolerance) | np.isposinf(tolerance)  # NaN is not near
    return None if near.all() else ""


# -------------------------------------------------------------------------------------- values in a message


def counted(value: Any) -> str:
    return f"{len(value)} values" if isinstance(value, (tuple, list)) else shown(value)


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
