"""The student's process: it loads one file and answers calls to its functions.

    python -I worker.py FILE CPU_SECONDS MEMORY_BYTES

Questions arrive on stdin and answers leave on stdout, as frames: four bytes of length, then JSON. The checks and the
right values stay in the process that asks. Whatever a student's code does here (print "passed", exit, replace
NumPy, catch every exception), it can only send values, which the other process judges. This file imports only NumPy
and the standard library, because one grading starts it 30 x 27 times.

The audit hook that refuses writes, new processes and sockets stops accidents and pranks. It is not a prison: if your
students may be real attackers, grade inside a container.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Callable
from typing import IO, Any

import numpy as np

MOST_BYTES = 4 << 20  # in one frame; the largest honest answer is a few kilobytes
PLAIN = (type(None), bool, int, float, str)


# -------------------------------------------------------------------------------------------- values as JSON


def encode(value: Any, functions: list[Callable] | None = None) -> Any:
    """A value as JSON: numbers, text, None, arrays, lists, tuples, dictionaries.  TypeError for anything else.

    A callable becomes its index in `functions`, so that the other side can call back.
    """
    if type(value) in PLAIN:
        return value
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value, order="C")
        if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
            raise TypeError(f"an array of {array.dtype}: return an array of numbers")
        return {"array": [array.dtype.str, list(array.shape), base64.b64encode(array.tobytes()).decode()]}
    if isinstance(value, (list, tuple)):
        return {type_name(value): [encode(part, functions) for part in value]}
    if isinstance(value, dict):
        return {"dict": [[encode(k, functions), encode(v, functions)] for k, v in value.items()]}
    if functions is not None and callable(value):
        functions.append(value)
        return {"function": len(functions) - 1}
    raise TypeError(f"a value of type {type(value).__name__}: return arrays, numbers, or tuples, lists, dicts of them")


def type_name(value: list | tuple) -> str:
    return "list" if isinstance(value, list) else "tuple"


def decode(coded: Any, call_back: Callable[..., Any] | None = None) -> Any:
    """The value that `encode` was given.  ValueError, TypeError or KeyError if `encode` did not write this."""
    if not isinstance(coded, dict):
        return coded
    ((kind, content),) = coded.items()
    if kind == "array":
        name, shape, data = content
        dtype = np.dtype(str(name))
        if dtype.kind not in "biuf":
            raise ValueError(f"an array of {dtype}")
        return np.frombuffer(base64.b64decode(data), dtype).reshape([int(side) for side in shape]).copy()
    if kind in ("list", "tuple"):
        parts = [decode(part, call_back) for part in content]
        return parts if kind == "list" else tuple(parts)
    if kind == "dict":
        return {decode(k, call_back): decode(v, call_back) for k, v in content}
    if kind == "function" and call_back is not None:
        return lambda *args: call_back(content, args)
    raise ValueError(f"a value of unknown kind {kind!r}")


def send(stream: IO[bytes], message: dict[str, Any]) -> None:
    """Write one frame."""
    frame = json.dumps(message).encode()
    stream.write(len(frame).to_bytes(4, "big") + frame)
    stream.flush()


def receive(stream: IO[bytes]) -> dict[str, Any]:
    """Read one frame.  EOFError at the end of the stream, ValueError if it is not a frame."""
    head = stream.read(4)
    size = int.from_bytes(head, "big")
    if len(head) == 4 and size > MOST_BYTES:
        raise ValueError(f"a frame of {size:,} bytes")
    frame = stream.read(size)
    if len(head) < 4 or len(frame) < size:
        raise EOFError
    message = json.loads(frame)
    if not isinstance(message, dict):
        raise ValueError("a frame without a message")
    return message


# --------------------------------------------------------------------------------------- one call, one answer


def apply(function: Callable, args: list[Any], file: str = "") -> dict[str, Any]:
    """Call a function: {"result": ..., "changed": the indices of the arguments that it changed} or {"error": ...}."""
    before = [encode(arg, []) for arg in args]
    try:
        with np.errstate(all="ignore"):  # overflow shows in the result
            result = encode(function(*args))
    except NotImplementedError:
        return {"not started": True}
    except BaseException as error:  # SystemExit and KeyboardInterrupt are a student's mistakes too
        return {"error": described(error, file)}
    changed = [i for i, arg in enumerate(args) if encode(arg, []) != before[i]]
    return {"result": result, "changed": changed}


def described(error: BaseException, file: str) -> str:
    """The error, and the last line of the student's file that led to it."""
    name = "sys.exit" if isinstance(error, SystemExit) else type(error).__name__
    try:
        text = f"{name}: {error}" if str(error) else name
    except Exception:  # a student may have written its __str__
        text = name
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {name}: {error.msg}" if error.lineno else f"{name}: {error.msg}"
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    return text if line is None else f"line {line}: {text}"


# -------------------------------------------------------------------------------------------------- the fence


def limit(cpu_seconds: int, memory_bytes: int) -> None:
    """Limits that the operating system enforces on this process.

    Windows has none of them and macOS none on memory: there the caller's clock remains.
    """
    try:
        import resource
    except ImportError:
        return
    for name, most in (
        ("RLIMIT_CPU", cpu_seconds),
        ("RLIMIT_AS", memory_bytes),
        ("RLIMIT_FSIZE", MOST_BYTES),
        ("RLIMIT_CORE", 0),
    ):
        try:
            resource.setrlimit(getattr(resource, name), (most, most))
        except (AttributeError, ValueError, OSError):
            continue


def fence() -> None:
    """Refuse, from here on: changes to files, processes, signals, sockets, ctypes, and minilora itself."""
    refused = {
        *("os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "subprocess.Popen"),
        *("os.kill", "os.killpg", "signal.pthread_kill", "socket.__new__", "ctypes.dlopen", "ctypes.dlsym"),
        *("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate"),
        *("os.chmod", "os.chown", "os.utime", "shutil.rmtree", "shutil.move", "shutil.copyfile"),
        *("resource.setrlimit", "resource.prlimit"),
    }
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    modules = ("minilora", "_posixsubprocess")

    def hook(event: str, args: tuple) -> None:
        if event == "open":
            path, _, flags = args
            if isinstance(flags, int) and flags & writing and not isinstance(path, int) and path != os.devnull:
                raise PermissionError(f"an exercise may not write {path!r}")
        elif event == "import":
            if args[0].partition(".")[0] in modules:
                raise ImportError(f"an exercise may not import {args[0]}: write it with NumPy")
        elif event in refused:
            raise PermissionError(f"an exercise may not use {event}")

    sys.addaudithook(hook)


# --------------------------------------------------------------------------------------------------- the loop


def load(file: str, name: str) -> dict[str, Any]:
    """Run a student's file as a module.  Returns its global names."""
    with open(file, "rb") as source:
        code = compile(source.read(), name, "exec")
    names: dict[str, Any] = {"__name__": "exercise", "__file__": name}
    exec(code, names)
    return names


def main(file: str, cpu_seconds: str, memory_bytes: str) -> None:
    """Answer calls until there are no more questions."""
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # prints go to stderr
    name = os.path.basename(file)

    def call_back(index: int, args: tuple) -> Any:
        send(answers, {"call back": index, "args": encode(list(args))})
        return decode(receive(questions)["result"])

    np.linalg.svd(np.eye(2))  # load now what NumPy would load after the fence
    limit(int(cpu_seconds), int(memory_bytes))
    fence()
    try:
        functions = load(file, name)
    except BaseException as error:
        send(answers, {"error": described(error, name)})
        return
    send(answers, {"functions": [key for key, value in functions.items() if callable(value)]})
    while True:
        try:
            question = receive(questions)
        except EOFError:
            return
        send(answers, apply(functions[question["call"]], decode(question["args"], call_back), name))


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # skips a student's exit handlers
