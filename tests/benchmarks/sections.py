"""What is measured, one function per section; each returns rows (a list of dicts) for the table and the JSON."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

import minilora as ml
from minilora.nn import cache_bytes
from tests.benchmarks import pytorch
from tests.benchmarks.floor import floor_step
from tests.benchmarks.profiling import profile, without
from tests.benchmarks.report import Rows
from tests.benchmarks.shapes import LORA, SHAPES, WORKERS, Shape, our_model, our_step
from tests.benchmarks.timing import interleaved


def train(seconds: float) -> Rows:
    """LoRA step, full fine-tuning step, the floor and, if it is there, PyTorch + PEFT, in turns."""
    rows = []
    for name, shape in SHAPES.items():
        candidates = {"floor": floor_step(shape), "LoRA": our_step(shape, True), "full": our_step(shape, False)}
        if pytorch.available():
            candidates["torch+PEFT"] = pytorch.pytorch_step(shape)
        t = interleaved(candidates, seconds)
        row = {"shape": name, **{f"{key} ms": 1e3 * value for key, value in t.items()}}
        row |= {"LoRA / floor": t["LoRA"] / t["floor"], "LoRA / full": t["LoRA"] / t["full"]}
        if "torch+PEFT" in t:
            row["torch+PEFT / LoRA"] = t["torch+PEFT"] / t["LoRA"]
        rows.append(row)
    return rows


def generation(seconds: float) -> Rows:
    """Greedy generation with a key/value cache: batch 1, prompt of 1, up to 128 tokens, shape L."""
    shape = SHAPES["L"]
    model, prompt = our_model(shape, lora=False), np.array([1])
    candidates: dict[str, Callable[[], object]] = {"ours": lambda: ml.generate(model, prompt, temperature=0)}
    if pytorch.available():
        candidates["transformers"] = pytorch.generate(pytorch.gpt2(shape), prompt[None], shape.block_size - 1)
    t = interleaved(candidates, seconds)
    row = {f"{name} tokens/s": (shape.block_size - 1) / value for name, value in t.items()}
    if "transformers" in t:
        row["transformers / ours (time)"] = t["transformers"] / t["ours"]
    return [row]


def merged(seconds: float) -> Rows:
    """The paper's claim of no added latency: `evaluate` on one batch by the base, the merged and the unmerged model."""
    rows = []
    for name, shape in SHAPES.items():
        models = {"base": our_model(shape, False), "merged": ml.merge(our_model(shape, True))}
        models["unmerged"] = our_model(shape, True)
        tokens, options = shape.tokens()[:, :-1].ravel(), {"batch_size": shape.batch_size, "workers": WORKERS}
        t = interleaved({kind: partial(ml.evaluate, m, tokens, **options) for kind, m in models.items()}, seconds)
        rows.append({"shape": name} | {f"{kind} / base": t[kind] / t["base"] for kind in ("merged", "unmerged")})
    return rows


def state(seconds: float) -> Rows:
    """Gradients and Adam's state: 3 arrays per trainable parameter, 3 x 4 bytes x r (d + k) per LoRA."""
    rows = []
    for name, shape in SHAPES.items():
        formula = 3 * 4 * LORA.r * 2 * shape.n_embd * 2 * shape.n_layer
        for lora in (True, False):
            model, tokens = our_model(shape, lora), shape.tokens()
            optimizer = ml.Adam(model)
            _, grads = ml.loss_and_grads(model, tokens[:, :-1], tokens[:, 1:])
            optimizer.step(grads)
            measured = sum(g.nbytes for g in grads.values()) + optimizer.nbytes
            row: dict[str, Any] = {"shape": name, "training": "LoRA" if lora else "full", "bytes": measured}
            rows.append(row | {"formula": formula if lora else None})
    return rows


def activations(seconds: float) -> Rows:
    """Bytes per token that one block's cache keeps for backward, part by part, and the whole model's."""
    rows = []
    for name, shape in SHAPES.items():
        for lora in (True, False):
            model, tokens = our_model(shape, lora), shape.tokens()[:1, :-1]
            _, cache = model.forward(tokens)
            block = cache.blocks[-1]
            T = shape.block_size
            parts = {part: cache_bytes(getattr(block, part)) / T for part in block._fields}
            whole = {"block": cache_bytes(block) / T, "model": cache_bytes(cache) / T}
            rows.append({"shape": name, "training": "LoRA" if lora else "full", **parts, **whole})
    return rows


def peak(seconds: float) -> Rows:
    """Peak of one step by tracemalloc, from building the model on: 8 layers, 512 wide, batch 1 x 64."""
    shape = Shape(256, 64, 8, 8, 512, 1)
    peaks = {}
    for lora in (True, False):
        tracemalloc.start()
        our_step(shape, lora)()
        peaks["LoRA" if lora else "full"] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return [{f"{name} MB": n / 1e6 for name, n in peaks.items()} | {"LoRA / full": peaks["LoRA"] / peaks["full"]}]


GROWTH = {
    "T": [Shape(96, T, 2, 4, 64, max(1, 2048 // T)) for T in (32, 64, 128, 256, 512, 1024)],
    "width": [Shape(96, 64, 2, 4, C, 8) for C in (32, 64, 128, 256, 512)],
    "layers": [Shape(96, 64, n, 4, 64, 8) for n in (1, 2, 4, 8, 16)],
}
RANKS = (1, 4, 16, 64)


def growth(seconds: float) -> Rows:
    """Time of a LoRA step against T (at a constant number of tokens), width, layers and r. The slope is on log axes,
    from the row above: time grows as value ** slope."""
    rows: Rows = []
    for axis, shapes in GROWTH.items():
        values = [{"T": s.block_size, "width": s.n_embd, "layers": s.n_layer}[axis] for s in shapes]
        t = interleaved({str(v): our_step(s, True) for v, s in zip(values, shapes, strict=True)}, seconds)
        rows += _growth_rows(axis, values, t)
    t = interleaved({str(r): _step_of_rank(SHAPES["M"], r) for r in RANKS}, seconds)
    return rows + _growth_rows("r", RANKS, t)


def _growth_rows(axis: str, values: Sequence[int], t: dict[str, float]) -> Rows:
    slopes = [None] + [math.log(t[str(b)] / t[str(a)]) / math.log(b / a) for a, b in pairwise(values)]
    rows = zip(values, slopes, strict=True)
    return [{"axis": axis, "value": v, "ms": 1e3 * t[str(v)], "slope": slope} for v, slope in rows]


def _step_of_rank(shape: Shape, r: int) -> Callable[[], object]:
    model, tokens = ml.add_lora(ml.GPT(shape.config), ml.LoraConfig(r=r)), shape.tokens()
    return lambda: ml.loss_and_grads(model, tokens[:, :-1], tokens[:, 1:], workers=WORKERS)


SECTIONS = (train, generation, merged, state, activations, peak, growth, profile, without)
