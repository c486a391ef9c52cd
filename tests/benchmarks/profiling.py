"""Where a step's time goes, and what each optimization gains."""

from __future__ import annotations

import ctypes
import functools
import inspect
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any
from unittest import mock

from minilora import attention, ops
from minilora.machine import pieces
from minilora.machine.blas import single_threaded_blas
from tests.benchmarks.floor import products
from tests.benchmarks.report import Rows
from tests.benchmarks.shapes import SHAPES, WORKERS, Shape, our_step
from tests.benchmarks.timing import interleaved


def profile(seconds: float) -> Rows:
    """CPU time of a LoRA step on one thread, in % of the step.  Matrix products are the floor: the functions
    below compute them, and the rest of their time is passes over memory and Python."""
    columns = {name: _shares(shape, seconds / len(SHAPES)) for name, shape in SHAPES.items()}
    return [
        {"function": function, **{name: shares[function] for name, shares in columns.items()}}
        for function in sorted(columns["M"], key=lambda f: -columns["M"][f])
    ]


def _shares(shape: Shape, seconds: float) -> dict[str, float]:
    """Function of ops.py or attention.py -> its share of the step, in %; medians."""
    step, floor = our_step(shape, True, workers=1), products(shape, shape.batch_size // WORKERS)
    functions = {
        name: (module, f)
        for module in (ops, attention)
        for name, f in inspect.getmembers(module, inspect.isfunction)
        if f.__module__ == module.__name__
    }
    public = [name for name in functions if name[0] != "_" and name != "query_blocks"]  # the others are called by these
    runs: list[dict[str, float]] = []
    with single_threaded_blas():
        step(), floor()
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline or len(runs) < 5:
            times = dict.fromkeys(public, 0.0)
            with ExitStack() as stack:
                for name in public:
                    module, f = functions[name]
                    stack.enter_context(mock.patch.object(module, name, _timed(f, times)))
                whole = _cpu_seconds(step)
            shares = {name: t for name, t in times.items() if t}
            shares["everything else"] = whole - sum(shares.values())
            shares["matrix products alone"] = WORKERS * _cpu_seconds(floor)
            runs.append({name: 100 * t / whole for name, t in shares.items()})
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def _timed(function: Callable[..., Any], times: dict[str, float]) -> Callable[..., Any]:
    """`function`, adding its CPU time to `times`."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        start = time.thread_time()
        result = function(*args, **kwargs)
        times[function.__name__] += time.thread_time() - start
        return result

    return run


def _cpu_seconds(run: Callable[[], object]) -> float:
    start = time.thread_time()
    run()
    return time.thread_time() - start


@contextmanager
def memory_returned() -> Iterator[None]:
    """Inside, glibc gives freed memory back to the system, as by default; after, it keeps as much as it may."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", lambda parameter, value: None)
    trim, mmap = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD in malloc.h
    mallopt(trim, 128 << 10), mallopt(mmap, 128 << 10)
    try:
        yield
    finally:
        mallopt(trim, 64 << 20), mallopt(mmap, 32 << 20)


# Measure -> a context in which a step does without it. Blocks of 128 queries hold all of theirs.
MEASURES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "a worker's products on its own thread": lambda: mock.patch.object(pieces, "single_threaded_blas", nullcontext),
    "pieces near a cache's size": lambda: mock.patch.object(pieces, "ELEMENTS_PER_PIECE", 2**30),
    "short turns for Python's lock": lambda: mock.patch.object(pieces, "short_turns", nullcontext),
    "masked blocks of keys skipped": lambda: mock.patch.object(attention, "QUERY_BLOCK", 128),
    "freed memory kept": memory_returned,
}


def without(seconds: float) -> Rows:
    """What each optimization gains: time of a LoRA step on two workers without it / with it."""
    rows: Rows = [{"measure": measure} for measure in ("a second worker", *MEASURES)]
    for name, shape in SHAPES.items():
        step = our_step(shape, True)
        candidates = {"as it is": step, "a second worker": our_step(shape, True, workers=1)}
        candidates |= {measure: _inside(context, step) for measure, context in MEASURES.items()}
        t = interleaved(candidates, seconds)
        for row in rows:
            row[name] = t[row["measure"]] / t["as it is"]
    return rows


def _inside(context: Callable[[], AbstractContextManager[Any]], step: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        with context():
            step()

    return run
