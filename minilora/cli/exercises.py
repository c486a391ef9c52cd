"""The commands of the classroom: `minilora exercises`, `check`, `hint` and `grade`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minilora.cli.arguments import Commands, Parser, add_command, positive_int, seed
from minilora.cli.files import check_out
from minilora.exercises import spec

if TYPE_CHECKING:
    from minilora.exercises.checking import Verdict
    from minilora.exercises.grading import Result
    from minilora.exercises.handins import Collected
    from minilora.exercises.marks import Marks
    from minilora.exercises.workbook import Workbook

POLL_SECONDS = 0.3
MOST_NOTES = 30  # lines of one kind; the details have them all


def add_commands(commands: Commands) -> None:
    """Add the four commands to the subparsers of `minilora`."""

    def command(*args: Any) -> Parser:
        added = add_command(commands, *args)
        own = "a teacher's own exercises: a folder with catalogue/ and unsolved/ (default: minilora's)"
        added.add_argument("--exercises", type=Path, metavar="DIR", dest="own", help=own)
        return added

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

    p = command(run_grade, "grade a folder of hand-ins", "minilora grade SUBMISSIONS --only 01-08 --feedback pages")
    p.add_argument("submissions", type=Path, metavar="SUBMISSIONS", help="a folder or zip with the students' files")
    p.add_argument("--csv", type=Path, default=Path("grades.csv"), metavar="FILE", help="default: grades.csv")
    help = "the assigned exercises, as in 01-08,13 (default: all)"
    p.add_argument("--only", default="", metavar="NUMBERS", help=help)
    p.add_argument("--weights", default="", metavar="LIST", help="points, as in 07=3,20-22=0.5 (default: 1 each)")
    p.add_argument("--feedback", type=Path, metavar="DIR", help="write a page for each student into a folder")
    p.add_argument("--gradebook", type=Path, metavar="FILE", help="the platform's own CSV export, to be filled in")
    p.add_argument("--column", default="minilora", help="the column of the gradebook to fill (default: %(default)s)")
    p.add_argument("--gradescope", type=Path, metavar="FILE", help="write one student's results.json")
    p.add_argument("--one-student", action="store_true", help="all files are one student's, as with --gradescope")
    p.add_argument("--seed", type=seed, default=0, help="other cases than students have at home (default: 0, theirs)")
    p.add_argument("--fresh", action="store_true", help="run everything again, whatever the log of earlier runs holds")
    help = "how many files to grade at once (default: %(default)s)"
    p.add_argument("--jobs", type=positive_int, default=os.cpu_count() or 2, help=help)
    help = "computing time allowed per file (default: %(default)s)"
    p.add_argument("--seconds", type=positive_int, default=1, help=help)


def _workbook(a: argparse.Namespace) -> Workbook:
    """The student's folder."""
    from minilora.exercises import workbook

    _use_exercises(a)
    return workbook.find()


def _use_exercises(a: argparse.Namespace) -> None:
    if a.own is not None:
        spec.use(a.own)


# ------------------------------------------------------------------------------------------------- for students


def run_exercises(a: argparse.Namespace) -> None:
    """Print the list: what is solved and what comes next."""
    book = _workbook(a)
    lesson = 0
    for name, verdict in book.verdicts().items():
        exercise = spec.load(name)
        if exercise.lesson != lesson:
            lesson = exercise.lesson
            print(f"lesson {lesson}")
        solved = f"solved with hint {hints}" if (hints := book.hints_needed(name)) else "solved"
        state = {"passed": solved, "not started": ""}.get(verdict.status, f"{verdict.status}: {verdict.detail}")
        line = f"  {spec.number(name)}  {exercise.title:<42}{exercise.minutes:>3} min   {state}"
        print(line if len(line) <= 118 else f"{line[:115]}...")
    print(score(book))


def score(book: Workbook) -> str:
    """ "3 of 36 solved" and what to do next."""
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

    _use_exercises(a)
    copied = workbook.start(a.folder)
    exercises = sum(name.startswith("ex") for name in copied)
    stayed = f", {len(spec.names()) - exercises} were already there" if exercises < len(spec.names()) else ""
    print(f"{exercises} exercises are in {a.folder}{stayed}")
    print(f"next: cd {a.folder}, then  minilora exercises")


def run_reset(a: argparse.Namespace) -> None:
    book = _workbook(a)
    name = spec.find(a.exercise)
    kept = book.reset(name)
    print(f"restored {book.file(name)}" + (f"; yours is now {kept}" if kept else ""))


def run_check(a: argparse.Namespace) -> None:
    """Check the named exercises, or all started ones.  The exit code is 1 unless all of them pass."""
    from minilora.exercises.checking import NOT_STARTED, PASSED

    book = _workbook(a)
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
    saved = {name: _saved(book, name) for name in names}
    print(score(book))
    print(f"watching {book.path.absolute()}: each file you save is checked; Ctrl-C stops", flush=True)
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

    book = _workbook(a)
    name = spec.find(a.exercise) if a.exercise else book.next_unsolved()
    if name is None:
        print("everything is solved: you need no hint")
        return
    count, hint = book.hint(name)
    more = f"next: minilora hint {spec.number(name)}" if count < HINTS else "the last one"
    print(f"{spec.number(name)} {spec.load(name).title}, hint {count} of {HINTS} ({more}):\n  {hint}")


# ------------------------------------------------------------------------------------------------- for teachers


def run_grade(a: argparse.Namespace) -> None:
    """Collect, grade, print the table, write the files.  After an interruption, the same command continues."""
    from minilora.exercises import fence, handins, marks

    _use_exercises(a)
    weights = marks.weights(a.weights)
    exercises = marks.select(a.only) if a.only else spec.names()
    written = {kind: a.csv.with_suffix(f".{kind}") for kind in ("details.csv", "import.csv", "log")}
    for path in filter(None, (a.csv, *written.values(), a.gradescope)):
        check_out(path)
    if a.feedback:
        a.feedback.mkdir(parents=True, exist_ok=True)
    exported = a.gradebook.read_text("utf-8-sig", "replace") if a.gradebook else ""
    ours = [path for path in (a.csv, *written.values(), a.gradescope, a.gradebook, a.feedback) if path]
    found = handins.collect(a.submissions, a.one_student or bool(a.gradescope), ours)
    if lacking := fence.lacking():
        print(f"minilora: warning: {lacking}", file=sys.stderr)
    results = _graded(a, found, exercises, written["log"])
    marked = marks.marked(results, weights, found.unread)
    print(marks.table(marked))
    for line in _notes(found, exercises, results):
        print(line)
    _write(a, marked, found, written["details.csv"])
    if a.gradebook:
        _fill_gradebook(a, marked, exported, written["import.csv"])


def _graded(a: argparse.Namespace, found: Collected, exercises: list[str], log_file: Path) -> list[Result]:
    """The results, from the log or new."""
    from minilora.exercises import grading
    from minilora.exercises.sandbox import Limits

    start = time.monotonic()

    def progress(done: int, all: int) -> None:
        if sys.stderr.isatty() or done == all:
            print(f"\r{done} of {all} graded, {time.monotonic() - start:.0f} s", end="", file=sys.stderr, flush=True)

    limits = Limits(cpu_seconds=a.seconds, idle_seconds=a.seconds, wall_seconds=15.0 * a.seconds)
    log = grading.Log(log_file, grading.seal_key(), a.fresh)
    try:
        results, reused = grading.grade(found, exercises, log, a.jobs, limits, a.seed, progress)
    except KeyboardInterrupt:
        print(f"\nresults so far are in {log_file}: the same command continues from there", file=sys.stderr)
        raise
    print(file=sys.stderr)
    if reused:
        print(f"{reused} of {len(results)} results are from {log_file}; --fresh runs everything again")
    return results


def _notes(found: Collected, exercises: list[str], results: list[Result]) -> list[str]:
    """What a teacher should look at: files that were not graded or not read, and equal ones."""
    from minilora.exercises.grading import NOT_GRADED, identical
    from minilora.exercises.sandbox import one_line

    missed = [result for result in results if result.outcome.status == NOT_GRADED]
    left = [f"{r.student} {spec.number(r.exercise)}: {r.outcome.detail}" for r in missed]
    groups = identical({pair: hand_in for pair, hand_in in found.hand_ins.items() if pair[1] in exercises})
    equal = [f"{', '.join(students)}: {' '.join(map(spec.number, names))}" for students, names in groups]
    unread = [line for lines in found.unread.values() for line in lines]
    lines = []
    for title, items in (("not graded", left), ("not read", unread), ("identical but for comments", equal)):
        shown = [f"  {one_line(item, 200)}" for item in items[:MOST_NOTES]]
        more = [f"  and {len(items) - MOST_NOTES} more"] if len(items) > MOST_NOTES else []
        lines += [f"{title}:", *shown, *more] if items else []
    return lines


def _write(a: argparse.Namespace, marked: list[Marks], found: Collected, details: Path) -> None:
    from minilora.exercises import feedback, grading, marks

    grading.replace_file(a.csv, marks.grades(marked).encode())
    grading.replace_file(details, marks.details(marked, found.unread).encode())
    print(f"wrote {a.csv} (one row per student) and {details} (one row per exercise)")
    if a.feedback:
        feedback.write_pages(marked, a.feedback)
        print(f"wrote a page for each student, as .html and .md, into {a.feedback}")
    if a.gradescope:
        grading.replace_file(a.gradescope, feedback.gradescope(marked[0]).encode())
        print(f"wrote {a.gradescope}")


def _fill_gradebook(a: argparse.Namespace, marked: list[Marks], exported: str, filled: Path) -> None:
    from minilora.exercises import grading, marks
    from minilora.exercises.sandbox import one_line

    text, unknown, absent = marks.gradebook(marked, exported, a.column)
    grading.replace_file(filled, text.encode())
    print(f"wrote {filled}: {a.gradebook} with the totals in the column {a.column!r}")
    for title, names in (("not in the gradebook", unknown), ("handed in nothing", absent)):
        print(one_line(f"{title}: {'; '.join(names) or 'nobody'}", 2000))
