"""Right and wrong answers, written from the exercises' texts without reading the checks: one file per exercise
and, in `second`, another by other writers.

A file is a prelude, then answers, each under a comment `# right: what it does` or `# wrong: what is wrong`. A wrong
answer is code, or edits of the first right answer, one to a comment: `# old code -> new code`, where `\\n` is a line's
end. `# wrong in another process:` marks what a check within one process cannot see.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "answers"
HEADER = re.compile(r"^# (right|wrong|wrong in another process): (.*)\n", re.MULTILINE)


@dataclass(frozen=True)
class Answer:
    """One answer, as a student would hand it in."""

    exercise: str
    kind: str
    text: str
    source: str


def answers(exercise: str) -> list[Answer]:
    """The answers to one exercise.  ValueError if an edit finds nothing to edit."""
    return [answer for file in sorted(FOLDER.rglob(f"{exercise}.py")) for answer in answers_in(file)]


def answers_in(file: Path) -> list[Answer]:
    prelude, *parts = HEADER.split(file.read_text("utf-8"))
    found: list[Answer] = []
    for kind, text, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        code = [line for line in body.splitlines() if line.strip()]
        if all(line.startswith("# ") for line in code):
            body = edited(found[0].source.removeprefix(prelude), [line[2:] for line in code])
        found.append(Answer(file.stem, kind, text, prelude + body))
    return found


def edited(source: str, edits: list[str]) -> str:
    for edit in edits:
        old, _, new = edit.replace("\\n", "\n").partition(" ->")
        if old not in source:
            raise ValueError(f"there is no {old!r} to edit")
        source = source.replace(old, new.removeprefix(" "))
    return source
