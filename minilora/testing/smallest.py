"""From a failing case to the simplest one that still fails.

A case holds arrays by name, and their axes have names: {"x": "n k", "W0": "d k"}. So one step can remove index i of
axis k from x and W0 at once, which a general-purpose shrinker does not know how to do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

C = TypeVar("C")
F = TypeVar("F")


def smallest(
    case: C, failure: F, simpler: Callable[[C], Iterator[C]], fails: Callable[[C], F | None], tries: float = math.inf
) -> tuple[C, F]:
    """A failing case whose simplifications all pass (or none found to fail within `tries`), and its failure."""
    while True:
        for candidate in simpler(case):
            tries -= 1
            found = fails(candidate) if tries > 0 else None
            if found is not None:
                case, failure = candidate, found
                break
        else:
            return case, failure


def without(arrays: Mapping[str, Any], axes: Mapping[str, str], axis: str, part: int | slice) -> dict[str, np.ndarray]:
    """The arrays without some indices of an axis."""
    places = {name: names.split().index(axis) for name, names in axes.items() if axis in names.split()}
    return {name: np.delete(arrays[name], part, place) for name, place in places.items()}


def simpler_entries(array: np.ndarray) -> Iterator[np.ndarray]:
    """The array with one number simpler: 0, else 1, else rounded to one digit."""
    for at in np.ndindex(array.shape):
        number = array[at]
        ladder = tuple(array.dtype.type(simple) for simple in (0, 1, float(f"{number:.0e}")))
        for simple in ladder[: ladder.index(number)] if number in ladder else ladder:
            simpler = array.copy()
            simpler[at] = simple
            yield simpler
