"""Makes `explore.html`: one page, without a server, on which a reader moves r, alpha, the matrices and the bits.

    python -m tutorials.explore            # the page, from the numbers in results/explore.json
    python -m tutorials.explore --sweep    # the numbers too: 48 short runs, a few minutes

The page has the numbers in it, so it opens by a double click.
"""

from __future__ import annotations

import copy
import json
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import minilora as ml
from minilora.analysis import singular_values
from minilora.lora import lora_shapes
from minilora.quantized import quantize

HERE = Path(__file__).parent
NUMBERS, TEMPLATE, PAGE = HERE / "results" / "explore.json", HERE / "explore.template.html", HERE / "explore.html"
RANKS, SCALES = (1, 4, 16, 64), (0.25, 1.0, 4.0)  # r, and alpha / r
MATRICES = {
    "W_q": ("q_proj",),
    "W_q, W_v": ("q_proj", "v_proj"),
    "attention's four": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "all six": ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"),
}
SHOWN = "blocks.0.attn.q_proj"  # its dW is drawn
CELLS = 16  # per side of the drawing: each is the mean size of 8 x 8 entries


def measure(base: ml.GPT, small: ml.GPT, r: int, scale: float, names: tuple[str, ...]) -> dict[str, Any]:
    """One short run: the losses beside a base in 32 and in 4 bits, how many numbers train, and SHOWN's dW."""
    train, test = ml.source_windows()
    config = ml.LoraConfig(r=r, lora_alpha=scale * r, target_modules=names)
    model = ml.add_lora(copy.deepcopy(base), config)
    ml.fit(model, train, steps=20, lr=4e-3, batch_size=4, workers=2, progress=False)
    in_four_bits = ml.add_lora(copy.deepcopy(small), config)
    for (_, trained), (_, layer) in zip(ml.lora_layers(model), ml.lora_layers(in_four_bits), strict=True):
        layer.lora_A.data, layer.lora_B.data = trained.lora_A.data, trained.lora_B.data
    dW = dict(ml.lora_layers(model))[SHOWN].delta()
    d, k = dW.shape
    blocks = np.abs(dW).reshape(CELLS, d // CELLS, CELLS, k // CELLS).mean(axis=(1, 3))
    return {
        "loss": [round(ml.evaluate(each, test, workers=2), 4) for each in (model, in_four_bits)],
        "trained": sum(a * b for a, b in lora_shapes(base.shapes(), config).values()),
        "dW": (1e5 * blocks).round().astype(int).ravel().tolist(),
        "sigma": [round(float(s), 4) for s in singular_values(dW)[:16]],
    }


def sweep() -> dict[str, Any]:
    """Every setting, and the base.  Runs that are stored already are kept, so that it can be interrupted."""
    base, _ = ml.load_base()
    small = quantize(copy.deepcopy(base))
    found = json.loads(NUMBERS.read_text(encoding="utf-8")) if NUMBERS.exists() else {"runs": {}}
    _, test = ml.source_windows()
    found["base"] = {
        "loss": [round(ml.evaluate(model, test, workers=2), 4) for model in (base, small)],
        "bytes": [sum(p.nbytes for p in model.named_parameters().values()) for model in (base, small)],
        "parameters": base.config.parameter_count,
    }
    for (name, matrices), r, scale in product(MATRICES.items(), RANKS, SCALES):
        key = f"{name}|{r}|{scale:g}"
        if key not in found["runs"]:
            found["runs"][key] = measure(base, small, r, scale, matrices)
            NUMBERS.write_text(json.dumps(found) + "\n", encoding="utf-8")
            print(key, found["runs"][key]["loss"], flush=True)
    return found


def main(arguments: list[str]) -> None:
    found = sweep() if "--sweep" in arguments else json.loads(NUMBERS.read_text(encoding="utf-8"))
    choices = {"matrices": [*MATRICES], "ranks": RANKS, "scales": SCALES, "cells": CELLS}
    numbers = json.dumps(choices | found, separators=(",", ":"))
    PAGE.write_text(TEMPLATE.read_text(encoding="utf-8").replace("/* numbers */", f"const N = {numbers};"), "utf-8")
    print(f"{PAGE.name}: {PAGE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
