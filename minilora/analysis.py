"""What the paper asks of an update: how many directions it has, and what it costs to train (sections 4 and 7).

Every function here is pure: arrays or a model in, numbers out.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np

from minilora.backend import Array, array_module, to_host
from minilora.optim import Adam
from minilora.train import loss_and_grads
from minilora.transformer import GPT

# ---------------------------------------------------------------------------------------------- spectra


def singular_values(dW: Array) -> np.ndarray:
    """The singular values of dW (d, k), largest first: (min(d, k),), on the host.

    dW stretches its i-th input direction by sigma_i and by nothing else, so dW has rank r exactly when r of them
    are not zero. Section 4.1 supposes that fine-tuning needs few: a low "intrinsic rank".
    """
    return to_host(array_module(dW).linalg.svd(dW, compute_uv=False))


def energy_share(sigma: np.ndarray, r: int) -> float:
    """The part of ||dW||_F^2 = sum of sigma_i^2 that the r largest singular values hold, in [0, 1].

    The best approximation of rank r keeps just this part (Eckart and Young 1936).
    """
    energy = sigma**2
    return float(energy[:r].sum() / energy.sum())


def rank_for_energy(sigma: np.ndarray, share: float = 0.9) -> int:
    """The smallest r whose `energy_share` is at least `share`: how many directions matter."""
    energy = np.cumsum(sigma**2)
    return int(np.searchsorted(energy, share * energy[-1])) + 1


def gaussian_control(dW: Array, rng: np.random.Generator) -> np.ndarray:
    """A Gaussian matrix with dW's shape and Frobenius norm: what an update without any structure would be."""
    noise = rng.standard_normal(dW.shape)
    return noise * (np.linalg.norm(to_host(dW)) / np.linalg.norm(noise))


# ----------------------------------------------------------------------------------------------- memory


@dataclass(frozen=True)
class TrainingBytes:
    """Bytes that training keeps from step to step: all weights, one gradient, and Adam's m and v."""

    weights: int
    gradients: int
    adam: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.adam


def training_bytes(model: GPT, tokens: Array, targets: Array) -> TrainingBytes:
    """Take one training step on a copy of the model and count what it left behind (section 4.2).

    tokens, targets (B, T) int. The model itself does not change.
    """
    model = copy.deepcopy(model)
    optimizer = Adam(model)
    _, grads = loss_and_grads(model, tokens, targets)
    optimizer.step(grads)
    return TrainingBytes(
        weights=sum(p.nbytes for p in model.named_parameters().values()),
        gradients=sum(g.nbytes for g in grads.values()),
        adam=optimizer.nbytes,
    )
