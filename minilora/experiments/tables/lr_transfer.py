"""Learning-rate transfer: with a fixed alpha, one rate serves every rank; without the scale alpha/r it does not.

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
ALPHA = {"alpha / r": lambda r: 8, "no scale": lambda r: r}  # scale -> rank -> alpha


def setting(way: str, r: int, lr: float) -> Setting:
    return Setting(TASK, "lora", lora(r, ATTENTION, ALPHA[way](r)), lr=lr, seeds=1, answers=False)


def rates(scale: Scale) -> tuple[float, ...]:
    return RATES if scale.searched else RATES[1:2]


def settings(scale: Scale) -> list[Setting]:
    return [setting(way, r, lr) for way in ALPHA for r in RANKS for lr in rates(scale)]


def losses(results: Results) -> dict[str, dict[int, dict[float, float]]]:
    """scale -> rank -> rate -> test loss; infinite if the run diverged."""

    def loss(way: str, r: int, lr: float) -> float:
        score = results.score(setting(way, r, lr), "loss")
        return score.mean if score.n else math.inf

    return {way: {r: {lr: loss(way, r, lr) for lr in rates(results.scale)} for r in RANKS} for way in ALPHA}


def regret(by_rank: dict[int, dict[float, float]]) -> float:
    """How much loss the best rate of the middle rank costs at other ranks, compared with their own best, at worst."""
    middle = by_rank[RANKS[1]]
    rate = min(middle, key=lambda lr: middle[lr])
    return max(curve[rate] - min(curve.values()) for curve in by_rank.values())


def table(results: Results) -> str:
    rows = []
    for way, by_rank in losses(results).items():
        for r, curve in by_rank.items():
            least = min(curve.values())
            rows.append([way, str(r), *(f"**{x:.3f}**" if x == least else f"{x:.3f}" for x in curve.values())])
    header = ["scale", "r", *(f"lr {lr:g}" for lr in rates(results.scale))]
    return f"Test loss on {TASK}, nats per byte; the lowest of each row in bold:\n\n" + markdown(header, rows)


def claims(results: Results) -> list[Claim]:
    scaled, unscaled = (regret(by_rank) for by_rank in losses(results).values())
    text = (
        f"with alpha/r, the best rate at r = {RANKS[1]} costs at most {scaled:.3f} nats at the other ranks; without "
        f"the scale, {unscaled:.3f}"
    )
    return [Claim(text, scaled <= unscaled)]


def figure(results: Results, path: Path) -> None:
    losses_by_rate(losses(results), path)


TITLE = "One learning rate for every rank"
EXPERIMENT = Experiment("lr_transfer", TITLE, "section 4.1", settings, table, claims, figure)
