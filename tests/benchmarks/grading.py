"""`python -m tests.benchmarks.grading`: what it costs to grade a class of 30, six of them hostile in all their files.

CPU seconds are those of the grader and its workers together: unlike wall time, they hardly depend on what else the
machine is doing, and divided by the number of cores they are the least that an idle machine needs.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections import Counter
from pathlib import Path

from minilora.exercises import grading, marks, spec
from minilora.exercises.checking import ERROR, FAILED, NOT_STARTED, PASSED
from minilora.exercises.handins import collect
from minilora.exercises.sandbox import LIMITS

SOLUTIONS = Path(__file__).parents[2] / "tutorials" / "exercises" / "solutions"
CLASS = 30

# What the functions of a file do instead -> what the table must say of each.
HOSTILE = {
    "endless loop": ("while True: pass", "s of computing"),
    "crash": ("import os; os.abort()", "crashed (SIG"),
    "sleeper": (
        "import time, threading\n"
        "    try: time.sleep(3600)\n"
        "    except PermissionError: lock = threading.Lock(); lock.acquire(); lock.acquire()",
        "of waiting",
    ),
    "10 GB": ("return np.ones(10 * 2**30, np.uint8)", "MemoryError"),
    "endless printing": ("while True: print('passed' * 100)", "stopped after printing"),
    "edits the checks": (f"open({str(Path(spec.__file__))!r}, 'a').write('broken')", "may not use files"),
}
EXPECTED = {"wrong": {FAILED, ERROR}, "half": {PASSED, NOT_STARTED}, "right": {PASSED}}
DOUBLED = "\n\n{name} = lambda *args, right={name}: twice(right(*args))\n"
TWICE = """

def twice(value):
    if isinstance(value, (tuple, list)):
        return type(value)(twice(part) for part in value)
    if isinstance(value, dict):
        return {key: twice(part) for key, part in value.items()}
    return value * 2 + 1 if isinstance(value, (int, float, np.ndarray, np.generic)) else None
"""


def hand_in(folder: Path) -> None:
    """Write the 30 submissions, each into a folder "NUMBER KIND".

    Six are hostile, six have wrong numbers everywhere, six have solved half, twelve have solved everything.
    """
    for i in range(CLASS):
        kind = (*HOSTILE, *["wrong"] * 6, *["half"] * 6, *["right"] * 12)[i]
        student = f"{i:02d} {kind}"
        (folder / student).mkdir()
        for count, name in enumerate(spec.names()):
            file = f"{name}.py"
            right = next(SOLUTIONS.rglob(file) if i % 2 else SOLUTIONS.glob(file)).read_text("utf-8")
            right += f"\n# student {i}\n"  # equal files would run once
            functions = list(spec.load(name).functions)
            if kind in HOSTILE:
                text = "import numpy as np\n" + "".join(f"def {f}(*args):\n    {HOSTILE[kind][0]}\n" for f in functions)
            elif kind == "wrong":
                text = right + "\n\nimport numpy as np\n" + TWICE + "".join(DOUBLED.format(name=f) for f in functions)
            elif kind == "half" and count % 2:
                text = spec.unsolved(name).read_text("utf-8")
            else:
                text = right
            (folder / student / file).write_text(text, "utf-8")


def as_expected(result: grading.Result) -> bool:
    kind, outcome = result.student[3:], result.outcome
    if kind in HOSTILE:
        return outcome.status == ERROR and HOSTILE[kind][1] in outcome.detail
    return outcome.status in EXPECTED[kind]


def cpu_seconds() -> float:
    """Of this process and of those that it has ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.grading", description=__doc__.split("\n")[0])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 2)
    jobs = parser.parse_args().jobs
    checks = Path(spec.__file__).read_bytes()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "submissions"
        folder.mkdir()
        hand_in(folder)
        cpu, clock = cpu_seconds(), time.monotonic()
        log = grading.Log(Path(temporary) / "log", b"key")
        results, _ = grading.grade(collect(folder), spec.names(), log, jobs, LIMITS)
        cpu, clock = cpu_seconds() - cpu, time.monotonic() - clock
    print(marks.table(marks.marked(results, marks.weights(""), {})))
    wrong = [result for result in results if not as_expected(result)]
    for result in wrong:
        print(f"UNEXPECTED {result}")
    if Path(spec.__file__).read_bytes() != checks:
        raise SystemExit("the checks were edited")
    by_kind: Counter[str] = Counter()
    for result in results:
        by_kind[result.student[3:]] += result.outcome.seconds  # type: ignore[assignment]
    for kind, seconds in by_kind.items():
        print(f"{kind:<20}{seconds:8.1f} s with its processes")
    honest = max((r for r in results if r.student.endswith("right")), key=lambda r: r.outcome.seconds)
    print(f"slowest right answer: {honest.exercise}, {honest.outcome.seconds:.2f} s by the clock")
    print(f"CPU {cpu:.1f} s, by the clock {clock:.1f} s with {jobs} jobs on {os.cpu_count()} cores")
    if wrong:
        raise SystemExit(f"{len(wrong)} unexpected results")


if __name__ == "__main__":
    main()
