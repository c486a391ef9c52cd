"""A student's functions tried on one case: every finding, and the first failure with the call that shows it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minilora.exercises.findings import Finding
from minilora.exercises.sandbox import Changed, Gone, NotStarted, Student, Trouble
from minilora.exercises.spec import Case, Exercise


@dataclass(frozen=True)
class Failure:
    """A property that does not hold, and the call that shows it."""

    finding: Finding
    function: str
    arguments: Mapping[str, Any]
    trouble: Trouble | None = None
    printed: str = ""


@dataclass
class Attempt:
    """What came of one case.  `function`, `arguments` and `printed` are those of the last call."""

    function: str = ""
    printed: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    failure: Failure | None = None
    started: frozenset[str] = frozenset()
    unstarted: frozenset[str] = frozenset()
    calls: list[tuple[str, Mapping[str, Any], Any]] = field(default_factory=list)  # function, arguments, result

    def add(self, finding: Finding, trouble: Trouble | None = None) -> None:
        self.findings.append(finding)
        if not finding.holds and self.failure is None:
            self.failure = Failure(finding, self.function, self.arguments, trouble, self.printed)

    def holds(self, claim: str) -> bool:
        found = [finding.holds for finding in self.findings if finding.claim == claim]
        return bool(found) and all(found)

    @property
    def gone(self) -> bool:
        """Did the student's process end?"""
        return self.failure is not None and isinstance(self.failure.trouble, Gone)


def attempt(exercise: Exercise, case: Case, student: Student, started: frozenset[str] = frozenset()) -> Attempt:
    """Try a student's functions on one case.  A function in `started` has answered before, so it is not unstarted."""
    done = Attempt(started=started)

    def call(function: str, /, **arguments: Any) -> Any:
        done.function, done.arguments = function, arguments
        try:
            try:
                result = student.call(function, *arguments.values())
            finally:
                done.printed = student.printed
        except Changed as change:
            done.add(_changed(function, change.index, list(arguments)))
            result = change.result
        done.started |= {function}
        done.calls.append((function, arguments, result))
        return result

    for judge in exercise.judges(case):
        try:
            with np.errstate(all="ignore"):
                for finding in judge(case, call):
                    done.add(finding)
        except Trouble as trouble:
            if isinstance(trouble, NotStarted) and done.function not in started:
                done.unstarted |= {done.function}
            else:
                done.add(Finding("every input is accepted", _kind(trouble)), trouble)
        except Exception:  # a judge trips over a result of a kind that nobody expected
            if done.failure is None:
                done.add(Finding("returns what its docstring says", ""))
    return done


def _changed(function: str, index: int, arguments: list[str]) -> Finding:
    if index == -1:
        wrong = f"{function} changed what it had returned before: make a new array in each call"
        return Finding("earlier results stay as they are", wrong)
    if index == -2:
        return Finding("every array has memory of its own", f"{function} returned arrays that share memory: copy them")
    return Finding("inputs are left alone", f"{function} changed its argument {arguments[index]}")


def _kind(trouble: Trouble) -> str:
    """The kind of an error: "ValueError" of "line 3: ValueError: ..."."""
    words = str(trouble).split(": ")
    return words[1] if words[0].startswith("line ") and len(words) > 1 else words[0]


class Interrupted:
    """A student whose every call comes after a call of another case, in reversed order, whose result is ignored."""

    def __init__(self, student: Student, other: Attempt) -> None:
        self.student, self.others, self.printed = student, itertools.cycle(reversed(other.calls)), ""

    def call(self, function: str, *args: Any) -> Any:
        other, arguments, _ = next(self.others)
        with suppress(Trouble):
            self.student.call(other, *arguments.values())
        try:
            return self.student.call(function, *args)
        finally:
            self.printed = self.student.printed
