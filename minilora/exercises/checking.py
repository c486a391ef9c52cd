"""The verdict on one exercise: properties of many cases, the smallest case that breaks one, the likely slip."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial

from minilora.exercises import spec
from minilora.exercises.attempt import Attempt, Failure, attempt
from minilora.exercises.drawing import cases, simpler, told_apart
from minilora.exercises.findings import shown
from minilora.exercises.sandbox import LIMITS, Gone, Limits, Local, Sandbox, Student, printable
from minilora.exercises.slips import likely_slip
from minilora.exercises.spec import Case
from minilora.testing.smallest import smallest

SHRINKS = 400  # calls spent on finding a smaller case

PASSED, FAILED, ERROR, NOT_STARTED = "passed", "failed", "error", "not started"


@dataclass(frozen=True)
class Verdict:
    """The result.  `detail` is one line: the property that broke, or the error; `report` is what a student reads.

    `properties` tells of each property of the exercise, and of any other that broke, whether it held in all cases.
    """

    status: str
    detail: str = ""
    report: str = ""
    seconds: float = 0.0
    properties: Mapping[str, bool] = field(default_factory=dict)

    @property
    def credit(self) -> float:
        """The part of the properties that hold, from 0 to 1."""
        return sum(self.properties.values()) / max(1, len(self.properties))


def check_source(name: str, source: bytes, limits: Limits = LIMITS) -> Verdict:
    """The verdict on a student's source, which runs in its own process."""
    start = time.monotonic()
    with Sandbox(f"{name}.py", source, limits) as student:
        verdict = check(name, student)
    if verdict.status == ERROR and "\n" not in verdict.report:  # the process ended before it could say what it printed
        output = student.output.decode(errors="replace")
        verdict = replace(verdict, report="\n".join([verdict.report, *_printed(output.splitlines()[-8:])]))
    return replace(verdict, seconds=time.monotonic() - start)


def check(name: str, student: Student) -> Verdict:
    """The verdict on anything that answers calls."""
    exercise, started = spec.load(name), frozenset[str]()
    attempts: list[Attempt] = []
    for case in cases(name):
        attempts.append(attempt(exercise, case, student, started))
        started = attempts[-1].started
        if attempts[-1].unstarted == set(exercise.functions) or attempts[-1].gone:
            break
    properties, missing = _properties(name, attempts), attempts[-1].unstarted
    if any(done.failure for done in attempts):
        status, detail, report = _explained(name, attempts, student)
        return Verdict(status, detail, report, properties=properties)
    if not missing:
        return Verdict(PASSED, properties=properties)
    if missing == set(exercise.functions):
        return Verdict(NOT_STARTED, properties=properties)
    passed = " and ".join(set(exercise.functions) - missing)
    half = f"half done: {passed} passed, {' and '.join(missing)} is not started"
    return Verdict(FAILED, half, f"  {half}", properties=properties)


def _properties(name: str, attempts: list[Attempt]) -> dict[str, bool]:
    """Each property that the right answer shows, and any other that broke: did it hold in every case?"""
    held: dict[str, bool] = {}
    for i, claims in enumerate(_right_answer(name)):
        done = attempts[i] if i < len(attempts) else Attempt()
        held |= {claim: held.get(claim, True) and done.holds(claim) for claim in claims}
        held |= {finding.claim: False for finding in done.findings if not finding.holds}
    return held


@cache
def _right_answer(name: str) -> tuple[tuple[str, ...], ...]:
    """The properties that the right answer shows in each case."""
    exercise = spec.load(name)
    attempts = (attempt(exercise, case, Local(exercise.functions)) for case in cases(name))
    return tuple(tuple(finding.claim for finding in done.findings) for done in attempts)


def _explained(name: str, attempts: list[Attempt], student: Student) -> tuple[str, str, str]:
    """Status, detail and report of the first failure, with the smallest case and the likely slip."""
    exercise = spec.load(name)
    if attempts[-1].failure and attempts[-1].gone:
        error = str(attempts[-1].failure.trouble)
        return ERROR, error, f"  error      {error}"
    case, first = next((case, done.failure) for case, done in zip(cases(name), attempts, strict=False) if done.failure)

    def fails(case: Case) -> Failure | None:
        found = attempt(exercise, case, student, frozenset(exercise.functions)).failure
        same = found and found.finding.claim == first.finding.claim and not isinstance(found.trouble, Gone)
        return found if same else None

    case, failure = smallest(case, first, partial(simpler, exercise), fails, SHRINKS)
    for telling in told_apart(exercise, case):
        failure = fails(telling) or failure
    report = _report(failure, likely_slip(name, attempts))
    if failure.trouble is not None:
        return ERROR, str(failure.trouble), report
    return FAILED, failure.finding.claim, report


def _report(failure: Failure, likely: str | None) -> str:
    """The lines that a student reads."""
    finding, width = failure.finding, max((len(name) for name in failure.arguments), default=0)
    inputs = [f"{name:<{width}} = {shown(value)}" for name, value in failure.arguments.items()]
    lines = [("property", [finding.claim]), ("", [finding.wrong or ""])]
    if failure.trouble is not None:
        lines = [("error", [str(failure.trouble)])]
    if inputs:
        lines.append(("with", [f"{failure.function}(...), the smallest failing input found:", *inputs]))
    if finding.expected is not None:
        expected, got = shown(finding.expected), shown(finding.got)
        lines += [("expected", [expected]), ("got", [got if got != expected else f"{got}, but for its last digits"])]
    if likely:
        lines.append(("likely", [likely]))
    text = [
        textwrap.fill(text, 118, initial_indent=f"  {label if i == 0 else '':<11}", subsequent_indent=" " * 13)
        for label, texts in lines
        for i, text in enumerate(texts)
        if text
    ]
    return "\n".join([*text, *_printed(failure.printed.splitlines()[:8])])


def _printed(lines: list[str]) -> list[str]:
    """Lines that a student's code printed, safe to print."""
    return [f"  {'' if i else 'printed':<11}{printable(line)[:100]}" for i, line in enumerate(lines)]
