"""VeRA: Vector-based Random Matrix Adaptation (Kopiczko et al. 2024, arXiv 2310.11454, equation 2).

    y = x W0^T + lambda_b * ((lambda_d * (x A^T)) B^T) + b          dW = diag(lambda_b) B diag(lambda_d) A

A and B are random, frozen, and the same for every layer. What trains is one number for each of the r directions,
lambda_d (r,), and one for each output, lambda_b (d,). It starts with lambda_b = 0 and lambda_d = 0.1, so with dW = 0.

Layers differ in size: A (r, k_max) and B (d_max, r) fit the largest, and a layer with W0 (d, k) uses A[:, :k] and
B[:d], as in PEFT. Both are uniform, Kaiming's: +-sqrt(6 / k_max) and +-sqrt(6 / r).

Trained parameters: r + d for each weight. A file also holds A and B, so that it does not depend on a generator.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from minilora import ops
from minilora.lora import LoraConfig, LoraLayer, LoraLinear, linear_only
from minilora.machine.backend import Array, array_module
from minilora.methods.low_rank import lora_method
from minilora.nn import Cache, Gradients, Module, Parameter, Rng, accumulate


class VeraCache(NamedTuple):
    """What the branch's backward reads."""

    h: Array  # (..., r) = x A^T
    u: Array  # (..., d) = (lambda_d * h) B^T
    mask: Array | None  # (..., k)


class VeraLinear(LoraLinear):
    """y = x W0^T + lambda_b * ((lambda_d * (x A^T)) B^T) + b, around a Linear.  `vera_A` and `vera_B` are shared."""

    def __init__(self, base: Module, config: VeraConfig, vera_A: Parameter, vera_B: Parameter) -> None:
        self.base, self.config, self.r, self.scaling = base, config, config.r, 1.0
        self.vera_A, self.vera_B = vera_A, vera_B
        xp, dtype = array_module(vera_A.data), vera_A.data.dtype
        self.vera_lambda_d = Parameter(xp.full(config.r, config.d_initial, dtype))
        self.vera_lambda_b = Parameter(xp.zeros(self.weight.shape[0], dtype))

    def _slices(self) -> tuple[Array, Array]:
        """A (r, k) and B (d, r), views of the shared matrices."""
        d, k = self.weight.shape
        return self.vera_A.data[:, :k], self.vera_B.data[:d]

    def factors(self) -> tuple[Array, Array]:
        """diag(lambda_d) A (r, k) and diag(lambda_b) B (d, r): VeRA is a LoRA whose factors are tied to random ones."""
        A, B = self._slices()
        return self.vera_lambda_d.data[:, None] * A, self.vera_lambda_b.data[:, None] * B

    def delta(self) -> Array:
        """dW = diag(lambda_b) B diag(lambda_d) A, (d, k)."""
        A, B = self.factors()
        return B @ A

    def branch(self, x: Array, rng: Rng) -> tuple[Array, Cache]:
        """z = lambda_b * u with u = (lambda_d * h) B^T and h = x A^T.  x (..., k) -> z (..., d)."""
        A, B = self._slices()
        mask = None
        if rng is not None and self.config.lora_dropout > 0:
            mask = ops.dropout_mask(x.shape, self.config.lora_dropout, rng, like=x)
            x = x * mask
        h = ops.linear(x, A)
        u = ops.linear(self.vera_lambda_d.data * h, B)
        return self.vera_lambda_b.data * u, VeraCache(h, u, mask)

    def branch_backward(self, dz: Array, cache: Cache, grads: Gradients, need_dx: bool) -> Array | None:
        """dlambda_b = sum(dz * u),  du = lambda_b * dz,  dg = du B for g = lambda_d * h,  dlambda_d = sum(dg * h),
        dx = (lambda_d * dg) A; sums over the rows of the batch.  dz (..., d) -> dx (..., k)."""
        A, B = self._slices()
        if self.vera_lambda_b.trainable:
            accumulate(grads, self.vera_lambda_b, ops.linear_db(dz * cache.u))
        dg = ops.linear_dx(self.vera_lambda_b.data * dz, B)
        if self.vera_lambda_d.trainable:
            accumulate(grads, self.vera_lambda_d, ops.linear_db(dg * cache.h))
        if not need_dx:
            return None
        dx = ops.linear_dx(self.vera_lambda_d.data * dg, A)
        return dx if cache.mask is None else dx * cache.mask


@dataclass(frozen=True)
class VeraConfig(LoraConfig):
    """LoRA's settings, and `d_initial`, where lambda_d starts.  One r for all layers, usually 64 or more, and no alpha:
    the vectors are the scale."""

    variant: ClassVar[str] = "vera"

    r: int = 256
    lora_alpha: float = 1
    d_initial: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        beyond = [name for name in ("use_rslora", "rank_pattern", "alpha_pattern") if getattr(self, name)]
        if beyond or self.lora_alpha != 1:
            raise ValueError(f"VeRA has no {(beyond or ['lora_alpha'])[0]}: all layers share A and B; leave it out")

    def scaling(self, path: str) -> float:
        return 1.0

    def wrap_all(self, layers: Mapping[str, Module], rng: np.random.Generator) -> dict[str, LoraLayer]:
        """Draw A, then B, and give them to every layer."""
        weights = [linear_only(layer, self, path).weight for path, layer in layers.items()]  # type: ignore[attr-defined]
        d, k = (max(weight.shape[axis] for weight in weights) for axis in (0, 1))
        like = weights[0].data
        draws = [rng.uniform(-1, 1, shape) * math.sqrt(6 / shape[1]) for shape in ((self.r, k), (d, self.r))]
        A, B = (Parameter(array_module(like).asarray(draw, like.dtype), trainable=False) for draw in draws)
        return {path: VeraLinear(layer, self, A, B) for path, layer in layers.items()}

    def shapes(self, path: str, d: int, k: int) -> dict[str, tuple[int, ...]]:
        return {f"{path}.vera_lambda_d": (self.r,), f"{path}.vera_lambda_b": (d,)}

    def frozen_shapes(self, sizes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """A and B are listed once, at the first layer."""
        if not sizes:
            return {}
        first, d, k = next(iter(sizes)), max(d for d, _ in sizes.values()), max(k for _, k in sizes.values())
        return {f"{first}.vera_A": (self.r, k), f"{first}.vera_B": (d, self.r)}

    def sizes(self, tensors: Mapping[str, Array]) -> dict[str, tuple[int, int]]:
        """Every k is that of A: a layer's own is not among an adapter's tensors."""
        first, A = next((name[: -len(".vera_A")], A) for name, A in tensors.items() if name.endswith(".vera_A"))
        ds = {name[: -len(".vera_lambda_b")]: len(b) for name, b in tensors.items() if name.endswith(".vera_lambda_b")}
        return {path: (ds[path], A.shape[1]) for path in [first, *(other for other in ds if other != first)]}


VERA = lora_method(VeraConfig, "VeRA", "Kopiczko et al. 2024", r=256, lora_alpha=1, d_initial=0.1)
