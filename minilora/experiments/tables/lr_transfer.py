"""Learning-rate transfer: with alpha fixed, one rate serves every rank; without the scale alpha/r it does not.

Section 4.1: the scale alpha/r "helps to reduce the need to retune hyperparameters when we vary r".
"""

from __future__ import annotations

import math
from pathlib import Path

from minilora.experiments.engine.experiment import Claim, Experiment, Results, markdown
from minilora.experiments.engine.figures import losses_by_rate
from minilora.experiments.engine.plan import ATTENTION, Scale, Setting, lora

TASK = "nli"
RANKS = (1, 8, 64)
RATES = (3e-3, 1e-2, 3e-2)
WAYS = {"alpha / r": lambda r: 8, "no scale": lambda r: r}  # way -> alpha


def setting(way: str, r: int, lr: float) -> Setting:
    return Setting(TASK, "lora", lora(r, ATTENTION, WAYS[way](r)), lr=lr, seeds=1, answers=False)


def settings(scale: Scale) -> list[Setting]:
    rates = RATES if scale.searched else RATES[1:2]
    return [setting(way, r, lr) for way in WAYS for r in RANKS for lr in rates]


def losses(results: Results) -> dict[str, dict[int, dict[float, float]]]:
    """way -> rank -> rate -> test loss; infinite where the run diverged."""
    rates = RATES if results.scale.searched else RATES[1:2]

    def loss(*cell) -> float:
        score = results.score(setting(*cell), "loss")
        return score.mean if score.n else math.inf

    return {way: {r: {lr: loss(way, r, lr) for lr in rates} for r in RANKS} for way in WAYS}


def regret(by_rank: dict[int, dict[float, float]]) -> float:
    """What the best rate at the middle rank costs at the others, at worst: its loss there less the least one."""
    middle = by_rank[RANKS[1]]
    rate = min(middle, key=lambda lr: middle[lr])
    return max(curve[rate] - min(curve.values()) for curve in by_rank.values())


def table(results: Results) -> str:
    found = losses(results)
    rates = list(next(iter(found["no scale"].values())))
    rows = []
    for way, by_rank in found.items():
        for r, curve in by_rank.items():
            best = min(curve, key=lambda lr: curve[lr])
            cells = [f"{'**' if lr == best else ''}{curve[lr]:.3f}{'**' if lr == best else ''}" for lr in rates]
            rows.append([way, str(r), *cells])
    return f"Test loss on {TASK}, nats per byte; the least of each row in bold:\n\n" + markdown(
        ["scale", "r", *(f"lr {lr:g}" for lr in rates)], rows
    )


def claims(results: Results) -> list[Claim]:
    found = losses(results)
    scaled, unscaled = (regret(found[way]) for way in WAYS)
    return [
        Claim(
            f"with alpha/r, the best rate at r = {RANKS[1]} costs at most {scaled:.3f} nats at the other ranks, and "
            f"{unscaled:.3f} without the scale",
            scaled <= unscaled,
        ),
    ]


def figure(results: Results, path: Path) -> None:
    losses_by_rate(losses(results), path)


EXPERIMENT = Experiment(
    name="lr_transfer",
    title="One learning rate for every rank",
    source="section 4.1",
    settings=settings,
    table=table,
    claims=claims,
    figure=figure,
)
