"""Grading a folder of submissions: in parallel, each exercise in a process of its own, every result kept at once.

Results go, one JSON line each, into a log beside the table. A run that was killed is continued from it; so is one
after which a student handed in something new, for a result counts only for the very file it was made from.
"""

from __future__ import annotations

import csv
import io
import json
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

from minilora.exercises import spec
from minilora.exercises.checking import ERROR, FAILED, NOT_STARTED, PASSED, check_file
from minilora.exercises.sandbox import Gone, Limits, one_line, read_source
from minilora.exercises.workbook import UNSOLVED, digest

MISSING = "missing"
SIGNS = {PASSED: "+", FAILED: "x", ERROR: "!", NOT_STARTED: ".", MISSING: "-"}


@dataclass(frozen=True)
class Result:
    """One exercise of one student.  `detail` says which property failed, or which error it was."""

    student: str
    exercise: str
    status: str
    detail: str
    seconds: float
    digest: str


def students(submissions: Path) -> list[str]:
    """The folders in a folder of submissions.  ValueError if there is none."""
    if not submissions.is_dir():
        raise ValueError(f"{submissions} is no folder: give one that holds a folder for each student")
    names = sorted(entry.name for entry in submissions.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise ValueError(f"{submissions} holds no folders: each student's files belong in a folder of their own")
    return names


def grade_one(file: Path, student: str, name: str, limits: Limits) -> Result:
    """Run one file.  Whatever goes wrong in here is this result and no other's."""
    key = source_digest(file, name)
    if not os.path.lexists(file):
        return Result(student, name, MISSING, "there is no such file", 0.0, key)
    try:
        if read_source(file) == (UNSOLVED / f"{name}.py").read_bytes():
            return Result(student, name, NOT_STARTED, "", 0.0, key)
        verdict = check_file(name, file, limits)
    except Gone as trouble:
        return Result(student, name, ERROR, str(trouble), 0.0, key)
    except Exception as error:  # ours, not the student's: say so, and grade on
        return Result(student, name, ERROR, one_line(f"the grader failed: {type(error).__name__}: {error}"), 0.0, key)
    return Result(student, name, verdict.status, verdict.detail, round(verdict.seconds, 2), key)


def source_digest(file: Path, name: str) -> str:
    """What a result hangs on; "" for a file that cannot be read."""
    try:
        return digest(name, read_source(file))
    except Gone:
        return ""


def read_log(log: Path) -> dict[tuple[str, str], Result]:
    """The results in a log.  A last line that a killed run left half written is passed over."""
    results = {}
    for line in log.read_text("utf-8", errors="replace").splitlines() if log.exists() else []:
        try:
            result = Result(**json.loads(line))
        except (ValueError, TypeError):
            continue
        results[result.student, result.exercise] = result
    return results


def grade(
    submissions: Path,
    log: Path,
    jobs: int,
    limits: Limits,
    progress: Callable[[int, int], None] = lambda done, all: None,
) -> list[Result]:
    """Every exercise of every student, from the log where it is known; new results are added to the log."""
    known = read_log(log)
    pairs = [(student, name) for student in students(submissions) for name in spec.names()]
    files = {(student, name): submissions / student / f"{name}.py" for student, name in pairs}
    results = {
        pair: known[pair]
        for pair in pairs
        if pair in known and known[pair].digest == source_digest(files[pair], pair[1]) and known[pair].digest
    }
    writing = threading.Lock()
    with open(log, "a", encoding="utf-8") as lines, ThreadPoolExecutor(jobs) as pool:
        if lines.tell():
            lines.write("\n")  # after a line that was cut off

        def task(pair: tuple[str, str]) -> None:
            result = grade_one(files[pair], *pair, limits)
            with writing:
                lines.write(json.dumps(asdict(result)) + "\n")
                lines.flush()
                results[pair] = result

        futures = [pool.submit(task, pair) for pair in pairs if pair not in results]
        try:
            for future in as_completed(futures):
                future.result()
                progress(len(results), len(pairs))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [results[pair] for pair in pairs]


# ---------------------------------------------------------------------------------------------------- the tables


def write_csv(results: Iterable[Result], path: Path) -> None:
    """One row for each student and exercise: student, exercise, status, detail, seconds."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("student", "exercise", "status", "detail", "seconds"))
    for result in results:
        cells = (result.student, result.exercise, result.status, result.detail)
        rows.writerow((*map(_no_formula, cells), f"{result.seconds:.2f}"))
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text.getvalue(), "utf-8", errors="replace")
    os.replace(temporary, path)


def _no_formula(cell: str) -> str:
    """A cell that no spreadsheet will compute: names and errors are the students' to choose."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@")) else cell


def table(results: list[Result]) -> str:
    """One line for each student, one sign for each exercise."""
    names = spec.names()
    by_student: dict[str, dict[str, str]] = {}
    for result in results:
        by_student.setdefault(result.student, {})[result.exercise] = result.status
    width = max(len("student"), *(len(one_line(student, 40)) for student in by_student))
    header = " ".join(spec.number(name) for name in names)
    lines = [f"{'student':<{width}}  {header}  passed"]
    for student, statuses in by_student.items():
        signs = " ".join(f"{SIGNS[statuses[name]]:>2}" for name in names)
        passed = sum(status == PASSED for status in statuses.values())
        lines.append(f"{one_line(student, 40):<{width}}  {signs}  {passed:>3} of {len(names)}")
    legend = ", ".join(f"{sign} {status}" for status, sign in SIGNS.items())
    return "\n".join([*lines, f"({legend})"])
