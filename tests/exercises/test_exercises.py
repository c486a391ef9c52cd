"""The classroom: right answers pass, wrong ones do not, and nothing that a student's file does changes a verdict."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from minilora.cli.main import main
from minilora.exercises import findings, spec, workbook, worker
from minilora.exercises.checking import ERROR, FAILED, NOT_STARTED, Verdict, check, check_source
from minilora.exercises.sandbox import LIMITS, Gone, Limits, Local, read_source
from tests.exercises import matrix

SOLUTIONS = matrix.SOLUTIONS
RIGHT = "import numpy as np\n\n\ndef linear_backward(dy, x, W):\n    return dy @ W, dy.T @ x, dy.sum(axis=0)\n"
FIRST = "ex01_linear_backward"


def check_file(name: str, file: Path, limits: Limits = LIMITS) -> Verdict:
    return check_source(name, read_source(file), limits)


def first_exercise(folder: Path, body: str, top: str = "") -> Path:
    """A file for exercise 1 whose function has this body."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    file = folder / f"{FIRST}.py"
    file.write_text(f"import numpy as np\n{top}\ndef linear_backward(dy, x, W):\n{lines}\n")
    return file


# ------------------------------------------------------------------------------------- the checks are on trial


@pytest.fixture(scope="module")
def tried():
    return [trial for name in spec.names() for trial in matrix.trials(name)]


def test_every_right_answer_passes_and_every_wrong_one_does_not(tried):
    print(matrix.table(tried))
    assert not [trial for trial in tried if not trial.judged_well]


def test_there_are_wrong_answers_enough_and_students_are_told_which(tried):
    wrong = [trial for trial in tried if not trial.right]
    for name in spec.names():
        assert sum(trial.exercise == name for trial in wrong) >= 5
    # Two wrong answers that give the same numbers everywhere can bear only one of their names.
    assert sum(not trial.recognised for trial in wrong) <= 1


@pytest.mark.skipif(not SOLUTIONS.is_dir(), reason="the solutions were taken out")
def test_solutions_are_complete():
    assert sorted(file.stem for file in SOLUTIONS.glob("*.py")) == spec.names()
    assert {file.stem for file in SOLUTIONS.glob("another_way/*.py")} < set(spec.names())


def test_a_check_that_accepts_everything_would_be_seen(monkeypatch):
    monkeypatch.setattr(findings, "_number_difference", lambda expected, got, tolerance: None)
    assert any(not trial.judged_well for trial in matrix.trials(FIRST))


@pytest.mark.parametrize("name", spec.names())
@pytest.mark.parametrize("value", [None, "passed", np.inf, np.nan, 10**30, [], {}, [[1], [2, 3]], ({}, [], "x")])
def test_no_constant_passes(name, value):
    exercise = spec.load(name)
    constant = {function: lambda *args: value for function in exercise.functions}
    assert check(name, Local(constant)).status == FAILED


# ------------------------------------------------------------------------------------------ what students read


def test_a_failure_shows_property_input_expected_got_and_slip(tmp_path):
    verdict = check_file(FIRST, first_exercise(tmp_path, "return dy @ W, x.T @ dy, dy.sum(axis=0)"))
    assert (verdict.status, verdict.detail) == (FAILED, "dW = dy^T x")
    for part in ("property   dW = dy^T x", "x  = (", "expected   (", "got        (", "likely     dW is transposed"):
        assert part in verdict.report


def test_the_smallest_input_is_small(tmp_path):
    verdict = check_file(FIRST, first_exercise(tmp_path, "return dy @ W, dy.T @ x / len(x), dy.sum(axis=0)"))
    assert "dy = (2, 1) [[0.], [1.]]" in verdict.report  # a mean of one row would be right


def test_an_exception_is_one_line_of_the_students_file(tmp_path):
    verdict = check_file(FIRST, first_exercise(tmp_path, "inner(dy)", top="def inner(dy):\n    return dy['a']\n"))
    assert verdict.status == ERROR
    assert verdict.detail.startswith("line 3: IndexError")
    assert "Traceback" not in verdict.report


def test_prints_are_shown_when_it_fails(tmp_path):
    assert "printed    (" in check_file(FIRST, first_exercise(tmp_path, "print(dy.shape)")).report


# ------------------------------------------------------------------------------------------- what students try

HOSTILE = {
    "while True: pass": "stopped after 1 s of computing",
    "import time; time.sleep(60)": "nor sleep",
    "import threading; lock = threading.Lock(); lock.acquire(); lock.acquire()": "stopped after 1 s of waiting",
    "import os; [os.read(fd, 1) for fd in (3, 4, 5)]": "stopped after 1 s of waiting",
    "import signal; signal.signal(signal.SIGPROF, signal.SIG_IGN)\nwhile True: pass": "past a limit",
    "while True: print('passed' * 1000)": "printing",
    "import sys; sys.exit(0)": "sys.exit",
    "import os; os._exit(0)": "exit code 0",
    "raise SystemExit": "sys.exit",
    "raise KeyboardInterrupt": "KeyboardInterrupt",
    "return np.ones(10**10)": "Memory",
    "return object()": "object",
    "import os; os.fork()": "may not use files, processes or the network",
    "import os; os.kill(os.getppid(), 9)": "may not use files, processes or the network",
    "import subprocess; subprocess.run(['true'])": "may not use files, processes or the network",
    "import minilora": "there is no minilora here",
    "import os; os.abort()": "crashed (SIG",
    "import ctypes; ctypes.string_at(0)": "crashed (SIGSEGV)",
    "import sys; sys.setrecursionlimit(10**9); f = lambda: f(); return f()": "",
    "return [dy] * 10**7": "",
    "return [[[]] * 100] * 500": "cannot be read",
    "return 'x' * (1 << 22)": "cannot be read",
    "raise ValueError('\\x1b[2J\\n\\tred')": "ValueError:  [2J red",
    "return 3 +": "SyntaxError",
    "return \0": "source code string cannot contain null bytes",
}


@pytest.mark.parametrize("body", HOSTILE)
def test_hostile_code_costs_its_exercise_and_nothing_else(body, tmp_path):
    verdict = check_file(FIRST, first_exercise(tmp_path, body))
    assert verdict.status == ERROR
    assert HOSTILE[body] in verdict.detail
    assert "\n" not in verdict.detail and len(verdict.detail) < 400


@pytest.mark.parametrize(
    "top",
    [
        "np.allclose = np.array_equal = lambda *a, **k: True",
        "import builtins; builtins.abs = lambda x: 0",
        "print('passed'); print('36 of 36 solved')",
        "import worker; worker.encode = lambda *a: 'passed'",
        "import worker; worker.apply = lambda *a: {'result': None, 'changed': []}",
        "import worker; worker.apply = lambda *a: {'result': None, 'changed': [99]}",
        "import worker; worker.apply = lambda *a: {'status': 'passed'}",
        "import worker; worker.apply = lambda *a: {'error': [['\\x1b[2J']] * 9}",
        "import worker; worker.apply = lambda *a: {'error': eval('[' * 90 + ']' * 90)}",
        "import worker; worker.apply = lambda *a: {'call back': 0, 'args': {'list': []}}",
        "import os; [os.write(fd, b'passed' * 100) for fd in (3, 4, 5) if os.path.exists(f'/proc/self/fd/{fd}')]",
        "import sys; sys.modules['minilora'] = None; sys.excepthook = lambda *a: None",
        "import atexit; atexit.register(print, 'passed')",
        "class A(np.ndarray):\n    __eq__ = __le__ = lambda s, o: True\n",
        "import os, json; m = json.dumps({'functions': 7}).encode(); "
        "[os.write(fd, len(m).to_bytes(4, 'big') + m) for fd in (3, 4, 5) if os.path.exists(f'/proc/self/fd/{fd}')]",
    ],
)
def test_no_trick_makes_a_wrong_answer_pass(top, tmp_path):
    file = first_exercise(tmp_path, "return np.zeros_like(x), np.zeros_like(W), np.zeros(len(W))", top)
    assert check_file(FIRST, file).status in (FAILED, ERROR)


def test_files_outside_stay_as_they_are(tmp_path):
    other, created = tmp_path / "other.py", tmp_path / "created"
    other.write_text("other")
    checks = Path(spec.__file__).read_bytes()
    attempts = [
        f"open({str(other)!r}, 'w')",
        f"np.save({str(created)!r}, dy)",
        f"os.remove({str(other)!r})",
        f"os.rename({str(other)!r}, {str(created)!r})",
        f"os.open({str(created)!r}, os.O_CREAT | os.O_WRONLY)",
        f"shutil.rmtree({str(tmp_path)!r})",
        f"open({spec.__file__!r}, 'a')",
        "open(__file__, 'a').write('# my own copy')",
    ]
    body = "".join(f"try: {attempt}\nexcept BaseException as e: print(e)\n" for attempt in attempts)
    file = first_exercise(tmp_path, body + "return None", "import os, shutil")
    before = file.read_bytes()
    assert check_file(FIRST, file).status == FAILED
    assert file.read_bytes() == before and other.read_text() == "other" and not created.exists()
    assert Path(spec.__file__).read_bytes() == checks


@pytest.mark.parametrize("kind", ["missing", "folder", "link", "large"])
def test_what_is_not_an_exercise_file_is_not_read(kind, tmp_path):
    file = tmp_path / f"{FIRST}.py"
    if kind == "folder":
        file.mkdir()
    elif kind == "link":
        file.symlink_to(__file__)
    elif kind == "large":
        file.write_bytes(b"#" * 300_000)
    with pytest.raises(Gone):
        read_source(file)


def test_a_binary_file_is_an_error_and_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert check_source(FIRST, bytes(range(256))).status == ERROR
    assert list(tmp_path.iterdir()) == []


def test_values_survive_the_pipe():
    value = {
        "a": (1, 2.5, None, True, "x"),
        "b": [np.arange(6.0).reshape(2, 3), np.float32(0.1), np.zeros((0, 3), int)],
    }
    decoded = worker.decode(worker.encode(value))
    assert decoded["a"] == value["a"]
    for got, sent in zip(decoded["b"], value["b"], strict=True):
        assert np.array_equal(got, sent) and got.dtype == sent.dtype and got.shape == np.shape(sent)


# ------------------------------------------------------------------------------------------------- the folder


@pytest.fixture
def started(tmp_path, monkeypatch, capsys):
    """A student's folder, just started and entered."""
    assert main(["exercises", "start", str(tmp_path / "mine")]) == 0
    monkeypatch.chdir(tmp_path / "mine")
    capsys.readouterr()
    return tmp_path / "mine"


def test_every_exercise_has_an_unsolved_file():
    assert sorted(file.stem for file in spec.unsolved(FIRST).parent.glob("*.py")) == ["conftest", *spec.names()]


@pytest.mark.parametrize("name", spec.names())
def test_unsolved_files_say_what_to_do(name):
    names = worker.load(spec.unsolved(name).read_bytes(), name)
    for function in spec.load(name).functions:
        assert names[function].__doc__
    assert spec.load(name).title and len(set(spec.load(name).hints)) == 3
    assert check_file(name, spec.unsolved(name)).status == NOT_STARTED if name == FIRST else True


def test_an_untouched_tree_scores_0_without_a_traceback(started, capsys):
    assert main(["exercises"]) == 0
    assert "0 of 36 solved" in capsys.readouterr().out
    run = subprocess.run([sys.executable, "-m", "pytest", "."], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0 and "36 skipped" in run.stdout and "0 of 36 solved" in run.stdout
    assert "Traceback" not in run.stdout + run.stderr


def test_solving_raises_the_score_and_names_the_next(started, capsys):
    (started / f"{FIRST}.py").write_text(RIGHT)
    assert main(["check", "01"]) == 0
    out = capsys.readouterr().out
    assert "01 linear layer, backward: passed" in out and "1 of 36 solved" in out and "next: 02" in out
    assert main(["check"]) == 0
    assert main(["exercises"]) == 0
    assert "solved" in capsys.readouterr().out


def test_a_failed_check_exits_with_1_and_offers_a_hint(started, capsys):
    first_exercise(started, "return dy @ W, dy.T @ x, dy.mean(axis=0)")
    with pytest.raises(SystemExit) as exit:
        main(["check", "1"])
    assert exit.value.code == 1 and "minilora hint 01" in capsys.readouterr().out


def test_plain_pytest_shows_the_report(started):
    first_exercise(started, "return dy @ W, dy.T @ x, dy.mean(axis=0)")
    run = subprocess.run([sys.executable, "-m", "pytest", f"{FIRST}.py"], capture_output=True, text=True, timeout=120)
    assert run.returncode == 1 and "db is the mean over the rows" in run.stdout
    assert "Traceback" not in run.stdout + run.stderr


def test_pytest_of_one_file_scores_that_file(started):
    (started / f"{FIRST}.py").write_text(RIGHT)
    run = subprocess.run([sys.executable, "-m", "pytest", f"{FIRST}.py"], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0 and "1 of 1 solved" in run.stdout


def test_hints_come_one_after_the_other_and_reset_keeps_the_file(started, capsys):
    for _ in range(4):
        main(["hint", "08"])
    out = capsys.readouterr().out
    for hint in spec.load("ex08_adam").hints:
        assert hint in out
    assert out.count("hint 3 of 3") == 2
    (started / "ex08_adam.py").write_text("mine")
    assert main(["exercises", "reset", "08"]) == 0
    assert (started / "ex08_adam.py").read_bytes() == spec.unsolved("ex08_adam").read_bytes()
    assert (started / "ex08_adam.py.kept1").read_text() == "mine"


def test_starting_again_leaves_the_students_files(started, capsys):
    (started / f"{FIRST}.py").write_text(RIGHT)
    (started / "ex02_gradient_check.py").unlink()
    assert main(["exercises", "start", "."]) == 0
    assert (started / f"{FIRST}.py").read_text() == RIGHT and (started / "ex02_gradient_check.py").exists()


def test_a_spoiled_state_file_is_made_anew(started):
    (started / workbook.STATE).write_text('{"verdicts": 3}')
    assert main(["exercises"]) == 0


@pytest.mark.parametrize("command", ["check 99", "hint none", "exercises reset 0", "grade nowhere"])
def test_a_mistaken_command_is_one_line(command, started, capsys):
    assert main(command.split()) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_outside_of_a_folder_the_cure_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["check"]) == 2
    assert "minilora exercises start DIR" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent as a signal")
def test_watching_checks_what_is_saved_until_ctrl_c(started):
    # A shell starts background jobs with SIGINT ignored, and a child inherits that: this one must hear Ctrl-C.
    ours = signal.signal(signal.SIGINT, signal.default_int_handler)
    watching = subprocess.Popen(
        [sys.executable, "-um", "minilora", "check", "--watch"], stdout=subprocess.PIPE, text=True
    )
    signal.signal(signal.SIGINT, ours)
    patience = threading.Timer(90, watching.kill)  # a line that never comes fails the test; it does not hang it
    patience.start()
    lines = iter(watching.stdout.readline, "")
    assert any("Ctrl-C stops" in line for line in lines)
    (started / f"{FIRST}.py").write_text(RIGHT)
    assert any("linear layer, backward: passed" in line for line in lines)
    assert any("1 of 36 solved" in line for line in lines)
    time.sleep(0.2)
    watching.send_signal(signal.SIGINT)
    assert "stopped watching" in watching.communicate(timeout=60)[0]
    patience.cancel()
    assert watching.returncode == 0
