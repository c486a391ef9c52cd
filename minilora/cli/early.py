"""What the command line needs before anything else is imported; `minilora/__init__.py` imports it first.

In other programs that import minilora it does nothing.
"""

import os
import sys
from types import TracebackType

# Python has not found the module yet when `python -m minilora` imports the package.
FROM_MODULE = sys.argv[:1] == ["-m"] and sys.orig_argv[-len(sys.argv)] in ("minilora", "-mminilora")
FROM_SCRIPT = os.path.basename((sys.argv or [""])[0]) in ("minilora", "minilora.exe")
INSTALLED_IN = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))


def quietly(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """One line for Ctrl-C while modules are loading; Python then ends the process as Ctrl-C does."""
    if issubclass(kind, KeyboardInterrupt):
        print("\nminilora: interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


if FROM_MODULE or FROM_SCRIPT:
    sys.excepthook = quietly

# `python -m minilora grade .` is typed where students' files lie, a numpy/ among them perhaps: do not import that.
if FROM_MODULE and sys.path[0] == os.getcwd() != INSTALLED_IN:
    del sys.path[0]
