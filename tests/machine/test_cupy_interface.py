"""CuPy has everything that the package asks of it: our sources against a list made from an installed CuPy."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import minilora
from tests.machine.cupy_interface import ANY, collect, committed


def asked_of_xp() -> dict[str, set[str]]:
    """Name -> keyword arguments, of everything that the package's sources ask of `xp` or `array_module(...)`."""
    asked: dict[str, set[str]] = {}

    def is_module(node: ast.AST) -> bool:
        called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "array_module"
        return called or (isinstance(node, ast.Name) and node.id in ("xp", "cupy"))

    def path(node: ast.AST) -> str | None:
        if not isinstance(node, ast.Attribute):
            return None
        if is_module(node.value):
            return node.attr
        parent = path(node.value)
        return parent and f"{parent}.{node.attr}"

    for source in sorted(Path(minilora.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if (name := path(node)) is not None:
                asked.setdefault(name, set())
            if isinstance(node, ast.Call) and (name := path(node.func)) is not None:
                asked.setdefault(name, set()).update(keyword.arg or ANY for keyword in node.keywords)
    return asked


def test_every_function_and_argument_asked_of_xp_exists_in_cupy():
    interface, asked = committed()["names"], asked_of_xp()
    assert len(asked) > 30 and asked["full"] == {"dtype"}
    for name, keywords in asked.items():
        if name in ("linalg", "random", "cuda", "cuda.runtime", "__name__", "__version__"):
            continue
        owner, _, method = name.rpartition(".")
        known = interface.get(name, interface.get(f"ufunc.{method}") if interface.get(owner) else None)
        assert name in interface or known is not None, f"CuPy has no {name}"
        missing = keywords - set(known or ())
        assert not missing or (known or []).count(ANY) > 1, f"cupy.{name} has no argument {missing}"


def test_the_committed_interface_is_the_installed_cupys():
    pytest.importorskip("cupy", reason="CuPy is not installed: the committed list stands alone")
    installed = collect()
    if installed["version"] != committed()["version"]:
        pytest.skip(f"CuPy {installed['version']} is installed, the list is of {committed()['version']}")
    assert installed == committed()
