"""Fair timing on a noisy machine: the candidates take turns, and only ratios of their medians mean anything."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping

SETTLE, TURN = 0.12, 0.05  # seconds


def interleaved(candidates: Mapping[str, Callable[[], object]], seconds: float = 6.0) -> dict[str, float]:
    """Median seconds a call of each candidate, over rounds in which each has a `turn`, for about `seconds`; five rounds
    at the least.  Each round has an order of its own, since who comes after whom is not nothing."""
    names, rng = list(candidates), random.Random(0)
    times: dict[str, list[float]] = {name: [] for name in names}
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline or len(times[names[0]]) < 5:
        for name in names:
            times[name].append(turn(candidates[name]))
        rng.shuffle(names)
    return {name: statistics.median(values) for name, values in times.items()}


def turn(run: Callable[[], object]) -> float:
    """Seconds a call, of calls in a row that take TURN at the least, behind untimed ones that take SETTLE.

    The threads of OpenBLAS keep a core busy for 0.1 s after their last product, and would take that from whoever comes
    next; and a training loop finds its own data in the cache, not another's.
    """
    _calls_for(SETTLE, run)
    calls, taken = _calls_for(TURN, run)
    return taken / calls


def _calls_for(seconds: float, run: Callable[[], object]) -> tuple[int, float]:
    start, calls = time.perf_counter(), 0
    while not calls or time.perf_counter() - start < seconds:
        run()
        calls += 1
    return calls, time.perf_counter() - start
