"""A student's process, from outside: start it, call its functions over a pipe, limit what it uses, end it."""

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
from typing import IO, Any, NoReturn, Protocol, cast

from minilora.exercises import worker

MOST_SOURCE = 200_000  # bytes in a student's file
KEPT_OUTPUT = 4000  # bytes kept of what it prints


class Trouble(Exception):
    """A call returned nothing.  The message says why, in one line."""


class NotStarted(Trouble):
    """The function still raises NotImplementedError."""


class Gone(Trouble):
    """The process has ended, or never started: out of time or memory, a crash, an exit, an unreadable file."""


class Changed(Trouble):
    """The function changed its argument number `index`."""

    def __init__(self, index: int) -> None:
        super().__init__(f"argument {index} was changed")
        self.index = index


class Student(Protocol):
    """Anything that answers calls by name."""

    def call(self, function: str, *args: Any) -> Any:
        """The function's result, or `Trouble`."""
        ...


@dataclass(frozen=True)
class Limits:
    """What one file may use.  The limit on computing stops an endless loop; the one by the clock stops a sleeper."""

    cpu_seconds: int = 1
    wall_seconds: float = 15.0
    memory_bytes: int = 2 << 30
    output_bytes: int = 1_000_000


LIMITS = Limits()


class Local:
    """Our own functions, called in this process: the catalogue's right and wrong answers."""

    def __init__(self, functions: Mapping[str, Callable]) -> None:
        self.functions = functions

    def call(self, function: str, *args: Any) -> Any:
        local: list[Callable] = []
        coded = worker.encode(list(args), local)
        arguments = worker.decode(coded, lambda index, args: local[index](*args))
        return _result(worker.apply(self.functions[function], arguments))


class Sandbox:
    """One student's source in its own process.  A context manager: leaving it ends the process.

    The process runs in a temporary folder that holds only a file `name` with this source. When it exceeds `limits`
    it is killed, along with everything it started. `printed` is the start of what it wrote to stdout and stderr.
    """

    def __init__(self, name: str, source: bytes, limits: Limits = LIMITS) -> None:
        self.name, self.source, self.limits = name, source, limits
        self.printed = b""
        self._late = self._flooded = False

    def __enter__(self) -> Sandbox:
        self._folder = Path(tempfile.mkdtemp(prefix="minilora-exercise-"))
        file = self._folder / self.name
        file.write_bytes(self.source)
        self._start(file)
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._kill()
        for stream in (self._questions, self._answers):
            with contextlib.suppress(OSError):
                stream.close()
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
            # Each BLAS thread would reserve memory, and the arrays are too small to share out.
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            start_new_session=True,
        )
        self._questions = cast(IO[bytes], self._process.stdin)
        self._answers = cast(IO[bytes], self._process.stdout)
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
        """End the process and its group, which holds any children."""
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()

    def _read_output(self) -> None:
        """Keep the start of the output and drop the rest; kill a process that never stops printing."""
        read = 0
        with cast(IO[bytes], self._process.stderr) as stream:
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
        """Our reply when the student's code calls a function that we passed in."""
        try:
            return {"result": worker.encode(callables[answer["call back"]](*worker.decode(answer["args"])))}
        except Exception:
            raise Gone("a function that the exercise was given got an argument that it cannot take") from None

    def _exchange(self, question: dict[str, Any] | None) -> dict[str, Any]:
        """Send a question, if any, and wait for the answer."""
        try:
            if question is not None:
                worker.send(self._questions, question)
            return worker.receive(self._answers)
        except (EOFError, OSError):
            self._process.wait()
            raise Gone(self._cause_of_death()) from None
        except (ValueError, RecursionError):
            self._garbled()

    def _garbled(self) -> NoReturn:
        self._kill()
        raise Gone("the answer cannot be read: return arrays and numbers of moderate size") from None

    def _cause_of_death(self) -> str:
        code = self._process.returncode
        if self._flooded:
            return f"stopped after printing {self.limits.output_bytes:,} bytes"
        if self._late:
            return f"stopped after {self.limits.wall_seconds:g} s: does it wait for something?"
        if code < 0:
            name = signal.Signals(-code).name
            if name in ("SIGXCPU", "SIGKILL"):
                return f"stopped after {self.limits.cpu_seconds} s of computing: is there an endless loop?"
            return f"the process crashed ({name})"
        return f"the process ended itself (exit code {code}) instead of returning"


def read_source(file: Path) -> bytes:
    """The bytes of a student's file.  `Gone` if it is missing, not a plain file, or too large for an exercise."""
    try:
        status = file.lstat()
    except OSError:
        raise Gone("the file is missing") from None
    if not stat.S_ISREG(status.st_mode):
        raise Gone("the file is not a plain file")
    if status.st_size > MOST_SOURCE:
        raise Gone(f"the file has {status.st_size:,} bytes: at most {MOST_SOURCE:,} are read")
    try:
        return file.read_bytes()
    except OSError as error:
        raise Gone(f"the file cannot be read: {error.strerror}") from None


def _result(answer: dict[str, Any]) -> Any:
    """What a call returned, or its `Trouble` raised."""
    if "not started" in answer:
        raise NotStarted("still raises NotImplementedError")
    if "error" in answer:
        raise Trouble(one_line(answer["error"]))
    result = worker.decode(answer["result"])
    if answer["changed"]:
        raise Changed(int(answer["changed"][0]))
    return result


def one_line(text: Any, most: int = 300) -> str:
    """Text from a student's process, safe to print: one line, printable characters only, shortened."""
    line = "".join(c if c.isprintable() else " " for c in " ".join(str(text).split()))
    return line if len(line) <= most else line[: most - 3] + "..."
