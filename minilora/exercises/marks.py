"""From outcomes to marks: points by weight, the table on the screen, and CSV files that other programs read."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from minilora.exercises import spec
from minilora.exercises.checking import ERROR, FAILED, NOT_STARTED, PASSED
from minilora.exercises.grading import MISSING, NOT_GRADED, Result
from minilora.exercises.sandbox import one_line

SIGNS = {PASSED: "+", FAILED: "x", ERROR: "!", NOT_STARTED: ".", MISSING: "-", NOT_GRADED: "?"}
Row = Sequence[object]


@dataclass(frozen=True)
class Marks:
    """One student's results, the weight of each exercise, and the files that were not read: "path: why"."""

    student: str
    results: list[Result]
    weights: Mapping[str, float]
    unread: Sequence[str] = ()

    def points(self, result: Result) -> float:
        """The exercise's weight times the part of its properties that hold."""
        return self.weights[result.exercise] * result.outcome.credit

    @property
    def total(self) -> float:
        return sum(map(self.points, self.results))

    @property
    def possible(self) -> float:
        return sum(self.weights[result.exercise] for result in self.results)

    @property
    def passed(self) -> int:
        return sum(result.outcome.status == PASSED for result in self.results)


def marked(results: Iterable[Result], weights: Mapping[str, float], unread: Mapping[str, Sequence[str]]) -> list[Marks]:
    """The marks of each student."""
    by_student: dict[str, list[Result]] = {}
    for result in results:
        by_student.setdefault(result.student, []).append(result)
    return [Marks(student, theirs, weights, unread.get(student, ())) for student, theirs in by_student.items()]


def select(text: str) -> list[str]:
    """The exercises in "01-08,adam".  ValueError if there is one that does not exist."""
    chosen = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        start, end = spec.find(first), spec.find(last if dash else first)
        if start > end:
            raise ValueError(f"{part!r} is no range of exercises: the smaller number comes first")
        chosen |= {name for name in spec.names() if start <= name <= end}
    return sorted(chosen)


def weights(text: str) -> dict[str, float]:
    """The weight of each exercise in "07=3,20-22=0.5"; 1 for the others."""
    chosen = dict.fromkeys(spec.names(), 1.0)
    for part in filter(None, text.split(",")):
        which, _, weight = part.partition("=")
        if not re.fullmatch(r" *\d+(\.\d+)? *", weight):
            raise ValueError(f"{part!r} is no weight: write exercises and a number, as in 07=3,20-22=0.5")
        chosen |= dict.fromkeys(select(which), float(weight))
    return chosen


def table(marks: Sequence[Marks]) -> str:
    """One line per student, one sign per exercise."""
    names = [result.exercise for result in marks[0].results]
    width = max(len("student"), *(len(one_line(each.student, 40)) for each in marks))
    lines = [f"{'student':<{width}}  {' '.join(map(spec.number, names))}  passed    points"]
    for each in marks:
        signs = " ".join(f"{SIGNS[result.outcome.status]:>2}" for result in each.results)
        points = f"{each.total:6.2f} of {each.possible:g}"
        lines.append(f"{one_line(each.student, 40):<{width}}  {signs}  {each.passed:>6}  {points}")
    return "\n".join([*lines, f"({', '.join(f'{sign} {status}' for status, sign in SIGNS.items())})"])


# ---------------------------------------------------------------------------------------------------- CSV files


def grades(marks: Sequence[Marks]) -> str:
    """CSV, one row per student: total, possible points, exercises passed, then the points in each exercise."""
    names = [result.exercise for result in marks[0].results]
    head: Row = ("student", "total", "possible", "passed", *names)
    rows = (
        (m.student, _number(m.total), _number(m.possible), m.passed, *(_number(m.points(r)) for r in m.results))
        for m in marks
    )
    return _csv([head, *rows])


def details(marks: Sequence[Marks], unread: Mapping[str, Sequence[str]]) -> str:
    """CSV, one row per student and exercise, and one per file that was not read."""
    rows: list[Row] = [("student", "exercise", "status", "detail", "points", "possible", "hints", "seconds")]
    for each in marks:
        for result in each.results:
            outcome, possible = result.outcome, each.weights[result.exercise]
            numbers = (_number(each.points(result)), _number(possible), "" if result.hints is None else result.hints)
            rows.append((each.student, result.exercise, outcome.status, outcome.detail, *numbers, outcome.seconds))
    rows += [(student, "", "not read", line, "", "", "", "") for student, lines in unread.items() for line in lines]
    return _csv(rows)


def gradebook(marks: Sequence[Marks], exported: str, column: str) -> tuple[str, list[str], list[str]]:
    """A learning platform's own CSV export with the totals in a column, new or not, ready for its import.

    A student is found by name, login or e-mail, in any column or the first two together, whatever their case and
    punctuation. A row "Points Possible", as Canvas has it, gets the possible points. Returns the CSV, the students who
    are not in it or twice, and those in it who handed in nothing: their cell stays empty.
    """
    rows = list(csv.reader(io.StringIO(exported.lstrip("\ufeff"))))
    if not rows:
        raise ValueError("the gradebook is empty: export it from your learning platform as CSV")
    by_key = {_plain(each.student): each for each in marks}
    place = rows[0].index(column) if column in rows[0] else len(rows[0])
    absent, matches = [], {each.student: [] for each in marks}  # type: tuple[list[str], dict[str, list[int]]]
    for i, row in enumerate(rows):
        row += [""] * (place + 1 - len(row))
        cells = [_plain(cell) for cell in row[:place]]
        mails = [_plain(cell.partition("@")[0]) for cell in row[:place] if "@" in cell]
        keys = [*cells, *mails, "".join(cells[:2]), "".join(reversed(cells[:2]))]
        found = next((by_key[key] for key in keys if key and key in by_key), None)
        if i == 0:
            row[place] = column
        elif "pointspossible" in cells:
            row[place] = _number(marks[0].possible)
        elif found is not None:
            matches[found.student].append(i)
        elif any(cells):
            absent.append(", ".join(cell for cell in row[:2] if cell))
    for each in marks:
        if len(matches[each.student]) == 1:
            rows[matches[each.student][0]][place] = _number(each.total)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue(), [student for student, found in matches.items() if len(found) != 1], absent


def _plain(text: str) -> str:
    return re.sub(r"[\W_]", "", text).casefold()


def _number(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".")


def _csv(rows: Iterable[Row]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_cell(cell) for cell in row] for row in rows)
    return text.getvalue().encode("utf-8", "replace").decode()


def _cell(cell: object) -> object:
    """A cell that no spreadsheet runs as a formula and no terminal obeys: students choose their names and errors."""
    if not isinstance(cell, str):
        return cell
    text = one_line(cell, 1000)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
