"""The lessons as notebooks in JupyterLite, put together from its wheels: what `jupyter lite build` would write."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tutorials.browser import fetch

TUTORIALS = Path(__file__).parents[1]
APPS = ("lab", "notebooks", "tree", "build", "static", "doc")
EXTENSION = "@jupyterlite/pyodide-kernel-extension"
PACKAGES = ["micropip", "ipython", "comm", "matplotlib", "hypothesis", "lessons", "python-texts"]
FAVICONS = ("favicon", "favicon-notebook", "favicon-file", "favicon-busy-1", "favicon-busy-2", "favicon-busy-3")
WHEN = "2026-01-01T00:00:00Z"  # of every file: nobody reads it, and the site is the same each time
CANNOT = {"15": "needs safetensors and tokenizers, which have no wheels for a browser"}  # they keep their outputs
SEEDS = re.compile(r"^([A-Z_, ]*\bSEEDS\b[^#\n]*)\(0, 1, 2\)", re.MULTILINE)  # a line that lists a lesson's three seeds
SMALLER = ("03", "04", "05", "08", "10", "11", "12", "14")  # lessons that train for long: two seeds, as a spread needs
FIRST_CELL = """import os

import lessons
from course.fast_matmul import install

os.chdir(lessons.__path__[0])  # has the stored results; what a lesson writes goes there too
print("fast products:", install())"""


def write_lite(folder: Path) -> None:
    """JupyterLite with every lesson and its figures."""
    with tarfile.open(fileobj=io.BytesIO(_application())) as app:
        for member in app:
            path = member.name.removeprefix("package/")
            wanted = "/" not in path or path.split("/")[0] in APPS
            if member.isfile() and wanted and not path.endswith(".map"):
                _write(folder / path, app.extractfile(member).read())  # type: ignore[union-attr]
    prefix = f"jupyterlite_pyodide_kernel-{_version()}.data/data/share/jupyter/labextensions/{EXTENSION}/"
    extension = fetch.members("jupyterlite-pyodide-kernel", prefix)
    for path, content in extension.items():
        if not path.endswith(".map"):
            _write(folder / "extensions" / EXTENSION / path, content)
    config = json.loads((folder / "jupyter-lite.json").read_text("utf-8"))
    config["jupyter-config-data"].update(settings(extension))
    _write(folder / "jupyter-lite.json", json.dumps(config).encode())
    english = {"en": {"displayName": "English", "nativeName": "English"}}
    for path, content in (
        ("build/schemas/all_federated.json", []),
        ("api/translations/all.json", {"data": english, "message": ""}),
        ("api/translations/en.json", {"data": {}, "message": ""}),
    ):
        _write(folder / path, json.dumps(content).encode())
    for name in FAVICONS:
        _write(folder / "static" / "favicons" / f"{name}.ico", (folder / "lab" / "favicon.ico").read_bytes())
    write_contents(folder, contents())


def _application() -> bytes:
    version = fetch.LOCK["archives"]["jupyterlite-core"]["pip"].partition("==")[2]
    return fetch.members("jupyterlite-core", "jupyterlite_core/")[f"jupyterlite-app-{version}.tgz"]


def _version() -> str:
    return str(fetch.LOCK["archives"]["jupyterlite-pyodide-kernel"]["pip"].partition("==")[2])


def settings(extension: Mapping[str, bytes]) -> dict[str, Any]:
    """JupyterLite's settings: the kernel is the site's own Pyodide, and no package comes from anywhere else."""
    build = json.loads(extension["package.json"])["jupyterlab"]["_build"]
    index = hashlib.sha256(extension["static/pypi/all.json"]).hexdigest()
    kernel = {
        "pyodideUrl": "./../pyodide/pyodide.mjs",
        "disablePyPIFallback": True,
        "pipliteUrls": [f"./extensions/{EXTENSION}/static/pypi/all.json?sha256={index}"],
        "loadPyodideOptions": {"packages": PACKAGES},
    }
    return {
        "appName": "minilora: the lessons",
        "exposeAppInBrowser": True,
        "contentsAllJsonFile": "all.json",
        "defaultKernelName": "python",
        "federated_extensions": [{"name": EXTENSION, "load": build["load"], "extension": build["extension"]}],
        "litePluginSettings": {f"{EXTENSION}:kernel": kernel},
    }


# ------------------------------------------------------------------------------------------------- the lessons


def lessons() -> list[dict[str, Any]]:
    """Each lesson's number, file, address in the site, title, and what is different about it here."""
    found = []
    for path in sorted(TUTORIALS.glob("[0-9][0-9]_*.ipynb")):
        number = path.name[:2]
        first = "".join(json.loads(path.read_text("utf-8"))["cells"][0]["source"])
        title = re.search(r"^# (.*)$", first, re.MULTILINE)
        found.append(
            {
                "number": number,
                "file": path.name,
                "address": f"lite/notebooks/index.html?path={path.name}",
                "title": plain(title[1]) if title else path.stem,
                "note": note(number),
            }
        )
    return found


def plain(title: str) -> str:
    """A title without TeX."""
    return title.replace("$", "").replace(r"\Delta ", "Δ")


def note(number: str) -> str:
    """What is different about a lesson in the browser."""
    if number in CANNOT:
        return f"This lesson {CANNOT[number]}: read its outputs here, run it on a computer."
    if number in SMALLER:
        return "This copy runs two seeds where the text speaks of three, because a browser has one thread."
    return ""


def contents() -> dict[str, bytes]:
    """path -> content of the files that a notebook sees."""
    files = {lesson["file"]: notebook(TUTORIALS / lesson["file"]) for lesson in lessons()}
    return files | {f"figures/{p.name}": p.read_bytes() for p in sorted((TUTORIALS / "figures").glob("*.png"))}


def notebook(path: Path) -> bytes:
    """A lesson as JupyterLite opens it: its kernel's name, a first cell that makes products fast, smaller sizes.

    ValueError if the lesson no longer has what is made smaller.
    """
    book, number = json.loads(path.read_text("utf-8")), path.name[:2]
    book["metadata"]["kernelspec"] = {"name": "python", "display_name": "Python (Pyodide)", "language": "python"}
    if number in SMALLER:
        cells = [
            cell for cell in book["cells"] if cell["cell_type"] == "code" and SEEDS.search("".join(cell["source"]))
        ]
        if not cells:
            raise ValueError(
                f"{path.name} has no line with SEEDS = (0, 1, 2) to make smaller: change SMALLER in lite.py"
            )
        for cell in cells:
            cell["source"] = SEEDS.sub(r"\1(0, 1)", "".join(cell["source"]))
    how = "" if number in CANNOT else "Choose Run All Cells in the menu Run; there is nothing to install."
    words = f"*In the browser.* {how} {note(number)} The outputs below were made on a computer.".replace("  ", " ")
    first = {"cell_type": "markdown", "id": "in-the-browser", "metadata": {}, "source": words}
    fast = {
        "cell_type": "code",
        "id": "fast-products",
        "metadata": {},
        "source": FIRST_CELL,
        "outputs": [],
        "execution_count": None,
    }
    book["cells"][:0] = [first] if number in CANNOT else [first, fast]
    return json.dumps(book, indent=1).encode()


def write_contents(folder: Path, files: Mapping[str, bytes]) -> None:
    """The files, and for each folder the listing that JupyterLite reads instead of asking a server."""
    listings: dict[str, list[dict[str, Any]]] = {"": []}
    for path, content in files.items():
        _write(folder / "files" / path, content)
        parent, _, name = path.rpartition("/")
        if parent and parent not in listings:
            listings[parent] = []
            listings[""].append(_model(parent, parent, "directory", None))
        kind = "notebook" if name.endswith(".ipynb") else "file"
        listings[parent].append(_model(name, path, kind, len(content)))
    for parent, models in listings.items():
        listing = {**_model(parent, parent, "directory", None), "format": "json", "content": models}
        _write(folder / "api" / "contents" / parent / "all.json", json.dumps(listing).encode())


def _model(name: str, path: str, kind: str, size: int | None) -> dict[str, Any]:
    empty = dict.fromkeys(("content", "format", "hash", "hash_algorithm", "mimetype"))
    return {
        **empty,
        "name": name,
        "path": path,
        "type": kind,
        "size": size,
        "created": WHEN,
        "last_modified": WHEN,
        "writable": True,
    }


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
