"""As r grows to the full rank, with all matrices and biases adapted, LoRA approaches full fine-tuning.

Section 4.1, "A Generalization of Full Fine-tuning". We compare curves of the training loss: the distance between the
two mean curves, and the spread of full fine-tuning's curves over seeds.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from minilora.experiments.engine.experiment import Claim, Experiment, Results, markdown
from minilora.experiments.engine.figures import curves
from minilora.experiments.engine.plan import EVERYWHERE, Scale, Setting, lora, reference
from minilora.experiments.engine.run import Store
from minilora.plots import moving_average

TASK = "nli"
RANKS = (1, 8, 128)  # 128 = min(d, k) of every matrix, so the last is full rank
WINDOW = 20
FULL = reference(TASK, "full")


def setting(r: int) -> Setting:
    options = lora(r, EVERYWHERE) | {"bias": "all"}
    seeds = None if r == RANKS[-1] else 1
    return Setting(TASK, "lora", options, family="everywhere", answers=False, seeds=seeds)


def settings(scale: Scale) -> list[Setting]:
    return [FULL, *(setting(r) for r in RANKS)]


def measure(results: Results, store: Store) -> Any:
    """name -> a smoothed training curve for each seed."""
    named = {"full": FULL} | {f"r = {r}": setting(r) for r in RANKS}
    window = _window(results.scale)
    return {
        name: [moving_average(run["losses"], window).round(4).tolist() for run in results.runs(s)]
        for name, s in named.items()
    }


def _window(scale: Scale) -> int:
    return min(WINDOW, max(1, scale.task_steps(TASK) // 4))


def distance(measured: Any, name: str) -> float:
    """Mean |difference| between a mean curve and full fine-tuning's, over the second half of training."""
    ours, full = (np.mean(measured[n], axis=0) for n in (name, "full"))
    return float(np.abs(ours - full)[len(full) // 2 :].mean())


def seed_noise(measured: Any) -> float:
    """Mean standard deviation of full fine-tuning's curves over seeds, over the second half of training."""
    full = np.array(measured["full"])
    return float(full.std(axis=0, ddof=1)[full.shape[1] // 2 :].mean()) if len(full) > 1 else 0.0


def table(results: Results) -> str:
    trained, loss = results.row(FULL, "loss")
    rows = [["full", trained, "", loss]]
    for r in RANKS:
        trained, loss = results.row(setting(r), "loss")
        rows.append([f"LoRA everywhere, r = {r}", trained, f"{distance(results.measured, f'r = {r}'):.4f}", loss])
    header = ["", "trained", "distance from full's training curve", "test loss, nats per byte"]
    noise = seed_noise(results.measured)
    return markdown(header, rows) + f"\n\nStandard deviation of full fine-tuning's own curve over seeds: {noise:.4f}."


def claims(results: Results) -> list[Claim]:
    far = {r: distance(results.measured, f"r = {r}") for r in RANKS}
    noise = seed_noise(results.measured)
    falling = all(far[a] >= far[b] for a, b in pairwise(RANKS))
    distances, last = ", ".join(f"{far[r]:.4f} at r = {r}" for r in RANKS), far[RANKS[-1]]
    return [
        Claim(f"LoRA's curve gets closer to full fine-tuning's as r grows ({distances})", falling),
        Claim(f"at full rank the distance is within seed noise ({last:.4f}, noise {noise:.4f})", last <= noise),
    ]


def figure(results: Results, path: Path) -> None:
    curves(results.measured, _window(results.scale), path)


TITLE = "LoRA approaches full fine-tuning as r grows"
EXPERIMENT = Experiment("full_rank_limit", TITLE, "section 4.1", settings, table, claims, figure, measure)
