"""A class: hand-ins found in messy folders, graded once each, and what a teacher and a student get to read."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from minilora.cli.main import main
from minilora.exercises import feedback, grading, handins, marks, spec, workbook
from minilora.exercises.checking import ERROR, FAILED, NOT_STARTED, PASSED
from minilora.exercises.grading import MISSING, NOT_GRADED, Log, Outcome, Result
from minilora.exercises.handins import collect, recognized
from minilora.exercises.sandbox import LIMITS
from tests.exercises.matrix import SOLUTIONS

NAMES = spec.names()[:6]
FIRST, SECOND = NAMES[:2]
RIGHT = {name: (SOLUTIONS / f"{name}.py").read_bytes() for name in NAMES} if SOLUTIONS.is_dir() else {}
OWN = SOLUTIONS.parent / "own"
WRONG = b"""
def linear_backward(dy, x, W):
    print("a shape:", x.shape)
    return dy @ W, x.T @ dy, dy.sum(axis=0)
"""
pytestmark = pytest.mark.skipif(not RIGHT, reason="the solutions were taken out")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder for hand-ins; HOME is elsewhere."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "class").mkdir()
    return tmp_path / "class"


def put(folder: Path, files: dict[str, bytes]) -> None:
    """Write files; one named x.zip/y goes into x.zip."""
    for path, content in files.items():
        archive, inside, member = path.partition(".zip/")
        (folder / archive).parent.mkdir(parents=True, exist_ok=True)
        if inside:
            with zipfile.ZipFile(folder / f"{archive}.zip", "a") as packed:
                packed.writestr(member, content)
        else:
            (folder / path).write_bytes(content)


def graded(folder: Path, exercises: list[str] = NAMES, **options: bool) -> dict[tuple[str, str], Outcome]:
    with_log = Log(folder.parent / "log", b"key", **options)
    results, _ = grading.grade(collect(folder), exercises, with_log, 2, LIMITS)
    return {(result.student, result.exercise): result.outcome for result in results}


# -------------------------------------------------------------------------------------------- finding hand-ins

LAYOUTS = {
    "folders": {"ann/{}.py": "ann", "bob/{}.py": "bob"},
    "folders in folders": {"ann/homework 1/my-exercises/{}.py": "ann", "bob/{}.py": "bob"},
    "zips": {"ann.zip/{}.py": "ann", "bob.zip/my-exercises/{}.py": "bob"},
    "zips in folders": {"ann/exercises.zip/{}.py": "ann", "bob/all.zip/x/y/{}.py": "bob"},
    "one folder around": {"download/ann/{}.py": "ann", "download/bob/{}.py": "bob"},
    "one zip around": {"download.zip/hw1/ann/{}.py": "ann", "download.zip/hw1/bob/{}.py": "bob"},
    "loose": {"ann_{}.py": "ann", "bob-{}.py": "bob"},
    "loose in one zip": {"all.zip/ann_{}.py": "ann", "all.zip/bob_{}.py": "bob"},
    "Canvas": {"doejane_1234_5{i}_{}.py": "doejane", "roerick_LATE_77_6{i}_{}-1.py": "roerick"},
    "Canvas, zips": {"doejane_1234_55_hw.zip/{}.py": "doejane", "roerick_LATE_77_56_ex.zip/{}.py": "roerick"},
    "Moodle, files": {
        "Jane Doe_12_assignsubmission_file_{}.py": "Jane Doe",
        "Al Po_13_assignsubmission_file_{}.py": "Al Po",
    },
    "Moodle, folders": {
        "Jane Doe_12_assignsubmission_file_/{}.py": "Jane Doe",
        "Al_13_assignsubmission_file/{}.py": "Al",
    },
    "Blackboard": {
        "hw 1_jdoe_attempt_2026-11-03-10-11-12_{}.py": "jdoe",
        "hw 1_apo_attempt_2026-11-04-10-11-12_{}.py": "apo",
    },
    "Brightspace": {"12-34 - Jane Doe - Nov 3, 2026 1011 AM/{}.py": "Jane Doe", "13-34 - Al - Nov 4, 2026/{}.py": "Al"},
    "namesakes": {"Jo_12_assignsubmission_file_/{}.py": "Jo 12", "Jo_13_assignsubmission_file_/{}.py": "Jo 13"},
    "a folder for each exercise": {"ann/{}/answer.py": "ann", "bob/{}/main.py": "bob"},
    "browser": {"ann/{} (1).py": "ann", "bob/Copy of {}.py": "bob", "eve/{} - Copy.py": "eve", "al/{} 2.PY": "al"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_read(layout, folder):
    for pattern, student in LAYOUTS[layout].items():
        put(folder, {pattern.format(name, i=i): student.encode() for i, name in enumerate(NAMES)})
    found = collect(folder)
    students = list(LAYOUTS[layout].values())
    assert found.students == sorted(students)
    assert {pair: hand_in.source for pair, hand_in in found.hand_ins.items()} == {
        (student, name): student.encode() for student in students for name in NAMES
    }


CLEAR = (
    *("ex05_softmax", "ex05", "ex5", "EX_05", "Exercise 5", "exercise-05 final", "softmax", "05_softmax"),
    *("5 softmax", "softmax 2", "Softmax", "ex05 (2)", "ex05-1", "ex05_softmax.py", "alice_ex05_softmax"),
    *("Copy of ex5", "ex05_softmax - Copy (3)"),
    *("ex05soft", "ex05_softmax_v2", "2026 ex05"),
)


@pytest.mark.parametrize("stem", CLEAR)
def test_names_that_are_clear(stem):
    assert recognized(f"{stem}.py") == ("ex05_softmax", "")


@pytest.mark.parametrize("name, problem", [("ex05_adam.py", "is it exercise 05 or 08?"), ("ex05.ipynb", "only .py"),
                                           ("ex05_ex06.py", "is it exercise 05 or 06?"), ("5.py", "not an exercise's"),
                                           ("ex99.py", "there is no exercise 99"), ("all.py", "not an exercise's"),
                                           ("ex05.tar.gz", "unpack it"), ("ex05.py.txt", "only .py"),
                                           ("my softmax.py", "not an exercise's")])  # fmt: skip
def test_names_that_are_not(name, problem):
    exercise, why = recognized(name)
    assert exercise == "" and problem in why


def test_nothing_is_missing_in_silence(folder):
    put(folder, {
        f"ann/{FIRST}.py": b"1", f"ann/{FIRST} (1).py": b"2", f"ann/{SECOND}.py": spec.unsolved(SECOND).read_bytes(),
        f"ann/{SECOND} (1).py": b"3", f"ann/old/{NAMES[2]}.py": b"4", f"ann/{NAMES[2]}.py": b"4",
        "ann/ex07_adam.py": b"",
        "ann/ex08.ipynb": b"", "ann/.DS_Store": b"", "ann/__pycache__/x.pyc": b"", "ann/large_ex09.py": b"#" * 300_000,
        "ann/venv/pyvenv.cfg": b"", "ann/venv/ex11.py": b"", "bob.zip": b"not a zip", "ex10.py": b"", "roster.csv": b"",
        "eve/deep.zip/inner.zip": b"", "eve/deep.zip/../../ex12.py": b"5",
    })  # fmt: skip
    (folder / "ann" / "ex13.py").symlink_to("/etc/passwd")
    (folder / "zoe").mkdir()
    found = collect(folder, ignored=[folder / "roster.csv"])
    assert found.students == ["ann", "bob", "eve", "zoe"]
    problems = {name: hand_in.problem for (_, name), hand_in in found.hand_ins.items() if hand_in.problem}
    assert set(problems) == {FIRST, "ex09_adam_memory"}
    assert "which of these is it? ann/ex01_linear_backward (1).py, ann/ex01_linear_backward.py" in problems[FIRST]
    sources = {name[:4]: hand_in.source for (_, name), hand_in in found.hand_ins.items() if not hand_in.problem}
    assert sources == {"ex02": b"3", "ex03": b"4", "ex12": b"5"}
    unread = "\n".join(line for lines in found.unread.values() for line in lines)
    for path in ("ann/ex07_adam.py", "ann/ex08.ipynb", "ann/ex13.py: a link", "ann/venv", "bob/bob.zip",
                 "ex10.py: whose", "eve/deep/inner.zip: unpack"):  # fmt: skip
        assert path in unread
    assert unread.count("\n") == 6 and set(found.unread) == {"ann", "bob", "eve", ""}


def test_a_zip_cannot_overwhelm_the_grader(folder):
    """A bomb, encryption, too many files, names that make patterns slow, a packing that takes memory, much of all."""

    def pack(name: str, members: dict[str, bytes], packing: int = zipfile.ZIP_DEFLATED) -> None:
        with zipfile.ZipFile(folder / f"{name}.zip", "w", packing) as packed:
            for member, content in members.items():
                packed.writestr(member, content)

    pack("ann", {"ex01.py": b"#" * (1 << 26), "ex02.py": RIGHT[SECOND]})
    pack("bob", {f"ex01 ({number}).py": b"" for number in range(handins.MOST_MEMBERS + 1)})
    damaged = bytearray((folder / "ann.zip").read_bytes())
    damaged[damaged.index(b"PK\x01\x02") + 8] |= 1  # the first file is marked as encrypted
    (folder / "eve.zip").write_bytes(damaged)
    pack("mia", {f"{'-1' * 30_000}{number}.py": b"" for number in range(30)} | {"ex03.py": b"3"})
    pack("noa", {"ex01.py": b"1", "ex02.py": b"2"}, zipfile.ZIP_LZMA)
    numbers = [int(spec.number(name)) for name in spec.names()] * 20
    pack("zoe", {f"ex{n} ({i}).py": b"#%d" % i + b"#" * 190_000 for i, n in enumerate(numbers)})
    start = time.monotonic()
    found = collect(folder)
    assert time.monotonic() - start < 10
    assert "more than" in found.hand_ins["ann", FIRST].problem and found.hand_ins["ann", SECOND].source == RIGHT[SECOND]
    assert "unpacked" in found.hand_ins["eve", FIRST].problem and "more than" in found.unread["bob"][0]
    assert len(found.unread["mia"]) == 30 and found.hand_ins["mia", NAMES[2]].source == b"3"
    assert "ordinary zip" in found.hand_ins["noa", FIRST].problem
    assert all(found.hand_ins["zoe", name].problem for name in spec.names())


def test_one_students_own_folder_and_a_class_of_one(folder):
    put(folder, {f"{name}.py": b"1" for name in NAMES})
    assert collect(folder).students == ["class"]
    shutil.rmtree(folder)
    put(folder, {f"ann/{name}.py": b"1" for name in NAMES} | {"ann/old/notes.txt": b""})
    assert collect(folder).students == ["ann"]


# ------------------------------------------------------------------------------------------------- grading


def test_a_messy_class_of_eight(folder, tmp_path, capsys, monkeypatch):
    right = list(RIGHT.items())
    put(folder, {f"ann/{name}.py": source for name, source in right})
    put(folder, {f"bob/hw/ex{i + 1}.py": source for i, (_, source) in enumerate(right)})
    put(folder, {f"carol.zip/mine/{name}.py": source for name, source in right})
    put(folder, {f"dan/{name} (1).py": source for name, source in right} | {f"dan/{SECOND}.py": b"x = 1"})
    put(folder, {f"doejane_LATE_12_5{i}_{name}.py": source for i, (name, source) in enumerate(right)})
    put(folder, {f"Eve Po_7_assignsubmission_file_/{name}.py": source for name, source in right})
    put(folder, {f"=frank_{name}.py": source for name, source in right})
    put(folder, {f"gina/{FIRST}.py": WRONG, "gina/ex02_adam.py": b""})
    put(folder, {f"gina/{NAMES[2]}.py": b"import scipy\n" + right[2][1]})
    out = tmp_path / "out"
    out.mkdir()
    export = out / "export.csv"
    export.write_text(
        'Student,ID,SIS Login ID,Section\n    Points Possible,,,\n"Doe, Jane",12,jdoe,1\n'
        "Ann,3,ann@school.edu,1\nZoe,4,zoe,1\n"
    )
    command = ["grade", str(folder), "--only", "1-6", "--weights", "01=2", "--csv", str(out / "g.csv"),
               "--feedback", str(out / "pages"), "--gradebook", str(export), "--column", "HW 1 (77)"]  # fmt: skip
    assert main(command) == 0
    text = capsys.readouterr().out
    with open(out / "g.csv", encoding="utf-8") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    totals = {student: (row["total"], row["possible"], row["passed"]) for student, row in rows.items()}
    all_of_it = dict.fromkeys(["ann", "bob", "carol", "doejane", "Eve Po", "'=frank"], ("7", "7", "6"))
    assert totals == all_of_it | {"dan": ("6", "7", "5"), "gina": ("1.3333", "7", "0")}
    assert rows["gina"][FIRST] == "1.3333"  # two of three properties hold, and it counts twice
    for line in ("dan 02: which of these is it?", "gina/ex02_adam.py: is it exercise 02 or 08?",
                 "not in the gradebook: =frank; bob; carol; dan; Eve Po; gina", "handed in nothing: Zoe, 4",
                 "=frank, Eve Po, ann, bob, carol, dan, doejane: 01 03 04 05 06"):  # fmt: skip
        assert line in text
    with open(out / "g.details.csv", encoding="utf-8") as file:
        details = {(row["student"], row["exercise"]): row for row in csv.DictReader(file)}
    gina = details["gina", NAMES[2]]
    assert gina["status"] == ERROR and "there is no scipy here" in gina["detail"]
    assert details["gina", ""]["status"] == "not read" and details["dan", SECOND]["status"] == NOT_GRADED
    assert list(csv.reader(io.StringIO((out / "g.import.csv").read_text()))) == [
        ["Student", "ID", "SIS Login ID", "Section", "HW 1 (77)"],
        ["    Points Possible", "", "", "", "7"],
        ["Doe, Jane", "12", "jdoe", "1", "7"],
        ["Ann", "3", "ann@school.edu", "1", "7"],
        ["Zoe", "4", "zoe", "1", ""],
    ]
    assert len(list((out / "pages").glob("[!.]*"))) == 16
    page = (out / "pages" / "gina.html").read_text("utf-8")
    for part in ("dW = dy^T x", "dW is transposed", "x  = (", "a shape: (", "ex02_adam.py", "1.33 of 2", "✓ dx = dy W"):
        assert part in page
    ran, check_source = [], grading.check_source
    monkeypatch.setattr(grading, "check_source", lambda *args: ran.append(args[0]) or check_source(*args))
    assert main(command) == 0
    assert ran == [NAMES[2]] and "42 of 48 results are from" in capsys.readouterr().out  # the error, alone, runs again


def test_a_killed_run_is_continued_and_only_sealed_verdicts_count(folder, tmp_path, monkeypatch):
    put(folder, {f"ann/{FIRST}.py": RIGHT[FIRST], f"bob/{FIRST}.py": WRONG, f"eve/{FIRST}.py": b"1 / 0"})
    put(folder, {f"zoe/{SECOND}.py": RIGHT[SECOND], f"al/{SECOND}.py": spec.unsolved(SECOND).read_bytes()})
    first = graded(folder, NAMES[:2])
    statuses = {("ann", FIRST): PASSED, ("bob", FIRST): FAILED, ("eve", FIRST): ERROR, ("zoe", SECOND): PASSED}
    statuses |= {("al", SECOND): NOT_STARTED, ("al", FIRST): MISSING}
    assert {pair: first[pair].status for pair in statuses} == statuses
    log = tmp_path / "log"
    lines = log.read_bytes().splitlines(keepends=True)
    assert len(lines) == 3  # errors are not kept
    forged = json.dumps([f"{workbook.digest(FIRST, b'1 / 0')} 0", {"status": "passed", "credit": 1.0}]).encode()
    seal, ours = (Log(tmp_path / "a student's log", key)._seal(forged) for key in (b"another key", b"key"))
    (tmp_path / "sealed").write_bytes(ours + b" " + forged)
    assert len(Log(tmp_path / "sealed", b"key").known) == 1  # it would count, if we had sealed it
    log.write_bytes(lines[0] + seal + b" " + forged + b"\n" + lines[1] + lines[2][:80])  # killed within the third line
    ran, check_source = [], grading.check_source
    monkeypatch.setattr(grading, "check_source", lambda *args: ran.append(args[1]) or check_source(*args))
    again = graded(folder, NAMES[:2])
    kept = [line[65:] for line in lines[:2]]
    assert {pair: outcome.status for pair, outcome in again.items()} == {p: o.status for p, o in first.items()}
    assert len(ran) == 2 and b"1 / 0" in ran
    assert [line[65:] + b"\n" for line in log.read_bytes().splitlines()][:2] == kept
    ran.clear()
    put(folder, {f"eve/{FIRST}.py": RIGHT[FIRST]})  # ann's: known
    assert graded(folder, NAMES[:2])["eve", FIRST].status == PASSED and ran == []
    graded(folder, NAMES[:2], fresh=True)
    assert len(ran) == 3  # equal files run once
    ran.clear()
    grading.grade(collect(folder), [FIRST], Log(log, b"key"), 2, LIMITS, seed=7)
    assert len(ran) == 2  # other cases


def test_a_link_in_the_logs_place_is_not_followed(folder, tmp_path):
    other = tmp_path / "other"
    other.write_text("mine")
    (tmp_path / "log").symlink_to(other)
    put(folder, {f"ann/{FIRST}.py": RIGHT[FIRST]})
    assert graded(folder, [FIRST])["ann", FIRST].status == PASSED and other.read_text() == "mine"


def test_the_key_is_made_once_for_this_user_only(folder, tmp_path, monkeypatch):
    key = grading.seal_key()
    file = tmp_path / "home" / ".minilora" / "grading.key"
    assert len(key) == 32 and grading.seal_key() == key == file.read_bytes() and file.stat().st_mode & 0o77 == 0
    monkeypatch.setenv("HOME", str(file))  # not a folder
    assert len(grading.seal_key()) == 32 and grading.seal_key() != grading.seal_key()


def test_python_m_minilora_imports_no_students_numpy(folder):
    put(folder, {f"ann/{FIRST}.py": RIGHT[FIRST], "numpy/__init__.py": b"raise SystemExit('a student')"})
    root = str(Path(spec.__file__).parents[2])
    run = [sys.executable, "-m", "minilora", "grade", ".", "--only", "1"]
    done = subprocess.run(run, cwd=folder, env=os.environ | {"PYTHONPATH": root}, capture_output=True, text=True)
    assert done.returncode == 0 and "ann       +" in done.stdout, done.stderr


def test_outputs_among_the_hand_ins_are_not_hand_ins(folder, monkeypatch):
    put(folder, {f"ann/{FIRST}.py": RIGHT[FIRST]})
    monkeypatch.chdir(folder)
    for _ in range(2):
        assert main(["grade", ".", "--only", "1", "--feedback", "pages"]) == 0
    assert main(["grade", ".", "--only", "1"]) == 0
    assert (folder / "grades.csv").read_text().count("\n") == 2
    assert "pages: pages that minilora wrote" in (folder / "grades.details.csv").read_text()


def test_a_folder_without_hand_ins_is_an_error(folder, capsys):
    put(folder, {"notes.txt": b"", "roster.csv": b""})
    assert main(["grade", str(folder)]) == 2
    assert "holds nothing to grade" in capsys.readouterr().err


def test_a_helper_beside_the_answer_is_not_the_answer(folder):
    put(folder, {f"ann/{FIRST}/{FIRST}.py": b"1", f"ann/{FIRST}/helper.py": b"2", f"ann/{SECOND}/a.py": b"3"})
    put(folder, {f"ann/{SECOND}/b.py": b"4"})
    found = collect(folder)
    assert found.hand_ins["ann", FIRST].source == b"1" and "which of these" in found.hand_ins["ann", SECOND].problem
    assert found.unread == {"ann": [f"ann/{FIRST}/helper.py: its name is not an exercise's"]}


# -------------------------------------------------------------------------------- what teachers and students read


def marked(student: str, detail: str, report: str) -> marks.Marks:
    outcome = Outcome(FAILED, detail, report, {"<b>property</b> | `code`": False, "*other*": True}, 0.5)
    return marks.Marks(student, [Result(student, FIRST, outcome)], {FIRST: 3.0}, ["<i>file</i>: why"])


NASTY = "<script>alert(1)</script>\x1b[2J`````\n# [x](y)\u202e\t=1+1"


def test_nothing_that_a_student_chooses_is_markup():
    each = marked(NASTY, NASTY, f"  property   {NASTY}")
    page, text = feedback.page(each), feedback.markdown(each)
    assert "<script" not in page and "<i>" not in page and "<b>" not in page and "\x1b" not in page + text
    fence = next(line for line in text.splitlines() if line.startswith("``"))
    assert fence == "``````text" and "\u202e" not in text  # longer than any in the report
    assert "\\<script\\>" in text and "1.50 of 3" in text


def test_csv_cells_are_not_formulas():
    for name in ("=cmd|' /C calc'!A0", "+1", "-1", "@x", "\t=1", "a\nb", "\x1b[31m"):
        cell = next(csv.reader(io.StringIO(marks.grades([marked(name, "", "")]).partition("\n")[2])))[0]
        assert cell.isprintable() and cell[0] not in "=+-@\t"


def test_pages_of_names_that_look_alike_are_different_files(tmp_path):
    feedback.write_pages([marked(name, "", "") for name in ("a/b", "a b", "A-B", "../..", "")], tmp_path)
    assert sorted(file.name for file in tmp_path.glob("*.html")) == [
        "A-B-3.html", "a-b-2.html", "a-b.html", "student-2.html", "student.html"
    ]  # fmt: skip


def test_results_for_gradescope(folder, tmp_path, capsys):
    put(folder, {f"{FIRST}.py": WRONG, f"sub/{SECOND}.py": RIGHT[SECOND]})
    out = tmp_path / "results.json"
    assert main(["grade", str(folder), "--only", "1,2", "--weights", "02=3", "--csv", str(tmp_path / "g.csv"),
                 "--gradescope", str(out)]) == 0  # fmt: skip
    results = json.loads(out.read_text())
    assert results["score"] == 3.6667
    assert [(test["score"], test["max_score"], test["status"]) for test in results["tests"]] == [
        (0.6667, 1.0, "failed"),
        (3.0, 3.0, "passed"),
    ]
    assert "dW is transposed" in results["tests"][0]["output"]


def test_one_students_folders_are_not_students(folder, tmp_path, capsys):
    put(folder, {f"old/{FIRST}.py": b"1", f"new/{FIRST}.py": b"2", f"new/{SECOND}.py": RIGHT[SECOND]})
    assert main(["grade", str(folder), "--only", "1,2", "--csv", str(tmp_path / "g.csv"), "--one-student"]) == 0
    assert "class     ?  +       1    1.00 of 2" in capsys.readouterr().out


@pytest.mark.parametrize("option", [["--only", "99"], ["--weights", "1=x"], ["--weights", "1"], ["--only", "3-1"],
                                    ["--exercises", "/nowhere"], ["--csv", "/nowhere/g.csv"]])  # fmt: skip
def test_a_mistaken_option_is_one_line(option, folder, capsys):
    put(folder, {f"ann/{FIRST}.py": b""})
    assert main(["grade", str(folder), *option]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_hints_are_recorded_and_read_from_the_hand_in(folder, tmp_path, monkeypatch, capsys):
    (folder / "ann").mkdir()
    monkeypatch.chdir(folder / "ann")
    assert main(["exercises", "start", "."]) == 0
    for _ in range(2):
        assert main(["hint", "1"]) == 0
    put(folder, {f"ann/{FIRST}.py": RIGHT[FIRST]})
    assert main(["check", "1"]) == 0
    assert main(["hint", "1"]) == 0  # after it was solved: does not count
    assert main(["exercises"]) == 0
    assert "solved with hint 2" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path)
    assert main(["grade", str(folder), "--only", "1"]) == 0
    assert f"ann,{FIRST},passed,,1,1,2," in (tmp_path / "grades.details.csv").read_text()


def test_a_teachers_own_exercises(folder, tmp_path):
    """In a process of its own: `--exercises` holds for a whole process."""
    answer = "import numpy as np\n\n\ndef update_norm(A, B, alpha):\n    return {}\n"
    right, slip = "alpha / len(A) * np.linalg.norm(B @ A)", "alpha * np.linalg.norm(B @ A)"
    put(
        folder,
        {
            f"{student}/ex01_update_norm.py": answer.format(body).encode()
            for student, body in (("ann", right), ("bob", slip))
        },
    )
    put(folder, {"eve/ex1.py": (OWN / "unsolved" / "ex01_update_norm.py").read_bytes()})
    environment = os.environ | {"PYTHONPATH": str(Path(spec.__file__).parents[2])}

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "minilora", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True).stdout

    table = run("grade", str(folder), "--exercises", str(OWN), "--feedback", "pages")
    assert "ann       +       1    1.00 of 1\nbob       x       0    0.00 of 1\neve       .       0" in table
    assert "likely     alpha is not divided by r" in (tmp_path / "pages" / "bob.md").read_text()
    assert "1 exercises are in mine" in run("exercises", "--exercises", str(OWN), "start", "mine")
    script = f"""
from pathlib import Path
from minilora.exercises import spec
spec.use(Path({str(OWN)!r}))
from tests.exercises import matrix
tried = [trial for name in spec.names() for trial in matrix.trials(name)]
print(all(trial.judged_well and (trial.right or trial.recognised) for trial in tried), len(tried))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout == "True 6\n", done.stderr
