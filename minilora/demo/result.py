"""Everything the demo measures."""

from __future__ import annotations

from dataclasses import dataclass

from minilora.demo.merging import Merging
from minilora.demo.rank import IntrinsicRank
from minilora.demo.scaling import ScalingRuns
from minilora.demo.training import Training
from minilora.demo.zero_init import InitEffect


@dataclass(frozen=True)
class DemoResult:
    """The numbers of all five sections, and the seconds they took together."""

    inits: list[InitEffect]
    training: Training
    scaling: ScalingRuns
    intrinsic: IntrinsicRank
    merging: Merging
    seconds: float
