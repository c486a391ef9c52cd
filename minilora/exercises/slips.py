"""The likely slip.  It is recognised by making it: does everything come out as the student's did, in every case?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minilora.exercises.attempt import Attempt, attempt
from minilora.exercises.findings import Finding, equal, map_values
from minilora.exercises.sandbox import Local
from minilora.exercises.spec import Case, Exercise


def likely_slip(exercise: Exercise, drawn: Sequence[Case], attempts: list[Attempt]) -> str | None:
    """The slip with the same findings as the student's, numbers included; else the only one that breaks the same
    properties, if the exercise has a judge of its own (whose results are random, or not the only right ones)."""
    candidates = []
    for slip in exercise.slips:
        local, close, exact = Local(exercise.with_slip(slip)), True, True
        for case, student in zip(drawn, attempts, strict=False):
            findings = attempt(exercise, case, local, frozenset(exercise.functions)).findings
            exact = exact and _same(findings, student.findings, numbers=True)
            close = close and (exact or (exercise.judge is not None and _same(findings, student.findings)))
            if not close:
                break
        if exact:
            return slip
        if close:
            candidates.append(slip)
    return candidates[0] if len(candidates) == 1 else None


def _same(ours: list[Finding], theirs: list[Finding], numbers: bool = False) -> bool:
    """Do the same properties hold, and break in the same way?"""
    if [(one.claim, one.holds) for one in ours] != [(one.claim, one.holds) for one in theirs]:
        return False
    broken = [pair for pair in zip(ours, theirs, strict=True) if not pair[0].holds]
    return not numbers or all(one.wrong == other.wrong and _near(one.got, other.got) for one, other in broken)


def _near(ours: Any, theirs: Any) -> bool:
    """Are two wrong results the same to four digits of the largest number?  A hint needs no more."""
    ours, theirs = map_values(_finite, ours), map_values(_finite, theirs)
    try:
        return equal("", ours, theirs, map_values(_four_digits, ours)).holds
    except (TypeError, ValueError):
        return False


def _finite(value: Any) -> Any:
    """0 for NaN and large numbers for infinities, so that equal results compare equal."""
    return np.nan_to_num(np.asarray(value, np.float64)) if isinstance(value, (np.ndarray, float)) else value


def _four_digits(value: Any) -> float:
    numeric = isinstance(value, (np.ndarray, int, float)) and np.size(value) > 0
    return 1e-4 * float(np.abs(np.asarray(value, np.float64)).max()) if numeric else 0.0
