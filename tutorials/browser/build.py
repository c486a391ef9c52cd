"""Builds the course as a static site.

    python -m tutorials.browser.build --out site

Everything is fetched once, kept in a cache and compared with the lock's SHA-256; a mismatch stops the build. The folder
can be served by any static host under any path; `python -m tutorials.browser.serve site` serves it here.
"""

from __future__ import annotations

import argparse
import hashlib
import html
import json
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path

from minilora.exercises import spec
from tutorials.browser import fetch
from tutorials.browser.licences import write_licences
from tutorials.browser.lite import lessons, write_lite
from tutorials.browser.record import record
from tutorials.browser.wheels import entry, own_wheels, write_wheel

HERE = Path(__file__).parent
PAGES = {"checks": ("course",), "lab": ("course", "python-texts")}  # a page's module -> the packages that it loads
CORE = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip")
EDITOR = {
    "lib/codemirror.js": "codemirror.js",
    "lib/codemirror.css": "codemirror.css",
    "mode/python/python.js": "python.js",
}


def build(out: Path) -> None:
    """Write the site to `out`, whose earlier content is replaced once everything is there."""
    if out.exists() and not (out / "site.json").exists() and any(out.iterdir()):
        raise ValueError(f"{out} holds something that is not this site: name a new or empty folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        new = Path(folder) / "site"
        shutil.copytree(HERE / "pages", new)
        write_pyodide(new / "pyodide")
        write_editor(new / "editor")
        write_facts(new)
        (new / "recorded.json").write_text(json.dumps(record()), "utf-8")
        write_lite(new / "lite")
        write_lessons(new / "lessons.html")
        write_licences(new)
        write_offline(new)
        if out.exists():
            shutil.rmtree(out)
        new.rename(out)


def write_pyodide(folder: Path) -> None:
    """Pyodide, every package and the lock file that it reads."""
    folder.mkdir()
    for name, content in fetch.members("pyodide", "package/").items():
        if name in CORE:
            (folder / name).write_bytes(content)
    packages = {}
    for name, locked in fetch.LOCK["packages"].items():
        file = shutil.copy(fetch.wheel(name), folder)
        packages[name] = entry(name, Path(file), locked["version"], locked["depends"], locked["imports"])
    for name, (version, depends, files) in own_wheels().items():
        file = write_wheel(folder, name, version, files)
        packages[name] = entry(name, file, version, depends, [name] if name.isidentifier() else [])
    lock = {"info": fetch.LOCK["info"], "packages": packages}
    (folder / "pyodide-lock.json").write_text(json.dumps(lock), "utf-8")


def write_editor(folder: Path) -> None:
    folder.mkdir()
    for name, content in fetch.members("codemirror", "package/").items():
        if name in EDITOR:
            (folder / EDITOR[name]).write_bytes(content)


def write_facts(site: Path) -> None:
    """What the pages know before Python is there: the exercises, and how many megabytes each page will load."""
    notebooks = {int(lesson["number"]): lesson["address"] for lesson in lessons()}
    exercises = [
        {
            "name": name,
            "number": spec.number(name),
            "title": spec.load(name).title,
            "lesson": spec.load(name).lesson,
            "notebook": notebooks[spec.load(name).lesson],
            "minutes": spec.load(name).minutes,
            "source": spec.unsolved(name).read_text("utf-8"),
            "digest": hashlib.sha256(spec.unsolved(name).read_bytes()).hexdigest()[:16],
        }
        for name in spec.names()
    ]
    (site / "exercises.json").write_text(json.dumps(exercises), "utf-8")
    megabytes = {page: sum(map(size, loaded_by(site, page))) / 1e6 for page in PAGES}
    (site / "site.json").write_text(json.dumps({"megabytes": megabytes, "python": platform.python_version()}), "utf-8")


def write_lessons(page: Path) -> None:
    """The list of lessons, each with a link to its notebook."""
    items = [
        f'    <li><a href="{lesson["address"]}">{html.escape(lesson["title"])}</a>'
        f"<span>{html.escape(lesson['note'])}</span></li>"
        for lesson in lessons()
    ]
    page.write_text(page.read_text("utf-8").replace("<!-- lessons -->", "\n".join(items)), "utf-8")


def write_offline(site: Path) -> None:
    """The service worker's version and files: all that the pages of our own need."""
    pages = [
        path
        for path in site.rglob("*")
        if path.is_file() and path.relative_to(site).parts[0] not in ("lite", "pyodide")
    ]
    files = sorted(
        {*pages, *(file for page in PAGES for file in loaded_by(site, page)), site / "pyodide" / "pyodide-lock.json"}
    )
    names = [path.relative_to(site).as_posix() for path in files if path.name != "sw.js"]
    version = hashlib.sha256(
        b"".join(hashlib.sha256((site / name).read_bytes()).digest() for name in names)
    ).hexdigest()
    worker = site / "sw.js"
    text = worker.read_text("utf-8").replace("VERSION", version[:16]).replace('["FILES"]', json.dumps(["./", *names]))
    worker.write_text(text, "utf-8")


def loaded_by(site: Path, page: str) -> list[Path]:
    """The files that a page loads for Python."""
    packages = json.loads((site / "pyodide" / "pyodide-lock.json").read_text("utf-8"))["packages"]
    wanted = list(PAGES[page])
    for name in wanted:
        wanted += [other for other in packages[name]["depends"] if other not in wanted]
    return [site / "pyodide" / file for file in (*CORE, *(packages[name]["file_name"] for name in wanted))]


def size(file: Path) -> int:
    return file.stat().st_size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("site"), help="the folder to write (default: site)")
    out, start = parser.parse_args().out, time.perf_counter()
    try:
        build(out)
    except (fetch.FetchError, ValueError, OSError) as error:
        print(f"build: {error}", file=sys.stderr)
        sys.exit(1)
    sizes = [size(path) for path in out.rglob("*") if path.is_file()]
    print(f"{out}: {len(sizes)} files, {sum(sizes) / 1e6:.1f} MB, {time.perf_counter() - start:.1f} s")
    print(f"see it:  python -m tutorials.browser.serve {out}")


if __name__ == "__main__":
    main()
