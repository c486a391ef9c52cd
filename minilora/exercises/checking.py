"""The verdict on one exercise: properties of many cases, the smallest case that breaks one, the likely slip."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cache, partial

from minilora.exercises import in_process, spec
from minilora.exercises.attempt import Attempt, Failure, Interrupted, attempt
from minilora.exercises.drawing import cases, simpler, told_apart
from minilora.exercises.findings import Finding, equal, shown
from minilora.exercises.in_process import InProcess
from minilora.exercises.sandbox import LIMITS, Gone, Limits, Local, Sandbox, Student, Trouble, printable
from minilora.exercises.slips import likely_slip
from minilora.exercises.spec import Case, Exercise
from minilora.testing.smallest import smallest

SHRINKS = 400  # calls spent on finding a smaller case

PASSED, FAILED, ERROR, NOT_STARTED = "passed", "failed", "error", "not started"
SAME = "equal calls give equal results"


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


def check_source(name: str, source: bytes, limits: Limits = LIMITS, seed: int = 0) -> Verdict:
    """The verdict on a student's source, which runs in its own process (in a browser, which has none, in this one)."""
    start = time.monotonic()

    def sandbox() -> Sandbox | InProcess:
        return (InProcess if in_process.needed() else Sandbox)(f"{name}.py", source, limits)

    with sandbox() as student:
        verdict = check(name, student, seed, sandbox)
    if verdict.status == ERROR and "\n" not in verdict.report:  # the process ended before it could say what it printed
        output = student.output.decode(errors="replace")
        verdict = replace(verdict, report="\n".join([verdict.report, *_printed(output.splitlines()[-8:])]))
    return replace(verdict, seconds=time.monotonic() - start)


Restart = Callable[[], AbstractContextManager[Student]]


def check(name: str, student: Student, seed: int = 0, restart: Restart | None = None) -> Verdict:
    """The verdict on anything that answers calls.  `restart` makes another student of the same source."""
    exercise, drawn = spec.load(name), cases(name, seed)
    attempts = attempted(exercise, drawn, student)
    properties, missing = _properties(_claims(name, seed), attempts), attempts[-1].unstarted
    if missing == set(exercise.functions):
        return Verdict(NOT_STARTED, properties=properties)
    failed = next((i for i, done in enumerate(attempts) if done.failure), None)
    if attempts[-1].gone:
        error = str(attempts[-1].failure and attempts[-1].failure.trouble)
        return Verdict(ERROR, error, f"  error      {error}", properties=properties)
    if failed is not None:
        failure = _smallest(exercise, drawn[failed], attempts[failed].failure, student)
        slip = likely_slip(exercise, drawn, attempts)
        if slip is None and restart and not _fails_from_the_start(exercise, drawn[failed], restart):
            slip = "something is remembered from earlier calls (a global, a cache): in a new process this call is right"
        detail = failure.finding.claim if failure.trouble is None else str(failure.trouble)
        return Verdict(ERROR if failure.trouble else FAILED, detail, _report(failure, slip), properties=properties)
    if missing:
        passed = " and ".join(set(exercise.functions) - missing)
        half = f"half done: {passed} passed, {' and '.join(missing)} is not started"
        return Verdict(FAILED, half, f"  {half}", properties=properties)
    if changed := changes(exercise, drawn, attempts, student, restart):
        properties[changed.finding.claim] = False
        status, detail = FAILED, changed.finding.claim
        if isinstance(changed.trouble, Gone):  # it ran out of time or memory: not the same as a wrong answer
            status, detail = ERROR, str(changed.trouble)
        return Verdict(status, detail, _report(changed, None), properties=properties)
    return Verdict(PASSED, properties=properties)


def attempted(exercise: Exercise, drawn: Sequence[Case], student: Student) -> list[Attempt]:
    """An attempt at each case, until there is no answer any more."""
    attempts: list[Attempt] = []
    started = frozenset[str]()
    for case in drawn:
        attempts.append(attempt(exercise, case, student, started))
        started = attempts[-1].started
        if attempts[-1].unstarted == set(exercise.functions) or attempts[-1].gone:
            break
    return attempts


def changes(
    exercise: Exercise, drawn: Sequence[Case], attempts: list[Attempt], student: Student, restart: Restart | None
) -> Failure | None:
    """A call that was right once but not again, after other calls; or (if there is a seed) differs in a new process."""
    answered = frozenset(exercise.functions)
    for case, other in zip(drawn, [attempts[-1], *attempts], strict=False):
        found = attempt(exercise, case, Interrupted(student, other), answered).failure if other.calls else None
        if found is not None:
            wrong = f"this was right before, but after a call with other arguments: {found.finding.claim}"
            return replace(found, finding=replace(found.finding, claim=SAME, wrong=wrong))
    if restart is not None and ("seed" in exercise.inputs or exercise.hands_on(drawn[0])):
        with restart() as again:
            for function, arguments, result in reversed([*attempts[0].calls, *attempts[-1].calls]):
                try:
                    repeated = again.call(function, *arguments.values())
                except Trouble as trouble:
                    return Failure(Finding(SAME, "in a new process"), function, arguments, trouble)
                finding = equal(SAME, result, repeated, 0.0, "in a new process")
                if not finding.holds:
                    return Failure(finding, function, arguments)
    return None


def _properties(expected: Sequence[Sequence[str]], attempts: list[Attempt]) -> dict[str, bool]:
    """Each property that the right answer shows, and any other that broke: did it hold in every case?"""
    held: dict[str, bool] = {}
    for i, claims in enumerate(expected):
        done = attempts[i] if i < len(attempts) else Attempt()
        held |= {claim: held.get(claim, True) and done.holds(claim) for claim in claims}
        held |= {finding.claim: False for finding in done.findings if not finding.holds}
    return held


@cache
def _claims(name: str, seed: int) -> tuple[tuple[str, ...], ...]:
    """The properties that the right answer shows in each case."""
    exercise = spec.load(name)
    attempts = attempted(exercise, cases(name, seed), Local(exercise.functions))
    return tuple(tuple(finding.claim for finding in done.findings) for done in attempts)


def _smallest(exercise: Exercise, case: Case, first: Failure | None, student: Student) -> Failure:
    """The failure of the smallest case that breaks the same property."""
    assert first is not None

    def fails(case: Case) -> Failure | None:
        found = attempt(exercise, case, student, frozenset(exercise.functions)).failure
        same = found and found.finding.claim == first.finding.claim and not isinstance(found.trouble, Gone)
        return found if same else None

    case, failure = smallest(case, first, partial(simpler, exercise), fails, SHRINKS)
    for telling in told_apart(exercise, case):
        failure = fails(telling) or failure
    return failure


def _fails_from_the_start(exercise: Exercise, case: Case, restart: Restart) -> bool:
    """Does a case fail if it is the first of a new process?"""
    with restart() as student:
        return attempt(exercise, case, student, frozenset(exercise.functions)).failure is not None


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
