"""All that the demo measures, so that the figure and the tests are made from numbers alone."""

from __future__ import annotations

from dataclasses import dataclass

from minilora.demo.merging import Merging
from minilora.demo.rank import IntrinsicRank
from minilora.demo.scaling import ScalingRuns
from minilora.demo.training import Training
from minilora.demo.zero_init import InitEffect


@dataclass(frozen=True)
class DemoResult:
    """All five sections' numbers."""

    inits: list[InitEffect]
    training: Training
    scaling: ScalingRuns
    intrinsic: IntrinsicRank
    merging: Merging
    seconds: float
