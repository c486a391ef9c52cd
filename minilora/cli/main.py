"""The way into the command line: the whole parser, and what becomes of errors.

Results go to stdout, progress and errors to stderr. Exit codes: 0; 1 if `check` finds an exercise that is not passed;
2 with one line that says what to do; 130 after Ctrl-C; 141 if whoever reads the results is gone.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import warnings
from typing import Any, TextIO

import minilora as ml
from minilora.cli import adapters, core, exercises, huggingface, language_models, reproduce
from minilora.cli.arguments import Parser
from minilora.cli.core import one_line

INTERRUPTED, READER_GONE = 130, 141  # what a shell reports for a program that SIGINT or SIGPIPE ended


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    sys.stdout, sys.stderr = prepared(sys.stdout), prepared(sys.stderr, may_fail=True)
    warnings.showwarning = lambda message, *where: print(f"minilora: {message}", file=sys.stderr)
    try:
        return run(parser().parse_args(argv))
    finally:
        settle(sys.stdout)


def run(arguments: argparse.Namespace) -> int:
    """Run the parsed command; an error becomes one line and an exit code."""
    try:
        arguments.run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("\nminilora: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # as in `minilora info | head`
        return READER_GONE
    except (OSError, ValueError, RuntimeError, MemoryError, ImportError) as error:
        if arguments.traceback:
            raise
        print(f"minilora: error: {one_line(error)}", file=sys.stderr)
        return 2
    return 0


class Unfailing(io.RawIOBase):
    """A file whose writes never fail: a full disk or a closed pipe behind stderr must not end a run."""

    def __init__(self, file: io.FileIO) -> None:
        self.file = file

    def write(self, data: Any) -> int:
        with contextlib.suppress(OSError):
            self.file.write(data)
        return len(data)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.file.fileno()

    def isatty(self) -> bool:
        return self.file.isatty()


def prepared(stream: TextIO | None, may_fail: bool = False) -> TextIO:
    """The stream to write to: for one that was closed (`>&-`), the null device; one with a small character set prints
    "?" for a character outside it. With `may_fail`, errors in writing are ignored."""
    if stream is None:
        return open(os.devnull, "w")
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")
        raw = getattr(stream.buffer, "raw", stream.buffer)  # unbuffered, there is nothing between
        if may_fail and isinstance(raw, io.FileIO):
            return io.TextIOWrapper(
                io.BufferedWriter(Unfailing(raw)), stream.encoding, "replace", line_buffering=True, write_through=True
            )
    return stream


def settle(stream: TextIO) -> None:
    """Write what is left; drop it if that is impossible, or Python would complain at exit."""
    try:
        stream.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def parser() -> Parser:
    """The whole command line."""
    top = Parser(prog="minilora", description="LoRA from scratch in NumPy. Try `minilora demo` first.")
    top.add_argument("--version", action="version", version=f"minilora {ml.__version__}")
    top.add_argument("--traceback", action="store_true", help="on an error, show where in the code it happened")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for module in (core, language_models, huggingface, adapters, exercises, reproduce):
        module.add_commands(commands)
    return top
