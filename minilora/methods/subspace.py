"""Training in a random subspace: how few numbers suffice (Li et al. 2018, Aghajanyan et al. 2020)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from minilora.machine.backend import Array, array_module, to_host
from minilora.machine.watch import Watch
from minilora.nn import Decoder, Gradients, Module, Parameter, generator
from minilora.optim import Adam, clip_grad_norm
from minilora.text import Data
from minilora.train import as_data, batch_loss, check_counts, loss_and_grads


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
    model: Decoder,
    data: Data | Array,
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

    Adam on z alone, whose gradient is P^T dL/dtheta; batches, clipping, `lr` and NonFiniteLossError as in `fit`.
    Returns each step's loss, in nats per token.
    """
    check_counts(steps=steps, batch_size=batch_size)
    data = as_data(data, model)
    parameters = {name: p for name, p in model.named_parameters().items() if p.trainable}
    theta0 = {name: to_host(p.data).astype(np.float64) for name, p in parameters.items()}
    D = sum(array.size for array in theta0.values())
    subspace = RandomSubspace(D, m, np.random.default_rng([seed, m]))
    coordinates = Coordinates(m)
    optimizer = Adam(coordinates)
    rng = generator(seed)
    losses: list[float] = []
    watch = Watch({name: p.data for name, p in parameters.items()}, losses, np)
    for step in range(steps):
        batch = data.sample(rng, batch_size)
        loss, grads = loss_and_grads(model, batch.tokens, batch.targets, batch.weights, workers, rng)
        flat = np.concatenate([to_host(grads[name]).ravel() for name in parameters])
        step_grads: Gradients = {"z": subspace.project(flat)}
        watch.step(float(loss), clip_grad_norm(step_grads, math.inf if clip is None else clip))
        optimizer.lr = lr(step) if callable(lr) else lr
        optimizer.step(step_grads)
        offset = subspace.expand(coordinates.z.data)
        for name, parameter in parameters.items():
            part, offset = offset[: parameter.size], offset[parameter.size :]
            xp = array_module(parameter.data)
            parameter.data[...] = xp.asarray(theta0[name] + part.reshape(parameter.shape), dtype=parameter.data.dtype)
    if steps:
        watch.after_update(batch_loss(model, batch, workers))
    return losses
