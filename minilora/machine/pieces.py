"""A batch cut into pieces, and `workers` threads that share them: here the number of threads is decided."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np

from minilora.machine.blas import short_turns, single_threaded_blas

# Of a piece's (tokens, width) arrays: half a megabyte in float32, so that a few of them fit a core's cache, and
# still so large that a product is worth its call.
ELEMENTS_PER_PIECE = 2**17


def share_out(pieces: range, workers: int, work: Callable[[range], Any]) -> list[Any]:
    """work(share) for `workers` consecutive shares of the pieces, each on a thread of its own; results in order.

    The pieces' products are too small to be cut again, so each stays on its worker's thread; a single piece has
    the BLAS's own threads to itself.
    """
    if len(pieces) <= 1:
        return [work(pieces)]
    workers = max(1, min(workers, len(pieces)))
    shares = [pieces[a:b] for a, b in pairwise(len(pieces) * w // workers for w in range(workers + 1))]
    with single_threaded_blas(), short_turns():
        others = [_threads(workers - 1, os.getpid()).submit(work, share) for share in shares[1:]]
        return [work(shares[0])] + [other.result() for other in others]


@functools.cache
def _threads(count: int, process: int) -> ThreadPoolExecutor:
    """Threads that wait for work from step to step; a forked process has none of its parent's, so it gets its own."""
    return ThreadPoolExecutor(count, "minilora")


def piece_slices(B: int, T: int, width: int) -> list[slice]:
    """Cut B rows of T tokens into slices of about ELEMENTS_PER_PIECE, two at least: by shape alone, so that the
    pieces are the same for every number of workers."""
    rows = max(1, min(B // 2, ELEMENTS_PER_PIECE // (T * width)))
    return [slice(i, min(i + rows, B)) for i in range(0, B, rows)]


def piece_seeds(rng: np.random.Generator, B: int, T: int, width: int) -> list[int]:
    """A seed for each of the host's pieces; as many are drawn for a device, so that what is drawn next is the same."""
    return rng.integers(2**63, size=len(piece_slices(B, T, width))).tolist()
