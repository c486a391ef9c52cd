"""Runs in processes, one each, several at a time.  Killed at any point, the same command continues from the disk."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from minilora.experiments.engine.plan import Plan
from minilora.experiments.engine.run import Result, RunConfig, Store, run_and_keep
from minilora.machine.progress import Progress


def execute(plan: Plan, store: Store, processes: int | None, progress: bool, finished: Callable[[], None]) -> None:
    """Make every run of the plan that is not in the store, `processes` at a time; call `finished` after each.

    With None, MPI's workers make them, as many at a time as there are, on machines that share the store's folder.
    A run that fails ends them all; finished ones stay on disk.
    """
    done = plan.take_known(store)
    finished()
    if not plan.jobs:
        return
    bar = Progress(done + len(plan.jobs), "run", shown=progress)
    most = math.inf if processes is None else processes  # MPI's executor keeps a queue of its own
    with _one_blas_thread(), _mpi_pool() if processes is None else _pool(processes) as pool:
        running: dict[Future, RunConfig] = {}
        while running or plan.jobs:
            while len(running) < most and (config := plan.take()):
                running[pool.submit(run_and_keep, config, store.folder)] = config
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                config = running.pop(future)
                plan.results[config.text] = _result(future, config)
                plan.extend()
                done += 1
                bar.total = done + len(running) + len(plan.jobs)
                bar.update(done, f"{config.task} {config.method} {short(config.options)} seed {config.seed}")
                finished()


def _result(future: Future, config: RunConfig) -> Result:
    """The run's result.  RuntimeError if its process died (for lack of memory, say)."""
    try:
        return future.result()
    except BrokenProcessPool:
        raise RuntimeError(
            f"a process died during {config.task} {config.method}: run the same command again to continue from here"
        ) from None


def short(options: dict[str, Any]) -> str:
    """Options in a few characters: {"r": 4, "target_modules": ["q_proj", "v_proj"]} -> "r=4 qv"."""
    parts = []
    for name, value in options.items():
        parts.append("".join(str(v)[0] for v in value) if isinstance(value, list) else f"{name}={value}")
    return " ".join(parts)


def _mpi_pool() -> Any:
    """mpi4py's executor over the workers that `mpirun` started.  ValueError where mpi4py is missing."""
    try:
        return import_module("mpi4py.futures").MPIPoolExecutor()
    except ImportError as error:
        raise ValueError(f"there is no MPI to run on ({error}): install minilora[mpi] and an MPI") from None


def _pool(processes: int) -> ProcessPoolExecutor:
    # Spawn: a forked child may inherit a lock that a BLAS thread of the parent held and nobody will release.
    return ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=_start_worker)


def _start_worker() -> None:
    """Die with the parent, and silently at Ctrl-C: finished runs are on disk."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """Inside, child processes start with single-threaded BLAS: there are as many processes as cores already."""
    name = "OPENBLAS_NUM_THREADS"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
