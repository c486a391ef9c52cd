"""The fence: what hostile hand-ins try does not happen, and nobody else's verdict changes.

Every attack is made twice: by a hand-in as the grader runs it, and by one without the fence, where it must succeed,
for an attack that never works proves nothing.
"""

import contextlib
import inspect
import os
import re
import socket
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from minilora.cli.main import main
from minilora.exercises import fence, grading, sandbox
from minilora.exercises.checking import ERROR, FAILED, PASSED, check_source
from minilora.exercises.handins import Collected, HandIn
from minilora.exercises.sandbox import LIMITS
from tests.exercises import attacks
from tests.exercises.attacks import ATTACKS

pytestmark = pytest.mark.skipif(bool(fence.lacking()), reason=fence.lacking())

FIRST = "ex01_linear_backward"
RIGHT = b"def linear_backward(dy, x, W):\n    return dy @ W, dy.T @ x, dy.sum(axis=0)\n"
UNFENCED = sandbox.START.replace("worker.main", "fence.enclose = fence.limit = lambda *a: None; worker.main")


class Targets:
    """What attacks aim at, and whether it is as it was."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "open to all"
        self.folder.mkdir()
        self.folder.chmod(0o777)
        self.secret = folder / "a classmate's file.py"
        self.secret.write_text("SECRET = 42")
        self.secret.chmod(0o666)
        os.utime(self.secret, (1e9, 1e9))
        self.victim = subprocess.Popen(["sleep", "600"])
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.datagrams.bind(("127.0.0.1", self.port))
        for each in (self.listener, self.datagrams):
            each.setblocking(False)

    def hand_in(self, name: str) -> bytes:
        """A file that makes an attack as it is loaded and solves nothing."""
        targets = f"{str(self.secret)!r}, {str(self.folder)!r}, {self.victim.pid}, {self.port}"
        return f"""{inspect.getsource(attacks)}
secret, folder, victim, port = {targets}
print("READY", flush=True)
if loot := {name}():
    print("SUCCEEDED", loot)
""".encode()

    def close(self) -> None:
        for each in (self.listener, self.datagrams):
            each.close()
        self.victim.kill()
        self.victim.wait()

    def untouched(self) -> bool:
        if not self.secret.exists():
            return False
        status = self.secret.stat()
        heard = False
        for listen in (self.listener.accept, lambda: self.datagrams.recv(9)):
            with contextlib.suppress(BlockingIOError):
                listen()
                heard = True
        return (
            list(self.folder.iterdir()) == []
            and self.secret.read_text() == "SECRET = 42"
            and (status.st_mtime, status.st_mode & 0o777, status.st_nlink) == (1e9, 0o666, 1)
            and self.victim.poll() is None
            and not heard
        )


def made(folder: Path) -> dict[str, tuple[str, bool]]:
    """Every attack, made by a hand-in of its own: what that printed and what ended it; whether all is as it was."""

    def make(name: str) -> tuple[str, bool]:
        (folder / name).mkdir()
        with contextlib.closing(Targets(folder / name)) as targets:
            source = targets.hand_in(name)
            with pytest.raises(sandbox.Trouble) as ended, sandbox.Sandbox("hand_in.py", source) as student:
                student.call("a function that it does not have")
            return f"{student.output.decode(errors='replace')}\n{ended.value}", targets.untouched()

    os.environ["A_TEACHERS_PASSWORD"] = "SECRET = 42"
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(ATTACKS, pool.map(make, ATTACKS), strict=True))


@pytest.fixture(scope="module")
def fenced(tmp_path_factory):
    return made(tmp_path_factory.mktemp("fenced"))


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_stopped(name, fenced):
    text, untouched = fenced[name]
    assert text.startswith("READY")
    assert ("SUCCEEDED" not in text and "SECRET" not in text) or "FAILED AFTER ALL" in text
    assert untouched


def test_attacks_succeed_where_there_is_no_fence(tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox, "START", UNFENCED)
    failed = [name for name, (text, _) in made(tmp_path).items() if "SUCCEEDED" not in text]
    print(failed)  # for other reasons: the environment is clean without a fence too, the kernel's settings forbid it
    assert len(ATTACKS) - len(failed) >= 45


def test_a_class_of_attackers_changes_nobody_elses_verdict(tmp_path):
    with contextlib.closing(Targets(tmp_path)) as targets:
        sources = {name: targets.hand_in(name) for name in ATTACKS}
        sources |= {"ann": RIGHT, "zoe": RIGHT.replace(b"dy @ W", b"dy")}
        found = Collected(sorted(sources), {(name, FIRST): HandIn(source) for name, source in sources.items()}, {})
        results, _ = grading.grade(found, [FIRST], grading.Log(tmp_path / "log", b"key"), 2, LIMITS)
        assert targets.untouched()
    verdicts = {result.student: result.outcome.status for result in results}
    assert (verdicts.pop("ann"), verdicts.pop("zoe")) == (PASSED, FAILED)
    assert set(verdicts.values()) == {ERROR} and len(verdicts) == len(ATTACKS)


# --------------------------------------------------------------------------------------------- what honest code needs


def test_the_standard_library_and_numpy_work_behind_the_fence():
    modules = "fractions statistics random json csv itertools dataclasses typing decimal hashlib zlib numpy.testing"
    source = f"""
import {", ".join(modules.split())}
import numpy as np
def compute(x):
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(x, x)
    assert np.fft.ifft(np.fft.fft(x)).shape == x.shape and np.polynomial.Polynomial([1, 2])(1) == 3
    return rng.normal() + np.linalg.svd(np.outer(x, x))[1][0] + float(fractions.Fraction(1, 2)) + random.random()
"""
    with sandbox.Sandbox("honest.py", source.encode()) as student:
        assert student.call("compute", np.arange(4.0)) > 10


@pytest.mark.parametrize("module", ["matplotlib.pyplot", "minilora", "scipy", "ex02_gradient_check"])
def test_a_left_over_import_gets_a_plain_sentence(module):
    verdict = check_source(FIRST, f"import {module}\n".encode() + RIGHT)
    top = module.partition(".")[0]
    sentence = f"there is no {top} here: use NumPy and the standard library only, and remove this import"
    assert (verdict.status, verdict.detail) == (ERROR, f"line 1: ModuleNotFoundError: {sentence}")


# ------------------------------------------------------------------------------------------ who and where


def test_roots_process_has_no_capabilities_and_cannot_gain_any():
    with sandbox.Sandbox("hand_in.py", b"def f():\n    return 1\n") as student:
        assert student.call("f") == 1
        status = Path(f"/proc/{student._process.pid}/status").read_text()
    fields = dict(line.split(":\t") for line in status.splitlines() if ":\t" in line)
    assert {fields[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")


@pytest.mark.parametrize(
    "missing, sentence",
    [
        ({"_place": lambda: None}, "no fence here: hand-ins run with all your rights"),
        ({"_has_landlock": lambda: False}, "half a fence here: this kernel has no Landlock"),
    ],
)
def test_where_there_is_no_fence_one_line_says_so_and_names_the_recipe(
    missing, sentence, tmp_path, monkeypatch, capsys
):
    for name, function in missing.items():
        monkeypatch.setattr(fence, name, function)
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann" / f"{FIRST}.py").write_bytes(RIGHT)
    assert main(["grade", str(tmp_path), "--only", "1", "--csv", str(tmp_path / "g.csv")]) == 0
    warning = capsys.readouterr().err.splitlines()[0]
    assert sentence in warning and "in_containers.sh grades each student in a container of their own" in warning


def test_without_landlock_the_filter_still_holds(monkeypatch):
    half = "fence._has_landlock = lambda: False; worker.main"
    monkeypatch.setattr(sandbox, "START", sandbox.START.replace("worker.main", half))
    source = b"""
def tried():
    import os
    refused = []
    for attempt in (os.fork, lambda: open("/tmp/mark", "w"), lambda: os.kill(1, 0)):
        try:
            attempt()
        except PermissionError:
            refused.append(True)
    return refused, len(open("/etc/passwd").read()) > 0
"""
    with sandbox.Sandbox("hand_in.py", source) as student:
        assert student.call("tried") == ([True] * 3, True)


def test_a_fence_that_cannot_be_put_up_is_no_students_fault(monkeypatch):
    broken = "fence._allow_calls = lambda *a: 1 / 0; worker.main"
    monkeypatch.setattr(sandbox, "START", sandbox.START.replace("worker.main", broken))
    with pytest.raises(RuntimeError, match=r"did not start.*ZeroDivisionError"), sandbox.Sandbox("x.py", b""):
        pass


# ------------------------------------------------------------------------------------------------------- the filter


def run(program: list[tuple[int, int, int, int]], architecture: int, number: int, arguments: tuple[int, ...]) -> int:
    """What a filter returns for a call: the kernel's machine, as far as the filter uses it."""
    data = struct.pack("=iIQ6Q", number, architecture, 0, *arguments, *(0,) * (6 - len(arguments)))
    at = word = 0
    while True:
        instruction, if_true, if_false, value = program[at]
        if instruction == fence.RETURN:
            return value
        if instruction == fence.LOAD:
            (word,) = struct.unpack_from("=I", data, value)
        else:
            holds = word == value if instruction == fence.EQUAL else word & value
            at += if_true if holds else if_false
        at += 1


@pytest.mark.parametrize("place", [0, 1])
def test_the_filter_allows_the_table_and_nothing_else(place):
    program, here = fence._filter(place), fence.ARCHITECTURES[place]
    allowed = {numbers[place] for numbers in fence.CALLS.values()}
    opening = {numbers[place]: argument for numbers, argument in fence.OPENING.values() if numbers[place] is not None}
    for number in range(1024):
        for call in (number, number + 2**30):  # x32
            expected = fence.ALLOW if call in allowed else fence.REFUSE
            if call not in opening:
                assert run(program, here, call, (2**64 - 1,) * 6) == expected
            assert run(program, fence.ARCHITECTURES[1 - place], call, ()) == fence.KILL
            assert run(program, 0x40000003, call, ()) == fence.KILL  # i386
    writing = (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC, os.O_APPEND, os.O_TMPFILE)
    writing = (*writing, os.O_PATH, os.O_ASYNC, 1 << 31)
    for number, argument in opening.items():
        for flags, expected in [(os.O_CLOEXEC, fence.ALLOW), *((flag, fence.REFUSE) for flag in writing)]:
            assert run(program, here, number, (0,) * argument + (flags,)) == expected


def test_every_other_call_is_refused_by_the_kernel():
    """With arguments that no call accepts, so that nothing happens where one is let through.

    Linux exempts uretprobe and uprobe (335, 336 on x86-64) from filters: they end a process that was not probed.
    """
    script = """
import ctypes, errno, os, sys
from minilora.cli.main import main
from minilora.exercises import fence
allowed = {numbers[fence._place()] for numbers in [*fence.CALLS.values(), *(n for n, _ in fence.OPENING.values())]}
fence.enclose([])
libc = ctypes.CDLL(None, use_errno=True)
for number in set(range(600)) - allowed - {335, 336}:
    if (libc.syscall(number, *[ctypes.c_long(-1)] * 6), ctypes.get_errno()) != (-1, errno.EPERM):
        print("let through", number)
print("done")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=os.environ | sandbox.ENVIRONMENT
    )
    assert done.stdout == "done\n", done.stderr


def test_the_tables_numbers_are_those_of_the_kernels_headers():
    headers = (Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/asm-generic/unistd.h"))
    if not all(header.exists() for header in headers):
        pytest.skip("the kernel's headers are not installed")
    texts = [re.sub("__NR3264_", "__NR_", header.read_text()) for header in headers]
    first, second = (dict(re.findall(r"#define __NR_(\w+)\s+(\d+)", text)) for text in texts)
    second["newfstatat"] = second["fstatat"]
    for name, pair in {**fence.CALLS, **{name: pair for name, (pair, _) in fence.OPENING.items()}}.items():
        assert (first[name], second.get(name)) == (str(pair[0]), None if pair[1] is None else str(pair[1])), name
