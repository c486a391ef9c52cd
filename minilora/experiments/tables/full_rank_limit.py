"""As r grows to the full rank, with all matrices and biases adapted, LoRA tends to full fine-tuning.

Section 4.1, "A Generalization of Full Fine-tuning". Compared by the curves of the training loss: the distance between
the mean curves of the two, beside the distance between seeds of full fine-tuning.
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
RANKS = (1, 8, 128)  # 128 = min(d, k) of every matrix but the embeddings' 128 columns, where it is full rank too
WINDOW = 20


def setting(r: int) -> Setting:
    return Setting(
        TASK,
        "lora",
        lora(r, EVERYWHERE) | {"bias": "all"},
        family="everywhere",
        answers=False,
        seeds=None if r == RANKS[-1] else 1,
    )


def settings(scale: Scale) -> list[Setting]:
    return [reference(TASK, "full"), *(setting(r) for r in RANKS)]


def measure(results: Results, store: Store) -> Any:
    """name -> a smoothed training curve for each seed."""
    named = {"full": reference(TASK, "full")} | {f"r = {r}": setting(r) for r in RANKS}
    window = _window(results.scale)
    return {
        name: [moving_average(run["losses"], window).round(4).tolist() for run in results.runs(s)]
        for name, s in named.items()
    }


def _window(scale: Scale) -> int:
    return min(WINDOW, max(1, scale.task_steps(TASK) // 4))


def distance(measured: Any, name: str) -> float:
    """Mean |difference| of a name's mean curve from full fine-tuning's, over the second half of training."""
    ours, full = (np.mean(measured[n], axis=0) for n in (name, "full"))
    return float(np.abs(ours - full)[len(full) // 2 :].mean())


def seed_noise(measured: Any) -> float:
    """Mean standard deviation of full fine-tuning's curves over seeds, over the second half of training."""
    full = np.array(measured["full"])
    return float(full.std(axis=0, ddof=1)[full.shape[1] // 2 :].mean()) if len(full) > 1 else 0.0


def table(results: Results) -> str:
    rows = [
        ["full", f"{results.trainable(reference(TASK, 'full')):,}", "", results.cell(reference(TASK, "full"), "loss")]
    ]
    for r in RANKS:
        rows.append(
            [
                f"LoRA everywhere, r = {r}",
                f"{results.trainable(setting(r)):,}",
                f"{distance(results.measured, f'r = {r}'):.4f}",
                results.cell(setting(r), "loss"),
            ]
        )
    header = ["", "trained", "distance from full's training curve", "test loss, nats per byte"]
    return (
        markdown(header, rows) + f"\n\nSeed noise of full fine-tuning's own curve: {seed_noise(results.measured):.4f}."
    )


def claims(results: Results) -> list[Claim]:
    far = {r: distance(results.measured, f"r = {r}") for r in RANKS}
    noise = seed_noise(results.measured)
    falling = all(far[a] >= far[b] for a, b in pairwise(RANKS))
    return [
        Claim(f"the curves come closer as r grows ({', '.join(f'{far[r]:.4f} at r = {r}' for r in RANKS)})", falling),
        Claim(
            f"at full rank they are within seed noise ({far[RANKS[-1]]:.4f}, noise {noise:.4f})",
            far[RANKS[-1]] <= noise,
        ),
    ]


def figure(results: Results, path: Path) -> None:
    curves(results.measured, _window(results.scale), path)


EXPERIMENT = Experiment(
    name="full_rank_limit",
    title="LoRA tends to full fine-tuning as r grows",
    source="section 4.1",
    settings=settings,
    table=table,
    claims=claims,
    figure=figure,
    measure=measure,
)
