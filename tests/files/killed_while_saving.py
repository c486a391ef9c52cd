"""Kill a process at every line that it executes while it saves, and look at what is left.

    python -m tests.files.killed_while_saving FOLDER    prints JSON: how often the old file was found, how often the new

Each attempt is a separate fork, which kills itself with SIGKILL at its n-th traced line; n goes up until saving
finishes. A last round is killed from outside, at random moments.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from minilora.files import container

TRACED = (container.__file__, zipfile.__file__, np.lib.format.__file__)
STATES = [{"x": np.full((64, 64), value)} for value in (0.0, 1.0)]  # what is saved first, and what then


def save(path: Path, state: int) -> None:
    container.write_file(path, "test", {}, STATES[state])


def found(path: Path) -> str:
    """ "old" or "new", whichever it is, whole."""
    _, tensors = container.read_file(path, "test")
    return next(name for name, state in zip(("old", "new"), STATES, strict=True) if (tensors["x"] == state["x"]).all())


def kill_at(n: int) -> Callable[[FrameType, str, Any], Any]:
    """A trace function that kills this process at the n-th line in a file of TRACED."""
    left = n

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        if frame.f_code.co_filename not in TRACED:
            return None
        if event == "line":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    return trace


def in_a_fork(work: Callable[[], None], kill_after: float | None = None) -> bool:
    """Run `work` in a fork, killed from outside after `kill_after` seconds; whether it was killed."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "saving failed by itself"
    return os.WIFSIGNALED(status)


def main(folder: Path) -> None:
    path, counts = folder / "file.npz", {"old": 0, "new": 0, "killed from outside": 0}
    n, killed, state = 0, True, "new"
    while killed:
        n += 1
        if state == "new":
            save(path, 0)

        def work(n: int = n) -> None:
            sys.settrace(kill_at(n))
            save(path, 1)

        killed, state = in_a_fork(work), found(path)
        counts[state] += 1

    def for_ever() -> None:
        while True:
            save(path, 1)
            save(path, 0)

    dice = random.Random(0)
    for _ in range(20):
        in_a_fork(for_ever, kill_after=dice.uniform(0, 0.02))
        found(path)
        counts["killed from outside"] += 1
    print(json.dumps(counts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
