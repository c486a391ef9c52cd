"""Llama written a second time, from the papers, each value with a bound on its rounding: see `reference`."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from hypothesis.errors import UnsatisfiedAssumption

from minilora import lora_layers
from minilora.llama import Llama, LlamaConfig
from tests.reference import FUNCTION, Bounded, Reference, exactly


class LlamaReference(Reference):
    """Llama's own layers for a precision; all values are computed in float64."""

    def rms_norm(self, x: Bounded, weight: Bounded, eps: float = 1e-5) -> Bounded:
        """As `layer_norm`, without the mean: the Jacobian is J_ij = rrms (delta_ij - xhat_i xhat_j / d)."""
        d = x.value.shape[-1]

        def mean(a: np.ndarray) -> np.ndarray:
            return a.mean(axis=-1, keepdims=True)

        square = mean(x.value**2) + eps
        relative = self.gamma(d + 8)  # of the root, by rounding alone: what x brings along goes through J
        magnified = x.error.max(axis=-1, keepdims=True) / np.sqrt(square)
        if magnified.max() > 0.01:
            raise UnsatisfiedAssumption
        rrms = Bounded(1 / np.sqrt(square), relative / np.sqrt(square))
        xhat = self.times(exactly(x.value), rrms)
        J = np.abs(np.eye(d) - xhat.value[..., :, None] * xhat.value[..., None, :] / d)
        propagated = rrms.value * (J @ x.error[..., None])[..., 0] * (1 + 10 * magnified)
        return self.times(xhat._replace(error=xhat.error + propagated), weight)

    def silu(self, x: Bounded) -> Bounded:
        """x / (1 + exp(-x)).  Its slope is nowhere above 1.1.  tanh is out by less than its roundings, absolutely, and
        so is the logistic function (1 + tanh(x / 2)) / 2 that x is multiplied by."""
        y = x.value / (1 + np.exp(-x.value))
        return Bounded(y, 1.1 * x.error + self.gamma(FUNCTION + 4) * x.size)

    def rotary(self, x: Bounded, theta: float, divisors: np.ndarray | float = 1.0) -> Bounded:
        """Complex numbers x_i + j x_{i + D/2}, times exp(j position theta^(-2i/D) / divisor).  x (..., T, D)."""
        T, D = x.value.shape[-2:]
        angle = np.arange(T)[:, None] * (1 / theta ** (np.arange(0, D, 2) / D) / divisors)
        error = self.gamma(FUNCTION) + self.gamma(2 * FUNCTION) * angle
        cos, sin = Bounded(np.cos(angle), error), Bounded(np.sin(angle), error)
        a, b = (x.map(lambda v, part=part: v[..., part]) for part in (slice(0, D // 2), slice(D // 2, D)))
        minus_sin = sin._replace(value=-sin.value)
        real = self.add(self.times(a, cos), self.times(b, minus_sin))
        imaginary = self.add(self.times(b, cos), self.times(a, sin))
        return Bounded(*(np.concatenate(parts, axis=-1) for parts in zip(real, imaginary, strict=True)))


def reference_llama_logits(model: Llama, tokens: np.ndarray) -> Bounded:
    """The logits (B, T, V) of the model's weights, and of its LoRA's: merged or not, both are within the bound."""
    scaling = {path: layer.scaling for path, layer in lora_layers(model)}
    return llama_logits(model.state_dict(), model.config, scaling, tokens)


def llama_logits(state: Mapping[str, np.ndarray], c: LlamaConfig, scaling: Mapping[str, float], tokens) -> Bounded:
    """The logits (B, T, V) of the weights in `state`; a layer whose lora_A is there is adapted, with its scaling."""
    f = LlamaReference(c.dtype)

    def weight(path: str) -> Bounded:
        W = state[f"{path}.weight"].astype(np.float64)
        if f"{path}.lora_A" not in state:
            return exactly(W)
        A, B = (state[f"{path}.lora_{m}"].astype(np.float64) for m in "AB")
        return f.lora_weight(W, A, B, scaling[path])

    def linear(x: Bounded, path: str) -> Bounded:
        return f.linear(x, weight(path), exactly(state[f"{path}.bias"]) if f"{path}.bias" in state else None)

    def norm(x: Bounded, path: str) -> Bounded:
        return f.rms_norm(x, exactly(state[f"{path}.weight"]), c.rms_norm_eps)

    def heads(x: Bounded) -> Bounded:
        return x.map(lambda a: np.stack(np.split(a, a.shape[-1] // c.head_dim, axis=-1), axis=1))

    def turned(x: Bounded, name: str) -> Bounded:
        x = norm(x, name) if f"{name}.weight" in state else x
        return f.rotary(x, c.rope_theta, llama3_divisors(c))

    def attention(x: Bounded, path: str) -> Bounded:
        q, k, v = (heads(linear(x, f"{path}.{name}_proj")) for name in "qkv")
        q, k = turned(q, f"{path}.q_norm"), turned(k, f"{path}.k_norm")
        shared = [x.map(lambda a: a.repeat(c.num_attention_heads // c.num_key_value_heads, axis=1)) for x in (k, v)]
        y = f.attention(q, *shared)
        return linear(y.map(lambda a: np.concatenate(list(a.swapaxes(0, 1)), axis=-1)), f"{path}.o_proj")

    x = weight("wte").map(lambda W: W[tokens])
    for i in range(c.num_hidden_layers):
        block = f"blocks.{i}"
        x = f.add(x, attention(norm(x, f"{block}.ln_1"), f"{block}.attn"))
        n = norm(x, f"{block}.ln_2")
        gate, up = (linear(n, f"{block}.mlp.{name}_proj") for name in ("gate", "up"))
        x = f.add(x, linear(f.times(f.silu(gate), up), f"{block}.mlp.down_proj"))
    return f.linear(norm(x, "ln_f"), weight("lm_head" if "lm_head.weight" in state else "wte"))


def llama3_divisors(c: LlamaConfig) -> np.ndarray | float:
    """By what Llama 3.1 divides each frequency, written as its authors' loop: by wavelength, in tokens."""
    if c.rope_scaling is None:
        return 1.0
    s, divisors = c.rope_scaling, []
    low = s["original_max_position_embeddings"] / s["low_freq_factor"]
    high = s["original_max_position_embeddings"] / s["high_freq_factor"]
    for i in range(0, c.head_dim, 2):
        wavelength = 2 * math.pi * c.rope_theta ** (i / c.head_dim)
        if wavelength < high:
            divisors.append(1.0)
        elif wavelength > low:
            divisors.append(s["factor"])
        else:
            smooth = (s["original_max_position_embeddings"] / wavelength - s["low_freq_factor"]) / (
                s["high_freq_factor"] - s["low_freq_factor"]
            )
            divisors.append(1 / ((1 - smooth) / s["factor"] + smooth))
    return np.array(divisors)
