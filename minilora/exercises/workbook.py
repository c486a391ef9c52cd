"""A student's folder: their files, what is solved, which hints were given.

A small JSON file in the folder remembers verdicts, so that listing the exercises does not run them all.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from minilora.exercises import checking, spec
from minilora.exercises.checking import NOT_STARTED, PASSED, Verdict
from minilora.exercises.sandbox import Gone, read_source

STATE = ".minilora-exercises.json"
HINTS = 3


def find() -> Workbook:
    """The student's folder: here, or tutorials/exercises below.  ValueError if neither holds an exercise."""
    for path in (Path("."), Path("tutorials", "exercises")):
        if any((path / f"{name}.py").is_file() for name in spec.names()):
            return Workbook(path)
    raise ValueError("no exercises here: run `minilora exercises start DIR`, then work in that folder")


def start(target: Path) -> list[str]:
    """Copy the unsolved files, and a conftest.py for pytest, into a folder.  Existing files are left alone.

    Returns the names of the copied files.
    """
    if target.exists() and not target.is_dir():
        raise ValueError(f"{target} is a file: name a folder")
    target.mkdir(parents=True, exist_ok=True)
    copied = []
    for source in map(spec.unsolved, (*spec.names(), "conftest")):
        if source.exists() and not (target / source.name).exists():
            shutil.copyfile(source, target / source.name)
            copied.append(source.name)
    return copied


def digest(name: str, source: bytes) -> str:
    """A hash of all that a verdict depends on: the student's source and what judges it."""
    return hashlib.sha256(_judge(name) + source).hexdigest()


def untouched(name: str, source: bytes) -> bool:
    """Is this the file that students start from?"""
    return source == spec.unsolved(name).read_bytes()


@cache
def _judge(name: str) -> bytes:
    """A hash of everything that judges an exercise: these modules, its own, Python and NumPy."""
    files = [*sorted(Path(__file__).parent.glob("*.py")), Path(str(spec.load(name).module.__file__))]
    read = hashlib.sha256(f"{name} {sys.version} {np.__version__}".encode())
    for file in files:
        read.update(file.read_bytes())
    return read.digest()


@dataclass
class Workbook:
    """One student's exercises.  Every change is saved at once."""

    path: Path
    state: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            saved = json.loads((self.path / STATE).read_text("utf-8"))
            verdicts = {
                name: {"hints": int(known["hints"]), **{key: str(known[key]) for key in ("digest", "status", "detail")}}
                for name, known in saved["verdicts"].items()
            }
            self.state = {"verdicts": verdicts, "hints": {name: int(count) for name, count in saved["hints"].items()}}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # there is none, or we did not write it
            self.state = {"verdicts": {}, "hints": {}}

    def _write(self) -> None:
        temporary = self.path / f"{STATE}.tmp"
        temporary.write_text(json.dumps(self.state, indent=1), "utf-8")
        os.replace(temporary, self.path / STATE)

    def file(self, name: str) -> Path:
        return self.path / f"{name}.py"

    def verdict(self, name: str, again: bool = False) -> Verdict:
        """The verdict on an exercise; an unchanged file runs again only if asked."""
        try:
            source = read_source(self.file(name))
        except Gone as trouble:
            cure = f"`minilora exercises start {self.path}` puts missing files back"
            return Verdict(checking.ERROR, str(trouble), f"  error      {trouble}: {cure}")
        if untouched(name, source):
            return Verdict(NOT_STARTED)
        known, key = self.state["verdicts"].get(name), digest(name, source)
        if not again and known and known["digest"] == key:
            return Verdict(known["status"], known["detail"])
        verdict = checking.check_source(name, source)
        before = known and known["status"] == PASSED == verdict.status  # hints taken after that do not count
        hints = known["hints"] if before else self.state["hints"].get(name, 0)
        kept = {"digest": key, "status": verdict.status, "detail": verdict.detail, "hints": hints}
        self.state["verdicts"][name] = kept
        self._write()
        return verdict

    def verdicts(self) -> dict[str, Verdict]:
        """The verdict on every exercise."""
        return {name: self.verdict(name) for name in spec.names()}

    def next_unsolved(self) -> str | None:
        """The first exercise that is not solved."""
        return next((name for name, verdict in self.verdicts().items() if verdict.status != PASSED), None)

    def hints_needed(self, name: str) -> int:
        """How many hints had been taken when the exercise was solved."""
        known = self.state["verdicts"].get(name)
        return int(known["hints"]) if known and known["status"] == PASSED else 0

    def hint(self, name: str) -> tuple[int, str]:
        """The next hint and its number, 1 to 3.  After the third, the third again."""
        given = min(self.state["hints"].get(name, 0) + 1, HINTS)
        self.state["hints"][name] = given
        self._write()
        return given, spec.load(name).hints[given - 1]

    def reset(self, name: str) -> Path | None:
        """Restore the unsolved file.  Returns where the student's own was moved, None if there was nothing to keep."""
        file, kept = self.file(name), None
        if file.exists() and not untouched(name, file.read_bytes()):
            places = (self.path / f"{file.name}.kept{count}" for count in itertools.count(1))
            kept = next(place for place in places if not place.exists())
            file.rename(kept)
        shutil.copyfile(spec.unsolved(name), file)
        self.state["hints"].pop(name, None)
        self._write()
        return kept
