"""DoRA: Weight-Decomposed Low-Rank Adaptation (Liu et al. 2024, arXiv 2402.09353, section 4).

A weight is a length times a direction, row by row. LoRA changes the direction, and a vector m (d,) is the length:

    V = W0 + s B A        n_i = ||V_i||        W' = m / n * V        (equation 5; i is a row, one output)
    y = x W'^T + b = g * (x W0^T + s (x A^T) B^T) + b               with the gain g = m / n, (d,)

It starts with B = 0 and m_i = ||W0_i||, so that g = 1 and y is the base's, bit for bit. The paper writes W for our W^T
and speaks of columns; PEFT and the authors' code have one number per output as well.

W' - W0 = (g - 1) W0 + g s B A has any rank: DoRA is not a low-rank update, and cannot be a branch beside W0. That is
why a bank of adapters refuses it. Merged into the weight it costs nothing, as LoRA does.

Trained parameters: r (d + k) + d for each weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from minilora import ops
from minilora.lora import LoraCache, LoraConfig, LoraError, LoraLinear, linear_only
from minilora.machine.backend import Array, array_module
from minilora.methods.low_rank import lora_method
from minilora.nn import Cache, Gradients, Module, Parameter, Rng, accumulate, add_terms


class DoraCache(NamedTuple):
    """What the backward reads besides the branch's cache."""

    branch: Cache
    u: Array  # (..., d) = x V^T, before the gain
    g: Array  # (d,)
    n: Array  # (d,)


class DoraLinear(LoraLinear):
    """y = g * (x W0^T + s (x A^T) B^T) + b, around a Linear."""

    config: DoraConfig

    def __init__(self, base: Module, config: DoraConfig, rng: np.random.Generator, path: str = "") -> None:
        super().__init__(base, config, rng, path)
        self.lora_magnitude_vector = Parameter(lengths(self.weight.data))

    def _direction(self) -> tuple[Array, Array, Array]:
        """V (d, k), its rows' lengths n (d,), and the gain g = m / n (d,)."""
        V = super().delta()
        V += self.weight.data
        n = lengths(V)
        n[n == 0] = 1  # a row of zeros has no direction: it stays a row of zeros
        return V, n, self.lora_magnitude_vector.data / n

    def delta(self) -> Array:
        """W' - W0, (d, k)."""
        V, _, g = self._direction()
        V *= g[:, None]
        V -= self.weight.data
        return V

    def factors(self) -> tuple[Array, Array]:
        raise LoraError("DoRA's W' - W0 is not of low rank: merge it, or export it as DoRA")

    def unmerge(self) -> None:
        if self.base_weight is None:
            raise LoraError("W0 was not kept, and W' has lost the lengths of V's rows: merge(model, keep_base=True)")
        super().unmerge()

    def forward(self, x: Array, rng: Rng = None) -> tuple[Array, LoraCache]:
        """x (..., k) -> y (..., d).  Dropout acts on the branch's x only, as in LoRA; PEFT drops it in (g - 1) x W0^T
        as well, so that its training with dropout differs."""
        if self.merged:
            y, base = self.base.forward(x, rng)
            return y, LoraCache(base, None)
        z, branch = self.branch(x, rng)
        _, n, g = self._direction()
        u = ops.linear(x, self.weight.data)
        u += z
        y = g * u
        if self.base.bias is not None:
            y += self.base.bias.data
        return y, LoraCache(None, DoraCache(branch, u, g, n))

    def backward(self, dy: Array, cache: LoraCache, grads: Gradients, need_dx: bool = True) -> Array | None:
        """With y = g u + b and g = m / n:

            dg = sum(dy * u) over the rows of the batch,    dm = dg / n,    du = g * dy

        and du goes through W0 and through the branch, as LoRA's dy does.

        n depends on A and B. The paper holds it constant (section 4.3), as PEFT does. With `norm_gradient`
        dn = -dg m / n^2, and n_i = ||V_i|| gives dV_i = dn_i V_i / n_i:  dA += s B^T dV,  dB += s dV A^T.
        """
        branch, u, g, n = cache.branch
        m, A, B = self.lora_magnitude_vector, self.lora_A, self.lora_B
        dg = ops.linear_db(dy * u)
        if m.trainable:
            accumulate(grads, m, dg / n)
        du = g * dy
        if self.base.bias is not None and self.base.bias.trainable:
            accumulate(grads, self.base.bias, ops.linear_db(dy))
        dx = ops.linear_dx(du, self.weight.data) if need_dx else None
        dx = add_terms(dx, self.branch_backward(du, branch, grads, need_dx))
        if self.config.norm_gradient:
            dV = self._direction()[0]
            dV *= (-self.scaling * dg * g / (n * n))[:, None]  # the scaling is that of dA and dB
            if A.trainable:
                accumulate(grads, A, B.data.T @ dV)
            if B.trainable:
                accumulate(grads, B, dV @ A.data.T)
        return dx


def lengths(V: Array) -> Array:
    """||V_i|| of each row, (d, k) -> (d,)."""
    return array_module(V).sqrt((V * V).sum(axis=1))


@dataclass(frozen=True)
class DoraConfig(LoraConfig):
    """LoRA's settings, and `norm_gradient`: whether the gradient goes through the lengths of V's rows too."""

    variant: ClassVar[str] = "dora"

    norm_gradient: bool = False

    def wrap(self, layer: Module, rng: np.random.Generator, path: str) -> DoraLinear:
        return DoraLinear(linear_only(layer, self, path), self, rng, path)

    def shapes(self, path: str, d: int, k: int) -> dict[str, tuple[int, ...]]:
        return {**super().shapes(path, d, k), f"{path}.lora_magnitude_vector": (d,)}


DORA = lora_method(DoraConfig, "DoRA", "Liu et al. 2024", norm_gradient=False)
