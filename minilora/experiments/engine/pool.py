"""Runs in processes, one a run and `workers` at once; killed at any point, they continue from what is on disk."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from minilora.experiments.engine.plan import Plan
from minilora.experiments.engine.run import Result, RunConfig, Store, run_and_keep
from minilora.machine.progress import Progress


def execute(plan: Plan, store: Store, workers: int, progress: bool, finished: Callable[[], None]) -> None:
    """Make every run of the plan; what the store holds is taken from there.  `finished` is called after each.

    A run that fails ends it all, and what is done stays done.
    """
    done = plan.take_known(store)
    finished()
    if not plan.jobs:
        return
    bar = Progress(done + len(plan.jobs), "run") if progress else None
    with _one_blas_thread(), _pool(workers) as pool:
        running: dict[Future, RunConfig] = {}
        while running or plan.jobs:
            while len(running) < workers and (config := plan.take()):
                running[pool.submit(run_and_keep, config, store.folder)] = config
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                config = running.pop(future)
                plan.results[config.text] = _result(future, config)
                plan.extend()
                done += 1
                if bar:
                    bar.total = done + len(running) + len(plan.jobs)
                    bar.update(done, f"{config.task} {config.method} {short(config.options)} seed {config.seed}")
                finished()


def _result(future: Future, config: RunConfig) -> Result:
    """The run's result.  RuntimeError if its process has gone (killed for memory, say)."""
    try:
        return future.result()
    except BrokenProcessPool:
        raise RuntimeError(
            f"a process died during {config.task} {config.method}: run the same command again, it continues from here"
        ) from None


def short(options: dict[str, Any]) -> str:
    """Options in a few characters: {"r": 4, "target_modules": [...]} -> "r=4 qv"."""
    parts = []
    for name, value in options.items():
        parts.append("".join(str(v)[0] for v in value) if isinstance(value, list) else f"{name}={value}")
    return " ".join(parts)


def _pool(workers: int) -> ProcessPoolExecutor:
    # Spawned, not forked: a child of a process with threads (a BLAS's) may inherit a lock that nobody will release.
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_start_worker)


def _start_worker() -> None:
    """Die with the parent, and at Ctrl-C without a word: what is finished is on disk."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _one_blas_thread() -> Any:
    """Children started inside give each matrix product one thread: there are as many processes as cores."""
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
