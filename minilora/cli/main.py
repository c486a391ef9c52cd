"""The way into the command line: the whole parser, and what becomes of errors.

Results go to stdout, progress and errors to stderr. Exit codes: 0; 1 if `check` finds an exercise that is not passed;
2 with one line that says what to do; 130 after Ctrl-C.
"""

from __future__ import annotations

import io
import os
import sys
import warnings
from typing import Any

import minilora as ml
from minilora.cli import adapters, core, exercises, huggingface, language_models, reproduce
from minilora.cli.arguments import Parser
from minilora.cli.core import one_line

INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    replace_unprintable(sys.stdout)
    replace_unprintable(sys.stderr)
    warnings.showwarning = lambda message, *where: print(f"minilora: {message}", file=sys.stderr)
    arguments = parser().parse_args(argv)
    try:
        arguments.run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("\nminilora: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output is gone, as in `minilora info | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains at exit
        return 0
    except (OSError, ValueError, RuntimeError, MemoryError, ImportError) as error:
        if arguments.traceback:
            raise
        print(f"minilora: error: {one_line(error)}", file=sys.stderr)
        return 2
    return 0


def replace_unprintable(stream: Any) -> None:
    """On a console with a small character set (cp1252, say), print "?" for other characters instead of failing."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")


def parser() -> Parser:
    """The whole command line."""
    top = Parser(prog="minilora", description="LoRA from scratch in NumPy. Try `minilora demo` first.")
    top.add_argument("--version", action="version", version=f"minilora {ml.__version__}")
    top.add_argument("--traceback", action="store_true", help="on an error, show where in the code it happened")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for module in (core, language_models, huggingface, adapters, exercises, reproduce):
        module.add_commands(commands)
    return top
