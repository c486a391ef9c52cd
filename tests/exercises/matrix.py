"""The checks on trial: they must accept every right answer and reject every wrong one.

    python -m tests.exercises.matrix

Right answers are the reference of each exercise and its solutions (unless a teacher has deleted them). Wrong answers
are the catalogue's, which students really give; each must also be recognised as the slip it is, because the student
reads that.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from minilora.exercises import spec, worker
from minilora.exercises.checking import ERROR, FAILED, PASSED, Verdict, check
from minilora.exercises.sandbox import Local

SOLUTIONS = Path(__file__).parents[2] / "tutorials" / "exercises" / "solutions"


@dataclass(frozen=True)
class Trial:
    """One answer and its verdict."""

    exercise: str
    answer: str
    right: bool
    verdict: Verdict

    @property
    def rejected(self) -> bool:
        return self.verdict.status in (FAILED, ERROR)

    @property
    def judged_well(self) -> bool:
        return self.verdict.status == PASSED if self.right else self.rejected

    @property
    def recognised(self) -> bool:
        """Did the report name the right slip?"""
        flat = " ".join(self.verdict.report.split())
        return f"likely {self.answer}" in flat


def right_answers(name: str) -> dict[str, dict[str, Callable]]:
    """The answers that must pass, each as its functions by name."""
    answers = {"the reference": dict(spec.load(name).functions)}
    for file in SOLUTIONS.rglob(f"{name}.py"):
        answers[f"the one in {file.parent.name}"] = worker.load(file.read_bytes(), file.name)
    return answers


def trials(name: str) -> list[Trial]:
    """Every answer to one exercise, tried."""
    exercise = spec.load(name)
    right = [Trial(name, answer, True, check(name, Local(f))) for answer, f in right_answers(name).items()]
    wrong = [Trial(name, slip, False, check(name, Local(exercise.with_slip(slip)))) for slip in exercise.slips]
    return right + wrong


def table(tried: list[Trial]) -> str:
    """One line per exercise, followed by the answers that were misjudged."""
    lines = [f"{'exercise':<30}{'right: accepted':>17}{'wrong: rejected':>17}{'recognised':>12}"]
    for name in dict.fromkeys(trial.exercise for trial in tried):
        right = [trial for trial in tried if trial.exercise == name and trial.right]
        wrong = [trial for trial in tried if trial.exercise == name and not trial.right]
        accepted, rejected = sum(t.judged_well for t in right), sum(t.judged_well for t in wrong)
        recognised = sum(t.recognised for t in wrong)
        cells = (f"{accepted} of {len(right)}", f"{rejected} of {len(wrong)}", f"{recognised} of {len(wrong)}")
        lines.append(f"{name:<30}{cells[0]:>17}{cells[1]:>17}{cells[2]:>12}")
        for trial in right + wrong:
            if not trial.judged_well:
                lines.append(f"    MISJUDGED  {trial.answer}: {trial.verdict.status} {trial.verdict.detail}")
    return "\n".join(lines)


if __name__ == "__main__":
    tried = [trial for name in spec.names() for trial in trials(name)]
    print(table(tried))
    sys.exit(not all(trial.judged_well for trial in tried))
