"""The cases that an exercise is tried on, and how a case is made simpler.

They are drawn with NumPy's RandomState, whose stream never changes, from the exercise's name and a seed: what passes
at home passes at school. Whatever a mistake may hide behind is there: equal sizes (a wrong transpose), sizes of 1 (a
wrong sum), small sizes (at most eight rows), float64 and short numbers (lost digits), memory in C order (a wrong
reshape), inputs that all differ and are not 0 (a special case for those that do not), inputs that all change from
case to case (a result that is remembered by some of them).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain, combinations
from typing import Any

import numpy as np

from minilora.exercises import spec
from minilora.exercises.findings import wide
from minilora.exercises.spec import Case, Exercise, Floats, Indices, Input, OneOf
from minilora.testing.smallest import simpler_entries, without

CASES = 60
RELATIONS = {1: "zero", 2: "zero", 4: "copy", 6: "zero", 8: "alike", 10: "signs"}
Random = np.random.RandomState


@cache
def cases(name: str, seed: int = 0) -> tuple[Case, ...]:
    """The cases that an exercise is tried on."""
    exercise, digest = spec.load(name), hashlib.sha256(f"{name} {seed}".encode()).digest()
    rng = Random(np.frombuffer(digest, "<u4"))
    drawn = list(_drawn(exercise, exercise.cases or CASES, rng))
    largest = sorted(drawn, key=lambda case: (case.dtype is np.float64, sum(min(s, 5) for s in case.sizes.values())))
    changed = [(start, *_one_change_at_a_time(exercise, start, rng)) for start in largest[-2:]]
    return (*drawn, *(case for line in changed for case in line))


@dataclass(frozen=True)
class Kind:
    """What the numbers of a case are like: thousandths or only 1 and -1, some of them 0 or -0, times a power of ten.

    `decade` is the power's place in `decades`, the same for all arrays, or -1 for a random one for each.
    """

    short: bool = False
    signs: bool = False
    zeros: float = 0.0
    decade: int | None = None


def _drawn(exercise: Exercise, count: int, rng: Random) -> Iterator[Case]:
    """Each quality of a case takes its values in turn, with another period than the next quality."""
    axes = sorted({axis for source in exercise.inputs.values() for axis in _axes(source)} | set(exercise.sizes))
    optional = [axis for axis in axes if axis.endswith("?")]
    choices = {name: source.values for name, source in exercise.inputs.items() if isinstance(source, OneOf)}
    turns = {name: _in_turn(len(values), rng) for name, values in choices.items()}
    ranks, long, relations = _in_turn(len(optional) + 1, rng), _in_turn(len(axes), rng), _Relations(exercise, rng)
    for number in range(count):
        absent, relation = optional[: next(ranks)], RELATIONS.get(number % 11)
        how = "equal" if relation in ("copy", "alike") else ("different", "equal", "any")[number % 3]
        sizes = _sizes(exercise, [axis for axis in axes if axis not in absent], how, rng)
        if sizes and number % 7 == 6:
            both = rng.permutation(list(sizes))[:2].tolist()
            sizes = _lengthened(exercise, sizes, both if number // 14 % 2 else [axes[next(long)]])
        case = Case(sizes, (np.float64, np.float32)[number % 2], {}, "CFS"[number // 3 % 3], number % 4 == 1)
        decade = (0, 1, -1)[number // 6 % 3] if number // 2 % 3 == 1 else None
        kind = Kind(number % 4 < 2, relation == "signs", 0.3 * (number % 5 == 4), decade)
        values = {
            name: _array(source, case, rng, kind)
            if not isinstance(source, OneOf)
            else _chosen(name, choices[name], turns, relation)
            for name, source in exercise.inputs.items()
        }
        if number == count - 1:  # a product overflows only if all of its factors are large
            values |= {name: max(of) for name, of in choices.items() if all(isinstance(v, (int, float)) for v in of)}
        yield replace(case, values=values | relations.made(relation, values))


def _chosen(name: str, values: Sequence[Any], turns: dict[str, Iterator[int]], relation: str | None) -> Any:
    """The value whose turn it is.  A factor 0.0 waits for its turn where it would hide what an array of zeros shows."""
    place = next(turns[name])
    if relation == "zero" and isinstance(values[place], float) and values[place] == 0:
        waits, place = place, next(turns[name])
        turns[name] = chain([waits], turns[name])
    return values[place]


def _array(source: Floats | Indices, case: Case, rng: Random, kind: Kind = Kind()) -> np.ndarray:
    """An input's numbers."""
    shape = [case.sizes[axis] for axis in source.axes.split() if axis in case.sizes]
    if isinstance(source, Indices):
        return _below(case.sizes[source.of], rng, shape)
    numbers = (_below(4001, rng, shape) - 2000) / 1000 if kind.short else rng.random_sample(shape) * 4 - 2
    numbers = np.where(numbers < 0, -1.0, 1.0) if kind.signs else numbers
    numbers = np.asarray(numbers * (rng.random_sample(shape) >= kind.zeros) * source.unit)
    if kind.decade is not None:
        place = int(_below(len(source.decades), rng)) if kind.decade < 0 else kind.decade % len(source.decades)
        numbers = numbers * 10.0 ** source.decades[place]
    return np.asarray(numbers, case.dtype)


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


def _lengthened(exercise: Exercise, sizes: Mapping[str, int], chosen: list[str]) -> dict[str, int]:
    """Sizes with one axis far longer than its range, or two of them somewhat longer, and the others short."""
    result = {}
    for axis, size in sizes.items():
        low, high = exercise.sizes.get(axis, (1, 4))
        longer = exercise.longest if len(chosen) == 1 else min(exercise.longest, 11 + (axis == chosen[0]))
        result[axis] = size if low == high else longer if axis in chosen else low + size % 2
    return result


class _Relations:
    """Arrays that are 0, or equal to another, in turn."""

    def __init__(self, exercise: Exercise, rng: Random) -> None:
        floats = {name: source for name, source in exercise.inputs.items() if isinstance(source, Floats)}
        self.kinds = {name: (re.sub(r"\d", "", f.axes), f.unit, f.decades) for name, f in floats.items()}
        self.names, self.pairs = (
            list(floats),
            [(m, n) for m, n in combinations(floats, 2) if self.kinds[m] == self.kinds[n]],
        )
        self.zero, self.pair = _in_turn(len(self.names), rng), _in_turn(len(self.pairs), rng)

    def made(self, relation: str | None, values: Mapping[str, Any]) -> dict[str, Any]:
        """The arrays to replace so that one is 0, one a copy of another, or all alike whose shapes are."""
        if relation == "zero" and self.names:
            name = self.names[next(self.zero)]
            zero = np.zeros((), values[name].dtype)  # NumPy 1 makes 0 times a float32 without axes a float64
            return {name: zero * values[name]}
        if relation == "copy" and self.pairs:
            one, other = self.pairs[next(self.pair)]
            return {other: values[one].copy()} if values[one].shape == values[other].shape else {}
        if relation == "alike":
            likes = {name: (values[name].shape, self.kinds[name][1:]) for name in self.names}
            first = {like: values[name] for name, like in reversed(likes.items())}
            return {name: first[like].copy() for name, like in likes.items()}
        return {}


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
        fewest = exercise.sizes.get(axis, (1, 4))[0]
        if size > max(8, 2 * fewest):
            yield _without(arrays, case, axis, size // 2, size)
        for i in range(size if size > fewest else 0):
            yield _without(arrays, case, axis, i, i + 1)
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
        if case.values[name].any():
            yield replace(case, values={**case.values, name: 0 * case.values[name]})
    for name in arrays:
        for array in simpler_entries(case.values[name]):
            yield replace(case, values={**case.values, name: array})


def _present(source: Floats | Indices, case: Case) -> list[str]:
    return [axis for axis in source.axes.split() if axis in case.sizes]


def _without(arrays: dict[str, Floats | Indices], case: Case, axis: str, start: int, stop: int) -> Case:
    """The case without indices start to stop - 1 of an axis; what pointed at them or beyond moves down."""
    axes = {name: " ".join(_present(source, case)) for name, source in arrays.items()}
    values = without(case.values, axes, axis, slice(start, stop))
    for name, source in arrays.items():
        if isinstance(source, Indices) and source.of == axis:
            indices = values.get(name, case.values[name])
            values[name] = np.where(indices < stop, np.minimum(indices, max(start - 1, 0)), indices - (stop - start))
    return replace(
        case, sizes={**case.sizes, axis: case.sizes[axis] - (stop - start)}, values={**case.values, **values}
    )


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
