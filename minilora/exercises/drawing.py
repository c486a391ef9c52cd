"""The cases that an exercise is tried on, and how a case is made simpler.

They are drawn with NumPy's RandomState, whose stream never changes, from the exercise's name and a seed: what passes
at home passes at school. Whatever a mistake may hide behind is there: equal sizes (a wrong transpose), sizes of 1 (a
wrong sum), float64 and short numbers (lost digits), memory in C order (a wrong reshape), inputs that all change from
case to case (a result that is remembered by some of them).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from minilora.exercises import spec
from minilora.exercises.findings import wide
from minilora.exercises.spec import Case, Exercise, Floats, Indices, Input, OneOf
from minilora.testing.smallest import simpler_entries, without

CASES = 60
Random = np.random.RandomState


@cache
def cases(name: str, seed: int = 0) -> tuple[Case, ...]:
    """The cases that an exercise is tried on."""
    exercise, digest = spec.load(name), hashlib.sha256(f"{name} {seed}".encode()).digest()
    rng = Random(np.frombuffer(digest, "<u4"))
    drawn = list(_drawn(exercise, exercise.cases or CASES, rng))
    largest = sorted(drawn, key=lambda case: (case.dtype is np.float64, sum(case.sizes.values())))[-2:]
    return (*drawn, *(case for start in largest for case in (start, *_one_change_at_a_time(exercise, start, rng))))


def _drawn(exercise: Exercise, count: int, rng: Random) -> Iterator[Case]:
    """Each quality of a case takes its values in turn, with another period than the next quality."""
    axes = sorted({axis for source in exercise.inputs.values() for axis in _axes(source)} | set(exercise.sizes))
    optional = [axis for axis in axes if axis.endswith("?")]
    chosen = {
        name: _in_turn(len(source.values), rng) for name, source in exercise.inputs.items() if isinstance(source, OneOf)
    }
    ranks = _in_turn(len(optional) + 1, rng)
    for number in range(count):
        absent = optional[: next(ranks)]
        sizes = _sizes(
            exercise, [axis for axis in axes if axis not in absent], ("different", "equal", "any")[number % 3], rng
        )
        case = Case(sizes, (np.float64, np.float32)[number % 2], {}, "CFS"[number // 3 % 3])
        values: dict[str, Any] = {}
        for name, source in exercise.inputs.items():
            short, zeros, scaled = number % 4 < 2, 0.3 * (number % 5 == 4), number // 2 % 3 == 1
            values[name] = (
                source.values[next(chosen[name])]
                if isinstance(source, OneOf)
                else _array(source, case, rng, short, zeros, scaled)
            )
        yield replace(case, values=values)


def _array(
    source: Floats | Indices, case: Case, rng: Random, short: bool = False, zeros: float = 0.0, scaled: bool = False
) -> np.ndarray:
    """An input's numbers.  Short ones are thousandths; -0.0 is among the zeros; scaled ones get a power of ten."""
    shape = [case.sizes[axis] for axis in source.axes.split() if axis in case.sizes]
    if isinstance(source, Indices):
        return _below(case.sizes[source.of], rng, shape)
    numbers = (_below(4001, rng, shape) - 2000) / 1000 if short else rng.random_sample(shape) * 4 - 2
    numbers = np.asarray(numbers * (rng.random_sample(shape) >= zeros) * source.unit)
    decades = source.decades[int(_below(len(source.decades), rng))] if scaled else 0
    return np.asarray(numbers * 10.0**decades, case.dtype)


def _one_change_at_a_time(exercise: Exercise, case: Case, rng: Random) -> Iterator[Case]:
    """From one case to another of the same sizes, input by input."""
    for name, source in exercise.inputs.items():
        if isinstance(source, OneOf):
            at = next(i for i, value in enumerate(source.values) if value is case.values[name])
            value = source.values[(at + 1) % len(source.values)]
        else:
            drawn = (_array(source, case, rng) for _ in range(20))
            value = next((array for array in drawn if not np.array_equal(array, case.values[name])), case.values[name])
        case = replace(case, values={**case.values, name: value})
        yield case


def _below(size: int, rng: Random, shape: Any = ()) -> np.ndarray:
    """Whole numbers from 0 to size - 1."""
    return np.asarray(rng.random_sample(shape) * size).astype(np.int64)


def _in_turn(count: int, rng: Random) -> Iterator[int]:
    """0 to count - 1 in random order, then again in another: every value is drawn, and many pairs of them."""
    while True:
        yield from rng.permutation(count).tolist()


def _sizes(exercise: Exercise, axes: list[str], kind: str, rng: Random) -> dict[str, int]:
    """A size for each axis: as different as their ranges allow, equal, or any."""
    order, same = rng.permutation(len(axes)), 2 + int(_below(2, rng))
    sizes = {}
    for axis, place in zip(axes, order.tolist(), strict=True):
        low, high = exercise.sizes.get(axis, (1, 4))
        different, equal, any = (
            low + place % (high - low + 1),
            min(max(same, low), high),
            low + _below(high - low + 1, rng),
        )
        sizes[axis] = int({"different": different, "equal": equal, "any": any}[kind])
    return sizes


def _axes(source: Input) -> list[str]:
    """The axes that an input has or points into."""
    if isinstance(source, OneOf):
        return []
    return source.axes.split() + ([source.of] if isinstance(source, Indices) else [])


# ------------------------------------------------------------------------------------------------ simpler cases


def simpler(exercise: Exercise, case: Case) -> Iterator[Case]:
    """The case with one thing simpler, the bold changes first."""
    arrays = {name: source for name, source in exercise.inputs.items() if not isinstance(source, OneOf)}
    for axis, size in case.sizes.items():
        for i in range(size if size > exercise.sizes.get(axis, (1, 4))[0] else 0):
            yield _without(arrays, case, axis, i)
        if axis.endswith("?"):
            yield _without_axis(arrays, case, axis)
    if case.layout != "C":
        yield replace(case, layout="C")
    if case.dtype is not np.float64:
        yield replace(case, dtype=np.float64, values=wide(dict(case.values)))
    for name, choice in exercise.inputs.items():
        if isinstance(choice, OneOf) and case.values[name] is not choice.values[0]:
            yield replace(case, values={**case.values, name: choice.values[0]})
    for name in arrays:
        for array in simpler_entries(case.values[name]):
            yield replace(case, values={**case.values, name: array})


def _present(source: Floats | Indices, case: Case) -> list[str]:
    return [axis for axis in source.axes.split() if axis in case.sizes]


def _without(arrays: dict[str, Floats | Indices], case: Case, axis: str, i: int) -> Case:
    """The case without index i of an axis; what pointed at i or after it moves down."""
    axes = {name: " ".join(_present(source, case)) for name, source in arrays.items()}
    values = without(case.values, axes, axis, i)
    for name, source in arrays.items():
        if isinstance(source, Indices) and source.of == axis:
            indices = values.get(name, case.values[name])
            values[name] = np.where(indices >= max(i, 1), indices - 1, indices)
    return replace(case, sizes={**case.sizes, axis: case.sizes[axis] - 1}, values={**case.values, **values})


def _without_axis(arrays: dict[str, Floats | Indices], case: Case, axis: str) -> Case:
    """The case of one axis less: only index 0 of it is left."""
    values = {
        name: np.asarray(np.take(case.values[name], 0, _present(source, case).index(axis)))
        for name, source in arrays.items()
        if axis in _present(source, case)
    }
    sizes = {other: size for other, size in case.sizes.items() if other != axis}
    return replace(case, sizes=sizes, values={**case.values, **values})


def told_apart(exercise: Exercise, case: Case) -> Iterator[Case]:
    """The case with 1, 2, 3, ... in place of equal numbers, in each array and then in all: they show which is which."""
    equal = {
        name: np.arange(1.0, case.values[name].size + 1).reshape(case.values[name].shape).astype(case.dtype)
        for name, source in exercise.inputs.items()
        if isinstance(source, Floats) and case.values[name].size and np.ptp(case.values[name]) == 0
    }
    for values in [*({name: array} for name, array in equal.items()), equal]:
        yield replace(case, values={**case.values, **values})
