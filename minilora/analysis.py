"""What the paper asks of an update: how many directions it has, which, and what it costs to train (sections 4 and 7).

Every function here is pure: arrays or a model in, numbers out. The one exception says so: `fit_in_subspace` trains.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from minilora.backend import Array, array_module, to_host
from minilora.nn import Gradients, Module, Parameter
from minilora.optim import Adam, clip_grad_norm
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


# ------------------------------------------------------------------------------------ subspaces (section 7)


def similarity_grid(A1: Array, A2: Array) -> np.ndarray:
    """phi(A1, A2, i, j) for every i and j: the paper's figures 3 and 4.  A1 (r1, k), A2 (r2, k) -> (r1, r2).

    With U_A^i the i leading right-singular vectors of A as columns (eq. 4)

        phi(A1, A2, i, j) = ||(U_A1^i)^T U_A2^j||_F^2 / min(i, j)     in [0, 1]:

    the squared cosines of the angles between two subspaces of R^k, averaged over the smaller of them: 1 if one
    contains the other, 0 if they are orthogonal. Entry [i - 1, j - 1] of the result belongs to (i, j).
    ValueError if the rows do not have the same length.
    """
    first, second = to_host(A1), to_host(A2)
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise ValueError(f"A1 {first.shape} and A2 {second.shape} must be matrices whose rows live in the same R^k")
    V1, V2 = (np.linalg.svd(A, full_matrices=False)[2] for A in (first, second))
    cosines = (V1 @ V2.T) ** 2
    i, j = np.ogrid[1 : len(V1) + 1, 1 : len(V2) + 1]
    return cosines.cumsum(axis=0).cumsum(axis=1) / np.minimum(i, j)


def subspace_similarity(A1: Array, A2: Array, i: int, j: int) -> float:
    """phi(A1, A2, i, j) of eq. 4, one entry of `similarity_grid`.  ValueError unless i <= r1 and j <= r2."""
    grid = similarity_grid(A1, A2)
    if not (1 <= i <= grid.shape[0] and 1 <= j <= grid.shape[1]):
        raise ValueError(f"i={i} and j={j} must lie between 1 and the numbers of directions, {grid.shape}")
    return float(grid[i - 1, j - 1])


def random_similarity(i: int, j: int, k: int) -> float:
    """What phi is on average for an i- and a j-dimensional subspace of R^k that know nothing of each other.

    A random unit vector has a squared cosine of 1/k with any other, so the i j of them sum to i j / k, and
    i j / (k min(i, j)) = max(i, j) / k.
    """
    return max(i, j) / k


def projection_norm(W: Array, M: Array, r: int) -> float:
    """||U^T W V||_F with U (d, r) and V (k, r) the r leading left and right singular vectors of M: how much of W
    lies in the directions of M.  W and M (d, k).  The paper's table 7, with M = dW, W itself, or a random matrix.
    """
    W, M = to_host(W), to_host(M)
    if not 1 <= r <= min(M.shape):
        raise ValueError(f"r={r} directions are asked of a matrix of shape {M.shape}: give 1 to {min(M.shape)}")
    U, _, Vt = np.linalg.svd(M, full_matrices=False)
    return float(np.linalg.norm(U[:, :r].T @ W @ Vt[:r].T))


def amplification_factor(W: Array, dW: Array, r: int) -> float:
    """||dW||_F / ||U^T W V||_F with dW's own r directions: how much more of them there is after the update than
    W had (section 7.3).  W and dW (d, k)."""
    return float(np.linalg.norm(to_host(dW))) / projection_norm(W, dW, r)


# ------------------------------------------------------------------------------------- intrinsic dimension


class RandomSubspace:
    """theta = theta0 + P z with a random P (D, m) of orthonormal columns: m numbers steer all D.

    Li et al. 2018 (arXiv 1804.08838, section 2) draw a dense P, whose D m entries are too many to keep. Here each
    parameter follows one coordinate, chosen at random, with a random sign (a count sketch, Charikar et al. 2002):

        theta_i = theta0_i + s_i z_c(i) / sqrt(n_c(i)),      n_c the number of parameters that follow coordinate c.

    Columns share no row, so P^T P = I exactly, and both products cost D operations whatever m is.
    """

    def __init__(self, D: int, m: int, rng: np.random.Generator) -> None:
        if not 1 <= m <= D:
            raise ValueError(f"a subspace of dimension m={m} does not fit into R^{D}: give 1 to {D}")
        # A shuffled 0..m-1, 0..m-1, ...: every coordinate has a follower, and their numbers differ by one at most.
        self.m = m
        self.coordinate = rng.permutation(np.arange(D) % m)
        sign = rng.integers(0, 2, size=D) * 2 - 1
        self.entry = sign / np.sqrt(np.bincount(self.coordinate, minlength=m))[self.coordinate]

    def expand(self, z: np.ndarray) -> np.ndarray:
        """P z.  z (m,) -> (D,)."""
        return self.entry * z[self.coordinate]

    def project(self, g: np.ndarray) -> np.ndarray:
        """P^T g: the gradient with respect to z.  g (D,) -> (m,)."""
        return np.bincount(self.coordinate, self.entry * g, minlength=self.m)


class Coordinates(Module):
    """z, the m numbers that training in a subspace trains."""

    def __init__(self, m: int) -> None:
        self.z = Parameter(np.zeros(m))
        self.assign_names()


def fit_in_subspace(
    model: GPT,
    data: Any,
    m: int,
    *,
    steps: int,
    lr: float | Callable[[int], float],
    batch_size: int = 16,
    clip: float | None = 1.0,
    seed: int = 0,
    workers: int = 1,
) -> list[float]:
    """Train the model, in place, within theta0 + P z for a random P (D, m) over all D trainable parameters.

    Adam on z alone, whose gradient is P^T dL/dtheta; batches, clipping and `lr` as in `fit`. Returns each step's
    loss, in nats per token.
    """
    parameters = {name: p for name, p in model.named_parameters().items() if p.trainable}
    theta0 = {name: to_host(p.data).astype(np.float64) for name, p in parameters.items()}
    D = sum(array.size for array in theta0.values())
    subspace = RandomSubspace(D, m, np.random.default_rng([seed, m]))
    coordinates = Coordinates(m)
    optimizer = Adam(coordinates)
    rng = np.random.default_rng(seed)
    losses: list[float] = []
    for step in range(steps):
        batch = data.sample(rng, batch_size)
        loss, grads = loss_and_grads(model, batch.tokens, batch.targets, batch.weights, workers, rng)
        flat = np.concatenate([to_host(grads[name]).ravel() for name in parameters])
        step_grads: Gradients = {"z": subspace.project(flat)}
        if clip is not None:
            clip_grad_norm(step_grads, clip)
        optimizer.lr = lr(step) if callable(lr) else lr
        optimizer.step(step_grads)
        losses.append(loss)
        offset = subspace.expand(coordinates.z.data)
        for name, parameter in parameters.items():
            part, offset = offset[: parameter.size], offset[parameter.size :]
            xp = array_module(parameter.data)
            parameter.data[...] = xp.asarray(theta0[name] + part.reshape(parameter.shape), dtype=parameter.data.dtype)
    return losses


def dimension_for_share(scores: Mapping[int, float], start: float, full: float, share: float = 0.9) -> int | None:
    """d_share: the smallest dimension m from which on `scores[m]` keeps at least `share` of what full training gains.

    `start` and `full` are the scores before and after training in all dimensions; higher or lower may be better.
    None if not even the largest m tried gets there. d90 of Li et al. 2018, section 2, and Aghajanyan et al. 2020,
    counted from the base's own score rather than from 0.
    """
    found = None
    for m in sorted(scores, reverse=True):
        if (scores[m] - start) / (full - start) < share:
            break
        found = m
    return found


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
