"""The lessons: each has a figure, and a notebook made from it as it is now.

Lessons assert their own claims: `for f in tutorials/[0-9]*.py; do python $f; done` runs them all, in minutes. Only the
quickest runs here.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from minilora.exercises import spec
from tutorials import explore
from tutorials.notebooks import LARGEST

TUTORIALS = Path(__file__).parents[2] / "tutorials"
LESSONS = sorted(TUTORIALS.glob("[0-9][0-9]_*.py"))
QUICK = ["01_one_layer.py"]

every_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)


def percent_cells(text: str) -> list[tuple[str, str]]:
    """The ("code" or "markdown", source) cells of a py:percent file, in which Markdown is commented out."""
    cells = []
    for part in re.split(r"^# %%", text, flags=re.MULTILINE)[1:]:
        mark, _, source = part.partition("\n")
        if mark.strip() == "[markdown]":
            cells.append(("markdown", re.sub(r"^# ?", "", source, flags=re.MULTILINE).strip("\n")))
        else:
            assert not mark.strip(), f"a cell marked {mark.strip()!r}: use '# %%' or '# %% [markdown]'"
            cells.append(("code", source.strip("\n")))
    return cells


def notebook_cells(notebook: dict) -> list[tuple[str, str]]:
    return [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]


def test_percent_cells_are_split_as_jupytext_splits_them():
    jupytext = pytest.importorskip("jupytext")
    for lesson in LESSONS:
        cells = [(cell.cell_type, cell.source) for cell in jupytext.read(lesson).cells]
        assert percent_cells(lesson.read_text(encoding="utf-8")) == cells, lesson.name


@every_lesson
def test_the_notebook_is_made_from_the_current_lesson_and_ran_to_its_end(lesson):
    path = lesson.with_suffix(".ipynb")
    cure = f"make it: python -m tutorials.notebooks {lesson.name[:2]}"
    assert path.exists(), cure
    assert path.stat().st_size <= LARGEST
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert notebook_cells(notebook) == percent_cells(lesson.read_text(encoding="utf-8")), cure
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1)), cure
    assert not [output for cell in code for output in cell["outputs"] if output["output_type"] == "error"], cure


def test_every_notebook_has_its_lesson():
    assert [path.name for path in TUTORIALS.glob("*.ipynb") if not path.with_suffix(".py").exists()] == []


@every_lesson
def test_every_file_a_lesson_shows_or_links_to_exists(lesson):
    text = lesson.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#\s]+)\)", text) if not link.startswith("http")]
    drawn = re.findall(r'"(\d\d_\w+\.png)"', text)
    assert drawn and all(name.startswith(lesson.name[:3]) for name in drawn)
    assert [path for path in [*links, *(f"figures/{name}" for name in drawn)] if not (TUTORIALS / path).exists()] == []


@every_lesson
def test_every_figure_is_in_the_notebook_and_none_twice(lesson):
    text = lesson.read_text(encoding="utf-8")
    notebook = json.loads(lesson.with_suffix(".ipynb").read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    shown = [output for cell in code for output in cell["outputs"] if "image/png" in output.get("data", {})]
    assert len(shown) == len(set(re.findall(r'"(\d\d_\w+\.png)"', text)))
    assert "](figures/" not in text


@pytest.mark.parametrize("name", QUICK)
def test_a_lesson_runs_from_another_folder_without_a_display_and_writes_only_where_git_ignores_it(name, tmp_path):
    lesson = Path(shutil.copy(TUTORIALS / name, tmp_path))
    unset = ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND", "MINILORA_FIGURES")
    environment = {k: v for k, v in os.environ.items() if k not in unset} | {"PYTHONPATH": str(TUTORIALS.parent)}
    command = [sys.executable, str(lesson)]
    subprocess.run(command, cwd=tmp_path.parent, env=environment, check=True, capture_output=True)
    assert set(tmp_path.iterdir()) == {lesson, tmp_path / "drawn"}
    assert [path.suffix for path in (tmp_path / "drawn").iterdir()] == [".png"]
    assert "drawn/" in (TUTORIALS.parent / ".gitignore").read_text(encoding="utf-8").splitlines()


def questions(lesson: Path) -> list[str]:
    """The first lines of what to try next, without those that point to exercises or to other lessons."""
    text = lesson.read_text(encoding="utf-8").partition("# ## What to try next\n")[2]
    return [line for line in re.findall(r"^# - (.*)", text, re.MULTILINE) if not re.match("Exercise|Lesson ", line)]


@every_lesson
def test_every_question_has_its_answer(lesson):
    answers = (TUTORIALS / "answers" / f"{lesson.name[:2]}.md").read_text(encoding="utf-8")
    numbers = [int(number) for number in re.findall(r"^(\d+)\. ", answers, re.MULTILINE)]
    assert numbers == list(range(1, len(questions(lesson)) + 1))


@every_lesson
def test_the_exercises_of_a_lesson_are_those_of_the_syllabus(lesson):
    syllabus = (TUTORIALS / "README.md").read_text(encoding="utf-8").splitlines()
    row = next(line for line in syllabus if line.startswith("|") and f"({lesson.stem}.ipynb)" in line)
    text = lesson.read_text(encoding="utf-8")
    bullets = re.findall(r"^# - (Exercises? .*(?:\n#   .*)*)", text, re.MULTILINE)
    assert {int(number) for line in bullets for number in re.findall(r"\d+", line)} == exercise_numbers(
        row.split("|")[-2]
    )


def exercise_numbers(cell: str) -> set[int]:
    """ "01, 03–05" -> {1, 3, 4, 5}."""
    found: set[int] = set()
    for first, last in re.findall(r"(\d\d)(?:–(\d\d))?", cell):
        found |= set(range(int(first), int(last or first) + 1))
    return found


def test_the_page_to_play_with_is_made_from_its_numbers_and_loads_nothing(tmp_path, monkeypatch):
    page = (TUTORIALS / "explore.html").read_text(encoding="utf-8")
    monkeypatch.setattr(explore, "PAGE", tmp_path / "explore.html")
    explore.main([])
    assert (tmp_path / "explore.html").read_text(encoding="utf-8") == page, "make it: python -m tutorials.explore"
    assert not re.search(r"(src|href)=|https?://|fetch\(|import ", page)


def test_the_syllabus_lists_every_lesson_and_exercise_and_its_links_exist():
    text = (TUTORIALS / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!http)([^)#]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    assert [link for link in links if not (TUTORIALS / link).exists()] == []
    rows = [line.split("|") for line in text.splitlines() if re.match(r"\|[^|]*\| \[?\d+ · ", line)]
    titles = {int(re.sub(r"\D.*", "", row[2].strip(" ["))) for row in rows}
    assert titles >= {int(lesson.name[:2]) for lesson in LESSONS}
    assert exercise_numbers(",".join(row[-2] for row in rows)) == {int(spec.number(name)) for name in spec.names()}
