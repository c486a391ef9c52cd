"""The verdict on one exercise: properties tried on drawn cases, the smallest case that breaks one, the likely slip.

hypothesis draws the cases, the same ones each time: what passes at home passes at school. As in
`minilora.testing`, a failing case is then made smaller by us, because hypothesis does not know that dropping an
input, say, takes a column out of x, W0 and A at once.
"""

from __future__ import annotations

import contextlib
import textwrap
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from minilora.exercises import spec
from minilora.exercises.sandbox import (
    LIMITS,
    Changed,
    Gone,
    Limits,
    Local,
    NotStarted,
    Sandbox,
    Student,
    Trouble,
    one_line,
)
from minilora.exercises.spec import Broken, Case, Exercise, Indices, OneOf

CASES = 30
SHRINKS = 400  # calls spent on finding a smaller case
COMPARED = 12  # failing cases on which a slip must do what the student did

PASSED, FAILED, ERROR, NOT_STARTED = "passed", "failed", "error", "not started"
ACCEPTED = "every input is accepted"


@dataclass(frozen=True)
class Verdict:
    """What came out.  `detail` is one line (which property, or which error); `report` the lines a student reads."""

    status: str
    detail: str = ""
    report: str = ""
    seconds: float = 0.0


def check_source(name: str, source: bytes, limits: Limits = LIMITS) -> Verdict:
    """The verdict on a student's source, which runs in its own process."""
    cases(name)  # drawn before the student's clock starts: the first draw imports hypothesis
    start = time.monotonic()
    with Sandbox(f"{name}.py", source, limits) as student:
        verdict = check(name, student)
    printed = student.printed.decode(errors="replace")
    if printed.strip() and verdict.status in (FAILED, ERROR):
        lines = [one_line(line, 100) for line in printed.splitlines()[:8]]
        verdict = replace(verdict, report=verdict.report + "\n  printed    " + "\n             ".join(lines))
    return replace(verdict, seconds=time.monotonic() - start)


def check(name: str, student: Student) -> Verdict:
    """The verdict on anything that answers calls."""
    exercise = spec.load(name)
    try:
        for case in cases(name):
            if (broken := failure(exercise, case, student)) is not None:
                return _explained(name, exercise, case, broken, student)
    except NotStarted:
        return Verdict(NOT_STARTED)
    return Verdict(PASSED)


def failure(exercise: Exercise, case: Case, student: Student) -> Broken | None:
    """The first property that the student's functions break on a case.  `NotStarted` passes through."""
    asked: dict[str, Any] = {}

    def call(function: str, /, **arguments: Any) -> Any:
        asked.update(function=function, arguments=arguments)
        try:
            return student.call(function, *arguments.values())
        except NotStarted:
            raise
        except Changed as change:
            changed = dict(enumerate(arguments)).get(change.index, "s")
            raise Broken("inputs are left alone", note=f"{function} changed its argument {changed}") from None
        except Trouble as trouble:
            raise Broken(ACCEPTED, trouble=trouble) from None

    judge = exercise.judge or spec.compare_with_right
    try:
        with np.errstate(all="ignore"):
            judge(exercise, case, call)
    except NotStarted:
        raise
    except Exception as error:  # a judge may trip over a result of a kind that no one foresaw
        broken = error if isinstance(error, Broken) else Broken("returns what its docstring says")
        broken.function, broken.arguments = asked.get("function", ""), asked.get("arguments", {})
        return broken
    return None


# ------------------------------------------------------------------------------------------------- the cases

_drawing = threading.Lock()


def cases(name: str) -> tuple[Case, ...]:
    """The cases that an exercise is tried on."""
    with _drawing:
        return _drawn(name)


@cache
def _drawn(name: str) -> tuple[Case, ...]:
    from hypothesis import HealthCheck, Phase, given, settings

    from minilora.testing.smallest import no_hypothesis_folder

    drawn: list[Case] = []

    @settings(
        max_examples=CASES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(_strategy(spec.load(name)))
    def draw(case: Case) -> None:
        drawn.append(case)

    with no_hypothesis_folder():
        draw()
    return tuple(drawn)


def _strategy(exercise: Exercise) -> Any:
    """Cases of an exercise: sizes of every kind, numbers in general position, zeros among them in some.

    hypothesis draws what a mistake may hide behind (equal sizes hide a wrong transpose, a size of 1 a wrong sum,
    float64 an overflow) and a seed for the numbers, which it would draw one by one, and often the same.
    """
    from hypothesis import strategies as st

    axes = sorted({axis for source in exercise.inputs.values() for axis in _axes(source)} | set(exercise.sizes))

    @st.composite
    def drawn_cases(draw: Any) -> Case:
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        sizes = _sizes(exercise, axes, draw(st.sampled_from(("different", "equal", "any"))), rng)
        dtype = draw(st.sampled_from((np.float64, np.float32)))
        zeros = draw(st.sampled_from((0.0, 0.0, 0.3)))
        values: dict[str, Any] = {}
        for name, source in exercise.inputs.items():
            if isinstance(source, OneOf):
                values[name] = draw(st.sampled_from(list(source.values)))
                continue
            shape = [sizes[axis] for axis in source.axes.split()]
            if isinstance(source, Indices):
                values[name] = rng.integers(0, sizes[source.of], shape)
            else:
                numbers = rng.integers(-2000, 2001, shape) / 1000 * (rng.random(shape) >= zeros)
                values[name] = (numbers * source.unit).astype(dtype)
        return Case(sizes, dtype, values)

    return drawn_cases()


def _sizes(exercise: Exercise, axes: list[str], kind: str, rng: np.random.Generator) -> dict[str, int]:
    """A size for each axis: as different as their ranges allow, equal, or any."""
    order, same = rng.permutation(len(axes)), int(rng.integers(2, 4))
    sizes = {}
    for axis, place in zip(axes, order.tolist(), strict=True):
        low, high = exercise.sizes.get(axis, (1, 4))
        different = low + place % (high - low + 1)
        sizes[axis] = {
            "different": different,
            "equal": min(max(same, low), high),
            "any": int(rng.integers(low, high + 1)),
        }[kind]
    return sizes


def _axes(source: spec.Input) -> list[str]:
    """The axes that an input has or points into."""
    if isinstance(source, OneOf):
        return []
    return source.axes.split() + ([source.of] if isinstance(source, Indices) else [])


# ----------------------------------------------------------------------------------------- the smallest failure


def _smallest(exercise: Exercise, case: Case, broken: Broken, student: Student) -> tuple[Case, Broken]:
    """A case that breaks the same property while none of its simplifications does."""
    left = SHRINKS
    while True:
        for simpler in _simplifications(exercise, case):
            left -= 1
            found = failure(exercise, simpler, student) if left > 0 else None
            if found is not None and found.property == broken.property and not isinstance(found.trouble, Gone):
                case, broken = simpler, found
                break
        else:
            return case, broken


def _simplifications(exercise: Exercise, case: Case) -> Iterator[Case]:
    """The case with one thing simpler, the bold changes first."""
    for axis, size in case.sizes.items():
        for i in range(size if size > exercise.sizes.get(axis, (1, 4))[0] else 0):
            yield _without(exercise, case, axis, i)
    if case.dtype is not np.float64:
        yield replace(case, dtype=np.float64, values=spec.wide(dict(case.values)))
    for name, source in exercise.inputs.items():
        if isinstance(source, OneOf) and case[name] != source.values[0]:
            yield replace(case, values={**case.values, name: source.values[0]})
    for name, source in exercise.inputs.items():
        for at in np.ndindex(np.shape(case[name]) if not isinstance(source, OneOf) else (0,)):
            for number in _simpler_numbers(float(case[name][at])):
                simpler = case[name].copy()
                simpler[at] = number
                yield replace(case, values={**case.values, name: simpler})


def _without(exercise: Exercise, case: Case, axis: str, i: int) -> Case:
    """The case without index i of an axis; what pointed at i or behind it points one lower."""
    values = dict(case.values)
    for name, source in exercise.inputs.items():
        if isinstance(source, OneOf):
            continue
        names = source.axes.split()
        if axis in names:
            values[name] = np.delete(values[name], i, names.index(axis))
        if isinstance(source, Indices) and source.of == axis:
            values[name] = np.where(values[name] >= max(i, 1), values[name] - 1, values[name])
    return replace(case, sizes={**case.sizes, axis: case.sizes[axis] - 1}, values=values)


def _simpler_numbers(number: float) -> tuple[float, ...]:
    """Of 0, 1 and the number rounded to one digit, those that are simpler than it, in this order."""
    ladder = (0.0, 1.0, float(f"{number:.0e}"))
    return ladder[: ladder.index(number)] if number in ladder else ladder


# --------------------------------------------------------------------------------------------- the explanation


def _explained(name: str, exercise: Exercise, case: Case, broken: Broken, student: Student) -> Verdict:
    """The verdict on a failure, with the smallest case and the likely slip."""
    if isinstance(broken.trouble, Gone):
        return Verdict(ERROR, str(broken.trouble), f"  error      {broken.trouble}")
    likely = _likely_slip(name, exercise, student, broken)
    case, broken = _smallest(exercise, case, broken, student)
    report = _report(case, broken, likely)
    if broken.trouble is not None:
        return Verdict(ERROR, str(broken.trouble), report)
    return Verdict(FAILED, broken.property, report)


def _likely_slip(name: str, exercise: Exercise, student: Student, first: Broken) -> str | None:
    """A slip is recognised by making it: does it fail as the student does, on all of several cases?"""
    failing = []
    for case in sorted(cases(name), key=lambda case: -sum(case.sizes.values())):
        broken = failure(exercise, case, student)
        if broken is not None and isinstance(broken.trouble, Gone):
            return None
        if broken is not None:
            failing.append((case, broken))
        if len(failing) == COMPARED:
            break
    for mistake in exercise.wrong:
        local = Local(exercise.wrong_functions(mistake))
        if failing and all(_same(failure(exercise, case, local), broken) for case, broken in failing):
            return mistake
    return None


def _same(slip: Broken | None, broken: Broken) -> bool:
    """Do two failures show the same thing?"""
    if slip is None or (slip.property, slip.function, slip.note) != (broken.property, broken.function, broken.note):
        return False
    if slip.trouble is not None or broken.trouble is not None:
        return slip.trouble is not None and broken.trouble is not None and _kind(slip) == _kind(broken)
    with contextlib.suppress(Broken, TypeError, ValueError):
        spec.check_equal("", _without_nan(slip.got), _without_nan(broken.got), _nearness(slip.got))
        return True
    return False


def _kind(broken: Broken) -> str:
    """The kind of an error: "ValueError" of "line 3: ValueError: ..."."""
    words = str(broken.trouble).split(": ")
    return words[1] if words[0].startswith("line ") and len(words) > 1 else words[0]


def _without_nan(value: Any) -> Any:
    """The value with 0 for each NaN and large numbers for infinities, so that equal failures compare equal."""
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(part) for part in value]
    if isinstance(value, (np.ndarray, float)):
        return np.nan_to_num(np.asarray(value, np.float64))
    return value


def _nearness(value: Any) -> Any:
    """Four digits of the largest number: a hint needs no more."""
    if isinstance(value, dict):
        return {key: _nearness(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_nearness(part) for part in value]
    if isinstance(value, (np.ndarray, int, float)) and np.size(value):
        return 1e-4 * float(np.nan_to_num(np.abs(np.asarray(value, np.float64)).max()))
    return 0.0


def _report(case: Case, broken: Broken, likely: str | None) -> str:
    """The lines that a student reads."""
    width = max((len(name) for name in broken.arguments), default=0)
    inputs = [f"{name:<{width}} = {spec.shown(value)}" for name, value in broken.arguments.items()]
    lines = [("property", [broken.property])]
    if broken.trouble is not None:
        lines = [("error", [str(broken.trouble)])]
    if broken.note:
        lines.append(("", [broken.note]))
    if inputs:
        lines.append(("with", [f"{broken.function}(...), the smallest failing input found:", *inputs]))
    if broken.expected is not None:
        expected, got = spec.shown(broken.expected), spec.shown(broken.got)
        lines += [("expected", [expected]), ("got", [got if got != expected else f"{got}, but for its last digits"])]
    if likely:
        lines.append(("likely", [likely]))
    return "\n".join(
        textwrap.fill(text, 118, initial_indent=f"  {label if i == 0 else '':<11}", subsequent_indent=" " * 13)
        for label, texts in lines
        for i, text in enumerate(texts)
    )
