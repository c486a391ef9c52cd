"""Table 1: the latency that adapters add to a forward pass; LoRA, merged, adds none.

Measured as processor time of one thread on the shipped base, all variants in turn, so that what else the machine does
falls on them alike.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np

import minilora as ml
from minilora import methods
from minilora.experiments.engine.experiment import Claim, Experiment, Results, markdown
from minilora.experiments.engine.plan import lora
from minilora.experiments.engine.run import Store
from minilora.machine.blas import single_threaded_blas

SHAPES = ((16, 256), (4, 128), (1, 32))  # batch, length
PAPER = {  # GPT-2 M on a Quadro RTX8000, batch x length: what Adapter-L and Adapter-H add
    (16, 256): ("32 x 512", "+2.2%", "+3.0%"),
    (4, 128): ("16 x 256", "+5.0%", "+8.4%"),
    (1, 32): ("1 x 128", "+20.7%", "+30.3%"),
}
VARIANTS = {  # each trains about 3 % of the parameters
    "base": None,
    "LoRA, merged": ("lora", lora(6, ("q_proj", "k_proj", "v_proj", "o_proj"))),
    "LoRA, unmerged": ("lora", lora(6, ("q_proj", "k_proj", "v_proj", "o_proj"))),
    "Adapter-L": ("adapter_l", {"m": 24}),
    "Adapter-H": ("adapter_h", {"m": 12}),
}


def variant(name: str) -> ml.GPT:
    """The base as this variant serves it."""
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
        for batch, length in SHAPES:
            tokens = rng.integers(256, size=(batch, length))
            times: dict[str, list[float]] = {name: [] for name in models}
            # Short passes are many: a thread's clock ticks coarsely beside them.
            passes = max(1, 512 // (batch * length))
            for _ in range(results.scale.repeats + 1):
                for name, model in models.items():
                    start = time.thread_time()
                    for _ in range(passes):
                        model(tokens)
                    times[name].append(1000 * (time.thread_time() - start) / passes)
            # The first round meets cold caches.
            measured[f"{batch} x {length}"] = {name: statistics.median(t[1:]) for name, t in times.items()}
    return measured


def added(measured: Any, shape: str, name: str) -> float:
    """What a variant adds to the base's time, as a share."""
    return measured[shape][name] / measured[shape]["base"] - 1


def table(results: Results) -> str:
    m = results.measured
    rows = []
    for (batch, length), (paper_shape, *paper) in PAPER.items():
        shape = f"{batch} x {length}"
        ours = [f"{added(m, shape, name):+.1%}" for name in VARIANTS if name != "base"]
        rows.append([shape, f"{m[shape]['base']:.1f}", *ours, paper_shape, *paper])
    header = ["batch x length", "base, ms", *(name for name in VARIANTS if name != "base")]
    return markdown([*header, "paper: batch x length", "Adapter-L", "Adapter-H"], rows)


def claims(results: Results) -> list[Claim]:
    m = results.measured
    large, *_, small = m
    adapters = {shape: {name: added(m, shape, name) for name in ("Adapter-L", "Adapter-H")} for shape in m}
    merged = max(abs(added(m, shape, "LoRA, merged")) for shape in m)
    least = min(min(by.values()) for by in adapters.values())
    growing = [name for name in ("Adapter-L", "Adapter-H") if adapters[small][name] > adapters[large][name]]
    return [
        Claim(f"adapters add latency in every shape ({least:+.1%} at least)", least > 0),
        Claim(f"and more to short passes: true of {' and of '.join(growing) or 'neither'}", len(growing) == 2),
        Claim(f"merged LoRA differs from the base by {merged:.1%} at most, less than any adapter", merged < least),
    ]


EXPERIMENT = Experiment(
    name="table1",
    title="Table 1: latency",
    source="section 3",
    settings=lambda scale: [],
    table=table,
    claims=claims,
    measure=measure,
)
