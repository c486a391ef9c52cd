"""Clocks, and fair timing on a noisy machine: the candidates take turns, and only ratios of their medians count."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

Model = TypeVar("Model")


def interleaved(
    candidates: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 5,
    seconds: float = 0.0,
    settle: float = 0.0,
    turn: float = 0.0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds per call of each candidate. In every round each has one turn, so a busy moment hits all alike.

    rounds, seconds  at least this many rounds, and for about this long
    settle           seconds of untimed calls before each turn: the threads of OpenBLAS keep a core busy for 0.1 s after
                     their last product, and a training loop finds its own data in the cache, not another's
    turn             seconds of timed calls, at least one
    The order changes from round to round, because it matters who comes after whom.
    """
    names, rng = list(candidates), random.Random(0)
    times: dict[str, list[float]] = {name: [] for name in names}
    deadline = time.perf_counter() + seconds
    while len(times[names[0]]) < rounds or time.perf_counter() < deadline:
        for name in names:
            if settle:
                _calls_for(settle, candidates[name], time.perf_counter)
            calls, taken = _calls_for(turn, candidates[name], clock)
            times[name].append(taken / calls)
        rng.shuffle(names)
    return {name: statistics.median(values) for name, values in times.items()}


def _calls_for(seconds: float, run: Callable[[], object], clock: Callable[[], float]) -> tuple[int, float]:
    start, calls = clock(), 0
    while not calls or clock() - start < seconds:
        run()
        calls += 1
    return calls, clock() - start


def finest_clock() -> Callable[[], float]:
    """The time this thread computes, which other programs do not lengthen, if the system counts it finely (Windows does
    in steps of 16 ms, a browser not at all); otherwise the time that passes."""
    if hasattr(time, "thread_time") and time.get_clock_info("thread_time").resolution < 1e-4:
        return time.thread_time
    return time.perf_counter


def interleaved_medians(
    models: Mapping[str, Model], run: Callable[[Model], object], repeats: int, clock: Callable[[], float] | None = None
) -> dict[str, float]:
    """Median milliseconds of run(model) on one thread, in `repeats` rounds; `clock` is the finest there is if None."""
    from minilora.machine.blas import single_threaded_blas  # so that this file also runs beside an older package

    runs = {name: partial(run, model) for name, model in models.items()}
    with single_threaded_blas():
        times = interleaved(runs, rounds=repeats, clock=clock or finest_clock())
    return {name: 1000 * seconds for name, seconds in times.items()}
