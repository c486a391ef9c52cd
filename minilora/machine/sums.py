"""Gradients that several threads add up, in one array per parameter and in an order that is the same in every run."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from minilora.machine.backend import Array, array_module, on_host

CACHED = 2**16  # numbers of which a few arrays fit a core's cache


def slices_of_rows(x: Array, numbers: int = CACHED) -> list[slice]:
    """The rows of `x` in slices of about this many numbers; on a GPU, where small arrays gain nothing, in one slice."""
    rows = max(1, numbers // max(1, math.prod(x.shape[1:])))
    return [slice(i, i + rows) for i in range(0, len(x), rows)] if on_host(x) else [slice(None)]


def add_rows(sums: dict[str, Array], name: str, shape: tuple[int, ...], x: Array, rows: Any = None) -> None:
    """sums[name] += x; with `rows`, a slice or distinct row numbers, to those rows of an array of this shape."""
    if rows is None and name not in sums:
        sums[name] = x
        return
    if name not in sums:
        sums[name] = array_module(x).zeros(shape, x.dtype)
    if rows is None:
        sums[name] += x
    else:
        sums[name][rows] += x


class OrderedSums:
    """The sums over a batch's pieces, while each of `workers` threads computes one piece at a time.

    Floating-point sums depend on their order, so each piece adds in turn: what piece i adds to a parameter comes after
    what piece i - 1 adds to it. For a large array, of which not every thread should keep one, a thread that is ahead
    waits. Three things are held back until all pieces that are computed side by side have finished: small arrays, what
    a piece adds to a parameter a second time, and scattered rows.
    """

    def __init__(self, pieces: int, workers: int) -> None:
        self.sums: dict[str, Array] = {}
        self.side_by_side = [range(i, min(i + workers, pieces)) for i in range(0, pieces, workers)]
        self.changed = threading.Condition()
        self.added: list[set[Any]] = [set() for _ in range(pieces)]  # by piece: what has been added to
        self.held_back: list[list[Any]] = [[] for _ in range(pieces)]
        self.finished: set[int] = set()
        self.complete = 0  # how many of `side_by_side` are, in order
        self.failed = False

    def add(self, piece: int, name: str, shape: tuple[int, ...], x: Array, rows: Any) -> None:
        """Add to `sums`, as `add_rows`, when it is the piece's turn."""
        place = name, rows.start if isinstance(rows, slice) else None
        if x.size <= CACHED or isinstance(rows, np.ndarray) or place in self.added[piece]:
            self.held_back[piece].append((name, shape, x, rows))
            return
        with self.changed:
            self.changed.wait_for(lambda: self.failed or self._is_next(piece, place))
        add_rows(self.sums, name, shape, x, rows)
        with self.changed:
            self.added[piece].add(place)
            self.changed.notify_all()

    def _is_next(self, piece: int, place: Any) -> bool:
        together, before = self.side_by_side[self.complete], piece - 1
        if piece not in together:
            return False
        return piece == together.start or before in self.finished or place in self.added[before]

    @contextmanager
    def piece(self, i: int) -> Iterator[PieceGradients]:
        """While piece i is computed: the gradients that it adds to."""
        try:
            yield PieceGradients(self, i)
        except BaseException:
            self.failed = True  # nobody waits any longer
            raise
        finally:
            with self.changed:
                self._finish(i)
                self.changed.notify_all()

    def _finish(self, piece: int) -> None:
        self.finished.add(piece)
        while self.finished.issuperset(together := self.side_by_side[self.complete]):
            for i in together:
                for held_back in self.held_back[i]:
                    add_rows(self.sums, *held_back)
            self.complete += 1
            if self.complete == len(self.side_by_side):
                break


class PieceGradients(dict[str, Array]):
    """The gradients of one piece, in the place of a dictionary of its own: what is added goes to the sums."""

    def __init__(self, sums: OrderedSums, piece: int) -> None:
        super().__init__()
        self.add = partial(sums.add, piece)
