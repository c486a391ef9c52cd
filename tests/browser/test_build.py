"""The build without a browser: what comes from elsewhere is verified, wheels are the same each time, lessons fit."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import subprocess
import sys
import threading
import zipfile

import numpy as np
import pytest

from minilora.exercises import spec
from minilora.exercises.sandbox import Local
from tests.browser.conftest import MARK, processes
from tutorials.browser import build, fetch, lite, serve, wheels
from tutorials.browser.course import fast_matmul, lab
from tutorials.browser.course.checks import Checks


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("MINILORA_BROWSER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def entry(content: bytes) -> dict[str, str]:
    return {"file_name": "piece.whl", "sha256": hashlib.sha256(content).hexdigest()}


def fetched(content: bytes):
    return lambda folder: (folder / "piece.whl").write_bytes(content)


def test_a_piece_is_fetched_once_and_verified_every_time(cache):
    file = fetch.verified(entry(b"right"), fetched(b"right"))
    assert fetch.verified(entry(b"right"), None) == file and file.read_bytes() == b"right"
    file.write_bytes(b"changed in the cache")
    with pytest.raises(fetch.FetchError, match=r"SHA-256.*nothing was built"):
        fetch.verified(entry(b"right"), fetched(b"right"))


def test_a_piece_that_is_not_the_locked_one_is_not_kept(cache):
    with pytest.raises(fetch.FetchError, match="nothing was built"):
        fetch.verified(entry(b"right"), fetched(b"wrong"))
    assert list(cache.iterdir()) == []
    with pytest.raises(fetch.FetchError, match="was not there"):
        fetch.verified(entry(b"right"), lambda folder: None)


def test_a_mismatch_stops_the_build_and_leaves_the_old_site(monkeypatch, tmp_path, cache, capsys):
    site = tmp_path / "site"
    site.mkdir()
    (site / "site.json").write_text("{}")
    cache.mkdir()
    (cache / fetch.LOCK["archives"]["pyodide"]["file_name"]).write_bytes(b"not Pyodide")
    monkeypatch.setattr(sys, "argv", ["build", "--out", str(site)])
    with pytest.raises(SystemExit) as ended:
        build.main()
    assert ended.value.code == 1 and "nothing was built" in capsys.readouterr().err
    assert [path.name for path in site.iterdir()] == ["site.json"]


def test_a_folder_that_holds_something_else_is_not_overwritten(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="not this site"):
        build.build(tmp_path)


def test_the_lock_names_official_places_only_and_every_dependency():
    packages = fetch.LOCK["packages"]
    assert fetch.LOCK["distribution"].startswith("https://cdn.jsdelivr.net/pyodide/v")
    for name, locked in packages.items():
        assert set(locked["depends"]) <= set(packages), name
        assert len(locked["sha256"]) == 64 and locked["version"] in locked["file_name"]


def test_own_wheels_are_the_same_bytes_each_time_and_hold_the_package(tmp_path):
    for name, (version, depends, files) in wheels.own_wheels().items():
        one, two = (wheels.write_wheel(folder, name, version, files) for folder in (tmp_path, tmp_path))
        assert one.read_bytes() == two.read_bytes()
        with zipfile.ZipFile(one) as wheel:
            assert wheel.testzip() is None and not any("__pycache__" in member for member in wheel.namelist())
            assert name != "minilora" or "minilora/weights/base.npz" in wheel.namelist()
            assert name != "course" or f"course/solutions/{spec.names()[0]}.py" in wheel.namelist()
        assert "numpy" in depends or name != "minilora"


def test_the_texts_are_what_python_source_reads_here(monkeypatch, tmp_path):
    import minilora as ml

    whole = ml.python_source()
    for path in wheels.sources():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    assert ml.python_source() == whole and ml.python_source(200_000) == whole[: len(ml.python_source(200_000))]


@pytest.mark.parametrize("lesson", [lesson["file"] for lesson in lite.lessons()])
def test_each_lesson_is_a_notebook_for_jupyterlite(lesson):
    book = json.loads(lite.notebook(lite.TUTORIALS / lesson))
    code = ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
    assert book["metadata"]["kernelspec"]["name"] == "python", "JupyterLite asks in a dialog for any other name"
    if lesson[:2] not in lite.CANNOT:
        assert code[0] == lite.FIRST_CELL
    for text in code:
        compile(text, lesson, "exec")
    assert lite.note(lesson[:2]) in book["cells"][0]["source"]


def test_a_lesson_that_no_longer_has_what_is_made_smaller_stops_the_build(tmp_path):
    lesson = next(lite.TUTORIALS.glob(f"{lite.SMALLER[0]}_*.ipynb"))
    changed = tmp_path / lesson.name
    changed.write_text(lesson.read_text("utf-8").replace("(0, 1, 2)", "range(3)"), "utf-8")
    with pytest.raises(ValueError, match=rf"{lesson.name} has no line .* change SMALLER in lite.py"):
        lite.notebook(changed)


def test_what_a_lesson_reads_is_there():
    files, carried = lite.contents(), wheels.own_wheels()["lessons"][2]
    for stored in (lite.TUTORIALS / "results").rglob("*.json"):
        assert carried[f"lessons/{stored.relative_to(lite.TUTORIALS).as_posix()}"] == stored.read_bytes()
    for lesson in lite.lessons():
        text = files[lesson["file"]].decode()
        assert {f for f in files if f.startswith("figures/") and f in text} or "figures/" not in text


def test_every_link_of_a_page_leads_somewhere(site):
    for page in site.glob("*.html"):
        for link in re.findall(r'(?:href|src)="([^"#]+)', page.read_text("utf-8")):
            path, _, notebook = link.partition("?path=")
            assert link.startswith("https://") or (site / path).is_file(), f"{page.name}: {link}"
            assert not notebook or (site / "lite" / "files" / notebook).is_file(), f"{page.name}: {link}"


def test_every_exercise_has_its_answer_in_the_site(monkeypatch, tmp_path):
    _, _, files = wheels.own_wheels()["course"]
    assert {f"course/solutions/{name}.py" for name in spec.names()} <= set(files)
    with zipfile.ZipFile(__import__("io").BytesIO(Checks().archive({"ex05_softmax": "x = 1\n"}))) as archive:
        assert archive.namelist() == ["ex05_softmax.py"]


def test_elsewhere_the_fast_products_stay_away():
    before = np.matmul
    assert fast_matmul.install() is False and np.matmul is before
    assert fast_matmul.products_are_right()


def test_wrong_products_are_noticed(monkeypatch):
    wrong = np.ndarray.__matmul__

    class Off(np.ndarray):
        def __matmul__(self, other):
            out = np.asarray(wrong(np.asarray(self), np.asarray(other)))
            return out * 1.00001 if out.dtype == np.float32 else out

    generator = np.random.default_rng(0)

    class Rng:
        def standard_normal(self, shape):
            return generator.standard_normal(shape).view(Off)

    monkeypatch.setattr(np.random, "default_rng", lambda seed: Rng())
    assert not fast_matmul.products_are_right()


def test_the_server_gives_the_types_that_browsers_insist_on(tmp_path):
    with pytest.raises(ValueError, match="not a built site"):
        serve.server(tmp_path)
    for name in ("index.html", "a.mjs", "a.wasm"):
        (tmp_path / name).write_text("")
    with serve.server(tmp_path) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        types = {}
        for name in ("", "a.mjs", "a.wasm"):
            connection = http.client.HTTPConnection("127.0.0.1", running.server_port)
            connection.request("GET", f"/{name}")
            types[name] = connection.getresponse().getheader("Content-Type")
            connection.close()
        running.shutdown()
    assert types == {"": "text/html", "a.mjs": "text/javascript", "a.wasm": "application/wasm"}


def test_a_text_that_is_too_short_is_refused_with_the_least_that_is_needed():
    with pytest.raises(ValueError, match="give at least 640"):
        lab.Lab().reset({"task": "own", "text": "short"})


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc")
def test_a_process_that_is_left_behind_is_found():
    """What `conftest.chromium` asserts after the last test of all."""
    with subprocess.Popen(["sleep", "60"], env={**os.environ, MARK: "left behind"}) as left:
        while not (found := processes("left behind")):  # it has yet to become `sleep`
            pass
        left.kill()
    assert "sleep 60" in found[0] and processes("left behind") == []


def test_a_local_student_keeps_working_as_before():
    assert Local({"f": lambda x: x + 1}).call("f", 1) == 2
