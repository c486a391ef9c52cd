"""What CuPy offers, as data: the names in its modules and the parameters of each function.

`cupy_interface.json` is this module's output. To make it again, in an environment of its own (CuPy installs and is read
without a GPU):

    python -m venv .venv-cupy && .venv-cupy/bin/pip install cupy-cuda12x
    .venv-cupy/bin/python -m tests.machine.cupy_interface
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("cupy_interface.json")
# The modules that the package may use; "ndarray" stands for the class.
MODULES = ("", "linalg", "random", "random.Generator", "cuda", "cuda.Device", "cuda.runtime", "cuda.Stream")
MODULES += ("cuda.MemoryPool", "ndarray", "ufunc")
ANY = "*"  # a parameter list that takes any number of arrays, or any keyword


def collect() -> dict[str, Any]:
    """{"version": ..., "names": {"tril": ["m", "k"], "ndarray.sum": [...], "pi": None, ...}} of the CuPy installed."""
    cupy = importlib.import_module("cupy")
    names: dict[str, list[str] | None] = {}
    for module in MODULES:
        owner: Any = cupy
        for part in module.split(".") if module else ():
            owner = getattr(owner, part)
        for name in sorted(dir(owner)):
            value = getattr(owner, name)
            if name.startswith("_") or inspect.ismodule(value) or (module.startswith("cuda") and not callable(value)):
                continue
            names[f"{module}.{name}".lstrip(".")] = parameters(value) if callable(value) else None
    return {"version": cupy.__version__, "names": names}


def parameters(function: Any) -> list[str]:
    """The names of a callable's parameters: from its signature, or from the first line of its docstring if compiled."""
    try:
        found = inspect.signature(function).parameters.values()
        return [ANY if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) else p.name for p in found if p.name != "self"]
    except (TypeError, ValueError):
        text = re.match(r"[\w.]+\((.*?)\)(?: ->.*)?$", (function.__doc__ or "").strip().partition("\n")[0])
        if text is None:
            return [ANY]
    # "self, Py_ssize_t axis1, dtype=None, *axes": the last word before "=", and ANY for what takes several.
    words = [part.partition("=")[0].replace("\\", "").split() for part in text[1].split(",")]
    said = [word[-1] for word in words if word and word[-1] not in ("self", "/", "*")]
    return list(dict.fromkeys(ANY if name.startswith("*") else name for name in said))


def committed() -> dict[str, Any]:
    """The list beside this file."""
    return json.loads(PATH.read_text(encoding="utf-8"))


def main() -> None:
    said = collect()
    lines = ",\n".join(f"    {json.dumps(name)}: {json.dumps(value)}" for name, value in said["names"].items())
    PATH.write_text(f'{{\n  "version": "{said["version"]}",\n  "names": {{\n{lines}\n  }}\n}}\n', encoding="utf-8")
    print(f"CuPy {said['version']}: {len(said['names'])} names in {PATH}")


if __name__ == "__main__":
    main()
