"""The student's process: it takes in one file's source and answers calls to its functions.

    python -SIBuc "..." CPU_SECONDS MEMORY_BYTES FOLDERS        (sandbox.py has the dots)

Questions arrive on stdin and answers leave on stdout, as frames: four bytes of length, then JSON. The checks and the
right values stay in the process that asks. Whatever a student's code does here (print "passed", exit, replace
NumPy, catch every exception), it can only send values, which the other process judges, and the fence lets it do
nothing else. This file imports only NumPy and the standard library, because one grading starts it a thousand times.
"""

from __future__ import annotations

import base64
import contextlib
import importlib
import json
import os
import sys
from collections.abc import Callable
from itertools import product
from typing import IO, Any

import numpy as np

KEPT_OUTPUT = 2000  # characters of what a call prints
# What honest code may import later and the fence would break, as it needs shared libraries from elsewhere.
PRELOADED = ("numpy.linalg", "hashlib", "zlib", "decimal")
PLAIN = (type(None), bool, int, float, str)


# -------------------------------------------------------------------------------------------- values as JSON


def encode(value: Any, functions: list[Callable] | None = None) -> Any:
    """A value as JSON: numbers, text, None, arrays, lists, tuples, dictionaries.  TypeError for anything else.

    An array keeps its layout in memory: "C" and "F" order, or "S" for a view with gaps. A callable becomes its index
    in `functions`, so that the other side can call back.
    """
    if type(value) in PLAIN:
        return value
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
        if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
            raise TypeError(f"an array of {array.dtype}: return an array of numbers")
        layout = "C" if array.flags.c_contiguous else "F" if array.flags.f_contiguous else "S"
        return {"array": [array.dtype.str, list(array.shape), base64.b64encode(array.tobytes()).decode(), layout]}
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
        name, shape, data, layout = content
        dtype = np.dtype(str(name))
        if dtype.kind not in "biuf":
            raise ValueError(f"an array of {dtype}")
        array = np.frombuffer(base64.b64decode(data), dtype).reshape([int(side) for side in shape])
        return laid_out(array, str(layout))
    if kind in ("list", "tuple"):
        parts = [decode(part, call_back) for part in content]
        return parts if kind == "list" else tuple(parts)
    if kind == "dict":
        return {decode(k, call_back): decode(v, call_back) for k, v in content}
    if kind == "function" and call_back is not None:
        return lambda *args: call_back(content, args)
    raise ValueError(f"a value of unknown kind {kind!r}")


def laid_out(array: np.ndarray, layout: str) -> np.ndarray:
    """A copy of an array in one of the layouts."""
    return (
        np.repeat(array[..., None], 2, axis=-1)[..., 0] if layout == "S" else array.copy("F" if layout == "F" else "C")
    )


def send(stream: IO[bytes], message: dict[str, Any]) -> None:
    """Write one frame."""
    frame = json.dumps(message).encode()
    stream.write(len(frame).to_bytes(4, "big") + frame)
    stream.flush()


def receive(stream: IO[bytes], most: int = 1 << 31) -> bytes:
    """Read one frame of at most `most` bytes.  EOFError at the end of the stream, ValueError if it is not a frame."""
    head = stream.read(4)
    size = int.from_bytes(head, "big")
    if len(head) == 4 and size > most:
        raise ValueError(f"a frame of {size:,} bytes")
    frame = stream.read(size)
    if len(head) < 4 or len(frame) < size:
        raise EOFError
    return frame


def message(frame: bytes) -> dict[str, Any]:
    """The message in a frame.  ValueError if there is none."""
    content = json.loads(frame)
    if not isinstance(content, dict):
        raise ValueError("a frame without a message")
    return content


# --------------------------------------------------------------------------------------- one call, one answer


def apply(function: Callable, args: list[Any], file: str, kept: dict[str, list]) -> dict[str, Any]:
    """Call a function: {"result": ..., "changed": the indices of the arguments that it changed} or {"error": ...}.

    Index -1 means the last result of the same form, which is in `kept` with its code; -2 that arrays of this result
    share memory.
    """
    before = [encode(arg, []) for arg in args]
    try:
        with np.errstate(all="ignore"):  # overflow shows in the result
            returned = function(*args)
            result = encode(returned)
    except NotImplementedError:
        return {"not started": True}
    except BaseException as error:  # SystemExit and KeyboardInterrupt are a student's mistakes too
        return {"error": described(error, file)}
    form = f"{function} {_form(result)}"
    last, coded = kept.get(form, [None, None])
    kept[form] = [returned, result]
    changed = [i for i, arg in enumerate(args) if _coded(arg) != before[i]]
    return {"result": result, "changed": changed + [-1] * (_coded(last) != coded) + [-2] * _shared(returned)}


def _shared(value: Any) -> bool:
    """Do two arrays that one tuple, list or dictionary holds share memory, or does one array with itself?"""
    if isinstance(value, np.ndarray):
        return any(step == 0 and side > 1 for step, side in zip(value.strides, value.shape, strict=True))
    parts = list(value.values()) if isinstance(value, dict) else value if isinstance(value, (tuple, list)) else ()
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    views = [array for array in arrays if array.base is not None]  # others have memory of their own
    repeated = len(set(map(id, arrays))) < len(arrays)
    return repeated or any(map(_shared, parts)) or any(_share(*pair) for pair in product(views, arrays))


def _share(one: np.ndarray, other: np.ndarray) -> bool:
    work: Any = 1000  # NumPy's type hints know only 0 and -1
    try:
        return one is not other and np.may_share_memory(one, other) and np.shares_memory(one, other, max_work=work)
    except np.exceptions.TooHardError:
        return False


def _form(coded: Any) -> Any:
    """A coded value without its numbers."""
    if isinstance(coded, dict) and "array" in coded:
        return coded["array"][:2]
    if isinstance(coded, (dict, list)):
        return [_form(part) for part in (coded.values() if isinstance(coded, dict) else coded)]
    return type(coded)


def _coded(value: Any) -> Any:
    try:
        return encode(value, [])
    except (TypeError, ValueError, RecursionError):  # it was changed into something that is not a value
        return "changed"


def described(error: BaseException, file: str) -> str:
    """The error, and the last line of the student's file that led to it."""
    name = "sys.exit" if isinstance(error, SystemExit) else type(error).__name__
    try:
        text = f"{name}: {error}" if str(error) else name
    except Exception:  # a student may have written its __str__
        text = name
    if isinstance(error, PermissionError):
        text += " (an exercise may not use files, processes or the network, nor sleep)"
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {name}: {error.msg}" if error.lineno else f"{name}: {error.msg}"
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    return text if line is None else f"line {line}: {text}"


# --------------------------------------------------------------------------------------------------- the loop


class OnlyNumPy:
    """The last of Python's finders: it is asked for what is neither NumPy nor in the standard library."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        top = name.partition(".")[0]
        cure = "use NumPy and the standard library only, and remove this import"
        raise ModuleNotFoundError(f"there is no {top} here: {cure}", name=name)


class Recorder:
    """The stream behind it, and the start of what went there since `kept` was last emptied."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.kept = stream, ""

    def write(self, text: str) -> int:
        self.kept += text[: KEPT_OUTPUT - len(self.kept)]
        return int(self.stream.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def load(source: bytes, name: str, **given: Any) -> dict[str, Any]:
    """Run a student's source as a module, with these global names.  Returns all of them."""
    names: dict[str, Any] = {"__name__": "exercise", "__file__": name, **given}
    exec(compile(source, name, "exec"), names)
    return names


def main(cpu_seconds: int, memory_bytes: int) -> None:
    """Answer calls until there are no more questions."""
    import fence  # from this folder: importing minilora would take as long as all the rest

    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # prints go to stderr
    printed = sys.stdout = sys.stderr = Recorder(sys.stderr)  # type: ignore[assignment]
    for module in PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    sys.meta_path.append(OnlyNumPy)  # type: ignore[arg-type]
    fence.limit(cpu_seconds, memory_bytes)
    fence.enclose([*sys.path, *np.__path__])
    send(answers, {"ready": True})

    def call_back(index: int, args: tuple) -> Any:
        send(answers, {"call back": index, "args": encode(list(args))})
        return decode(message(receive(questions))["result"])

    given = message(receive(questions))
    name, source = given["name"], base64.b64decode(given["source"])
    try:
        functions = load(source, name)
        send(answers, {"functions": [key for key, value in functions.items() if callable(value)]})
    except BaseException as error:
        send(answers, {"error": described(error, name)})
    kept: dict[str, list] = {}
    with contextlib.suppress(EOFError):
        while True:
            question, printed.kept = message(receive(questions)), ""
            answer = apply(functions[question["call"]], decode(question["args"], call_back), name, kept)
            send(answers, answer | {"printed": printed.kept})
    os._exit(0)  # skips a student's exit handlers
