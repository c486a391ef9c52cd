"""A student's source in our own process, for a platform that has no other, such as a browser.

Nothing is fenced in or timed here. In a browser the page does both: the code is its student's own, runs in a worker
without rights, and the page ends a worker whose loop does not end.
"""

from __future__ import annotations

import builtins
import contextlib
import os
import sys
from collections.abc import Callable
from typing import Any

from minilora.exercises import worker
from minilora.exercises.sandbox import Gone, Limits, Local, Trouble, one_line


def needed() -> bool:
    """Whether this platform cannot start processes."""
    return sys.platform in ("emscripten", "wasi")


class InProcess(Local):
    """What `Sandbox` is elsewhere: a context manager that answers calls to the functions of one source."""

    output = b""

    def __init__(self, name: str, source: bytes, limits: Limits) -> None:
        super().__init__({}, file=name)
        self.source, self._loaded = source, False

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def call(self, function: str, *args: Any) -> Any:
        with open(os.devnull, "w") as nowhere:
            recorder = worker.Recorder(nowhere)
            try:
                with contextlib.redirect_stdout(recorder), contextlib.redirect_stderr(recorder):
                    self._load()
                    if function not in self.functions:
                        raise Trouble(f"there is no function {function}: keep the name that the file came with")
                    return super().call(function, *args)
            finally:
                self.printed = recorder.kept

    def _load(self) -> None:
        if self._loaded:
            return
        allowed = {**vars(builtins), "__import__": _only_numpy}
        try:
            names = worker.load(self.source, self.file, __builtins__=allowed)
        except BaseException as error:  # a student's SystemExit too
            raise Gone(one_line(worker.described(error, self.file))) from None
        self.functions = {name: value for name, value in names.items() if callable(value)}
        self._loaded = True


def _only_numpy(name: str, *rest: Any) -> Any:
    """`__import__`, for what the student's process of other platforms would find."""
    level = rest[3] if len(rest) > 3 else 0
    if not level and name.partition(".")[0] not in {*sys.stdlib_module_names, "numpy"}:
        worker.OnlyNumPy.find_spec(name)
    load: Callable[..., Any] = builtins.__import__
    return load(name, *rest)
