"""On a terminal, one line rewritten in place; elsewhere a few whole lines; the time left comes from the time so far."""

import io

import pytest

from minilora.machine import progress
from minilora.machine.progress import Progress, format_seconds


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that advances only when told to."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])

    def go_on(seconds: float) -> None:
        now[0] += seconds

    return go_on


@pytest.mark.parametrize(
    ("columns", "shown"), [(20, "step 1/3  a very lo"), (80, "step 1/3  a very long note indeed  2 s left")]
)
def test_a_line_is_cut_to_the_terminal_s_width_and_a_shorter_one_covers_it(clock, monkeypatch, columns, shown):
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = Terminal()
    bar = Progress(3, "step", stream)
    for done, note in ((1, "a very long note indeed"), (2, ""), (3, "")):
        clock(1)
        bar.update(done, note)
    lines = stream.getvalue().rstrip("\n").split("\r")[1:]
    assert lines[0] == shown and all(len(line) < columns for line in lines)
    assert lines[1].startswith("step 2/3") and len(lines[1]) == len(lines[0]), "what was there is blanked out"


def test_a_stream_that_cannot_be_written_does_not_end_the_run(clock):
    class Full(Terminal):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    bar = Progress(2, "step", Full())
    clock(1)
    bar.update(1)
    bar.close()
    bar.update(2)


def test_elsewhere_there_is_a_plain_line_now_and_then_and_at_the_end(clock):
    stream = io.StringIO()
    bar = Progress(100, "step", stream, plain_every=10)
    for done in range(1, 101):
        clock(0.25)
        bar.update(done, f"loss {done}")
    assert stream.getvalue() == (
        "step 40/100  loss 40  15 s left\nstep 80/100  loss 80  5 s left\nstep 100/100  loss 100  took 25 s\n"
    )


def test_a_terminal_has_one_line_that_is_rewritten_ten_times_a_second(clock):
    stream = Terminal()
    bar = Progress(3, "step", stream)
    for done in (1, 2, 3):
        clock(60)
        bar.update(done)
    *rewritten, last = stream.getvalue().split("\r")[1:]
    assert [line.rstrip() for line in rewritten] == ["step 1/3    2 min 00 s left", "step 2/3    1 min 00 s left"]
    assert last.endswith("\n") and stream.getvalue().count("\n") == 1


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()], ids=["a terminal", "elsewhere"])
def test_a_line_that_is_not_shown_is_not_made(clock, stream):
    bar = Progress(1, "step", stream, shown=False)
    bar.update(1, lambda: 1 / 0)
    bar.close()
    assert stream.getvalue() == ""


def test_updates_that_follow_too_soon_are_not_shown(clock):
    stream = Terminal()
    bar = Progress(9, "step", stream)
    bar.update(1)
    clock(0.05)
    bar.update(2)
    assert stream.getvalue() == ""


def test_a_resumed_run_expects_as_long_as_its_own_steps_took(clock):
    stream = io.StringIO()
    bar = Progress(100, "step", stream, plain_every=1)
    clock(2)
    bar.update(81)
    assert stream.getvalue() == "step 81/100    38 s left\n"


def test_a_run_that_stops_before_its_end_leaves_its_line_behind(clock):
    stream = Terminal()
    bar = Progress(3, "step", stream)
    clock(1)
    bar.update(1)
    bar.close()
    bar.close()
    assert stream.getvalue().endswith("left\n")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (5.2, "5 s"), (59.6, "1 min 00 s"), (83, "1 min 23 s"), (3600, "1 h 00 min"), (4000, "1 h 06 min")],
)
def test_seconds_are_written_for_people(seconds, text):
    assert format_seconds(seconds) == text
