"""A short run, recorded while the site is built: what the pages show before Python is there."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from tutorials.browser.course.lab import DEFAULTS, Lab

STEPS, EVERY = 50, 2
PATH = "blocks.3.attn.o_proj"


def record() -> dict[str, Any]:
    """The playground's default run: one frame each `EVERY` steps, its matrices as one byte per entry."""
    lab, frames = Lab(), []
    points = [lab.reset({})]
    W0 = packed(lab.picture(PATH)["W0"])
    while True:
        shown = lab.picture(PATH)
        frames.append(
            {"s": shown["s"], "singular": shown["singular"], "A": packed(shown["A"]), "B": packed(shown["B"])}
        )
        if points[-1]["step"] == STEPS:
            break
        for _ in range(EVERY):
            lab.step()
        points.append(lab.measure())
    samples = {"without": lab.sample(adapter=False), "with": lab.sample()}
    return {"settings": DEFAULTS, "path": PATH, "W0": W0, "frames": frames, "points": points, "samples": samples}


def packed(matrix: dict[str, Any]) -> dict[str, Any]:
    """A matrix in 255 levels: {"shape", "unit", "levels"}, an entry being its level times the unit."""
    unit = float(np.abs(matrix["data"]).max()) / 127 or 1.0
    levels = np.rint(matrix["data"] / unit).astype(np.int8)
    return {"shape": matrix["shape"], "unit": unit, "levels": base64.b64encode(levels.tobytes()).decode()}
