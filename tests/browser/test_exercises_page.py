"""The exercises' page, used as a student does: features 9 to 14."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from minilora.exercises import spec
from tests.browser.conftest import SECONDS
from tests.exercises.answer_files import answers
from tests.exercises.test_exercises import SOLUTIONS

FIRST, SECOND = spec.names()[:2]
ENDLESS = "def linear_backward(dy, x, W):\n    while True:\n        pass\n"


def ready(page: Any) -> Any:
    page.wait_for_selector('body[data-state="ready"]', timeout=1000 * SECONDS)
    return page


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


def begin_to_judge(page: Any, answers: list[tuple[str, str]]) -> None:
    """Have answers, (exercise, source) each, checked by the page's own code in a worker beside the page's."""
    page.evaluate(
        """(answers) => {
            window.judged = (async () => {
                const { Python } = await import("./python.mjs");
                window.judge ??= new Python({ module: "checks" });
                await window.judge.ready;
                const verdicts = [];
                for (const answer of answers) verdicts.push(await window.judge.call("check", ...answer));
                return verdicts;
            })();
        }""",
        answers,
    )


def judged(page: Any, answers: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """The verdicts on answers, in a worker: the real platform, not a simulation."""
    begin_to_judge(page, answers)
    return page.evaluate("window.judged")


def slip_source(exercise: str, slip: str) -> str:
    """A catalogued wrong answer as a student would hand it in: without the catalogue's own imports."""
    source = spec.load(exercise).slip_source(slip)
    return re.sub(r"^from minilora\.exercises[^\n(]*(\([^)]*\))?\n", "", source, flags=re.MULTILINE)


def slips_of(exercise: str) -> list[tuple[str, str]]:
    return [(exercise, slip) for slip in spec.load(exercise).slips]


def unrecognised(slips: list[tuple[str, str]], verdicts: list[dict[str, Any]]) -> list[str]:
    """The slips that do not fail with their own message."""
    return [
        f"{exercise}, {slip}: {verdict['status']}\n{verdict['report']}"
        for (exercise, slip), verdict in zip(slips, verdicts, strict=True)
        if verdict["status"] not in ("failed", "error") or f"likely {slip}" not in " ".join(verdict["report"].split())
    ]


FIRST_SLIPS = [slips_of(name)[0] for name in spec.names()]


@pytest.fixture(scope="module")
def page(open_page: Any) -> Any:
    """The page; beside it, a worker checks a wrong answer to each exercise."""
    page = ready(open_page("exercises.html"))
    begin_to_judge(page, [(exercise, slip_source(exercise, slip)) for exercise, slip in FIRST_SLIPS])
    return page


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


def test_9_a_catalogued_wrong_answer_to_each_exercise_fails_with_its_own_message(page):
    assert unrecognised(FIRST_SLIPS, page.evaluate("window.judged")) == []


@pytest.mark.slow
@pytest.mark.parametrize("exercise", spec.names())
def test_9_every_catalogued_wrong_answer_fails_with_its_own_message(page, exercise):
    slips = slips_of(exercise)
    assert unrecognised(slips, judged(page, [(exercise, slip_source(exercise, slip)) for _, slip in slips])) == []


@pytest.mark.slow
@pytest.mark.parametrize("exercise", spec.names())
def test_9_answers_by_other_hands_are_judged_as_they_are_here(page, exercise):
    """The first right ones and the first wrong ones; `tests/exercises` tries all of them natively."""
    tried = [[a for a in answers(exercise) if a.kind == kind][:4] for kind in ("right", "wrong")]
    for kind, some in zip(("right", "wrong"), tried, strict=True):
        told = judged(page, [(exercise, a.source) for a in some])
        assert [a.text for a, verdict in zip(some, told, strict=True) if verdict["passed"] != (kind == "right")] == []


def test_10_an_endless_loop_is_stopped_in_a_second_and_the_code_stays(page):
    assert page.evaluate("typeof SharedArrayBuffer") == "undefined", "no special headers, as on any static host"
    choose(page, FIRST)
    write(page, ENDLESS)
    page.wait_for_selector("body[data-spare]", timeout=1000 * SECONDS)  # it loads from the first change on
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


def opened(open_page: Any, context: Any, exercise: str) -> Any:
    """Another tab with an exercise, before Python is there."""
    tab = open_page(f"exercises.html#{exercise}", context=context)
    tab.wait_for_selector("#lessons a[aria-current]")
    return tab


def test_11_a_draft_survives_its_tab_and_a_reset_can_be_undone(page, open_page):
    choose(page, SECOND)
    write(page, "# mine\n")
    other = opened(open_page, page.context, SECOND)
    assert written(other) == "# mine\n"
    other.click("#reset")
    assert written(other) == spec.unsolved(SECOND).read_text("utf-8")
    other.click("#undo")
    assert written(other) == "# mine\n"
    write(other, "# mine, in another tab\n")
    page.wait_for_function("document.querySelector('.CodeMirror').CodeMirror.getValue().includes('another tab')")
    other.close()


def test_12_a_draft_of_an_older_file_is_kept_and_the_new_file_offered(page, open_page):
    page.evaluate(
        "([name, old]) => localStorage.setItem('minilora:exercise:' + name, JSON.stringify(old))",
        [SECOND, {"source": "# old", "starter": "another"}],
    )
    other = opened(open_page, page.context, SECOND)
    other.wait_for_selector("#changed:visible")
    assert written(other) == "# old"
    other.click("#newer")
    assert written(other) == spec.unsolved(SECOND).read_text("utf-8") and not other.is_visible("#changed")
    other.close()


def test_a_browser_that_keeps_nothing_still_checks_and_says_so(open_page, page):
    """Storage that is full, or turned off: drafts live as long as their page."""
    full = "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); };"
    off = "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('', 'SecurityError'); } });"
    solution = (SOLUTIONS / f"{FIRST}.py").read_text("utf-8")
    for trouble in (full, off):
        tab = open_page("lessons.html", service_workers="block")
        tab.context.add_init_script(trouble)
        tab.goto(tab.url.replace("lessons.html", f"exercises.html#{FIRST}"))
        tab.wait_for_selector("#lessons a[aria-current]")
        write(tab, solution)
        assert "does not keep your draft" in tab.inner_text("#verdict")
        choose(tab, SECOND)
        assert written(tab) == spec.unsolved(SECOND).read_text("utf-8")
        choose(tab, FIRST)
        assert written(tab) == solution
        if trouble == off:
            assert "Passed" in check(ready(tab)) and tab.inner_text("#score").startswith("1 of")
        tab.context.close()


def test_a_page_that_is_reloaded_in_the_middle_of_a_check_comes_back_with_the_code(page):
    choose(page, FIRST)
    write(page, ENDLESS)
    page.click("#check")
    page.wait_for_selector('body[data-state="checking"]')
    page.reload()
    ready(page)
    assert written(page) == ENDLESS and page.inner_text("#verdict") == ""
    write(page, (SOLUTIONS / f"{FIRST}.py").read_text("utf-8"))
    assert "Passed" in check(page)


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
