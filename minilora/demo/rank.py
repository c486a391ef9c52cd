"""Section 4: how many directions the update of full fine-tuning needs, and what a small r loses."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from minilora.analysis import energy_share, gaussian_control, rank_for_energy, singular_values
from minilora.demo.scaling import ScalingRuns
from minilora.demo.setup import ATTENTION, FULL_LEARNING_RATE, RANK, Setup, ShortRun, heading, short_run
from minilora.demo.training import Training
from minilora.machine.backend import array_module
from minilora.transformer import GPT


@dataclass(frozen=True)
class IntrinsicRank:
    """A full fine-tuning, the spectra of its updates to the attention projections, and random controls."""

    full: ShortRun
    sigma: dict[str, np.ndarray]  # layer -> singular values of dW / ||dW||_F
    control: dict[str, np.ndarray]  # the same for a Gaussian matrix of the same shape


def intrinsic_rank(base: GPT, setup: Setup) -> IntrinsicRank:
    """Section 4.1 assumes that updates have a low intrinsic rank: measure those of a full fine-tuning."""
    model = copy.deepcopy(base)
    full = short_run(model, setup, FULL_LEARNING_RATE, "full fine-tuning")
    before, after = base.named_parameters(), model.named_parameters()
    rng = np.random.default_rng(setup.seed)
    sigma, control = {}, {}
    for name in before:
        if name.endswith(tuple(f"{layer}.weight" for layer in ATTENTION)):
            dW = after[name].data - before[name].data
            dW /= array_module(dW).linalg.norm(dW)
            sigma[name] = singular_values(dW)
            control[name] = singular_values(gaussian_control(dW, rng))
    return IntrinsicRank(full, sigma, control)


def mean_of(measure: Callable[[np.ndarray], float], spectra: dict[str, np.ndarray], layer: str = "") -> float:
    """The mean of a measure over the spectra of layers whose name contains `layer`."""
    return statistics.fmean(measure(sigma) for name, sigma in spectra.items() if layer in name)


def print_intrinsic_rank(result: IntrinsicRank, scaling: ScalingRuns, trained: Training) -> None:
    runs, base_loss = scaling.scaled, trained.run.val_losses[0][1]
    heading(4, "intrinsic rank: a few directions do most of the work", "sections 4.1 and 7.2")
    print(f"validation loss after {len(result.full.losses)} steps, LoRA with alpha/r:\n")
    print(f"{'base':>9}" + "".join(f"{f'r={r}':>9}" for r in runs) + f"{'full':>9}")
    print(f"{base_loss:>9.3f}" + "".join(f"{run.loss:>9.3f}" for run in runs.values()) + f"{result.full.loss:>9.3f}")
    lowest = min(runs)
    gained = (base_loss - runs[lowest].loss) / (base_loss - result.full.loss)
    print(f"\nRank {lowest} achieves {gained:.0%} of the improvement of full fine-tuning.")
    k = len(next(iter(result.sigma.values())))
    print(f"\nEach dW of the full fine-tuning has {k} singular values. Means over the blocks, and a random matrix:\n")
    print(f"{'':<26}" + "".join(f"{layer:>9}" for layer in ATTENTION) + f"{'random':>9}")
    for title, measure, form in (
        (f"energy in the first {RANK}", partial(energy_share, r=RANK), ".0%"),
        ("rank that holds 90 %", rank_for_energy, ".0f"),
    ):
        values = [mean_of(measure, result.sigma, layer) for layer in ATTENTION] + [mean_of(measure, result.control)]
        print(f"{title:<26}" + "".join(f"{value:>9{form}}" for value in values))
