"""Ctrl-C while the command's modules are still loading ends it with one line too, and not with a traceback.

`minilora/__init__.py` imports this before anything else, since loading NumPy takes longest. In other programs that
import minilora it does nothing.
"""

import sys
from types import TracebackType


def is_command() -> bool:
    """Whether this process was started as `minilora` or `python -m minilora`."""
    program = sys.argv[0] if getattr(sys, "argv", None) else ""
    if program == "-m":  # until the module has been found
        return sys.orig_argv[sys.orig_argv.index("-m") + 1 :][:1] == ["minilora"]
    return program.replace("\\", "/").rpartition("/")[2] in ("minilora", "minilora.exe")


def quietly(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """One line for KeyboardInterrupt; Python then ends the process as Ctrl-C does."""
    if issubclass(kind, KeyboardInterrupt):
        print("\nminilora: interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


if is_command():
    sys.excepthook = quietly
