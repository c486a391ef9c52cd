"""Section 3: one learning rate for every rank, with and without the scale alpha/r."""

from __future__ import annotations

from dataclasses import dataclass

from minilora.demo.setup import ALPHA, LEARNING_RATE, Setup, ShortRun, adapted, heading, short_run
from minilora.transformer import GPT


@dataclass(frozen=True)
class ScalingRuns:
    """rank -> run, with the paper's alpha/r and without it, all at one learning rate."""

    scaled: dict[int, ShortRun]
    unscaled: dict[int, ShortRun]


def alpha_over_r(base: GPT, setup: Setup) -> ScalingRuns:
    """Section 4.1: the scale alpha/r "helps to reduce the need to retune hyperparameters when we vary r".

    Without it dW = B A, which is alpha = r. At r = ALPHA the two are the same run, which is made once.
    """
    settings = dict.fromkeys((r, alpha) for r in setup.size.ranks for alpha in (ALPHA, r))
    runs = {}
    for i, (r, alpha) in enumerate(settings, 1):
        label = f"run {i} of {len(settings)}: r={r}, scale {alpha / r:g}"
        runs[r, alpha] = short_run(adapted(base, setup, r, alpha), setup, LEARNING_RATE, label)
    return ScalingRuns(
        scaled={r: runs[r, ALPHA] for r in setup.size.ranks}, unscaled={r: runs[r, r] for r in setup.size.ranks}
    )


def spread(runs: dict[int, ShortRun]) -> float:
    """The worst final loss minus the best: what one learning rate for every rank costs."""
    losses = [run.loss for run in runs.values()]
    return max(losses) - min(losses)


def print_alpha_over_r(result: ScalingRuns) -> None:
    heading(3, "alpha/r: one learning rate for every rank", "section 4.1")
    steps = len(next(iter(result.scaled.values())).losses)
    print(f"validation loss after {steps} steps at learning rate {LEARNING_RATE:g}:\n")
    print(f"{'':<26}" + "".join(f"{f'r={r}':>9}" for r in result.scaled) + f"{'spread':>10}")
    for title, runs in ((f"with alpha/r, alpha = {ALPHA}", result.scaled), ("without: dW = B A", result.unscaled)):
        print(f"{title:<26}" + "".join(f"{run.loss:>9.3f}" for run in runs.values()) + f"{spread(runs):>10.3f}")
    print("\nAdam moves every entry of A and B by about the learning rate, so B A grows with r; alpha/r undoes that.")
