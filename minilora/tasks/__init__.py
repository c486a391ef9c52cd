"""Miniature downstream tasks: a prompt in, an answer out, a loss only on the answer.

    task = tasks.load("sql")
    ml.fit(model, tasks.TaskData(task.train), steps=300, lr=2e-3)
    answers = tasks.answer(model, task.test, task.max_new)
    task.score(task.test, answers), task.baselines()

Files: `task` (Example, Task, TaskData), `decoding` (answer), `metrics`, `baselines`, one for each task, and
`originals`, which reads the published data sets' own files. The same seed gives the same generated data; each task's
file says what its splits do not share.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from minilora.nn import whole_number
from minilora.tasks import code, e2e, nli, sql, summ
from minilora.tasks.decoding import answer
from minilora.tasks.task import BLOCK_SIZE, END, MAX_BYTES, PROMPT_END, Example, Task, TaskData

__all__ = ["BLOCK_SIZE", "END", "MAX_BYTES", "PROMPT_END", "TASKS", "Example", "Task", "TaskData", "answer", "load"]

TASKS: dict[str, Callable[..., Task]] = {
    "code": code.load,
    "e2e": e2e.load,
    "sql": sql.load,
    "nli": nli.load,
    "summ": summ.load,
}


def load(
    name: str, seed: int = 0, train: int = 2000, valid: int = 200, test: int = 200, folder: str | Path | None = None
) -> Task:
    """A task with at most this many examples in each split; the same numbers and seed give the same examples.

    `folder` holds files to read instead of the task's own data (only for e2e).
    ValueError for an unknown name, a split without examples, or a folder that the task does not read.
    """
    if not isinstance(name, str) or name not in TASKS:
        raise ValueError(f"task {name!r} is unknown: choose from {', '.join(TASKS)}")
    whole_number("seed", seed, 0)
    for split, count in {"train": train, "valid": valid, "test": test}.items():
        whole_number(f"{split}, a number of examples,", count)
    if name == "e2e":
        return e2e.load(seed, train, valid, test, folder)
    if folder is not None:
        raise ValueError(f"{name} reads no folder: leave it out (only e2e reads one)")
    return TASKS[name](seed, train, valid, test)
