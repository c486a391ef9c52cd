"""The licences of everything that the site carries: one text file for each piece, and a page that lists them."""

from __future__ import annotations

import html
import sysconfig
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

from tutorials.browser import fetch

ROOT = Path(__file__).parents[2]
IS_LICENCE = ("license", "licence", "copying", "notice", "third-party-licenses")
WITHOUT_TEXT = {  # pieces that come without one
    "pyodide": ("Mozilla Public License 2.0", "https://github.com/pyodide/pyodide"),
}


def write_licences(site: Path) -> None:
    """licences/NAME.txt, and the page licences.html."""
    folder = site / "licences"
    folder.mkdir()
    rows = []
    for name, (version, terms, text) in sorted(carried().items()):
        (folder / f"{name}.txt").write_text(text or terms, "utf-8")
        link = f'<a href="licences/{name}.txt">{html.escape(name)}</a>'
        rows.append(f"    <tr><td>{link}</td><td>{html.escape(version)}</td><td>{html.escape(terms)}</td></tr>")
    page = site / "licences.html"
    page.write_text(page.read_text("utf-8").replace("<!-- licences -->", "\n".join(rows)), "utf-8")


def carried() -> dict[str, tuple[str, str, str]]:
    """Piece -> its version, its licence in a few words, and the licence's text, or "" if it came without."""
    found = {name: of_wheel(fetch.wheel(name)) for name in fetch.LOCK["packages"]}
    found |= {name: of_wheel(fetch.archive(name)) for name in ("jupyterlite-core", "jupyterlite-pyodide-kernel")}
    found["codemirror"] = (*_versioned("codemirror"), _in_tar(fetch.archive("codemirror")))
    terms, source = WITHOUT_TEXT["pyodide"]
    found["pyodide"] = (_versioned("pyodide")[0], f"{terms}; its source: {source}", "")
    python = Path(sysconfig.get_path("stdlib")) / "LICENSE.txt"
    psf = "Python Software Foundation License"
    found["python"] = (fetch.LOCK["info"]["python"], psf, python.read_text("utf-8") if python.exists() else "")
    found["minilora"] = ("", "MIT", (ROOT / "LICENSE").read_text("utf-8"))
    return found


def of_wheel(file: Path) -> tuple[str, str, str]:
    """The version, the licence's name and its texts in a wheel."""
    with zipfile.ZipFile(file) as wheel:
        meta = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        about = message_from_bytes(wheel.read(meta))
        texts = [
            wheel.read(name).decode("utf-8", "replace")
            for name in wheel.namelist()
            if Path(name).name.lower().startswith(IS_LICENCE) and not name.endswith("/")
        ]
    classifiers = [c.rpartition(" :: ")[2] for c in about.get_all("Classifier") or [] if c.startswith("License")]
    stated = (
        about.get("License-Expression") or (about.get("License") or "").partition("\n")[0] or ", ".join(classifiers)
    )
    return str(about["Version"]), stated[:120], "\n\n".join(texts)


def _versioned(name: str) -> tuple[str, str]:
    return fetch.LOCK["archives"][name]["npm"].rpartition("@")[2], "MIT"


def _in_tar(file: Path) -> str:
    with tarfile.open(file) as tar:
        return tar.extractfile("package/LICENSE").read().decode()  # type: ignore[union-attr]
