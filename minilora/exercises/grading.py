"""Grade a folder of submissions: in parallel, one process per file, every result saved as soon as it is known.

Results go into a log beside the table, one JSON line each. Running the same command again continues from the log,
whether the first run was killed or students have handed in new files: a result counts only for the bytes it was
made from.
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
from minilora.exercises.checking import ERROR, FAILED, NOT_STARTED, PASSED, check_source
from minilora.exercises.sandbox import Gone, Limits, one_line, read_source
from minilora.exercises.workbook import UNSOLVED, digest

MISSING = "missing"
SIGNS = {PASSED: "+", FAILED: "x", ERROR: "!", NOT_STARTED: ".", MISSING: "-"}


@dataclass(frozen=True)
class Result:
    """One student's result on one exercise.  `detail` is the property that failed, or the error."""

    student: str
    exercise: str
    status: str
    detail: str
    seconds: float
    digest: str


def students(submissions: Path) -> list[str]:
    """The folders in a folder of submissions.  ValueError if there are none."""
    if not submissions.is_dir():
        raise ValueError(f"{submissions} is not a folder: give one that holds a folder for each student")
    names = sorted(entry.name for entry in submissions.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise ValueError(f"{submissions} holds no folders: put each student's files in a separate folder")
    return names


def grade_one(file: Path, student: str, name: str, limits: Limits, known: Result | None = None) -> Result:
    """Read one file once and grade what was read, unless it is what `known` was made from.

    Whatever goes wrong affects this result only.
    """
    if not os.path.lexists(file):
        return Result(student, name, MISSING, "there is no such file", 0.0, "")
    try:
        source = read_source(file)
    except Gone as trouble:
        return Result(student, name, ERROR, str(trouble), 0.0, "")
    key = digest(name, source)
    if known is not None and known.digest == key:
        return known
    if source == (UNSOLVED / f"{name}.py").read_bytes():
        return Result(student, name, NOT_STARTED, "", 0.0, key)
    try:
        verdict = check_source(name, source, limits)
    except Exception as error:  # our fault, not the student's: say so, and go on grading
        return Result(student, name, ERROR, one_line(f"the grader failed: {type(error).__name__}: {error}"), 0.0, key)
    return Result(student, name, verdict.status, verdict.detail, round(verdict.seconds, 2), key)


def read_log(log: Path) -> dict[tuple[str, str], Result]:
    """The results in a log.  Skips a last line that a killed run left half written."""
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
    """Every exercise of every student: from the log if known, else graded and added to the log."""
    known = read_log(log)
    pairs = [(student, name) for student in students(submissions) for name in spec.names()]
    results: dict[tuple[str, str], Result] = {}
    writing = threading.Lock()
    with open(log, "a", encoding="utf-8") as lines, ThreadPoolExecutor(jobs) as pool:
        if lines.tell():
            lines.write("\n")  # after a line that was cut off

        def task(pair: tuple[str, str]) -> None:
            student, name = pair
            result = grade_one(submissions / student / f"{name}.py", student, name, limits, known.get(pair))
            with writing:
                if result is not known.get(pair):
                    lines.write(json.dumps(asdict(result)) + "\n")
                    lines.flush()
                results[pair] = result

        futures = [pool.submit(task, pair) for pair in pairs]
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
    """One row per student and exercise: student, exercise, status, detail, seconds."""
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
    """A cell that no spreadsheet runs as a formula: students choose their names and errors."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@")) else cell


def table(results: list[Result]) -> str:
    """One line per student, one sign per exercise."""
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
