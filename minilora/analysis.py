"""What the paper asks about an update: how many directions it has, which ones, and what it costs to train (sections 4
and 7). Every function here is pure: arrays or a model in, numbers out."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from minilora.machine.backend import Array, array_module, to_host
from minilora.nn import Decoder, Module, check_type, whole_number
from minilora.optim import Adam
from minilora.train import loss_and_grads

# ---------------------------------------------------------------------------------------------- spectra


def singular_values(dW: Array) -> np.ndarray:
    """The singular values of dW (d, k), largest first: (min(d, k),), on the host.

    dW stretches its i-th input direction by sigma_i, so its rank is the number of sigma_i above zero. Section 4.1
    supposes that fine-tuning needs few: a low "intrinsic rank".
    """
    dW = _matrix("dW", dW)
    return to_host(array_module(dW).linalg.svd(dW, compute_uv=False))


def energy_share(sigma: np.ndarray, r: int) -> float:
    """The share of ||dW||_F^2 = sum of sigma_i^2 that is in the r largest singular values, in [0, 1].

    The best approximation of rank r keeps exactly this share (Eckart and Young 1936). It keeps all of dW = 0.
    """
    energy = _numbers("sigma", sigma) ** 2
    return float(energy[: whole_number("r", r, 0)].sum() / energy.sum()) if energy.any() else 1.0


def rank_for_energy(sigma: np.ndarray, share: float = 0.9) -> int:
    """The smallest r whose `energy_share` is at least `share`: how many directions matter; 0 for dW = 0."""
    _check_share("share", share)
    energy = np.cumsum(_numbers("sigma", sigma) ** 2)
    return int(np.searchsorted(energy, share * energy[-1])) + 1 if energy.any() else 0


def gaussian_control(dW: Array, rng: np.random.Generator) -> np.ndarray:
    """A Gaussian matrix with dW's shape and Frobenius norm: an update without any structure."""
    noise = rng.standard_normal(dW.shape)
    return noise * (np.linalg.norm(to_host(dW)) / np.linalg.norm(noise))


# ------------------------------------------------------------------------------------ subspaces (section 7)


def similarity_grid(A1: Array, A2: Array) -> np.ndarray:
    """phi(A1, A2, i, j) for every i and j: the paper's figures 3 and 4.  A1 (r1, k), A2 (r2, k) -> (r1, r2).

    With U_A^i the i leading right-singular vectors of A as columns (eq. 4)

        phi(A1, A2, i, j) = ||(U_A1^i)^T U_A2^j||_F^2 / min(i, j)     in [0, 1]:

    the squared cosines of the angles between two subspaces of R^k, averaged over the smaller dimension: 1 if one
    contains the other, 0 if they are orthogonal. Entry [i - 1, j - 1] of the result is for (i, j).
    ValueError if the rows do not have the same length.
    """
    first, second = to_host(_matrix("A1", A1)), to_host(_matrix("A2", A2))
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"A1 {first.shape} and A2 {second.shape} must be matrices whose rows live in the same R^k")
    V1, V2 = (np.linalg.svd(A, full_matrices=False)[2] for A in (first, second))
    cosines = (V1 @ V2.T) ** 2
    i, j = np.ogrid[1 : len(V1) + 1, 1 : len(V2) + 1]
    return cosines.cumsum(axis=0).cumsum(axis=1) / np.minimum(i, j)


def subspace_similarity(A1: Array, A2: Array, i: int, j: int) -> float:
    """phi(A1, A2, i, j) of eq. 4, one entry of `similarity_grid`.  ValueError unless i <= r1 and j <= r2."""
    grid = similarity_grid(A1, A2)
    return float(grid[whole_number("i", i, 1, len(A1)) - 1, whole_number("j", j, 1, len(A2)) - 1])


def random_similarity(i: int, j: int, k: int) -> float:
    """The mean of phi for two independent random subspaces of R^k, of dimensions i and j.

    The squared cosine of two random unit vectors is 1/k on average, so the i j of them sum to i j / k, and
    i j / (k min(i, j)) = max(i, j) / k.
    """
    return max(whole_number("i", i), whole_number("j", j)) / whole_number("k", k, max(i, j))


def projection_norm(W: Array, M: Array, r: int) -> float:
    """||U^T W V||_F with U (d, r) and V (k, r) the r leading left and right singular vectors of M: how much of W
    lies in the directions of M.  W and M (d, k).  The paper's table 7, with M = dW, W itself, or a random matrix.
    """
    W, M = to_host(_matrix("W", W)), to_host(_matrix("M", M))
    if W.shape != M.shape:
        raise ValueError(f"W {W.shape} and M {M.shape} must have one shape")
    whole_number("r, a number of directions,", r, 1, min(M.shape))
    U, _, Vt = np.linalg.svd(M, full_matrices=False)
    return float(np.linalg.norm(U[:, :r].T @ W @ Vt[:r].T))


def amplification_factor(W: Array, dW: Array, r: int) -> float:
    """||dW||_F / ||U^T W V||_F in dW's own r directions: how much the update amplifies what W has there (section 7.3).
    W and dW (d, k)."""
    return float(np.linalg.norm(to_host(_matrix("dW", dW)))) / projection_norm(W, dW, r)


def intruder_dimensions(W0: Array, W: Array, top: int, threshold: float = 0.5) -> int:
    """How many of the `top` leading left-singular vectors of W are new: their cosine with every left-singular vector
    of W0 is below the threshold in size.  W0 and W (d, k).  Shuttleworth et al. 2024, algorithm 1.
    """
    W0, W = to_host(_matrix("W0", W0)), to_host(_matrix("W", W))
    if W0.shape != W.shape:
        raise ValueError(f"W0 {W0.shape} and W {W.shape} must have one shape")
    whole_number("top, a number of directions,", top, 1, min(W.shape))
    _check_share("threshold", threshold)
    U0, U = (np.linalg.svd(matrix, full_matrices=False)[0] for matrix in (W0, W))
    return int((abs(U0.T @ U[:, :top]).max(axis=0) < threshold).sum())


# ---------------------------------------------------------------------------------------------- forgetting


def forgetting_at(new_loss: Sequence[float], old_loss: Sequence[float], level: float) -> float | None:
    """How much the loss on the old task has risen when the loss on the new one first reaches `level`; None if it never
    does.  Compare methods at one level: after equally many steps, whoever has learned less has forgotten less.

    new_loss, old_loss  (n,), both losses at the same checkpoints, the first before training. Between two checkpoints
                        both are taken to be straight lines.
    """
    new, old = _numbers("new_loss", new_loss), _numbers("old_loss", old_loss)
    if len(new) != len(old) or not isinstance(level, Real):
        raise ValueError(
            f"{len(new)} and {len(old)} losses, and the level {level!r}: give as many of both, and a number"
        )
    reached = [i for i, loss in enumerate(new) if loss <= level]
    if not reached:
        return None
    i = reached[0]
    if i == 0:
        return 0.0
    share = (new[i - 1] - level) / (new[i - 1] - new[i])
    return float(old[i - 1] + share * (old[i] - old[i - 1]) - old[0])


# ------------------------------------------------------------------------------------- intrinsic dimension


def dimension_for_share(scores: Mapping[int, float], start: float, full: float, share: float = 0.9) -> int | None:
    """d_share: the smallest dimension m from which `scores[m]` keeps at least `share` of the gain of full training.

    `start` and `full` are the scores before and after training in all dimensions; higher or lower may be better.
    None if not even the largest m suffices. This is the d90 of Li et al. 2018, section 2, and Aghajanyan et al. 2020,
    counted from the base's own score instead of from 0.
    """
    _check_share("share", share)
    check_type("scores", scores, Mapping, "give dimension -> score")
    start, full, *_ = _numbers("the scores with start and full before them", [start, full, *scores.values()])
    if start == full:
        raise ValueError(f"start and full are both {full}: full training has no gain to keep a share of")
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


def training_bytes(model: Decoder, tokens: Array, targets: Array) -> TrainingBytes:
    """Take one training step on a copy of the model and count the bytes it keeps (section 4.2).

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


class ReducedBytes(NamedTuple):
    """What each process contributes to a step's exchange of gradients, in bytes."""

    trainable: int
    full_fine_tuning: int


def reduced_bytes(model: Module) -> ReducedBytes:
    """The bytes of the gradients that are reduced, and what they would be if every weight of the base trained."""
    parameters = model.named_parameters()
    base = [p for name, p in parameters.items() if name.endswith((".weight", ".bias"))]
    return ReducedBytes(sum(p.nbytes for p in parameters.values() if p.trainable), sum(p.nbytes for p in base))


def reduced_bytes_line(model: Module, processes: int) -> str:
    """One line: "processes: 2, each reduces 65,536 bytes of gradients a step; full fine-tuning would ..."."""
    trainable, full = reduced_bytes(model)
    return (
        f"processes: {processes}, each reduces {trainable:,} bytes of gradients a step; "
        f"full fine-tuning would reduce {full:,}, {full / trainable:.0f} times as many"
    )


# --------------------------------------------------------------------------------------------- arguments


def _matrix(name: str, value: Any) -> Array:
    """The array.  ValueError unless it is a matrix of finite real numbers, not empty."""
    array = value if hasattr(value, "ndim") else np.asarray(value, dtype=object)
    if array.ndim != 2 or not array.size or array.dtype.kind not in "fiu" or not np.isfinite(to_host(array)).all():
        raise ValueError(f"{name} is {value!r:.80}: give a matrix of finite numbers")
    return array


def _check_share(name: str, value: Any) -> None:
    """ValueError unless it is a number above 0, up to 1."""
    if not isinstance(value, Real) or not 0 < float(value) <= 1:
        raise ValueError(f"{name} is {value!r}: give a number above 0, up to 1")


def _numbers(name: str, values: Any) -> np.ndarray:
    """A row of numbers.  ValueError if they are something else, or not finite."""
    array = np.asarray(values) if isinstance(values, (list, tuple, np.ndarray)) else np.zeros((0, 0))
    if array.ndim != 1 or array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise ValueError(f"{name} is {values!r:.80}: give a row of finite numbers")
    return array
