"""PiSSA and OLoRA: LoRA that starts from W0's own directions, and leaves the rest of W0 frozen.

    W0 = U S V^T (singular values)      A = sqrt(S_r / s) V_r^T     B = U_r sqrt(S_r / s)      the first r of each
    W0 = Q R     (orthogonal, triangular)     A = R_r               B = Q_r

PiSSA (Meng et al. 2024, arXiv 2404.02948, equations 2 to 4) takes the first line, OLoRA (Büyükakyüz 2024, arXiv
2406.01775) the second. With A0, B0 for these starts, the residual W0 - s B0 A0 is frozen:

    y = x (W0 - s B0 A0)^T + s (x A^T) B^T + b = x W0^T + s ((x A^T) B^T - (x A0^T) B0^T) + b

The authors, and PEFT, write the residual over W0: a step then costs what LoRA's costs, and W0 is gone. Here W0 stays,
bit for bit, and A0 and B0 are two frozen matrices beside it. That costs two more thin products and gives what LoRA has:
the start is the base exactly; the adapter belongs to the untouched base, which may be quantized, and it comes off.

The update s (B A - B0 A0) has rank 2 r at most: [B, -B0] [A; A0]. As such it is saved for PEFT, which does the same
(`path_initial_model_for_weight_conversion`), and `plain_adapter` makes it a plain LoRA, for a bank or a sum.

Trained parameters: r (d + k) for each weight, as in LoRA.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from minilora import ops
from minilora.lora import BranchCache, LoraConfig, LoraLinear, linear_only
from minilora.machine.backend import Array, array_module
from minilora.methods.low_rank import lora_method
from minilora.nn import Gradients, Module, Parameter, Rng


class PissaLinear(LoraLinear):
    """y = x W0^T + s ((x A^T) B^T - (x A0^T) B0^T) + b, around a Linear."""

    def __init__(self, base: Module, config: PissaConfig, rng: np.random.Generator, path: str = "") -> None:
        super().__init__(base, config, rng, path)
        A, B = config.start(self.weight.data, self.r, self.scaling)
        self.lora_A.data, self.lora_B.data = A, B
        self.lora_A0, self.lora_B0 = Parameter(A.copy(), trainable=False), Parameter(B.copy(), trainable=False)

    def factors(self) -> tuple[Array, Array]:
        """[A; A0] (2r, k) and [B, -B0] (d, 2r)."""
        xp = array_module(self.lora_A.data)
        A = xp.concatenate([self.lora_A.data, self.lora_A0.data])
        return A, xp.concatenate([self.lora_B.data, -self.lora_B0.data], axis=1)

    def delta(self) -> Array:
        """dW = s (B A - B0 A0), (d, k)."""
        dW = super().delta()
        dW -= self.scaling * (self.lora_B0.data @ self.lora_A0.data)
        return dW

    def branch(self, x: Array, rng: Rng) -> tuple[Array, BranchCache]:
        """z = s ((x A^T) B^T - (x A0^T) B0^T).  x (..., k) -> z (..., d).  Dropout acts on what trains only."""
        z, cache = super().branch(x, rng)
        h0 = ops.linear(x, self.lora_A0.data)
        h0 *= self.scaling
        z -= ops.linear(h0, self.lora_B0.data)
        return z, cache

    def branch_backward(self, dz: Array, cache: BranchCache, grads: Gradients, need_dx: bool) -> Array | None:
        """dA and dB are LoRA's; dx gets the frozen pair's part too: dx -= s (dz B0) A0.  dz (..., d) -> dx (..., k)."""
        dx = super().branch_backward(dz, cache, grads, need_dx)
        if dx is None:
            return None
        dh0 = ops.linear_dx(dz, self.lora_B0.data)
        dh0 *= self.scaling
        dx -= ops.linear_dx(dh0, self.lora_A0.data)
        return dx


@dataclass(frozen=True)
class PissaConfig(LoraConfig):
    """LoRA's settings.  The start does not depend on the seed.  lora_alpha must not be 0, nor r above min(d, k)."""

    variant: ClassVar[str] = "pissa"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all((self.lora_alpha, *self.alpha_pattern.values())):
            raise ValueError(f"lora_alpha is 0, and {self.variant} divides by it: give a number such as r")

    def start(self, W0: Array, r: int, scaling: float) -> tuple[Array, Array]:
        """A0 (r, k) and B0 (d, r): s B0 A0 is the closest matrix of rank r to W0 (d, k).  Computed in float64."""
        xp = array_module(W0)
        U, S, Vt = xp.linalg.svd(W0.astype(np.float64), full_matrices=False)
        root = xp.sqrt(S[:r] / abs(scaling))
        A0, B0 = root[:, None] * Vt[:r], math.copysign(1, scaling) * U[:, :r] * root
        return xp.ascontiguousarray(A0.astype(W0.dtype)), xp.ascontiguousarray(B0.astype(W0.dtype))

    layer: ClassVar[type[LoraLinear]] = PissaLinear

    def wrap(self, layer: Module, rng: np.random.Generator, path: str) -> LoraLinear:
        d, k = linear_only(layer, self, path).weight.shape  # type: ignore[attr-defined]
        if self.rank(path) > min(d, k):
            raise ValueError(f"{path} is {d} x {k}, which has {min(d, k)} directions: give r={min(d, k)} at most")
        return self.layer(layer, self, rng, path)

    def frozen_shapes(self, sizes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {}
        for path, (d, k) in sizes.items():
            found |= {f"{path}.lora_A0": (self.rank(path), k), f"{path}.lora_B0": (d, self.rank(path))}
        return found


@dataclass(frozen=True)
class OloraConfig(PissaConfig):
    """PiSSA with another start: the first r columns of Q and rows of R in W0 = Q R.  PEFT's does not divide by s, so
    that s B0 A0, which the residual lacks, grows with s; neither does this."""

    variant: ClassVar[str] = "olora"

    def start(self, W0: Array, r: int, scaling: float) -> tuple[Array, Array]:
        """A0 (r, k) and B0 (d, r), with orthonormal columns in B0.  Computed in float64."""
        xp = array_module(W0)
        Q, R = xp.linalg.qr(W0.astype(np.float64))
        return xp.ascontiguousarray(R[:r].astype(W0.dtype)), xp.ascontiguousarray(Q[:, :r].astype(W0.dtype))


PISSA = lora_method(PissaConfig, "PiSSA", "Meng et al. 2024")
OLORA = lora_method(OloraConfig, "OLoRA", "Büyükakyüz 2024")
