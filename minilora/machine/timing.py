"""Clocks, and fair timing of alternatives."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from minilora.machine.backend import on_host, synchronize
from minilora.machine.blas import single_threaded_blas
from minilora.transformer import GPT


def interleaved_medians(models: dict[str, GPT], run: Callable[[GPT], object], repeats: int) -> dict[str, float]:
    """Median milliseconds of `run` on each model. They take turns, so that a busy moment hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in models}
    # A thread that waits for a GPU computes nothing.
    on_cpu = all(on_host(model.wte.weight.data) for model in models.values())
    clock = finest_clock() if on_cpu else time.perf_counter
    with single_threaded_blas():
        for _ in range(repeats):
            for name, model in models.items():
                start = clock()
                run(model)
                synchronize(model.wte.weight.data)
                times[name].append(1000 * (clock() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def finest_clock() -> Callable[[], float]:
    """The time this thread computes, which other programs do not lengthen, where it is counted finely (not on Windows:
    there in steps of 16 ms); else the time that passes."""
    return time.thread_time if time.get_clock_info("thread_time").resolution < 1e-4 else time.perf_counter
