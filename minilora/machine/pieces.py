"""A batch cut into pieces, shared out to processes and threads: the number of threads is decided here."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from operator import add
from types import ModuleType

import numpy as np

from minilora.machine.backend import Array, Scalar
from minilora.machine.blas import keep_freed_memory, short_turns, single_threaded_blas
from minilora.machine.processes import Comm, all_reduce, process_share
from minilora.machine.sums import OrderedSums

# Of a piece's (tokens, width) arrays: half a megabyte in float32, so that a few of them fit a core's cache, and
# still large enough that a product is worth its call.
ELEMENTS_PER_PIECE = 2**17


def sum_over_pieces(
    piece: Callable[[slice, np.random.Generator | None, dict[str, Array]], Scalar],
    trained: Mapping[str, Array],
    shape: tuple[int, int, int],
    xp: ModuleType,
    workers: int = 1,
    rng: np.random.Generator | None = None,
    comm: Comm | None = None,
) -> tuple[Scalar, dict[str, Array]]:
    """The sums, over all rows of a batch, of what piece(rows, rng, grads) returns and of the gradients that it adds.

    trained  the arrays that get gradients, by name: in MPI, a process without a piece must know them too
    shape    (B, T, C) of an activation
    xp       the library that computes; for a GPU the batch is one piece
    workers  threads that share the pieces, and add to the same gradients: see `OrderedSums`
    rng      gives every piece a seed for a generator of its own
    comm     an MPI communicator whose processes all make this call with equal arguments: they share the pieces too,
             and each gets the sums over all

    Equal arguments give equal bits; a different number of workers or processes agrees to rounding.
    """
    keep_freed_memory()
    pieces = pieces_for(*shape, xp)
    seeds = None if rng is None else piece_seeds(rng, *shape)

    mine = range(len(pieces)) if comm is None else process_share(len(pieces), comm)
    sums, losses = OrderedSums(len(mine), workers), np.zeros(len(mine), object)

    def work(i: int) -> None:
        piece_rng = None if seeds is None else xp.random.default_rng(seeds[mine[i]])
        with sums.piece(i) as grads:
            losses[i] = piece(pieces[mine[i]], piece_rng, grads)

    share_out(len(mine), workers, work)
    total = functools.reduce(add, losses, 0.0)  # not by sum(), which is another sum from Python 3.12 on: see `evaluate`
    grads = sums.sums
    return (total, grads) if comm is None else all_reduce(comm, total, grads, trained)


def pieces_for(B: int, T: int, C: int, xp: ModuleType) -> list[slice]:
    """The rows of each piece; on a GPU all rows are one piece, since a few would leave it idle."""
    return piece_slices(B, T, C) if xp is np else [slice(0, B)]


def piece_slices(B: int, T: int, C: int) -> list[slice]:
    """B rows of T tokens cut into equal slices of at most about ELEMENTS_PER_PIECE: an even number of them, so that two
    threads get the same.

    The shape alone decides, so the pieces are the same for every number of workers.
    """
    rows = max(1, min(B // 2, ELEMENTS_PER_PIECE // (T * C)))
    n = -(-B // rows)
    n = min(B, n + n % 2)
    return [slice(a, b) for a, b in pairwise(B * i // n for i in range(n + 1))]


def piece_seeds(rng: np.random.Generator, B: int, T: int, C: int) -> list[int]:
    """A seed for each of the host's pieces; for a GPU as many are drawn, so that `rng` ends in the same state."""
    return rng.integers(2**63, size=len(piece_slices(B, T, C))).tolist()


def share_out(pieces: int, workers: int, work: Callable[[int], None]) -> None:
    """work(i) for each piece, by `workers` threads that take every `workers`-th, so that neighbours are computed side
    by side.

    The pieces' products are too small to be split again, so each stays on its worker's thread; a single piece has
    the BLAS's own threads to itself. Where no thread can be started, the pieces are done one after the other.
    """
    if pieces <= 1:
        for i in range(pieces):
            work(i)
        return
    workers = min(workers, pieces)

    def share(first: int, every: int = workers) -> None:
        for i in range(first, pieces, every):
            work(i)

    with single_threaded_blas(), short_turns():
        threads = _threads(workers - 1, os.getpid()) if workers > 1 else None
        if threads is None:
            share(0, every=1)
            return
        others = [threads.submit(share, first) for first in range(1, workers)]
        share(0)
        for other in others:
            other.result()


@functools.cache
def _threads(count: int, process: int) -> ThreadPoolExecutor | None:
    """Threads that wait for work from step to step, or None where they cannot be started, as in a browser.

    A forked process has none of its parent's threads, so it gets its own.
    """
    pool, all_here = ThreadPoolExecutor(count, "minilora"), threading.Barrier(count)
    try:
        for _ in range(count):
            pool.submit(all_here.wait)  # holds its thread until all have started
    except RuntimeError:
        all_here.abort()
        return None
    return pool
