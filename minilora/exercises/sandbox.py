"""A student's process, from outside: start it, call its functions over a pipe, limit what it uses, end it."""

from __future__ import annotations

import base64
import contextlib
import os
import select
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn, Protocol, cast

from minilora.exercises import worker

MOST_SOURCE = 200_000  # bytes in a student's file
KEPT_OUTPUT = 4000  # bytes kept of all that it prints
MOST_ANSWER = 1 << 17  # bytes in one answer; the largest honest one has a few thousand
TICK = 0.05  # seconds between looks at what the process does
START = (
    "import sys; sys.path += sys.argv[3:]; import fence, worker; del sys.path[-2:]; "
    "worker.main(*map(int, sys.argv[1:3]))"
)
# Each BLAS thread would reserve memory, and the arrays are too small to share out.
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
KEPT = ("LD_LIBRARY_PATH", "SYSTEMROOT", "PATH" if os.name == "nt" else "")  # without which Python may not start


class Trouble(Exception):
    """A call returned nothing.  The message says why, in one line."""


class NotStarted(Trouble):
    """The function still raises NotImplementedError."""


class Gone(Trouble):
    """The process has ended, or never started: out of time or memory, a crash, an exit, an unreadable file."""


class Changed(Trouble):
    """The function returned `result`, but changed its argument number `index`.

    -1: it changed its last result. -2: arrays of this result share memory.
    """

    def __init__(self, index: int, result: Any) -> None:
        super().__init__(f"argument {index} was changed")
        self.index, self.result = index, result


class Student(Protocol):
    """Anything that answers calls by name.  `printed` is the start of what the last one printed."""

    printed: str

    def call(self, function: str, *args: Any) -> Any:
        """The function's result, or `Trouble`."""
        ...


@dataclass(frozen=True)
class Limits:
    """What one file may use: seconds of computing, of waiting instead, and by the clock; bytes of memory, of prints, of
    answers."""

    cpu_seconds: int = 1
    idle_seconds: float = 1.0
    wall_seconds: float = 15.0
    memory_bytes: int = 2 << 30
    output_bytes: int = 1_000_000
    answer_bytes: int = 8 << 20


LIMITS = Limits()


class Local:
    """Functions called in this process: the catalogue's right and wrong answers.  `file` is where they are from."""

    printed = ""

    def __init__(self, functions: Mapping[str, Callable], file: str = "") -> None:
        self.functions, self.file, self._kept = functions, file, dict[str, list]()

    def call(self, function: str, *args: Any) -> Any:
        local: list[Callable] = []
        coded = worker.encode(list(args), local)
        arguments = worker.decode(coded, lambda index, args: local[index](*args))
        return _result(worker.apply(self.functions[function], arguments, self.file, self._kept))


class Sandbox:
    """One student's source in its own process, fenced in.  A context manager: leaving it ends the process.

    When it exceeds `limits` it is killed. `output` is the end of what it wrote to stdout and stderr.
    RuntimeError if the process cannot be started or fenced in, which is no student's fault.
    """

    def __init__(self, name: str, source: bytes, limits: Limits = LIMITS) -> None:
        self.name, self.source, self.limits = name, source, limits
        self.output, self.printed = b"", ""
        self._names: list[str] | None = None  # of its functions, once it is loaded
        self._killed = ""  # why we killed it
        self._answered = 0  # bytes
        self._asked = False  # is it the process's turn?
        self._ended = threading.Event()
        self._reaping = threading.Lock()

    def __enter__(self) -> Sandbox:
        folders = [Path(worker.__file__).parent, Path(worker.np.__path__[0]).parent]
        arguments = [self.limits.cpu_seconds, self.limits.memory_bytes, *folders]
        self._process = subprocess.Popen(
            [sys.executable, "-SIBuc", START, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=os.path.abspath(os.sep),
            env=ENVIRONMENT | {name: os.environ[name] for name in KEPT if name in os.environ},
            start_new_session=True,
        )
        self._questions = cast(IO[bytes], self._process.stdin)
        self._answers = cast(IO[bytes], self._process.stdout)
        self._threads = [threading.Thread(target=task, daemon=True) for task in (self._read_output, self._watch)]
        for thread in self._threads:
            thread.start()
        try:
            self._exchange(None)
        except Gone as trouble:
            self.__exit__()
            last = self.output.decode(errors="replace").strip().splitlines()[-1:]  # of a traceback
            raise RuntimeError(f"a student's process did not start: {'; '.join([str(trouble), *last])}") from None
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._kill()
        for stream in (self._questions, self._answers):
            with contextlib.suppress(OSError):
                stream.close()
        self._reap()
        for thread in self._threads:
            thread.join(timeout=1)

    def _kill(self, why: str = "") -> None:
        """End the process and its group, which holds any children.  Nothing happens once it is reaped."""
        self._killed = self._killed or why
        with self._reaping, contextlib.suppress(OSError):
            if self._process.returncode is not None:
                return  # another process may have its number by now
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()

    def _reap(self) -> int:
        """Wait for the end of the process, end what it left behind, and return its exit code."""
        if hasattr(os, "waitid") and self._process.returncode is None:
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        self._kill()
        with self._reaping:
            return self._process.wait()

    def _read_output(self) -> None:
        """Keep the end of the output and drop the rest; kill a process that never stops printing."""
        read = 0
        with cast(IO[bytes], self._process.stderr) as stream:
            while chunk := os.read(stream.fileno(), 65536):
                self.output = (self.output + chunk)[-KEPT_OUTPUT:]
                read += len(chunk)
                if read > self.limits.output_bytes:
                    self._kill(f"stopped after printing {self.limits.output_bytes:,} bytes")

    def _watch(self) -> None:
        """Kill a process that takes too long, or that waits although it is its turn."""
        limits, idle, deadline = self.limits, 0.0, time.monotonic() + self.limits.wall_seconds
        while not self._ended.wait(TICK):
            idle += TICK * (self._asked and self._sleeps())
            if idle > limits.idle_seconds:
                self._kill(f"stopped after {limits.idle_seconds:g} s of waiting instead of computing")
            elif time.monotonic() > deadline:
                self._kill(f"stopped after {limits.wall_seconds:g} s: does it wait for something?")

    def _sleeps(self) -> bool:
        """Does the process sleep, with no answer of its under way to us?  Only Linux tells; False elsewhere."""
        try:
            state = Path(f"/proc/{self._process.pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0]
            return state == "S" and not select.select([self._answers], [], [], 0)[0]
        except (OSError, ValueError, IndexError):
            return False

    def call(self, function: str, *args: Any) -> Any:
        """The result of a call in the student's process."""
        if self._names is None:
            loaded = self._exchange({"name": self.name, "source": base64.b64encode(self.source).decode()})
            if "error" in loaded:
                raise Gone(one_line(loaded["error"]))
            self._names = list(map(str, loaded.get("functions") or []))
        if function not in self._names:
            raise Trouble(f"there is no function {function}: keep the name that the file came with")
        callables: list[Callable] = []
        self.printed = ""
        answer = self._exchange({"call": function, "args": worker.encode(list(args), callables)})
        while "call back" in answer:
            answer = self._exchange(self._called_back(answer, callables))
        try:
            self.printed = str(answer.get("printed", ""))
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
            self._asked = question is not None
            frame = worker.receive(self._answers, MOST_ANSWER)
            self._asked = False
            self._answered += len(frame)
            if self._answered > self.limits.answer_bytes:
                self._kill()
                raise Gone(f"stopped after answering with {self.limits.answer_bytes:,} bytes")
            return worker.message(frame)
        except (EOFError, OSError):
            raise Gone(self._cause_of_death()) from None
        except (ValueError, RecursionError):
            self._garbled()

    def _garbled(self) -> NoReturn:
        self._kill()
        raise Gone("the answer cannot be read: return arrays and numbers of moderate size") from None

    def _cause_of_death(self) -> str:
        code = self._reap()
        if self._killed:
            return self._killed
        if code >= 0:
            return f"the process ended itself (exit code {code}) instead of returning"
        name = {number.value: number.name for number in signal.Signals}.get(-code, f"signal {-code}")
        if name == "SIGPROF":
            return f"stopped after {self.limits.cpu_seconds} s of computing: is there an endless loop?"
        if name == "SIGKILL":
            return "ended from outside (SIGKILL): out of memory, perhaps, or past a limit that the code ignored"
        return f"the process crashed ({name})"


def read_source(file: Path) -> bytes:
    """The bytes of a student's file.  `Gone` if it is missing, not a plain file, or too large for an exercise."""
    plain = os.O_RDONLY | sum(getattr(os, flag, 0) for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
    try:
        with open(file, "rb", opener=lambda path, _: os.open(path, plain)) as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise Gone("the file is not a plain file")
            source = opened.read(MOST_SOURCE + 1)
    except FileNotFoundError:
        raise Gone("the file is missing") from None
    except OSError as error:
        why = "it is a folder or a link" if file.is_dir() or file.is_symlink() else error.strerror
        raise Gone(f"the file cannot be read: {why}") from None
    if len(source) > MOST_SOURCE:
        raise Gone(f"the file has more than {MOST_SOURCE:,} bytes")
    return source


def _result(answer: dict[str, Any]) -> Any:
    """What a call returned, or its `Trouble` raised."""
    if "not started" in answer:
        raise NotStarted("still raises NotImplementedError")
    if "error" in answer:
        raise Trouble(one_line(answer["error"]))
    result = worker.decode(answer["result"])
    if answer["changed"]:
        raise Changed(int(answer["changed"][0]), result)
    return result


def one_line(text: Any, most: int = 300) -> str:
    """Text from a student's process, safe to print: one line, printable characters only, shortened."""
    line = printable(" ".join(str(text).split()))
    return line if len(line) <= most else line[: most - 3] + "..."


def printable(text: str) -> str:
    """Text with a space for each character that a terminal or a spreadsheet might obey."""
    return "".join(c if c.isprintable() else " " for c in text)
