"""The commands of the classroom: `minilora exercises`, `check`, `hint` and `grade`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minilora.cli.arguments import add_command, positive_int
from minilora.cli.files import check_out
from minilora.exercises import spec

if TYPE_CHECKING:
    from minilora.exercises.checking import Verdict
    from minilora.exercises.workbook import Workbook

POLL_SECONDS = 0.3


def add_commands(commands: Any) -> None:
    """Add the four commands to the subparsers of `minilora`."""

    command = partial(add_command, commands)
    p = command(run_exercises, "list the exercises, your score, and what comes next", "minilora exercises")
    actions = p.add_subparsers(metavar="ACTION")
    action = partial(add_command, actions)
    p = action(run_start, "copy the unsolved files into a folder", "minilora exercises start my-exercises")
    p.add_argument("folder", type=Path, metavar="DIR", help="existing files are left alone")
    p = action(run_reset, "restore one unsolved file (yours is kept under another name)", "minilora exercises reset 08")
    p.add_argument("exercise", metavar="NUMBER")

    p = command(run_check, "check your answers to exercises", "minilora check 08")
    p.add_argument("exercises", nargs="*", metavar="NUMBER", help="default: every exercise you have started")
    p.add_argument("--watch", action="store_true", help="check each file whenever you save it, until Ctrl-C")

    p = command(run_hint, "show the next of three hints for an exercise", "minilora hint 08")
    p.add_argument("exercise", nargs="?", metavar="NUMBER", help="default: the first unsolved one")

    p = command(run_grade, "grade a folder of submissions", "minilora grade SUBMISSIONS --csv grades.csv")
    p.add_argument("submissions", type=Path, metavar="SUBMISSIONS", help="a folder that holds one folder per student")
    p.add_argument("--csv", type=Path, default=Path("grades.csv"), metavar="FILE", help="default: grades.csv")
    p.add_argument(
        "--jobs",
        type=positive_int,
        default=os.cpu_count() or 2,
        help="how many files to grade at once (default: %(default)s)",
    )
    p.add_argument(
        "--seconds", type=positive_int, default=1, help="computing time allowed per file (default: %(default)s)"
    )


def _workbook() -> Workbook:
    """The student's folder."""
    from minilora.exercises import workbook

    return workbook.find()


# ------------------------------------------------------------------------------------------------- for students


def run_exercises(a: argparse.Namespace) -> None:
    """Print the list: what is solved and what comes next."""
    book = _workbook()
    lesson = 0
    for name, verdict in book.verdicts().items():
        exercise = spec.load(name)
        if exercise.lesson != lesson:
            lesson = exercise.lesson
            print(f"lesson {lesson}")
        state = {"passed": "solved", "not started": ""}.get(verdict.status, f"{verdict.status}: {verdict.detail}")
        line = f"  {spec.number(name)}  {exercise.title:<42}{exercise.minutes:>3} min   {state}"
        print(line if len(line) <= 118 else f"{line[:115]}...")
    print(score(book))


def score(book: Workbook) -> str:
    """ "3 of 27 solved" and what to do next."""
    from minilora.exercises.checking import PASSED

    verdicts = book.verdicts()
    solved = sum(verdict.status == PASSED for verdict in verdicts.values())
    bar = "#" * solved + "." * (len(verdicts) - solved)
    name = book.next_unsolved()
    if name is None:
        return f"[{bar}] all {len(verdicts)} solved: well done"
    exercise = spec.load(name)
    return (
        f"[{bar}] {solved} of {len(verdicts)} solved\n"
        f"next: {spec.number(name)}, {exercise.title} (lesson {exercise.lesson}, {exercise.minutes} minutes)\n"
        f"      edit {book.file(name)}, then  minilora check {spec.number(name)}"
    )


def run_start(a: argparse.Namespace) -> None:
    from minilora.exercises import workbook

    copied = workbook.start(a.folder)
    exercises = sum(name.startswith("ex") for name in copied)
    stayed = f", {len(spec.names()) - exercises} were already there" if exercises < len(spec.names()) else ""
    print(f"{exercises} exercises are in {a.folder}{stayed}")
    print(f"next: cd {a.folder}, then  minilora exercises")


def run_reset(a: argparse.Namespace) -> None:
    name, book = spec.find(a.exercise), _workbook()
    kept = book.reset(name)
    print(f"restored {book.file(name)}" + (f"; yours is now {kept}" if kept else ""))


def run_check(a: argparse.Namespace) -> None:
    """Check the named exercises, or all started ones.  The exit code is 1 unless all of them pass."""
    from minilora.exercises.checking import NOT_STARTED, PASSED

    book = _workbook()
    names = [spec.find(text) for text in a.exercises]
    if a.watch:
        watch(book, names or spec.names())
        return
    if not names:
        started = [name for name, verdict in book.verdicts().items() if verdict.status != NOT_STARTED]
        names = [name for name in started if book.file(name).exists()]
    verdicts = {name: book.verdict(name, again=True) for name in names}
    shown = False
    for name, verdict in verdicts.items():
        print(described(book, name, verdict, whole=bool(a.exercises) or not shown))
        shown = shown or verdict.status != PASSED
    print(score(book), flush=True)
    if any(verdict.status != PASSED for verdict in verdicts.values()):
        sys.exit(1)


def described(book: Workbook, name: str, verdict: Verdict, whole: bool = True) -> str:
    """What a student reads about one exercise; `whole` adds the smallest failing input."""
    from minilora.exercises.checking import NOT_STARTED, PASSED

    line = f"{spec.number(name)} {spec.load(name).title}: {verdict.status}"
    if verdict.status == NOT_STARTED:
        return f"{line} (edit {book.file(name)} and remove its `raise NotImplementedError`)"
    if verdict.status == PASSED:
        return line
    if not whole:
        return f"{line}: {verdict.detail}"
    return f"{line}\n{verdict.report}\n  stuck?     minilora hint {spec.number(name)}"


def watch(book: Workbook, names: list[str]) -> None:
    """Check each file when it is saved, until Ctrl-C."""
    print(score(book))
    print(f"watching {book.path.absolute()}: each file you save is checked; Ctrl-C stops", flush=True)
    saved = {name: _saved(book, name) for name in names}
    try:
        while True:
            time.sleep(POLL_SECONDS)
            for name in names:
                now = _saved(book, name)
                if now is not None and now != saved[name]:
                    print(f"\n{described(book, name, book.verdict(name, again=True))}")
                    print(score(book), flush=True)
                saved[name] = now
    except KeyboardInterrupt:
        print("\nstopped watching")


def _saved(book: Workbook, name: str) -> tuple[int, int] | None:
    """When a file was last saved, and its size; None while an editor replaces it."""
    try:
        status = book.file(name).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def run_hint(a: argparse.Namespace) -> None:
    from minilora.exercises.workbook import HINTS

    book = _workbook()
    name = spec.find(a.exercise) if a.exercise else book.next_unsolved()
    if name is None:
        print("everything is solved: you need no hint")
        return
    count, hint = book.hint(name)
    more = f"next: minilora hint {spec.number(name)}" if count < HINTS else "the last one"
    print(f"{spec.number(name)} {spec.load(name).title}, hint {count} of {HINTS} ({more}):\n  {hint}")


# ------------------------------------------------------------------------------------------------- for teachers


def run_grade(a: argparse.Namespace) -> None:
    """Grade, print the table, write the CSV.  After an interruption, the same command continues."""
    from minilora.exercises import grading
    from minilora.exercises.sandbox import Limits

    check_out(a.csv)
    log = a.csv.with_name(f"{a.csv.name}.jsonl")
    start = time.monotonic()

    def progress(done: int, all: int) -> None:
        if sys.stderr.isatty() or done == all:
            print(f"\r{done} of {all} graded, {time.monotonic() - start:.0f} s", end="", file=sys.stderr, flush=True)

    limits = Limits(cpu_seconds=a.seconds, wall_seconds=15.0 * a.seconds)
    try:
        results = grading.grade(a.submissions, log, a.jobs, limits, progress)
    except KeyboardInterrupt:
        print(f"\nresults so far are in {log}: the same command continues from there", file=sys.stderr)
        raise
    print(file=sys.stderr)
    grading.write_csv(results, a.csv)
    print(grading.table(results))
    print(f"wrote {a.csv}, one row per student and exercise (a later run continues from {log})")
