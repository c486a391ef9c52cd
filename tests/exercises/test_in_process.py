"""Where there are no processes, as in a browser, a student's code runs in ours: the verdicts are the same."""

import subprocess
import sys

import pytest

from minilora.exercises import spec
from minilora.exercises.checking import ERROR, FAILED, NOT_STARTED, PASSED, check_source
from tests.exercises.answer_files import FOLDER, answers
from tests.exercises.test_exercises import SOLUTIONS

FIRST = spec.names()[0]


@pytest.fixture(autouse=True)
def a_browser(monkeypatch):
    """Pyodide's platform: a process cannot be started."""

    def refused(*_, **__):
        raise OSError("emscripten does not support processes")

    monkeypatch.setattr(sys, "platform", "emscripten")
    monkeypatch.setattr(subprocess, "Popen", refused)


def test_a_browser_has_no_processes():
    with pytest.raises(OSError):
        subprocess.Popen(["true"])


@pytest.mark.parametrize("exercise", spec.names())
def test_the_solution_passes_the_start_is_not_started_and_a_wrong_answer_fails(exercise):
    assert check_source(exercise, (SOLUTIONS / f"{exercise}.py").read_bytes()).status == PASSED
    assert check_source(exercise, spec.unsolved(exercise).read_bytes()).status in (
        NOT_STARTED,
        FAILED,
    )  # half of one is given
    if (FOLDER / f"{exercise}.py").exists():
        wrong = next(answer for answer in answers(exercise) if answer.kind == "wrong")
        assert check_source(exercise, wrong.source.encode()).status in (FAILED, ERROR)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("def linear_backward(:", "line 1: SyntaxError"),
        ("import sys\nsys.exit(0)", "line 2: sys.exit: 0"),
        ("import minilora", "line 1: ModuleNotFoundError: there is no minilora here"),
        ("from minilora.exercises import spec", "there is no minilora here"),
        ("import torch", "there is no torch here"),
        ("import numpy as np", "there is no function linear_backward"),
        ("def linear_backward(dy, x, W):\n    print('seen')\n    raise SystemExit", "line 3: sys.exit"),
        (
            "import math\nimport numpy.linalg\ndef linear_backward(dy, x, W):\n    return 1 / 0",
            "line 4: ZeroDivisionError",
        ),
    ],
)
def test_errors_name_the_line_and_the_cure(source, told, capsys):
    verdict = check_source(FIRST, source.encode())
    assert verdict.status == ERROR and told in verdict.report
    assert ("seen" in source) == ("seen" in verdict.report)
    assert capsys.readouterr() == ("", "")
