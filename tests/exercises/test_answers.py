"""Answers written from the exercises' texts alone: every right one passes, every wrong one does not."""

from contextlib import nullcontext

import pytest

from minilora.exercises import checking, spec, worker
from minilora.exercises.checking import PASSED, check, check_source
from minilora.exercises.sandbox import Local
from tests.exercises.answer_files import Answer, answers

ALL = [answer for name in spec.names() for answer in answers(name)]


def judged_well(answer: Answer, status: str) -> bool:
    return (status == PASSED) == (answer.kind == "right")


def test_each_exercise_has_at_least_four_right_answers_and_twelve_wrong_ones():
    kinds = {name: [answer.kind for answer in ALL if answer.exercise == name] for name in spec.names()}
    assert {name for name, of in kinds.items() if of.count("right") < 4 or len(of) - of.count("right") < 12} == set()


def loaded(answer: Answer) -> Local:
    return Local(worker.load(answer.source.encode(), f"{answer.exercise}.py"))


@pytest.mark.parametrize("exercise", spec.names())
def test_right_answers_pass_and_wrong_ones_do_not(exercise, monkeypatch):
    """What a report says beyond the verdict, the smallest case and the likely slip, is tested elsewhere."""
    monkeypatch.setattr(checking, "SHRINKS", 1)
    monkeypatch.setattr(checking, "likely_slip", lambda exercise, drawn, attempts: None)
    wrong_verdicts = []
    for answer in ALL:
        if answer.exercise == exercise and answer.kind in ("right", "wrong"):
            verdict = check(exercise, loaded(answer), restart=lambda answer=answer: nullcontext(loaded(answer)))
            if not judged_well(answer, verdict.status):
                wrong_verdicts.append(f"{answer.kind}, {answer.text}: {verdict.status}\n{verdict.report}")
    assert wrong_verdicts == []


@pytest.mark.slow
@pytest.mark.parametrize("answer", ALL, ids=lambda answer: f"{answer.exercise[:4]} {answer.text}")
def test_an_answer_in_a_process_of_its_own(answer):
    assert judged_well(answer, check_source(answer.exercise, answer.source.encode()).status)
