"""The fence around a student's process, held by the Linux kernel: it may compute, and nothing else.

`enclose` gives up, for good, whatever the process does not need for arithmetic:

    seccomp    an allow-list of some forty system calls. None of them opens a file for writing, starts a process or a
               thread, sends a signal, waits for a clock, or makes a socket. Everything else answers EPERM.
    Landlock   of the files, only the standard library and NumPy can be opened. (Names, sizes and times of other
               files can still be asked for; what is in them cannot.)
    limits     computing time, memory, sizes of files, number of processes. Root escapes some of these, so nothing
               rests on them but time and memory, which bind root as well.

Both kernel features bind root, native code and every later child, cannot be taken off again, and need no rights.
A root's process also drops its capabilities. It stays root: as nobody it could do nothing less, and nobody often
cannot read the interpreter.

Why by hand, through ctypes: bubblewrap needs a binary and user namespaces, which many containers and distributions
forbid, and would still need this system call filter; the seccomp bindings need the C library libseccomp. NumPy is the
only dependency of minilora, and what they would save is the table below.

Sources: seccomp(2), landlock(7), Linux's include/uapi/linux/{seccomp,landlock,audit,filter}.h and asm/unistd.h.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import signal
import struct
import sys
from collections.abc import Sequence

RECIPE = "tutorials/exercises/in_containers.sh grades each student in a container of their own"

# Name -> its number on x86-64 and on aarch64, which lacks the older of two calls that do the same.
CALLS: dict[str, tuple[int, int | None]] = {
    # what is open already: the two pipes
    **{"read": (0, 63), "write": (1, 64), "close": (3, 57), "lseek": (8, 62)},
    **{"pread64": (17, 67), "readv": (19, 65), "writev": (20, 66)},
    # importing: names and kinds of files, and listing folders; opening is below
    **{"stat": (4, None), "fstat": (5, 80), "lstat": (6, None), "newfstatat": (262, 79), "statx": (332, 291)},
    **{"getdents64": (217, 61), "getcwd": (79, 17)},
    # memory
    **{"mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214), "mremap": (25, 216)},
    **{"madvise": (28, 233)},
    # the interpreter: signal handlers of its own, its lock, its number, clocks, random numbers, its end
    **{"rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "sigaltstack": (131, 132)},
    **{"futex": (202, 98), "sched_yield": (24, 124), "restart_syscall": (219, 128)},
    **{"getpid": (39, 172), "gettid": (186, 178), "uname": (63, 160)},
    **{"gettimeofday": (96, 169), "time": (201, None), "clock_gettime": (228, 113), "clock_getres": (229, 114)},
    **{"getrandom": (318, 278), "exit": (60, 93), "exit_group": (231, 94)},
}
# Name -> its numbers, and which of its arguments holds the flags.
OPENING: dict[str, tuple[tuple[int, int | None], int]] = {"open": ((2, None), 1), "openat": ((257, 56), 2)}
SECCOMP = (317, 277)
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # Landlock's, the same on every machine

MACHINES = ("x86_64", "aarch64")
ARCHITECTURES = (0xC000003E, 0xC00000B7)  # AUDIT_ARCH_X86_64, AUDIT_ARCH_AARCH64
LARGE_FILE = (0o100000, 0o400000)  # O_LARGEFILE, which means nothing on 64 bits but is sent by some C libraries

LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06  # four instructions of the filter's machine (BPF)
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050000 | 1, 0x80000000  # what it can return; 1 is EPERM
READ_FILE, READ_DIR = 1 << 2, 1 << 3
RIGHTS = (1 << 13) - 1  # all that the first version of Landlock knows; the filter refuses what later ones added
PR_SET_NO_NEW_PRIVS, PR_GET_SECCOMP = 38, 21


def lacking() -> str:
    """What this system lacks for the fence, as a sentence for the teacher; "" if it lacks nothing."""
    if _place() is None:
        return f"no fence here: hand-ins run with all your rights (it takes Linux on x86-64 or aarch64; {RECIPE})"
    if ctypes.CDLL(None).prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0:
        return f"no fence here: this kernel has no seccomp, so hand-ins run with all your rights ({RECIPE})"
    if not _has_landlock():
        return f"half a fence here: this kernel has no Landlock, so hand-ins can read your files ({RECIPE})"
    return ""


def enclose(folders: Sequence[str]) -> None:
    """Fence this process in, as far as the system can; of all files, it can read those in `folders` from now on.

    OSError if the system has a part of the fence but it cannot be put up: then do not go on.
    """
    place = _place()
    if place is None:
        return
    if (threads := len(os.listdir("/proc/self/task"))) > 1:
        raise OSError(f"{threads} threads run: Landlock would bind one of them")
    libc = ctypes.CDLL(None, use_errno=True)
    _drop_capabilities(libc)
    _checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    if _has_landlock():
        _allow_reading(libc, folders)
    _allow_calls(libc, place)


def limit(cpu_seconds: int, memory_bytes: int) -> None:
    """Limits on this process.  Windows has none of them and macOS none on memory: the caller's clock remains.

    SIGPROF ends the process after `cpu_seconds` more seconds of computing, or SIGKILL a little later if that was
    ignored: the kernel counts that limit in whole seconds, from the start of the process.
    """
    try:
        import resource
    except ImportError:
        return
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = math.ceil(used.ru_utime + used.ru_stime) + cpu_seconds
    for name, most in (
        ("RLIMIT_CPU", seconds),
        ("RLIMIT_AS", memory_bytes),
        ("RLIMIT_NPROC", 0),
        ("RLIMIT_FSIZE", 0),
        ("RLIMIT_CORE", 0),
    ):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            resource.setrlimit(getattr(resource, name), (most, most))


# ------------------------------------------------------------------------------------------------------ the parts


def _place() -> int | None:
    """This machine's place in the pairs above; None if the fence does not know it."""
    if not sys.platform.startswith("linux") or sys.maxsize < 2**32 or os.uname().machine not in MACHINES:
        return None
    return MACHINES.index(os.uname().machine)


def _has_landlock() -> bool:
    return int(ctypes.CDLL(None).syscall(CREATE_RULESET, None, ctypes.c_size_t(0), 1)) >= 1  # 1: ask for the version


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    """Root becomes a user like any other, but for the files that are root's."""
    version_3 = struct.pack("II", 0x20080522, 0)
    _checked(libc.capset(version_3, bytes(24)))


def _allow_reading(libc: ctypes.CDLL, folders: Sequence[str]) -> None:
    """Landlock: nothing can be opened but what is in the folders.

    Other people's packages lie within the standard library's folder (site-packages), the answers of the exercises
    perhaps among them, and a rule cannot take back what a rule above it gives. So each entry gets a rule of its own.
    """
    ruleset = _checked(libc.syscall(CREATE_RULESET, struct.pack("Q", RIGHTS), ctypes.c_size_t(8), 0))
    entries = [entry for folder in folders if os.path.isdir(folder) for entry in os.scandir(folder)]
    for entry in entries:
        if entry.name in ("site-packages", "dist-packages") or (entry.is_symlink() and entry.is_dir()):
            continue
        handle = os.open(entry.path, os.O_PATH | os.O_CLOEXEC)
        rights = READ_FILE | READ_DIR if entry.is_dir() else READ_FILE
        _checked(libc.syscall(ADD_RULE, ruleset, 1, struct.pack("=Qi", rights, handle), 0))  # 1: what is below a path
        os.close(handle)
    _checked(libc.syscall(RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)


def _allow_calls(libc: ctypes.CDLL, place: int) -> None:
    """seccomp: the calls of the table, and opening files to read them."""
    program = _filter(place)
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    described = struct.pack("HP", len(program), ctypes.addressof(code))
    _checked(libc.syscall(SECCOMP[place], 1, 0, described))  # 1: set a filter


def _filter(place: int) -> list[tuple[int, int, int, int]]:
    """The filter: (instruction, lines to skip if true, if false, value).

    It reads struct seccomp_data: the call's number (bytes 0 to 3), the architecture (4 to 7), the arguments (8 bytes
    each from 16 on, the lower half first). A number means another call on another architecture, to which a program
    can switch within one process: that ends it.
    """
    reading = os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | LARGE_FILE[place]
    lines = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, ARCHITECTURES[place]), (RETURN, 0, 0, KILL), (LOAD, 0, 0, 0)]
    for numbers in CALLS.values():
        if (number := numbers[place]) is not None:
            lines += [(EQUAL, 0, 1, number), (RETURN, 0, 0, ALLOW)]
    for numbers, argument in OPENING.values():
        if (number := numbers[place]) is not None:
            lines += [(EQUAL, 0, 4, number), (LOAD, 0, 0, 16 + 8 * argument)]
            lines += [(ANY_BIT, 1, 0, ~reading & 0xFFFFFFFF), (RETURN, 0, 0, ALLOW), (RETURN, 0, 0, REFUSE)]
    return [*lines, (RETURN, 0, 0, REFUSE)]


def _checked(result: int) -> int:
    """The result of a system call.  OSError if it failed."""
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
