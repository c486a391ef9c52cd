"""What the site is made of: fetched once, kept in a cache, and compared with the lock's SHA-256 every time.

`lock.json` names archives (from npm or the Python package index) and packages, the wheels for Pyodide. A wheel of
Pyodide's own distribution comes from there or, where only package indexes can be reached, out of the wheel of
`open-webui`, which carries the very same files.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

LOCK: dict[str, Any] = json.loads((Path(__file__).parent / "lock.json").read_text("utf-8"))
CARRIER, CARRIED_IN = "open-webui", "open_webui/frontend/pyodide/"
PYODIDE_TAG = "pyemscripten_" + LOCK["info"]["abi_version"] + "_wasm32"  # PEP 783
SECONDS = 60  # for an answer


class FetchError(RuntimeError):
    """A piece could not be fetched, or is not the one that the lock names."""


def cache() -> Path:
    """The folder that keeps what was fetched: $MINILORA_BROWSER_CACHE, by default in the user's cache folder."""
    return Path(os.environ.get("MINILORA_BROWSER_CACHE") or Path.home() / ".cache" / "minilora-browser")


def archive(name: str) -> Path:
    """The archive of this name in the lock."""
    entry = LOCK["archives"][name]
    return verified(entry, lambda folder: _npm(entry, folder) if "npm" in entry else _pip(entry["pip"], folder))


def wheel(name: str) -> Path:
    """The wheel of this name in the lock."""
    entry = LOCK["packages"][name]
    return verified(
        entry, lambda folder: _pip(entry["pip"], folder) if "pip" in entry else _from_distribution(entry, folder)
    )


def verified(entry: Mapping[str, Any], get: Callable[[Path], None]) -> Path:
    """The cached file of a lock's entry; `get` puts it into a folder first where there is none yet.

    FetchError if its SHA-256 is not the lock's.
    """
    file = cache() / entry["file_name"]
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent) as folder:
            get(Path(folder))
            fetched = Path(folder) / file.name
            if not fetched.exists():
                raise FetchError(f"{file.name} was not there: has it been renamed? Make the lock again (lock.py)")
            _check(fetched, entry["sha256"])
            os.replace(fetched, file)
    _check(file, entry["sha256"])
    return file


def _check(file: Path, sha256: str) -> None:
    with open(file, "rb") as opened:
        found = hashlib.sha256(opened.read()).hexdigest()
    if found != sha256:
        raise FetchError(
            f"{file} has the SHA-256 {found}, the lock says {sha256}: nothing was built. Delete the file if it is in "
            "the cache, and fetch again; if that does not help, do not trust where it comes from"
        )


def _from_distribution(entry: Mapping[str, Any], folder: Path) -> None:
    name = entry["file_name"]
    try:
        _download(LOCK["distribution"] + name, folder / name)
    except OSError:  # no internet, perhaps; but there may be a package index
        with zipfile.ZipFile(archive(CARRIER)) as carrier:
            (folder / name).write_bytes(carrier.read(CARRIED_IN + name))


def _npm(entry: Mapping[str, Any], folder: Path) -> None:
    """A package's tarball: by npm where it is installed, so that its registry setting counts."""
    npm = shutil.which("npm")
    if npm:
        _run([npm, "pack", "--silent", entry["npm"]], folder)
    else:
        package, _, version = entry["npm"].rpartition("@")
        url = f"https://registry.npmjs.org/{package}/-/{package}-{version}.tgz"
        try:
            _download(url, folder / entry["file_name"])
        except OSError as error:
            raise FetchError(
                f"{url}: {error}. Is there a network, or an npm with a registry that it reaches?"
            ) from None


def _pip(requirement: str, folder: Path) -> None:
    """A wheel that runs in Pyodide, pure or built for it."""
    python = ".".join(LOCK["info"]["python"].split(".")[:2])
    options = [
        "--platform",
        PYODIDE_TAG,
        "--platform",
        "any",
        "--python-version",
        python,
        "--only-binary=:all:",
        "--ignore-requires-python",
    ]
    _run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *options, requirement], folder)


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise FetchError(f"{' '.join(command[-4:])} failed:\n{done.stderr.strip()[-1000:]}")


def _download(url: str, file: Path) -> None:
    with urllib.request.urlopen(url, timeout=SECONDS) as answer, open(file, "wb") as opened:
        shutil.copyfileobj(answer, opened)


def members(name: str, prefix: str) -> dict[str, bytes]:
    """path -> content of an archive's files below a folder, without the folder's own path."""
    file = archive(name)
    if file.suffix == ".tgz":
        with tarfile.open(file) as tar:
            found = {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}  # type: ignore[union-attr]
    else:
        with zipfile.ZipFile(file) as wheel:
            found = {path: wheel.read(path) for path in wheel.namelist() if path.startswith(prefix)}
    return {path.removeprefix(prefix): content for path, content in found.items() if path.startswith(prefix)}
