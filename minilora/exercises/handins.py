"""Hand-ins as they come: which file, in whatever folder, zip or download, is whose answer to which exercise.

What is clear is read, at most once; what is not is listed, with the reason.

    alice/ex05_softmax.py                            a folder for each student, with or without more folders in it
    alice/ex05_softmax/answer.py                     a folder for each exercise
    alice.zip                                        a zip counts as a folder
    download/alice/...  or  download.zip             and all of these may lie in one more folder or zip
    ex05_softmax.py                                  one student's files and nothing else
    alice_ex05_softmax.py                            loose files that begin with the student's name
    doejane_LATE_1234_5678_ex05_softmax-1.py         Canvas
    Jane Doe_1234_assignsubmission_file_ex05.py      Moodle (or a folder with this name up to "file")
    hw1_jdoe_attempt_2026-11-03-10-11-12_ex05.py     Blackboard
    1234-5678 - Jane Doe - Nov 3, 2026/ex05.py       Brightspace

A file's name tells its exercise by number (ex05, Exercise 5, 05_softmax) or else by the rest (softmax), whatever a
browser or a platform put after it, as in "ex05 (1).py".
"""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from minilora.exercises import spec
from minilora.exercises.sandbox import MOST_SOURCE, Gone, read_source
from minilora.exercises.workbook import HINTS, STATE, untouched

OTHER_NAME = "its name is not an exercise's"
MOST_VERSIONS = 20  # of one student's answer to one exercise
MOST_MEMBERS, MOST_ZIP, MOST_UNPACKED = 10_000, 100 << 20, 20 << 20  # files in a zip, its bytes, unpacked bytes
DEEPEST, LONGEST = 20, 255  # folders in folders, characters of a name

# Files that tell what a folder is.
PAGES = ".minilora-pages"
MARKS = {"pyvenv.cfg": "a virtual environment", PAGES: "pages that minilora wrote"}
# Left by systems, editors and minilora itself: nobody's answer, and not worth listing.
NOISE = re.compile(
    r"\..*|~.*|__macosx|__pycache__|conftest\.py|readme.*|thumbs\.db|desktop\.ini|.*\.(pyc|kept\d+)", re.I
)
# What learning platforms call files and folders; `rest` is the student's own name for the file.
PLATFORMS = (
    re.compile(r"(?P<name>.+?)_(?P<id>\d+)_assignsubmission_file_?(?P<rest>.*)"),
    re.compile(r"(?P<name>[^_]+)_(?:LATE_)?(?P<id>\d+)_\d+_(?P<rest>.+)"),
    re.compile(r".+_(?P<name>[^_]+)_attempt_(?P<id>)\d{4}(?:-\d\d){5}(?:_(?P<rest>.+)|\.txt)?"),
    re.compile(r"(?P<id>\d+)-\d+ ?- (?P<name>.+?) - (?P<rest>).*"),
)
PACKED = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".rar", ".7z")
NUMBER = re.compile(r"(?<![a-z0-9])ex(?:ercise)?[ _-]?0*(\d{1,3})(?!\d)", re.IGNORECASE)
COPY = re.compile(r"( ?\(\d+\)|[ -]\d{1,2}|[ _-]+copy( ?\d+)?|\.py)+$", re.IGNORECASE)  # what copying puts at the end


@dataclass(frozen=True)
class File:
    """A file in a folder or zip: the folders on the way and its name, and how to read it (which may raise `Gone`).

    A folder cannot be read; a file with a `problem` will not be.
    """

    parts: tuple[str, ...]
    read: Callable[[], bytes] | None = None
    problem: str = ""

    @property
    def is_folder(self) -> bool:
        return self.read is None and not self.problem

    def __str__(self) -> str:
        return "/".join(self.parts)


class Owned(NamedTuple):
    """A file, its student ("" if it is unclear who that is), and the name that the student gave it."""

    student: str
    name: str
    file: File


@dataclass(frozen=True)
class HandIn:
    """A student's answer to an exercise: its source, or "" and why there is nothing to grade.

    `hints` is how many the student had taken when it was solved, if the folder's state file tells.
    """

    source: bytes = b""
    problem: str = ""
    hints: int | None = None


@dataclass(frozen=True)
class Collected:
    """All students, their hand-ins by (student, exercise), and by student the files that were not read: "path: why"."""

    students: list[str]
    hand_ins: dict[tuple[str, str], HandIn]
    unread: dict[str, list[str]]


def collect(submissions: Path, one_student: bool = False, ignored: Collection[Path] = ()) -> Collected:
    """The hand-ins in a folder or zip, but for the files and folders `ignored`.  ValueError if there are none.

    `one_student`: everything is the same student's.
    """
    files, own_name = _listed(submissions, ignored)
    if one_student:
        owned = [Owned(own_name, file.parts[-1], file) for file in files]
    else:
        owned = _owned(_unwrapped(files), own_name)
    students = sorted({each.student for each in owned} - {""}, key=lambda name: (name.casefold(), name))
    if not students:
        raise ValueError(f"{submissions} holds nothing to grade: put each student's files in a folder of their own")
    named = {(each.student, recognized(each.name)[0]) for each in owned if each.file.read is not None}
    answers: dict[tuple[str, str], list[File]] = {}
    hints: dict[tuple[str, str], int] = {}
    unread: dict[str, list[str]] = {}
    for student, name, file in owned:
        exercise, problem = ("", file.problem) if file.read is None else recognized(name)
        if problem == OTHER_NAME and len(file.parts) > 2:  # is it the answer in a folder for an exercise?
            around = recognized(f"{file.parts[-2]}.py")[0]
            exercise = around if (student, around) not in named else ""
        if file.read is not None and name == STATE:
            hints |= {(student, solved): count for solved, count in _hints(file.read).items()}
        elif exercise:
            answers.setdefault((student, exercise), []).append(file)
        elif problem:
            unread.setdefault(student, []).append(f"{file}: {problem}")
    hand_ins = {key: replace(_one_of(key[1], versions), hints=hints.get(key)) for key, versions in answers.items()}
    return Collected(students, hand_ins, unread)


# -------------------------------------------------------------------------------------------- what lies there


def _listed(submissions: Path, ignored: Collection[Path]) -> tuple[list[File], str]:
    """What a folder or zip holds, and its name."""
    place = submissions.resolve()
    if place.is_dir():
        return list(_in_folder(place, {path.resolve() for path in ignored})), place.name
    if zipfile.is_zipfile(place):
        return list(_in_zip(place)), place.stem
    raise ValueError(f"{submissions} is not a folder or zip: give one that holds the students' files")


def _in_folder(folder: Path, ignored: set[Path], parts: tuple[str, ...] = ()) -> Iterator[File]:
    """The files and folders in a folder, those of its zips included.  Links are not followed."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield File((*parts, "."), problem=error.strerror or "cannot be read")
        return
    for name, problem in MARKS.items():
        if any(entry.name == name for entry in entries):
            yield File(parts or (".",), problem=problem)
            return
    if parts:
        yield File(parts)
    for entry in entries:
        path, here = Path(entry.path), (*parts, entry.name)
        if _is_noise(entry.name) or path in ignored:
            continue
        if entry.is_symlink() or len(here) > DEEPEST:
            yield File(here, problem="a link" if entry.is_symlink() else "too deep in folders")
        elif entry.is_dir():
            yield from _in_folder(path, ignored, here)
        elif entry.is_file() and entry.name.lower().endswith(".zip"):
            yield from _in_zip(path, (*parts, path.stem))
        else:
            yield File(here, lambda path=path: read_source(path))  # type: ignore[misc]


def _in_zip(path: Path, parts: tuple[str, ...] = ()) -> Iterator[File]:
    """The files in a zip, as if it were a folder.  What may be of interest is unpacked here, in memory, once."""
    if parts:
        yield File(parts)
    try:
        if path.stat().st_size > MOST_ZIP:
            raise ValueError(f"it has more than {MOST_ZIP >> 20} MB")
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in archive.infolist() if not member.is_dir()}
            if len(members) > MOST_MEMBERS:
                raise ValueError(f"it holds more than {MOST_MEMBERS:,} files")
            left = MOST_UNPACKED
            for name in sorted(members):
                inner = tuple(part for part in re.split(r"[/\\]", name) if part not in ("", ".", ".."))
                if not inner or any(map(_is_noise, inner)):
                    continue
                file = File((*parts, *inner))
                if max(map(len, inner)) > LONGEST or not inner[-1].lower().endswith((".py", STATE)):
                    yield replace(file, problem=recognized(inner[-1][-LONGEST:])[1] or "its name is too long")
                    continue
                source = _unpacked(archive, members[name], left)
                left -= len(source) if isinstance(source, bytes) else 0
                yield replace(file, read=partial(_read, source))
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
        yield File((*parts, path.name), problem=f"this zip cannot be read: {error}")


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> bytes | str:
    """The content of a file in a zip, or why there is none, whatever size the zip claims."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "it is packed in a way that is not read: use an ordinary zip"
    try:
        with archive.open(member) as opened:
            source = opened.read(min(MOST_SOURCE, most) + 1)
    except Exception as error:  # encrypted or damaged
        return f"it cannot be unpacked: {type(error).__name__}"
    return source if len(source) <= min(MOST_SOURCE, most) else f"the file has more than {MOST_SOURCE:,} bytes"


def _read(source: bytes | str) -> bytes:
    if isinstance(source, str):
        raise Gone(source)
    return source


# ------------------------------------------------------------------------------------------------ whose it is


def _unwrapped(files: list[File]) -> list[File]:
    """Without the folders that all the files lie in, if what lies in them looks like several students'."""
    inner = files
    while len({file.parts[:1] for file in inner}) == 1:
        inner = [replace(file, parts=file.parts[1:]) for file in inner if len(file.parts) > 1]
        owners: dict[str, set[str]] = {}
        for student, name, file in _owned(inner, ""):
            if file.read is not None and student and (exercise := recognized(name)[0]):
                owners.setdefault(exercise, set()).add(student)
        if any(len(students) > 1 for students in owners.values()):
            return inner
    return files


def _owned(files: list[File], own_name: str) -> list[Owned]:
    """Each file with its student.  Loose files without a student's name are `own_name`'s, if nobody else is there."""
    owned: list[tuple[tuple[str, str], str, File]] = []
    loose: list[File] = []
    for file in files:
        top, *below = file.parts or ("",)
        if platform := next(filter(None, (pattern.fullmatch(top) for pattern in PLATFORMS)), None):
            own = below[-1] if below else platform["rest"] or ""
            owned.append(((platform["name"], platform["id"]), own, file))
        elif below or file.is_folder:
            owned.append(((top, ""), file.parts[-1], file))
        elif student := _before_exercise(top):
            owned.append(((student, ""), top, file))
        else:
            loose.append(file)
    if not owned:
        return [Owned(own_name, str(file), file) for file in loose if any(recognized(str(each))[0] for each in loose)]
    ids: dict[str, set[str]] = {}
    for (name, id), _, _ in owned:
        ids.setdefault(name, set()).add(id)
    whose = "whose is it? It lies beside other students' files"
    return [
        *(Owned(f"{name} {id}" if len(ids[name]) > 1 else name, own, file) for (name, id), own, file in owned),
        *(
            Owned("", str(file), replace(file, read=None, problem=whose) if recognized(str(file))[0] else file)
            for file in loose
        ),
    ]


def _before_exercise(name: str) -> str:
    """ "alice" of "alice_ex05_softmax.py" and "alice_softmax.py"; "" where nothing comes before the exercise."""
    if found := NUMBER.search(name):
        return re.sub(r"^copy of ", "", name[: found.start()], flags=re.IGNORECASE).strip(" _-.")
    stem = COPY.sub("", name)
    ends = [slug for slug in map(_slug, spec.names()) if stem.lower().endswith(slug)]
    return stem[: -len(max(ends, key=len))].strip(" _-.") if ends else ""


# -------------------------------------------------------------------------------------------- which exercise it is


def recognized(name: str) -> tuple[str, str]:
    """The exercise that a file of this name answers, or "" and why there is none ("" for a file nobody misses)."""
    if not name:
        return "", ""
    if not name.lower().endswith(".py"):
        return "", "unpack it first" if name.lower().endswith(PACKED) else "only .py files are read"
    by_number, by_name = _exercises(tuple(spec.names()))
    numbers = set(NUMBER.findall(name))
    if len(numbers) > 1:
        return "", f"is it exercise {' or '.join(sorted(number.zfill(2) for number in numbers))}?"
    if not numbers:
        known = by_name.get(_plain(COPY.sub("", name)), "")
        return known, "" if known else OTHER_NAME
    number = int(*numbers)
    if number not in by_number:
        return "", f"there is no exercise {number}"
    rest = _plain(COPY.sub("", NUMBER.split(name)[-1]))
    other = by_name.get(rest, by_number[number])
    if other != by_number[number] and not _plain(_slug(by_number[number])).startswith(rest):
        return "", f"is it exercise {number:02d} or {spec.number(other)}?"
    return by_number[number], ""


@cache
def _exercises(names: tuple[str, ...]) -> tuple[dict[int, str], dict[str, str]]:
    """The exercises by number, and by what names they go without "ex": softmax, 05softmax, 5softmax."""
    by_number = {int(spec.number(name)): name for name in names}
    spelled = ((spelling, name) for name in names for spelling in (_slug(name), name[2:], name[2:].lstrip("0")))
    return by_number, {_plain(spelling): name for spelling, name in spelled}


def _is_noise(name: str) -> bool:
    return NOISE.fullmatch(name) is not None and name != STATE


def _hints(read: Callable[[], bytes]) -> dict[str, int]:
    """The hints taken by exercise, as a student's state file has them, which the student may have edited."""
    try:
        verdicts = json.loads(read())["verdicts"]
        return {name: min(max(int(known["hints"]), 0), HINTS) for name, known in verdicts.items()}
    except (Gone, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def _slug(exercise: str) -> str:
    """ "adam" of "ex08_adam"."""
    return exercise[5:]


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _one_of(exercise: str, versions: Sequence[File]) -> HandIn:
    """The one version that there is, but for equal copies and untouched files, or the problem of choosing."""
    sources: dict[bytes, File] = {}
    unreadable: list[tuple[File, str]] = []
    for version in versions[: MOST_VERSIONS + 1]:
        try:
            sources.setdefault(version.read(), version)  # type: ignore[misc]
        except Gone as trouble:
            unreadable.append((version, str(trouble)))
    written = {source: file for source, file in sources.items() if not untouched(exercise, source)} or sources
    if len(written) == 1 and not unreadable:
        return HandIn(next(iter(written)))
    if not written:
        return HandIn(problem=unreadable[0][1])
    paths = ", ".join(map(str, [*written.values(), *(file for file, _ in unreadable)]))
    return HandIn(problem=f"which of these is it? {paths}: leave one")
