"""From a failing case to the simplest one that still fails."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from hypothesis import configuration

from minilora.testing.cases import (
    LoraCase,
)


@contextlib.contextmanager
def no_hypothesis_folder() -> Iterator[None]:
    """Keep hypothesis from leaving its caches in a folder .hypothesis where the caller happens to be."""
    with tempfile.TemporaryDirectory() as folder:
        configuration.set_hypothesis_home_dir(folder)
        try:
            yield
        finally:
            configuration.set_hypothesis_home_dir(None)  # the default again


def simplifications(case: LoraCase) -> Iterator[LoraCase]:
    """The case with one thing simpler, the bold changes first.

    hypothesis could shrink the case too, but entry by entry: it does not know that dropping an input, say,
    takes a column out of x, W0 and A at once.
    """
    (n, k), (d, r) = case.x.shape, case.B.shape
    for side, size in {"n": n, "d": d, "k": k, "r": r}.items():
        for i in range(size if size > 1 else 0):
            yield _without(case, side, i)
    if case.dtype != np.float64:
        yield case.astype(np.float64)
    if case.alpha != 2:
        yield case.replace(alpha=2.0)
    for name, array in case.arrays.items():
        if array.any():
            yield case.replace(**{name: np.zeros_like(array)})
    for name, array in case.arrays.items():
        for at in np.ndindex(array.shape):
            for number in _simpler_numbers(array[at]):
                simpler = array.copy()
                simpler[at] = number
                yield case.replace(**{name: simpler})


def _without(case: LoraCase, side: str, i: int) -> LoraCase:
    """The case without index i of the side n, d, k or r."""
    sides = {"x": "nk", "W0": "dk", "A": "rk", "B": "dr", "dy": "nd"}
    axes = {name: sides[name].index(side) for name in sides if side in sides[name]}
    return case.replace(**{name: np.delete(case.arrays[name], i, axis) for name, axis in axes.items()})


def _simpler_numbers(number: Any) -> tuple[Any, ...]:
    """Of 0, 1 and the number rounded to one digit, those that are simpler than it, in this order."""
    ladder = tuple(type(number)(simple) for simple in (0, 1, f"{number:.0e}"))
    return ladder[: ladder.index(number)] if number in ladder else ladder
