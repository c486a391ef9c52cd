"""The checks on trial: they must accept every right answer and reject every wrong one.

    python -m minilora.exercises.matrix [SOLUTIONS]

Right answers are the reference of each exercise and, if a folder of solutions is given, its files and those of
its folder `another_way`. Wrong answers are those of the catalogue, which students really give; a wrong answer
must also be recognised as the slip that it is, for that is what a student reads.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from minilora.exercises import spec, worker
from minilora.exercises.checking import ERROR, FAILED, PASSED, Verdict, check
from minilora.exercises.sandbox import Local


@dataclass(frozen=True)
class Trial:
    """One answer and what the checks said of it."""

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
        """Was the wrong answer named as what it is?"""
        flat = " ".join(self.verdict.report.split())
        return f"likely {self.answer}" in flat


def right_answers(name: str, solutions: Path | None) -> dict[str, dict[str, Callable]]:
    """The answers that must pass, each as its functions by name."""
    answers = {"the reference": dict(spec.load(name).functions)}
    if solutions is not None:
        for answer, file in (("the solution", solutions), ("another way", solutions / "another_way")):
            answers[answer] = worker.load(str(file / f"{name}.py"), f"{name}.py")
    return answers


def trials(name: str, solutions: Path | None = None) -> list[Trial]:
    """Every answer to one exercise, tried."""
    exercise = spec.load(name)
    right = [
        Trial(name, answer, True, check(name, Local(functions)))
        for answer, functions in right_answers(name, solutions).items()
    ]
    wrong = [
        Trial(name, mistake, False, check(name, Local(exercise.wrong_functions(mistake)))) for mistake in exercise.wrong
    ]
    return right + wrong


def table(tried: list[Trial]) -> str:
    """One line an exercise, and below it each answer that was misjudged."""
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


def main(arguments: list[str]) -> int:
    """Print the table; 0 if every answer was judged well."""
    solutions = Path(arguments[0]) if arguments else None
    tried = [trial for name in spec.names() for trial in trials(name, solutions)]
    print(table(tried))
    return 0 if all(trial.judged_well for trial in tried) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
