"""Adding adapters, and compressing the sum to a smaller rank, without ever forming a d x k update.

The sum of updates of rank r1 and r2 is an update of rank r1 + r2, made of the factors side by side:

    w1 s1 B1 A1 + w2 s2 B2 A2  =  [w1 s1 B1, w2 s2 B2] [A1; A2]

Its best approximation of rank r is the first r terms of its singular value decomposition (Eckart and Young 1936). The
thin factors are enough to compute it: with B = Q R and A^T = P S, B A = Q (R S^T) P^T, and only the small core R S^T
needs an SVD.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from minilora.files.adapter import Adapter
from minilora.lora import LoraConfig
from minilora.machine.backend import Array, array_module
from minilora.nn import check_type, whole_number

Factors = tuple[Array, Array]  # A (r, k) and B (d, r) of dW = B A: the scaling is in B


def weighted_sum(adapters: Sequence[Adapter], weights: Sequence[float]) -> Adapter:
    """One adapter whose update is the sum of weights[i] times the update of adapters[i].

    Exact except for one product: its factors are the adapters' own, with B times weights[i] * scaling, which rounds
    unless that is a power of two. The rank of a layer is the sum of the adapters' ranks there.
    ValueError if the adapters are for different bases, if one trained biases or is no plain LoRA, or if there is not
    one weight for each.
    """
    given: dict[str, Any] = {"adapters": adapters, "weights": weights}
    for name, values in given.items():
        if not isinstance(values, (list, tuple)) and np.ndim(values) != 1:
            raise ValueError(f"{name} is {values!r:.80}: give a list, one weight for each adapter")
    for adapter in adapters:
        check_type("an adapter", adapter, Adapter, "give adapters, as files.read_adapter or bank.adapter give them")
    for weight in weights:
        check_type("a weight", weight, Real, "give a finite number")
    if not len(adapters) or len(weights) != len(adapters):
        raise ValueError(f"{len(adapters)} adapters and {len(weights)} weights: give at least one, and one weight each")
    weights = [float(weight) for weight in weights]  # NumPy's would turn B into float64
    if not all(math.isfinite(weight) for weight in weights):
        raise ValueError(f"the weights {weights} must be finite numbers")
    first = adapters[0]
    for adapter in adapters:
        _check_plain(adapter)
        if (adapter.config, adapter.base_sha256) != (first.config, first.base_sha256):
            raise ValueError("the adapters were trained on different bases: sum adapters of one base only")
    parts: dict[str, list[Factors]] = {}
    for adapter, weight in zip(adapters, weights, strict=True):
        for path in adapter.paths:
            parts.setdefault(path, []).append(_factors(adapter, path, weight))
    xp = array_module(first.tensors[f"{first.paths[0]}.lora_A"])
    factors = {
        path: (xp.concatenate([A for A, _ in here], axis=0), xp.concatenate([B for _, B in here], axis=1))
        for path, here in parts.items()
    }
    return _adapter(first, factors)


@dataclass(frozen=True)
class Compression:
    """What a layer's update lost: `error` is the Frobenius norm of the loss, `norm` that of the update before."""

    rank: int
    error: float
    norm: float


def compress(adapter: Adapter, r: int) -> tuple[Adapter, dict[str, Compression]]:
    """The adapter with every layer's update replaced by the closest one of rank r, and what each layer lost, by path.

    The error is the tail of the spectrum, sqrt(sigma_{r+1}^2 + sigma_{r+2}^2 + ...): no update of rank r is closer,
    and nothing is lost where the rank was at most r. Computed in float64.
    ValueError if r is less than 1, or the adapter trained biases or is no plain LoRA.
    """
    check_type("the adapter", adapter, Adapter, "give one, as files.read_adapter or bank.adapter give it")
    whole_number("r", r, 1)
    _check_plain(adapter)
    factors: dict[str, Factors] = {}
    lost: dict[str, Compression] = {}
    for path in adapter.paths:
        U, sigma, Vt = update_svd(*_factors(adapter, path))
        xp, dtype, kept = array_module(U), adapter.tensors[f"{path}.lora_A"].dtype, min(r, len(sigma))
        root = xp.sqrt(sigma[:kept])  # to each factor, so that neither is tiny
        factors[path] = (root[:, None] * Vt[:kept]).astype(dtype), (U[:, :kept] * root).astype(dtype)
        lost[path] = Compression(kept, _norm(sigma[kept:]), _norm(sigma))
    return _adapter(adapter, factors), lost


def update_svd(A: Array, B: Array) -> tuple[Array, Array, Array]:
    """U (d, n), sigma (n,), V^T (n, k) of B A, n = min(r, d, k), in float64, from A (r, k) and B (d, r).

    Costs (d + k) r^2 operations, where the SVD of the product itself would cost d k min(d, k).
    """
    xp = array_module(A)
    Q, R = xp.linalg.qr(B.astype(np.float64))
    P, S = xp.linalg.qr(A.astype(np.float64).T)
    U, sigma, Vt = xp.linalg.svd(R @ S.T, full_matrices=False)
    return Q @ U, sigma, Vt @ P.T


def _norm(sigma: Array) -> float:
    return math.sqrt(float((sigma * sigma).sum()))


def _check_plain(adapter: Adapter) -> None:
    if type(adapter.lora) is not LoraConfig:
        raise ValueError(
            f"the adapter is of the variant {adapter.lora.variant!r}, whose A and B are not its update: use what "
            "files.adapter.plain_adapter(model) makes of it"
        )
    if adapter.lora.bias != "none":
        raise ValueError(
            f"the adapter trained biases too (bias={adapter.lora.bias!r}), which are not part of a low-rank update: "
            'train it with bias="none"'
        )


def _factors(adapter: Adapter, path: str, weight: float = 1.0) -> Factors:
    """A and weight * scaling * B of one layer."""
    A, B = adapter.tensors[f"{path}.lora_A"], adapter.tensors[f"{path}.lora_B"]
    return A, weight * adapter.lora.scaling(path) * B


def _adapter(like: Adapter, factors: Mapping[str, Factors]) -> Adapter:
    """An adapter with these factors, for the base of `like`: alpha = r in every layer, so that the scaling is 1."""
    ranks = {path: len(A) for path, (A, _) in factors.items()}
    r = max(ranks.values())
    exceptions = {path: rank for path, rank in ranks.items() if rank != r}
    lora = LoraConfig(r, r, tuple(factors), rank_pattern=exceptions, alpha_pattern=exceptions)
    tensors: dict[str, Array] = {}
    for path, (A, B) in factors.items():
        tensors |= {f"{path}.lora_A": A, f"{path}.lora_B": B}
    return Adapter(like.config, like.base_sha256, lora, tensors, like.parent)
