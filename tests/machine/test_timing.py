"""Candidates take turns, and the clock is the finest there is."""

import time

import pytest

from minilora.machine.timing import finest_clock, interleaved


class Clock:
    """Stands still while nothing runs."""

    def __init__(self) -> None:
        self.now, self.calls = 0.0, []

    def __call__(self) -> float:
        return self.now

    def running(self, name: str, *seconds: float):
        """A candidate that takes these times in turn."""

        def run() -> None:
            self.now += seconds[self.calls.count(name) % len(seconds)]
            self.calls.append(name)

        return run


def test_each_candidate_has_one_turn_in_a_round_and_its_median_counts():
    clock = Clock()
    candidates = {"steady": clock.running("steady", 2.0), "uneven": clock.running("uneven", 1.0, 7.0, 3.0)}
    assert interleaved(candidates, rounds=3, clock=clock) == {"steady": 2.0, "uneven": 3.0}
    assert all(set(clock.calls[i : i + 2]) == candidates.keys() for i in (0, 2, 4))


def test_a_turn_is_as_many_calls_as_it_takes():
    clock = Clock()
    times = interleaved({"one": clock.running("one", 0.25), "two": clock.running("two", 2.0)}, turn=1.0, clock=clock)
    assert times == {"one": 0.25, "two": 2.0}
    assert clock.calls.count("one") == 5 * 4 and clock.calls.count("two") == 5


def test_calls_before_a_turn_are_not_timed(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock)
    assert interleaved({"cold": clock.running("cold", 9.0, 1.0)}, rounds=2, settle=0.1, clock=clock) == {"cold": 1.0}


def test_measuring_goes_on_for_the_time_that_is_given(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock)
    interleaved({"one": clock.running("one", 1.0)}, rounds=2, seconds=7.0, clock=clock)
    assert len(clock.calls) == 7


def test_without_a_clock_for_threads_the_time_that_passes_is_taken(monkeypatch):
    monkeypatch.delattr(time, "thread_time", raising=False)
    assert finest_clock() is time.perf_counter


@pytest.mark.parametrize(("resolution", "fine"), [(1e-9, True), (0.016, False)])
def test_a_coarse_clock_for_threads_is_not_used(monkeypatch, resolution, fine):
    if not hasattr(time, "thread_time"):
        pytest.skip("this platform has no clock for threads")
    info = type(time.get_clock_info("perf_counter"))(resolution=resolution)
    monkeypatch.setattr(time, "get_clock_info", lambda name: info)
    assert (finest_clock() is time.thread_time) == fine
