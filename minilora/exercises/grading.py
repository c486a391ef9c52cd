"""Grade a class: in parallel, one process per file, every outcome saved as soon as it is known.

Outcomes go into a log, one line each. The same command continues from it, whether the first run was killed or students
have handed in new files: an outcome belongs to the bytes that were run and to the checks that ran them. Each line is
sealed with a key from the teacher's home, so that a line that a student wrote counts for nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import re
import secrets
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path

from minilora.exercises.checking import ERROR, FAILED, NOT_STARTED, PASSED, check_source
from minilora.exercises.handins import Collected, HandIn
from minilora.exercises.sandbox import Limits, one_line
from minilora.exercises.workbook import digest, untouched

MISSING, NOT_GRADED = "missing", "not graded"


@dataclass(frozen=True)
class Outcome:
    """What came of one file.  `detail` is the property that failed or the error; `report` is what the student reads."""

    status: str
    detail: str = ""
    report: str = ""
    properties: Mapping[str, bool] = field(default_factory=dict)
    credit: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class Result:
    """One student's outcome in one exercise, and the hints that the student took, if the hand-in tells."""

    student: str
    exercise: str
    outcome: Outcome
    hints: int | None = None


class Log:
    """Outcomes by digest, from a file; what is added is written at once.  Use it as a context manager."""

    def __init__(self, path: Path, key: bytes, fresh: bool = False) -> None:
        """`fresh`: forget what is in the file.  Lines without our seal, and a last one cut off, are dropped."""
        self.path, self.key = path, key
        lines = [] if fresh or path.is_symlink() or not path.is_file() else path.read_bytes().splitlines()
        kept = [line for line in lines if self._seal(line[65:]) == line[:64]]
        self.known = {key: Outcome(**outcome) for key, outcome in map(json.loads, (line[65:] for line in kept))}
        replace_file(path, b"".join(line + b"\n" for line in kept))
        self._adding = threading.Lock()

    def __enter__(self) -> Log:
        self._file = open(self.path, "ab")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, key: str, outcome: Outcome) -> None:
        """Keep an outcome.  Not an error: it may have been the machine's, or a limit that another run would meet."""
        if outcome.status in (PASSED, FAILED):
            line = json.dumps([key, asdict(outcome)]).encode()
            with self._adding:
                self._file.write(self._seal(line) + b" " + line + b"\n")
                self._file.flush()

    def _seal(self, line: bytes) -> bytes:
        return hmac.new(self.key, line, hashlib.sha256).hexdigest().encode()


def seal_key() -> bytes:
    """This user's key for sealing logs, made at its first use; one for this run only if it cannot be kept."""
    with contextlib.suppress(OSError, RuntimeError):  # a home that is read-only, or none
        file = Path.home() / ".minilora" / "grading.key"
        file.parent.mkdir(mode=0o700, exist_ok=True)
        with contextlib.suppress(FileExistsError), open(file, "xb", opener=lambda p, f: os.open(p, f, 0o600)) as new:
            new.write(secrets.token_bytes(32))
        return file.read_bytes()
    return secrets.token_bytes(32)


def grade(
    found: Collected,
    exercises: Sequence[str],
    log: Log,
    jobs: int,
    limits: Limits,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, all: None,
) -> tuple[list[Result], int]:
    """Every exercise of every student, and how many outcomes came from the log.  Equal files run once.

    `seed` chooses the cases; 0 are those that students have at home.
    """
    hand_ins = found.hand_ins
    pairs = [(student, name) for student in found.students for name in exercises]
    outcomes: dict[tuple[str, str], Outcome] = {}
    to_run: dict[str, list[tuple[str, str]]] = {}
    reused = 0
    for pair in pairs:
        hand_in = hand_ins.get(pair)
        if hand_in is None:
            outcomes[pair] = Outcome(MISSING)
        elif hand_in.problem:
            outcomes[pair] = Outcome(NOT_GRADED, one_line(hand_in.problem))
        elif untouched(pair[1], hand_in.source):
            outcomes[pair] = Outcome(NOT_STARTED)
        elif (key := f"{digest(pair[1], hand_in.source)} {seed}") in log.known:
            outcomes[pair] = log.known[key]
            reused += 1
        else:
            to_run.setdefault(key, []).append(pair)

    def run(key: str) -> None:
        same = to_run[key]
        outcome = _run(same[0][1], hand_ins[same[0]].source, limits, seed)
        outcomes.update(dict.fromkeys(same, outcome))
        log.add(key, outcome)

    with log, ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(run, key) for key in to_run]
        try:
            for future in as_completed(futures):
                future.result()
                progress(len(outcomes), len(pairs))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [Result(*pair, outcomes[pair], hand_ins[pair].hints if pair in hand_ins else None) for pair in pairs], reused


def _run(name: str, source: bytes, limits: Limits, seed: int) -> Outcome:
    """Run one file.  Whatever goes wrong affects this outcome only."""
    try:
        verdict = check_source(name, source, limits, seed)
    except Exception as error:  # our fault, not the student's: say so, and go on grading
        return Outcome(ERROR, one_line(f"the grader failed: {type(error).__name__}: {error}"))
    credit = 1.0 if verdict.status == PASSED else verdict.credit
    seconds = round(verdict.seconds, 2)
    return Outcome(verdict.status, verdict.detail, verdict.report, dict(verdict.properties), credit, seconds)


def identical(hand_ins: Mapping[tuple[str, str], HandIn]) -> list[tuple[list[str], list[str]]]:
    """Students whose files are the same but for comments and white space, and in which exercises; most first."""
    owners: dict[tuple[str, bytes], list[str]] = {}
    for (student, name), hand_in in sorted(hand_ins.items()):
        if not hand_in.problem and not untouched(name, hand_in.source):
            text = b"\n".join(filter(None, (re.sub(rb"#.*|\s+", b"", line) for line in hand_in.source.splitlines())))
            owners.setdefault((name, text), []).append(student)
    groups: dict[tuple[str, ...], list[str]] = {}
    for (name, _), students in owners.items():
        if len(students) > 1:
            groups.setdefault(tuple(students), []).append(name)
    return sorted(((list(students), names) for students, names in groups.items()), key=lambda group: -len(group[1]))


def replace_file(path: Path, content: bytes) -> None:
    """Write a file whole, readable for this user only.  A link in its place is replaced, not followed."""
    handle, temporary = tempfile.mkstemp(dir=path.absolute().parent, prefix=".minilora-")
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    os.replace(temporary, path)
