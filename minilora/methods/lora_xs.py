"""LoRA-XS: r x r numbers between two frozen singular bases (Bałazy et al. 2024, arXiv 2405.17604, section 3).

    W0 = U S V^T      A = sqrt(S_r / s) V_r^T  (r, k)      B = U_r sqrt(S_r / s)  (d, r)      the first r of each

    y = x W0^T + s ((x A^T) R^T) B^T + b          dW = s B R A

A and B are PiSSA's start, but frozen; only R (r, r) trains. The paper has all of S_r in B and does not divide by s,
which gives the same updates for other R. Its R starts with numbers near 1e-5. Here R starts at 0, so that the model
starts as the base, bit for bit; R's gradient is not 0 there.

Trained parameters: r^2 for each weight, whatever its size. A file also holds A and B, since another build's singular
vectors may have other signs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from minilora import ops
from minilora.lora import LoraConfig, LoraLinear
from minilora.machine.backend import Array, array_module
from minilora.methods.low_rank import lora_method
from minilora.methods.pissa import PissaConfig
from minilora.nn import Cache, Gradients, Module, Parameter, Rng, accumulate


class LoraXsCache(NamedTuple):
    """What the branch's backward reads."""

    h: Array  # (..., r) = x A^T
    mask: Array | None  # (..., k)


class LoraXsLinear(LoraLinear):
    """y = x W0^T + s ((x A^T) R^T) B^T + b, around a Linear."""

    def __init__(self, base: Module, config: LoraXsConfig, rng: np.random.Generator, path: str = "") -> None:
        super().__init__(base, config, rng, path)
        A, B = config.start(self.weight.data, self.r, self.scaling)
        self.lora_A, self.lora_B = Parameter(A, trainable=False), Parameter(B, trainable=False)
        self.lora_R = Parameter(array_module(A).zeros((self.r, self.r), A.dtype))

    def factors(self) -> tuple[Array, Array]:
        """R A (r, k) and B (d, r)."""
        return self.lora_R.data @ self.lora_A.data, self.lora_B.data

    def delta(self) -> Array:
        """dW = s B R A, (d, k)."""
        A, B = self.factors()
        return self.scaling * (B @ A)

    def branch(self, x: Array, rng: Rng) -> tuple[Array, Cache]:
        """z = s (h R^T) B^T with h = x A^T.  x (..., k) -> z (..., d)."""
        mask = None
        if rng is not None and self.config.lora_dropout > 0:
            mask = ops.dropout_mask(x.shape, self.config.lora_dropout, rng, like=x)
            x = x * mask
        h = ops.linear(x, self.lora_A.data)
        return ops.linear(self.scaling * ops.linear(h, self.lora_R.data), self.lora_B.data), LoraXsCache(h, mask)

    def branch_backward(self, dz: Array, cache: Any, grads: Gradients, need_dx: bool) -> Array | None:
        """With u = h R^T:  du = s dz B,  dR = du^T h,  dh = du R,  dx = dh A.  dz (..., d) -> dx (..., k)."""
        du = self.scaling * ops.linear_dx(dz, self.lora_B.data)
        if self.lora_R.trainable:
            accumulate(grads, self.lora_R, ops.linear_dW(du, cache.h))
        if not need_dx:
            return None
        dx = ops.linear_dx(ops.linear_dx(du, self.lora_R.data), self.lora_A.data)
        return dx if cache.mask is None else dx * cache.mask


@dataclass(frozen=True)
class LoraXsConfig(PissaConfig):
    """LoRA's settings, with a larger r: 16 to 64.  The start does not depend on the seed.  lora_alpha must not be 0,
    nor r above min(d, k)."""

    variant: ClassVar[str] = "lora_xs"

    layer: ClassVar[type[LoraLinear]] = LoraXsLinear

    def shapes(self, path: str, d: int, k: int) -> dict[str, tuple[int, ...]]:
        return {f"{path}.lora_R": (self.rank(path), self.rank(path))}

    def frozen_shapes(self, sizes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """Those of LoRA's A and B."""
        shapes = [LoraConfig.shapes(self, path, d, k) for path, (d, k) in sizes.items()]
        return {name: shape for of_layer in shapes for name, shape in of_layer.items()}


LORA_XS = lora_method(LoraXsConfig, "LoRA-XS", "Bałazy et al. 2024", r=32)
