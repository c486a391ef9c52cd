"""Wheels made here, the same bytes from the same files: minilora, the course's own Python, and texts to train on."""

from __future__ import annotations

import base64
import hashlib
import platform
import sysconfig
import zipfile
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from tutorials.browser.fetch import LOCK

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MOST_SOURCE = 1_000_000  # bytes of the standard library: what `python_source()` reads by default


def own_wheels() -> dict[str, tuple[str, list[str], dict[str, bytes]]]:
    """Name -> its version, what it depends on, and its files.

    The texts are those of the Python that builds the site, so that a lesson reads there what it reads here: the
    language reference as `pydoc_data`, which Pyodide lacks, and the standard library's sources in the folder where
    `python_source` looks for them, which in Pyodide is empty because the library itself is a zip file. The results that
    lessons read are in a wheel because JupyterLite passes a .json file through JavaScript, which turns 1.0 into 1.
    """
    version = import_module("minilora").__version__
    library = "lib/python" + ".".join(LOCK["info"]["python"].split(".")[:2])
    texts = {
        f"python_texts-{platform.python_version()}.data/data/{library}/{p.name}": p.read_bytes() for p in sources()
    }
    topics = import_module("pydoc_data.topics").__file__
    texts |= {"pydoc_data/__init__.py": b"", "pydoc_data/topics.py": Path(topics).read_bytes()}
    course = {path.relative_to(HERE).as_posix(): path.read_bytes() for path in _files(HERE / "course")}
    solutions = (HERE.parent / "exercises" / "solutions").glob("ex*.py")
    course |= {f"course/solutions/{path.name}": path.read_bytes() for path in solutions}
    results = HERE.parent / "results"
    stored = {f"lessons/results/{p.relative_to(results).as_posix()}": p.read_bytes() for p in _files(results)}
    return {
        "minilora": (
            version,
            ["numpy"],
            {p.relative_to(ROOT).as_posix(): p.read_bytes() for p in _files(ROOT / "minilora")},
        ),
        "course": (version, ["minilora"], course),
        "lessons": (version, ["course"], {"lessons/__init__.py": b"", **stored}),
        "python-texts": (platform.python_version(), [], texts),
    }


def sources(most: int = MOST_SOURCE) -> Iterable[Path]:
    """The standard library's modules in order, the first `most` bytes of them and one more, at which a reader stops."""
    size = 0
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        if size <= most:
            yield path
        size += path.stat().st_size


def _files(folder: Path) -> Iterable[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)


def write_wheel(folder: Path, name: str, version: str, files: Mapping[str, bytes]) -> Path:
    """A pure wheel in a folder."""
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: minilora\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_digest(content)},{len(content)}\n" for path, content in files.items())
    record += f"{info}/RECORD,,\n"
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for member, content in {**files, f"{info}/RECORD": record.encode()}.items():
            wheel.writestr(zipfile.ZipInfo(member, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return path


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


def entry(name: str, file: Path, version: str, depends: list[str], imports: list[str]) -> dict[str, Any]:
    """A package in the form of Pyodide's lock file."""
    return {
        "name": name,
        "version": version,
        "file_name": file.name,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "depends": depends,
        "imports": imports,
        "install_dir": "site",
        "package_type": "package",
        "unvendored_tests": False,
    }
