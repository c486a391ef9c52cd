"""A student's process seen from outside: calls over a pipe, limits on time, memory and output, and its end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol

from minilora.exercises import worker

MOST_SOURCE = 200_000  # bytes of a student's file
KEPT_OUTPUT = 4000  # bytes of what it prints


class Trouble(Exception):
    """A call has no result.  The message says why, in one line."""


class NotStarted(Trouble):
    """The function still raises NotImplementedError."""


class Gone(Trouble):
    """The process has ended and will answer no more: time, memory, a crash, an exit."""


class Changed(Trouble):
    """The function changed its argument number `index`."""

    def __init__(self, index: int) -> None:
        super().__init__(f"argument {index} was changed")
        self.index = index


class Student(Protocol):
    """Anything that answers calls by name."""

    def call(self, function: str, *args: Any) -> Any:
        """The function's result.  `Trouble` if there is none."""
        ...


@dataclass(frozen=True)
class Limits:
    """What one exercise may use.  CPU time is what a student's code spends; the clock catches one that sleeps."""

    cpu_seconds: int = 1
    wall_seconds: float = 15.0
    memory_bytes: int = 2 << 30
    output_bytes: int = 1_000_000


LIMITS = Limits()


class Local:
    """Functions of our own, called in this process: the references and wrong answers of the catalogue."""

    def __init__(self, functions: Mapping[str, Callable]) -> None:
        self.functions = functions

    def call(self, function: str, *args: Any) -> Any:
        local: list[Callable] = []
        coded = worker.encode(list(args), local)
        arguments = worker.decode(coded, lambda index, args: local[index](*args))
        return _result(worker.apply(self.functions[function], arguments))


class Sandbox:
    """One student's file in a process of its own.  Use it as a context manager: leaving ends the process.

    The process gets a copy of the file alone in a temporary folder. After `limits` it is killed with all that
    it may have started. `printed` is the beginning of what it wrote to stdout and stderr.
    """

    def __init__(self, file: Path, limits: Limits = LIMITS) -> None:
        self.file, self.limits = file, limits
        self.printed = b""
        self._late = self._flooded = False

    def __enter__(self) -> Sandbox:
        source = read_source(self.file)
        self._folder = Path(tempfile.mkdtemp(prefix="minilora-exercise-"))
        copied = self._folder / self.file.name
        copied.write_bytes(source)
        self._start(copied)
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._kill()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]
        self._process.wait()
        self._reader.join(timeout=1)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, file: Path) -> None:
        limits = self.limits
        self._process = subprocess.Popen(
            [sys.executable, "-IBu", worker.__file__, file, str(limits.cpu_seconds), str(limits.memory_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self._folder,
            # Threads of BLAS would each reserve memory, and there is nothing here to share out.
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            start_new_session=True,
        )
        self._deadline = time.monotonic() + limits.wall_seconds
        self._timer = threading.Timer(limits.wall_seconds, self._expire)
        self._timer.daemon = True
        self._timer.start()
        self._reader = threading.Thread(target=self._read_output, daemon=True)
        self._reader.start()
        self._loaded = False

    def _expire(self) -> None:
        self._late = True
        self._kill()

    def _kill(self) -> None:
        """End the process and its group, which a student's children are in."""
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()

    def _read_output(self) -> None:
        """Keep the beginning of the output and drop the rest; end a process that prints without end."""
        assert self._process.stderr is not None
        read = 0
        with self._process.stderr as stream:
            while chunk := os.read(stream.fileno(), 65536):
                self.printed += chunk[: KEPT_OUTPUT - len(self.printed)]
                read += len(chunk)
                if read > self.limits.output_bytes:
                    self._flooded = True
                    self._kill()

    def call(self, function: str, *args: Any) -> Any:
        """The result of a call in the student's process."""
        if not self._loaded:
            loaded = self._exchange(None)
            if "error" in loaded:
                raise Gone(one_line(loaded["error"]))
            self._names, self._loaded = list(map(str, loaded.get("functions") or [])), True
        if function not in self._names:
            raise Trouble(f"there is no function {function}: keep the name that the file came with")
        callables: list[Callable] = []
        answer = self._exchange({"call": function, "args": worker.encode(list(args), callables)})
        while "call back" in answer:
            answer = self._exchange(self._called_back(answer, callables))
        try:
            return _result(answer)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            self._garbled()

    def _called_back(self, answer: dict[str, Any], callables: list[Callable]) -> dict[str, Any]:
        """The answer to a call of one of our functions by the student's."""
        try:
            return {"result": worker.encode(callables[answer["call back"]](*worker.decode(answer["args"])))}
        except Exception:
            raise Gone("a function that the exercise was given got an argument that it cannot take") from None

    def _exchange(self, question: dict[str, Any] | None) -> dict[str, Any]:
        """Send a question, if any, and wait for the answer."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            if question is not None:
                worker.send(self._process.stdin, question)
            return worker.receive(self._process.stdout)
        except (EOFError, OSError):
            self._process.wait()
            raise Gone(self._cause_of_death()) from None
        except (ValueError, RecursionError):
            self._garbled()

    def _garbled(self) -> NoReturn:
        self._kill()
        raise Gone("the answer cannot be read: return plain arrays and numbers of moderate size") from None

    def _cause_of_death(self) -> str:
        code = self._process.returncode
        if self._flooded:
            return f"stopped after printing {self.limits.output_bytes:,} bytes"
        if self._late:
            return f"stopped after {self.limits.wall_seconds:g} s: does it wait for something?"
        if code in (-signal.SIGXCPU, -signal.SIGKILL) if hasattr(signal, "SIGXCPU") else False:
            return f"stopped after {self.limits.cpu_seconds} s of computing: is there a loop without an end?"
        if code < 0:
            return f"the process crashed ({signal.Signals(-code).name})"
        return f"the process ended itself (exit code {code}) instead of returning"


def read_source(file: Path) -> bytes:
    """The bytes of a student's file.  `Gone` if it is missing, no plain file, or too large to be an exercise."""
    try:
        status = file.lstat()
    except OSError:
        raise Gone("the file is missing") from None
    if not stat.S_ISREG(status.st_mode):
        raise Gone("the file is not a plain file")
    if status.st_size > MOST_SOURCE:
        raise Gone(f"the file has {status.st_size:,} bytes, and at most {MOST_SOURCE:,} are read")
    try:
        return file.read_bytes()
    except OSError as error:
        raise Gone(f"the file cannot be read: {error.strerror}") from None


def _result(answer: dict[str, Any]) -> Any:
    """What a call returned, or the `Trouble` that it met."""
    if "not started" in answer:
        raise NotStarted("still raises NotImplementedError")
    if "error" in answer:
        raise Trouble(one_line(answer["error"]))
    result = worker.decode(answer["result"])
    if answer["changed"]:
        raise Changed(int(answer["changed"][0]))
    return result


def one_line(text: Any, most: int = 300) -> str:
    """Text from a student's process made fit for a terminal and a table: one line, printable, not long."""
    line = "".join(c if c.isprintable() else " " for c in " ".join(str(text).split()))
    return line if len(line) <= most else line[: most - 3] + "..."
