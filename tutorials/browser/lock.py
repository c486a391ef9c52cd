"""Makes lock.json again, after a version in it was changed.  It needs `pip install packaging`, npm, and some minutes.

    python -m tutorials.browser.lock

The archives and the `pip` packages of the old lock are fetched in the versions that it names, and hashed. The other
packages are Pyodide's own: their versions and hashes are those in the lock file inside its npm archive.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import zipfile
from email import message_from_bytes
from pathlib import Path
from typing import Any

from tutorials.browser import fetch

KEPT = ("version", "file_name", "sha256", "imports", "depends")
PLATFORM = {  # how Pyodide answers the questions in a wheel's requirements
    "sys_platform": "emscripten",
    "platform_system": "Emscripten",
    "os_name": "posix",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
    "extra": "",
}


def relock(old: dict[str, Any]) -> dict[str, Any]:
    """A lock with the names of the old one."""
    archives = {name: hashed(entry) for name, entry in old["archives"].items()}
    fetch.LOCK["archives"] = archives
    official = json.loads(fetch.members("pyodide", "package/")["pyodide-lock.json"])
    python = ".".join(official["info"]["python"].split(".")[:2])
    packages = {}
    for name, entry in old["packages"].items():
        if "pip" in entry:
            packages[name] = described(entry["pip"], python, set(old["packages"]))
        else:
            packages[name] = {key: official["packages"][name][key] for key in KEPT}
    distribution = f"https://cdn.jsdelivr.net/pyodide/v{archives['pyodide']['npm'].rpartition('@')[2]}/full/"
    return {"info": official["info"], "distribution": distribution, "archives": archives, "packages": packages}


def hashed(entry: dict[str, str]) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        (fetch._npm if "npm" in entry else lambda e, f: fetch._pip(e["pip"], f))(entry, Path(folder))
        (file,) = Path(folder).iterdir()
        return {**entry, "file_name": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}


def described(requirement: str, python: str, known: set[str]) -> dict[str, Any]:
    """A wheel's entry: its hash, what it imports as, and which of the known packages it needs in Pyodide.

    ValueError if it needs another one.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    with tempfile.TemporaryDirectory() as folder:
        fetch._pip(requirement, Path(folder))
        (file,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(file) as wheel:
            names = wheel.namelist()
            about = message_from_bytes(wheel.read(next(n for n in names if n.endswith(".dist-info/METADATA"))))
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    needs = map(Requirement, about.get_all("Requires-Dist") or [])
    where = {**PLATFORM, "python_version": python, "python_full_version": f"{python}.0"}
    depends = [canonicalize_name(need.name) for need in needs if not need.marker or need.marker.evaluate(where)]
    if lacking := set(depends) - known:
        raise ValueError(f"{requirement} needs {', '.join(sorted(lacking))}: add it to lock.json")
    tops = {n.split("/")[0].removesuffix(".py") for n in names if ".dist-info" not in n and ".data/" not in n}
    imports = sorted(top for top in tops if top.isidentifier())
    version = str(about["Version"])
    return {"pip": requirement, **dict(zip(KEPT, (version, file.name, sha256, imports, depends), strict=True))}


def written(lock: dict[str, Any]) -> str:
    """The lock as text, one piece to a line."""
    parts = [f' "{key}": {json.dumps(lock[key])}' for key in ("info", "distribution")]
    for key in ("archives", "packages"):
        lines = ",\n".join(f'  "{name}": {json.dumps(entry)}' for name, entry in lock[key].items())
        parts.append(f' "{key}": {{\n{lines}\n }}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    (Path(__file__).parent / "lock.json").write_text(written(relock(fetch.LOCK)), "utf-8")
