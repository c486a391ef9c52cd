"""A progress line with the time left: rewritten in place on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable
from typing import TextIO


class Progress:
    """Shows how far a run of `total` steps is.

    It writes to `stream` (stderr): ten times a second on a terminal, otherwise every `plain_every` seconds and at the
    end; nothing if not `shown`. If the stream cannot be written (a full disk, a closed pipe), the run goes on without.
    """

    def __init__(
        self, total: int, label: str, stream: TextIO | None = None, plain_every: float = 10.0, shown: bool = True
    ) -> None:
        self.total, self.label, self.shown = total, label, shown
        self.stream = sys.stderr if stream is None else stream
        self.live = shown and self.stream.isatty()
        self.every = 0.1 if self.live else plain_every
        self.start = self.last = time.perf_counter()
        self.first_done: int | None = None
        self.width = 0

    def update(self, done: int, note: str | Callable[[], str] = "") -> None:
        """Show that `done` of `total` steps are finished. If `note` is a function, it is called only when needed."""
        now = time.perf_counter()
        if self.first_done is None:  # a resumed run starts in the middle
            self.first_done = done - 1
        if not self.shown or (done < self.total and now - self.last < self.every):
            return
        self.last = now
        note = note if isinstance(note, str) else note()
        left = (now - self.start) / max(1, done - self.first_done) * (self.total - done)
        line = f"{self.label} {done}/{self.total}  {note}  {format_seconds(left)} left"
        if done >= self.total:
            line = f"{self.label} {done}/{self.total}  {note}  took {format_seconds(now - self.start)}"
        self._write(line, end=done >= self.total)

    def close(self) -> None:
        """End the line, in case the run stops before its total."""
        if self.live and self.width:
            self._put("\n")
            self.width = 0

    def _write(self, line: str, end: bool) -> None:
        if not self.live:
            return self._put(line + "\n")
        room = self._columns() - 1  # a longer line would wrap, and could not be rewritten
        line = line[:room]
        self._put("\r" + line.ljust(min(self.width, room)) + ("\n" if end else ""))
        self.width = 0 if end else len(line)

    def _put(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self.stream.write(text)
            self.stream.flush()

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self.stream.fileno()).columns
        except (OSError, ValueError):  # there is no file behind the stream, or it has no size
            return shutil.get_terminal_size().columns


def format_seconds(seconds: float) -> str:
    """5.2 -> "5 s", 83 -> "1 min 23 s", 4000 -> "1 h 06 min"."""
    s = round(seconds)
    if s < 60:
        return f"{s} s"
    if s < 3600:
        return f"{s // 60} min {s % 60:02d} s"
    return f"{s // 3600} h {s % 3600 // 60:02d} min"
