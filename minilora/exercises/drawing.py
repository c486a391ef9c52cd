"""The cases that an exercise is tried on, and how a case is made simpler.

They are drawn with NumPy's RandomState, whose stream never changes, from the exercise's name and a seed: what passes
at home passes at school. Sizes are of every kind, because equal sizes hide a wrong transpose and a size of 1 hides a
wrong sum; numbers are in general position, with zeros among them in some cases.
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
from minilora.exercises.spec import Case, Exercise, Floats, Indices, OneOf
from minilora.testing.smallest import simpler_entries, without

CASES = 30


@cache
def cases(name: str, seed: int = 0) -> tuple[Case, ...]:
    """The cases that an exercise is tried on."""
    digest = hashlib.sha256(f"{name} {seed}".encode()).digest()
    return tuple(_drawn(spec.load(name), np.random.RandomState(np.frombuffer(digest, "<u4"))))


def _drawn(exercise: Exercise, rng: np.random.RandomState) -> Iterator[Case]:
    axes = sorted({axis for source in exercise.inputs.values() for axis in _axes(source)} | set(exercise.sizes))
    chosen = {
        name: _in_turn(len(source.values), rng) for name, source in exercise.inputs.items() if isinstance(source, OneOf)
    }
    for number in range(CASES):
        sizes = _sizes(exercise, axes, ("different", "equal", "any")[number % 3], rng)
        dtype = (np.float64, np.float32)[number % 2]
        zeros = (0.0, 0.0, 0.0, 0.3)[number % 4]
        values: dict[str, Any] = {}
        for name, source in exercise.inputs.items():
            if isinstance(source, OneOf):
                values[name] = source.values[next(chosen[name])]
                continue
            shape = [sizes[axis] for axis in source.axes.split()]
            if isinstance(source, Indices):
                values[name] = _below(sizes[source.of], rng, shape)
            else:
                numbers = (_below(4001, rng, shape) - 2000) / 1000 * (rng.random_sample(shape) >= zeros)
                values[name] = (numbers * source.unit).astype(dtype)
        yield Case(sizes, dtype, values)


def _below(size: int, rng: np.random.RandomState, shape: Any = ()) -> np.ndarray:
    """Whole numbers from 0 to size - 1."""
    return np.asarray(rng.random_sample(shape) * size).astype(np.int64)


def _in_turn(count: int, rng: np.random.RandomState) -> Iterator[int]:
    """0 to count - 1 in random order, then again in another: every value is drawn, and many pairs of them."""
    while True:
        yield from rng.permutation(count).tolist()


def _sizes(exercise: Exercise, axes: list[str], kind: str, rng: np.random.RandomState) -> dict[str, int]:
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


def _axes(source: spec.Input) -> list[str]:
    """The axes that an input has or points into."""
    if isinstance(source, OneOf):
        return []
    return source.axes.split() + ([source.of] if isinstance(source, Indices) else [])


def simpler(exercise: Exercise, case: Case) -> Iterator[Case]:
    """The case with one thing simpler, the bold changes first."""
    arrays = {name: source for name, source in exercise.inputs.items() if not isinstance(source, OneOf)}
    for axis, size in case.sizes.items():
        for i in range(size if size > exercise.sizes.get(axis, (1, 4))[0] else 0):
            values = without(case.values, {name: source.axes for name, source in arrays.items()}, axis, i)
            for name, source in arrays.items():
                if isinstance(source, Indices) and source.of == axis:  # what pointed at i or after it moves down
                    indices = values.get(name, case[name])
                    values[name] = np.where(indices >= max(i, 1), indices - 1, indices)
            yield replace(case, sizes={**case.sizes, axis: size - 1}, values={**case.values, **values})
    if case.dtype is not np.float64:
        yield replace(case, dtype=np.float64, values=wide(dict(case.values)))
    for name, choice in exercise.inputs.items():
        if isinstance(choice, OneOf) and case[name] != choice.values[0]:
            yield replace(case, values={**case.values, name: choice.values[0]})
    for name in arrays:
        for array in simpler_entries(case[name]):
            yield replace(case, values={**case.values, name: array})


def told_apart(exercise: Exercise, case: Case) -> Iterator[Case]:
    """The case with 1, 2, 3, ... in place of equal numbers, in each array and then in all: they show which is which."""
    equal = {
        name: np.arange(1.0, case[name].size + 1).reshape(case[name].shape).astype(case[name].dtype)
        for name, source in exercise.inputs.items()
        if isinstance(source, Floats) and case[name].size and np.ptp(case[name]) == 0
    }
    for values in [*({name: array} for name, array in equal.items()), equal]:
        yield replace(case, values={**case.values, **values})
