"""Table 1: the latency that bottleneck layers add to a forward pass; merged LoRA adds none.

Measured as processor time of one thread on the shipped base, all variants in turn, so that other work on the machine
affects them alike. The base takes part twice: the difference between the two is noise.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import minilora as ml
from minilora import methods
from minilora.experiments.engine.experiment import Claim, Experiment, Results, markdown
from minilora.experiments.engine.plan import ATTENTION, lora
from minilora.experiments.engine.run import Store
from minilora.machine.blas import single_threaded_blas
from minilora.machine.timing import finest_clock, interleaved

TURN = 0.02  # seconds of passes to time at once, because a clock is coarse compared with one short pass
PAPER = {  # our batch and length: the paper's (GPT-2 M on a Quadro RTX8000), and what Adapter-L and Adapter-H add
    (16, 256): ("32 x 512", "+2.2%", "+3.0%"),
    (4, 128): ("16 x 256", "+5.0%", "+8.4%"),
    (1, 32): ("1 x 128", "+20.7%", "+30.3%"),
}
BOTTLENECKS = ("Adapter-L", "Adapter-H")
VARIANTS = {  # each trains about 3 % of the parameters
    "base": None,
    "base, again": None,
    "LoRA, merged": ("lora", lora(6, ATTENTION)),
    "LoRA, unmerged": ("lora", lora(6, ATTENTION)),
    "Adapter-L": ("adapter_l", {"m": 24}),
    "Adapter-H": ("adapter_h", {"m": 12}),
}


def variant(name: str) -> ml.GPT:
    """The base as this variant would be served."""
    model, _ = ml.load_base()
    if chosen := VARIANTS[name]:
        methods.apply(model, chosen[0], seed=0, **chosen[1])
    return ml.merge(model) if name == "LoRA, merged" else model


def measure(results: Results, store: Store) -> Any:
    """shape -> variant -> median milliseconds of a forward pass."""
    models = {name: variant(name) for name in VARIANTS}
    rng = np.random.default_rng(0)
    measured: dict[str, dict[str, float]] = {}
    with single_threaded_blas():
        for shape in PAPER:
            tokens = rng.integers(256, size=shape)
            runs = {name: partial(model, tokens) for name, model in models.items()}
            times = interleaved(runs, rounds=results.scale.repeats, turn=TURN, clock=finest_clock())
            measured["{} x {}".format(*shape)] = {name: 1000 * t for name, t in times.items()}
    return measured


def added(measured: Any, shape: str, name: str) -> float:
    """How much longer a variant takes than the base, as a share of the base's time."""
    return measured[shape][name] / measured[shape]["base"] - 1


def table(results: Results) -> str:
    m, others = results.measured, [name for name in VARIANTS if name != "base"]
    rows = [
        [shape, f"{m[shape]['base']:.1f}", *(f"{added(m, shape, name):+.1%}" for name in others), *paper]
        for shape, paper in zip(m, PAPER.values(), strict=True)
    ]
    return markdown(["batch x length", "base, ms", *others, "paper: batch x length", *BOTTLENECKS], rows)


def claims(results: Results) -> list[Claim]:
    m = results.measured
    large, *_, small = m
    # Two plain models: the base once more, and a merged LoRA, which is one (lesson 7 compares the bits).
    noise = max(abs(added(m, shape, name)) for shape in m for name in ("base, again", "LoRA, merged"))
    least = min(added(m, shape, name) for shape in m for name in BOTTLENECKS)
    least_small = min(added(m, small, name) for name in BOTTLENECKS)
    growing = [name for name in BOTTLENECKS if added(m, small, name) > added(m, large, name)]
    within = f"two plain models differ by up to {noise:.1%} on this machine, so a smaller difference cannot be seen"
    return [
        Claim(
            f"Adapter-L and Adapter-H add latency to short passes (at least {least_small:+.1%}; noise {noise:.1%})",
            least_small > noise,
            within,
        ),
        Claim(f"and in every shape (at least {least:+.1%})", least > noise, within),
        Claim(
            f"and more of it to short passes (true of {' and '.join(growing) or 'neither'})", len(growing) == 2, within
        ),
    ]


EXPERIMENT = Experiment("table1", "Table 1: latency", "section 3", lambda scale: [], table, claims, measure=measure)
