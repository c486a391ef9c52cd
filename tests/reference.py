"""GPT-2 written a second time, from the papers, each value with a bound on its rounding.

A `Bounded` means: the exact result for these inputs is within `error` of `value`, and so is the result of any
conventional computation in the given precision, in whatever order it adds. So two computations differ by at most
2 * error. This is running error analysis (Higham 2002, section 3.3): every function propagates the errors
of its inputs and adds gamma_n for its own n roundings. exp, log and tanh are taken to err by at most 4 units in
the last place, 8 roundings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from hypothesis.errors import UnsatisfiedAssumption

from minilora import GPT, GPTConfig, lora_layers
from minilora.testing.bounds import gamma

FUNCTION = 8  # roundings that one call of exp, log or tanh counts as


class Bounded(NamedTuple):
    value: np.ndarray
    error: np.ndarray

    @property
    def size(self) -> np.ndarray:
        """The largest magnitude that the value may have."""
        return np.abs(self.value) + self.error

    def map(self, function: Callable[[np.ndarray], np.ndarray]) -> Bounded:
        """Both parts, through a function that only moves entries around."""
        return Bounded(function(self.value), function(self.error))


def exactly(x) -> Bounded:
    x = np.asarray(x, dtype=np.float64)
    return Bounded(x, np.zeros_like(x))


class Reference:
    """The layers of GPT-2 for a precision; all values are computed in float64."""

    def __init__(self, dtype: str = "float64") -> None:
        self.gamma = lambda n: gamma(n, dtype)

    def add(self, x: Bounded, y: Bounded) -> Bounded:
        value = x.value + y.value
        error = x.error + y.error
        return Bounded(value, error + self.gamma(1) * (np.abs(value) + error))

    def product(self, x: Bounded, y: Bounded) -> Bounded:
        """x @ y: each of the k terms meets at most k + 1 roundings."""
        propagated = x.error @ np.abs(y.value) + x.size @ y.error
        return Bounded(x.value @ y.value, propagated + self.gamma(x.value.shape[-1] + 1) * (x.size @ y.size))

    def linear(self, x: Bounded, W: Bounded, b: Bounded | None = None) -> Bounded:
        y = self.product(x, W.map(np.transpose))
        return y if b is None else self.add(y, b)

    def lora_weight(self, W0: np.ndarray, A: np.ndarray, B: np.ndarray, scaling: float) -> Bounded:
        """W0 + s B A, whose bound covers x W0^T + s (x A^T) B^T too.

        Unmerged, a term x_j s A_pj B_ip meets the roundings of two more sums, over r and over k: at most
        2k + r + 3 in all (see minilora.testing.forward_error_bound).
        """
        update = abs(scaling) * (np.abs(B) @ np.abs(A))
        roundings = 2 * W0.shape[1] + A.shape[0] + 3
        return Bounded(W0 + scaling * (B @ A), self.gamma(roundings) * (np.abs(W0) + update))

    def layer_norm(self, x: Bounded, weight: Bounded, bias: Bounded, eps: float = 1e-5) -> Bounded:
        """The error of x goes through the Jacobian J_ij = rstd (delta_ij - (1 + xhat_i xhat_j) / d), which itself
        changes by less than 10 rstd times that error, relatively, on the way; then come the roundings."""
        d = x.value.shape[-1]

        def mean(a: np.ndarray) -> np.ndarray:
            return a.mean(axis=-1, keepdims=True)

        centre = Bounded(mean(x.value), self.gamma(d + 1) * mean(x.size))
        deviation = self.add(exactly(x.value), Bounded(-centre.value, centre.error))
        variance = mean(deviation.value**2) + eps
        relative = mean(2 * deviation.size * deviation.error) / variance + self.gamma(d + 4)
        magnified = x.error.max(axis=-1, keepdims=True) / np.sqrt(variance)
        if max(relative.max(), magnified.max()) > 0.01:  # the variance is lost in rounding: there is no bound
            raise UnsatisfiedAssumption  # hypothesis draws another example; any other test fails
        rstd = Bounded(1 / np.sqrt(variance), (relative + self.gamma(4)) / np.sqrt(variance))
        xhat = self.times(deviation, rstd)
        J = np.abs(np.eye(d) - (1 + xhat.value[..., :, None] * xhat.value[..., None, :]) / d)
        propagated = rstd.value * (J @ x.error[..., None])[..., 0] * (1 + 10 * magnified)
        return self.add(self.times(xhat._replace(error=xhat.error + propagated), weight), bias)

    def times(self, x: Bounded, y: Bounded) -> Bounded:
        """Entry by entry."""
        propagated = x.error * np.abs(y.value) + x.size * y.error
        return Bounded(x.value * y.value, propagated + self.gamma(1) * x.size * y.size)

    def gelu(self, x: Bounded) -> Bounded:
        """x (1 + tanh u) / 2, u = sqrt(2/pi) (x + 0.044715 x^3).  Its slope is nowhere above 1.13.

        u is a sum of terms of one sign, so its 6 roundings are relative to u itself; as |u| sech^2 u < 1/2, tanh u
        is out by less than gamma_6 / 2 and its own rounding; adding 1, halving and two products by x make 4 more.
        """
        a = x.value
        y = 0.5 * a * (1 + np.tanh(math.sqrt(2 / math.pi) * (a + 0.044715 * a**3)))
        return Bounded(y, 1.13 * x.error + self.gamma(FUNCTION + 10) * x.size)

    def softmax(self, x: Bounded) -> Bounded:
        """Over the last axis; -inf hides an entry.

        P_j = E_j / sum E. An exponent that is out by e_j changes E_j by a factor exp(e_j) and the sum by at most
        sum_m P_m exp(e_m). Each exponent is out by its error and by the rounding of x - max x, relative to its size,
        which is of interest only up to where exp is 0 anyway.
        """
        shift = x.value.max(axis=-1, keepdims=True) - x.value
        e = x.error + self.gamma(1) * (np.minimum(shift, 1000) + x.error)
        E = np.exp(-shift)
        P = E / E.sum(axis=-1, keepdims=True)
        moved = np.exp(e) * (P * np.exp(e)).sum(axis=-1, keepdims=True) - 1
        return Bounded(P, P * (moved + self.gamma(2 * FUNCTION + x.value.shape[-1] + 3) * (1 + moved)))

    def attention(self, q: Bounded, k: Bounded, v: Bounded) -> Bounded:
        """softmax(q k^T / sqrt(D)) v with the future hidden.  q (..., Tq, D); k and v (..., Tk, D)."""
        Tq, Tk, D = q.value.shape[-2], k.value.shape[-2], q.value.shape[-1]
        S = self.product(q, k.map(lambda a: a.swapaxes(-1, -2)))
        S = Bounded(S.value / math.sqrt(D), (S.error + self.gamma(3) * S.size) / math.sqrt(D))
        visible = np.arange(Tk) <= np.arange(Tk - Tq, Tk)[:, None]
        S = Bounded(np.where(visible, S.value, -np.inf), np.where(visible, S.error, 0.0))
        return self.product(self.softmax(S), v)

    def cross_entropy(self, logits: Bounded, targets: np.ndarray) -> Bounded:
        """-log softmax(logits)[target], in nats.  logits (..., V), targets (...)."""
        z = logits.value - logits.value.max(axis=-1, keepdims=True)
        log_sum = np.log(np.exp(z).sum(axis=-1))
        target = np.take_along_axis(z, targets[..., None], axis=-1)[..., 0]
        size = np.abs(z).max(axis=-1) + np.abs(log_sum) + 1
        own = self.gamma(2 * FUNCTION + z.shape[-1] + 3) * size
        return Bounded(log_sum - target, 2 * logits.error.max(axis=-1) + 2 * own)


class ReferenceGPT2(Reference):
    """The model of the weights in `state`; a layer whose lora_A is there is adapted, with its scaling."""

    def __init__(self, state: Mapping[str, np.ndarray], config: GPTConfig, scaling: Mapping[str, float]) -> None:
        super().__init__(config.dtype)
        self.state, self.config, self.scaling = state, config, scaling

    def weight(self, path: str) -> Bounded:
        W = self.state[f"{path}.weight"].astype(np.float64)
        if f"{path}.lora_A" not in self.state:
            return exactly(W)
        A, B = (self.state[f"{path}.lora_{m}"].astype(np.float64) for m in "AB")
        return self.lora_weight(W, A, B, self.scaling[path])

    def layer(self, x: Bounded, path: str) -> Bounded:
        return self.linear(x, self.weight(path), exactly(self.state[f"{path}.bias"]))

    def norm(self, x: Bounded, path: str) -> Bounded:
        return self.layer_norm(x, self.weight(path), exactly(self.state[f"{path}.bias"]))

    def adapted(self, x: Bounded, path: str) -> Bounded:
        """What follows the sublayer or block at this path: nothing, in GPT-2 itself."""
        return x

    def embed(self, tokens: np.ndarray) -> Bounded:
        wte, wpe = self.weight("wte"), self.weight("wpe")
        return self.add(wte.map(lambda W: W[tokens]), wpe.map(lambda W: W[: tokens.shape[-1]]))

    def block(self, x: Bounded, i: int) -> Bounded:
        """x (..., T, C) through block i."""
        block = f"blocks.{i}"
        n = self.norm(x, f"{block}.ln_1")
        q, k, v = (
            self.layer(n, f"{block}.attn.{name}_proj").map(
                lambda a: np.stack(np.split(a, self.config.n_head, axis=-1), axis=-3)
            )
            for name in "qkv"
        )
        y = self.attention(q, k, v).map(lambda a: np.concatenate(list(np.moveaxis(a, -3, 0)), axis=-1))
        x = self.add(x, self.adapted(self.layer(y, f"{block}.attn.o_proj"), f"{block}.attn"))
        h = self.gelu(self.layer(self.norm(x, f"{block}.ln_2"), f"{block}.mlp.up_proj"))
        x = self.add(x, self.adapted(self.layer(h, f"{block}.mlp.down_proj"), f"{block}.mlp"))
        return self.adapted(x, block)

    def head(self, x: Bounded) -> Bounded:
        return self.linear(self.norm(x, "ln_f"), self.weight("wte"))


def gpt2_logits(state: Mapping[str, np.ndarray], c: GPTConfig, scaling: Mapping[str, float], tokens) -> Bounded:
    """The logits (B, T, V)."""
    gpt2 = ReferenceGPT2(state, c, scaling)
    x = gpt2.embed(tokens)
    for i in range(c.n_layer):
        x = gpt2.block(x, i)
    return gpt2.head(x)


def reference_logits(model: GPT, tokens: np.ndarray) -> Bounded:
    """The logits (B, T, V) of the model's weights, and of its LoRA's: merged or not, both are within the bound."""
    scaling = {path: layer.scaling for path, layer in lora_layers(model)}
    state = {name: p.data for name, p in model.named_parameters().items()}
    return gpt2_logits(state, model.config, scaling, tokens)


def reference_loss(model: GPT, tokens: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> Bounded:
    return weighted_loss(reference_logits(model, tokens), targets, weights, model.config.dtype)


def weighted_loss(logits: Bounded, targets: np.ndarray, weights: np.ndarray, dtype: str) -> Bounded:
    """sum(w * NLL) / sum(w): each of the N terms meets N additions, a product, and the roundings of w / sum(w)."""
    nll = Reference(dtype).cross_entropy(logits, targets)
    w = weights / weights.sum()
    own = gamma(2 * w.size + 3, dtype) * (w * nll.size).sum()
    return Bounded((w * nll.value).sum(), (w * nll.error).sum() + own)
