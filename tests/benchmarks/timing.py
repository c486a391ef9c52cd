"""How the benchmarks time: long turns after untimed calls, in wall time, since a step runs on several threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from minilora.machine import timing

SETTLE, TURN = 0.12, 0.05  # seconds


def interleaved(candidates: Mapping[str, Callable[[], object]], seconds: float = 6.0) -> dict[str, float]:
    """Median seconds per call of each candidate, over about `seconds`."""
    return timing.interleaved(candidates, seconds=seconds, settle=SETTLE, turn=TURN)
