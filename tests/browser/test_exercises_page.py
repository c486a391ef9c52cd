"""The exercises' page, used as a student does: features 9 to 14."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from minilora.exercises import spec
from tests.browser.conftest import SECONDS
from tests.exercises.answer_files import FOLDER, answers
from tests.exercises.test_exercises import SOLUTIONS

FIRST, SECOND = spec.names()[:2]
ENDLESS = "def linear_backward(dy, x, W):\n    while True:\n        pass\n"


def ready(page: Any) -> Any:
    page.wait_for_selector('body[data-state="ready"]', timeout=1000 * SECONDS)
    return page


@pytest.fixture(scope="module")
def page(open_page: Any) -> Any:
    return ready(open_page("exercises.html"))


def write(page: Any, text: str) -> None:
    """Replace what is in the editor, by the keyboard."""
    page.click(".CodeMirror")
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)
    page.wait_for_function("(text) => document.querySelector('.CodeMirror').CodeMirror.getValue() === text", arg=text)


def written(page: Any) -> str:
    return page.evaluate("document.querySelector('.CodeMirror').CodeMirror.getValue()")


def check(page: Any) -> str:
    page.click("#check")
    page.wait_for_selector("#verdict section")
    ready(page)
    return page.inner_text("#verdict section")


def choose(page: Any, name: str) -> None:
    page.evaluate("(name) => { location.hash = name; }", name)
    page.wait_for_function("(name) => document.querySelector('#lessons a[aria-current]').hash === '#' + name", arg=name)


@pytest.mark.parametrize("exercise", spec.names())
def test_9_the_solution_passes_and_the_file_to_start_from_does_not(page, exercise):
    choose(page, exercise)
    assert "Not started" in check(page)
    write(page, (SOLUTIONS / f"{exercise}.py").read_text("utf-8"))
    assert "Passed" in check(page)


def test_9_a_wrong_answer_shows_the_property_the_smallest_input_and_the_likely_slip(page):
    choose(page, "ex11_lora_forward")
    write(page, "def lora_forward(x, W0, A, B, alpha):\n    return x @ W0.T + alpha * (x @ A.T @ B.T)\n")
    told = check(page)
    for part in (
        "failed",
        "h = x W0^T + (alpha / r) x A^T B^T",
        "the smallest failing input found",
        "scaled by alpha, not alpha / r",
    ):
        assert part in told


def test_9_every_catalogued_wrong_answer_fails_and_every_right_one_passes(page):
    """In the worker, many at a time: the real platform, not a simulation."""
    wrong = []
    for exercise in spec.names():
        if not (FOLDER / f"{exercise}.py").exists():
            continue
        told = page.evaluate(
            """async ([name, sources]) => {
                const { Python } = await import("./python.mjs");
                window.judge ??= new Python({ module: "checks" });
                await window.judge.ready;
                const found = [];
                for (const source of sources) found.push((await window.judge.call("check", name, source)).passed);
                return found;
            }""",
            [exercise, [a.source for a in answers(exercise) if a.kind in ("right", "wrong")][:SHORT]],
        )
        kept = [a for a in answers(exercise) if a.kind in ("right", "wrong")][:SHORT]
        wrong += [
            f"{exercise} {a.kind} {a.text}"
            for a, passed in zip(kept, told, strict=True)
            if passed != (a.kind == "right")
        ]
    assert wrong == []


SHORT = 7  # answers to each exercise: four right ones come first; tests/exercises tries all of them natively


def test_10_an_endless_loop_is_stopped_in_a_second_and_the_code_stays(page):
    choose(page, FIRST)
    write(page, ENDLESS)
    page.wait_for_timeout(3000)  # the spare worker loads in the meantime
    page.click("#check")
    page.wait_for_selector('body[data-state="checking"]')
    stopped = page.evaluate(
        """async () => {
            const start = performance.now();
            document.getElementById("stop").click();
            while (document.body.dataset.state !== "ready") await new Promise((next) => setTimeout(next, 10));
            return performance.now() - start;
        }"""
    )
    assert stopped < 1000 and written(page) == ENDLESS
    write(page, (SOLUTIONS / f"{FIRST}.py").read_text("utf-8"))
    assert "Passed" in check(page)


def test_11_a_draft_survives_its_tab_and_a_reset_can_be_undone(page, open_page):
    choose(page, SECOND)
    write(page, "# mine\n")
    other = ready(open_page(f"exercises.html#{SECOND}", context=page.context))
    assert written(other) == "# mine\n"
    other.click("#reset")
    assert written(other) == spec.unsolved(SECOND).read_text("utf-8")
    other.click("#undo")
    assert written(other) == "# mine\n"
    other.close()


def test_12_a_draft_of_an_older_file_is_kept_and_the_new_file_offered(page, open_page):
    page.evaluate(
        "([name, old]) => localStorage.setItem('minilora:exercise:' + name, JSON.stringify(old))",
        [SECOND, {"source": "# old", "starter": "another"}],
    )
    other = open_page(f"exercises.html#{SECOND}", context=page.context)
    other.wait_for_selector("#changed:visible")
    assert written(other) == "# old"
    other.click("#newer")
    assert written(other) == spec.unsolved(SECOND).read_text("utf-8") and not other.is_visible("#changed")
    other.close()


def test_13_progress_is_exported_and_imported(page, tmp_path):
    with page.expect_download() as download:
        page.click("#export")
    download.value.save_as(tmp_path / "progress.json")
    before = page.evaluate("({ ...localStorage })")
    page.evaluate("localStorage.clear()")
    page.set_input_files("#import", tmp_path / "progress.json")
    page.wait_for_selector("#verdict .notice")
    after = page.evaluate("({ ...localStorage })")
    assert {k: json.loads(v) for k, v in after.items() if json.loads(v)} == {
        k: json.loads(v) for k, v in before.items()
    }
    (tmp_path / "other.json").write_text("[]")
    page.set_input_files("#import", tmp_path / "other.json")
    page.wait_for_function("document.querySelector('#verdict .notice').textContent.includes('Nothing was imported')")


def test_13_minilora_grade_reads_the_downloaded_answers(page, tmp_path):
    choose(page, FIRST)
    write(page, (SOLUTIONS / f"{FIRST}.py").read_text("utf-8"))
    for button, name in (("#zip", "answers.zip"), ("#download", f"{FIRST}.py")):
        with page.expect_download() as download:
            page.click(button)
        assert download.value.suggested_filename == name
        download.value.save_as(tmp_path / name)
    assert (tmp_path / f"{FIRST}.py").read_bytes() == (SOLUTIONS / f"{FIRST}.py").read_bytes()
    with zipfile.ZipFile(tmp_path / "answers.zip") as archive:
        archive.extractall(tmp_path / "class" / "ann")
    command = [sys.executable, "-m", "minilora", "grade", "class", "--only", "1", "--csv", "grades.csv"]
    env_path = {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=tmp_path, env=env_path, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0 and "ann" in done.stdout and "1" in (tmp_path / "grades.csv").read_text(), done.stderr


def test_14_hints_are_counted_and_the_answer_is_hidden_until_they_are_used(page):
    name = spec.names()[4]
    page.evaluate("(name) => localStorage.removeItem('minilora:exercise:' + name)", name)
    choose(page, name)
    assert not page.is_visible("#answer")
    for number, hint in enumerate(spec.load(name).hints, 1):
        assert page.inner_text("#hint") == f"Hint {number} of 3"
        page.click("#hint")
        page.wait_for_function(
            "(n) => document.querySelector('#hints h2')?.textContent === `Hint ${n} of 3`", arg=number
        )
        assert page.inner_text("#hints pre") == hint
    page.click("#answer")
    page.wait_for_function("document.querySelector('#hints h2').textContent === 'An answer'")
    assert page.inner_text("#hints pre").strip() == (SOLUTIONS / f"{name}.py").read_text("utf-8").strip()
