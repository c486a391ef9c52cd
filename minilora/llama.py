"""A modern decoder's arithmetic, forward and backward: Llama, SmolLM2, Qwen2, Qwen3.

    x = wte[tokens]
    x = x + attn(ln_1(x));  x = x + mlp(ln_2(x))       once per block
    logits = ln_f(x) head^T                            head is wte itself where the two are tied

Against GPT-2 four things are new (Touvron et al. 2023, sections 2.2; Ainslie et al. 2023): RMSNorm for LayerNorm;
rotary positions inside attention for a table of positions; a gated MLP, silu(gate) * up, for GELU; and keys and
values that G = H / K queries share. What they have in common, the way through the blocks, is `nn.Decoder`.

B is the batch, T the time steps, C the width, H the query heads, K the key/value heads, D the size of a head.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from minilora import attention, nn, ops
from minilora.machine.backend import Array, array_module

STD = 0.02  # of a new model's weights


@dataclass(frozen=True)
class LlamaConfig:
    """The shape of a model, under the names of transformers' config.json; the defaults are SmolLM2-135M's.

    head_dim      D; 0 for hidden_size / num_attention_heads
    rope_scaling  Llama 3's stretching of the slow rotations: factor, low_freq_factor, high_freq_factor and
                  original_max_position_embeddings; or None
    qkv_bias      biases on q, k and v, as in Qwen2;  o_bias: on o
    qk_norm       an RMSNorm over each head's q and k before they are turned, as in Qwen3
    """

    vocab_size: int = 49152
    hidden_size: int = 576
    intermediate_size: int = 1536
    num_hidden_layers: int = 30
    num_attention_heads: int = 9
    num_key_value_heads: int = 3
    head_dim: int = 0
    max_position_embeddings: int = 8192
    rms_norm_eps: float = 1e-5
    rope_theta: float = 100000.0
    rope_scaling: Mapping[str, float] | None = None
    tie_word_embeddings: bool = True
    qkv_bias: bool = False
    o_bias: bool = False
    qk_norm: bool = False
    dtype: str = "float32"

    def __post_init__(self) -> None:
        sizes = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
        nn.check_config(self, (*sizes, "num_key_value_heads", "max_position_embeddings"))
        if self.head_dim == 0:
            object.__setattr__(self, "head_dim", self.hidden_size // self.num_attention_heads)
        nn.check_config(self, ("head_dim",))
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_attention_heads={self.num_attention_heads} queries cannot share "
                f"num_key_value_heads={self.num_key_value_heads} keys evenly: choose a multiple"
            )
        if self.head_dim % 2:
            raise ValueError(f"head_dim={self.head_dim} is odd: rotary positions turn pairs, so choose an even one")
        if not (self.rms_norm_eps > 0 and self.rope_theta > 0):
            raise ValueError(f"rms_norm_eps={self.rms_norm_eps} and rope_theta={self.rope_theta} must be above 0")

    @property
    def width(self) -> int:
        return self.hidden_size

    @property
    def layers(self) -> int:
        return self.num_hidden_layers

    @property
    def max_tokens(self) -> int:
        return self.max_position_embeddings

    @property
    def parameter_count(self) -> int:
        return sum(math.prod(shape) for shape in shapes(self).values())


def shapes(config: LlamaConfig) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every parameter, in the model's order."""
    c = config
    C, D, inner = c.hidden_size, c.head_dim, c.intermediate_size
    q, kv = c.num_attention_heads * D, c.num_key_value_heads * D
    block: dict[str, tuple[int, ...]] = {"ln_1.weight": (C,)}
    for name, d, k, bias in (
        ("q_proj", q, C, c.qkv_bias),
        ("k_proj", kv, C, c.qkv_bias),
        ("v_proj", kv, C, c.qkv_bias),
        ("o_proj", C, q, c.o_bias),
    ):
        block[f"attn.{name}.weight"] = (d, k)
        if bias:
            block[f"attn.{name}.bias"] = (d,)
    if c.qk_norm:
        block |= {"attn.q_norm.weight": (D,), "attn.k_norm.weight": (D,)}
    block |= {
        "ln_2.weight": (C,),
        "mlp.gate_proj.weight": (inner, C),
        "mlp.up_proj.weight": (inner, C),
        "mlp.down_proj.weight": (C, inner),
    }
    blocks = {f"blocks.{i}.{name}": shape for i in range(c.num_hidden_layers) for name, shape in block.items()}
    head = {} if c.tie_word_embeddings else {"lm_head.weight": (c.vocab_size, C)}
    return {"wte.weight": (c.vocab_size, C)} | blocks | {"ln_f.weight": (C,)} | head


# ------------------------------------------------------------------------------------- rotary positions


def rotary_frequencies(config: LlamaConfig) -> tuple[float, ...]:
    """The D/2 angles, in radians, by which the pairs of a head turn from one position to the next: theta^(-2i/D).

    `rope_scaling` divides by `factor` those that turn less than `low_freq_factor` times in the length the model was
    first trained for, leaves those alone that turn more than `high_freq_factor` times, and goes smoothly from the one
    to the other between (Llama 3.1's extension of its context).
    """
    frequencies = config.rope_theta ** (-np.arange(0, config.head_dim, 2) / config.head_dim)
    if config.rope_scaling is not None:
        s = config.rope_scaling
        turns = s["original_max_position_embeddings"] * frequencies / (2 * math.pi)
        kept = (turns - s["low_freq_factor"]) / (s["high_freq_factor"] - s["low_freq_factor"])
        kept = np.clip(kept, 0, 1)
        frequencies = frequencies * (kept + (1 - kept) / s["factor"])
    return tuple(frequencies.tolist())


def rotation(xp: ModuleType, dtype: Any, frequencies: tuple[float, ...], start: int, T: int) -> tuple[Array, Array]:
    """cos and sin of the angles of positions start .. start + T - 1, (T, D/2) each."""
    length = 1 << (start + T - 1).bit_length()
    cos, sin = _rotation_table(xp, np.dtype(dtype), frequencies, length)
    return cos[start : start + T], sin[start : start + T]


@functools.lru_cache(maxsize=8)
def _rotation_table(xp: ModuleType, dtype: Any, frequencies: tuple[float, ...], length: int) -> tuple[Array, Array]:
    """cos and sin for the first `length` positions: computed in float64, since an angle may be thousands of turns."""
    cos, sin = ops.rotary_angles(np.arange(length, dtype=np.float64), np.array(frequencies))
    return xp.asarray(cos, dtype=dtype), xp.asarray(sin, dtype=dtype)


# ------------------------------------------------------------------------------------------------- layers


class AttentionCache(NamedTuple):
    """What attention's backward reads: the projections' own caches and the norms'; q (B, H, T, D), k and v
    (B, K, T, D), turned; y (B, H, T, D); the softmax P in blocks of queries; and the angles' cos and sin (T, D/2)."""

    q_proj: nn.Cache
    k_proj: nn.Cache
    v_proj: nn.Cache
    o_proj: nn.Cache
    q_norm: nn.Cache
    k_norm: nn.Cache
    q: Array
    k: Array
    v: Array
    y: Array
    P: list[Array]
    angles: tuple[Array, Array]


class GroupedQueryAttention(nn.Module):
    """y = o_proj(concat over heads of softmax(q k^T / sqrt(D)) v) with q and k turned by their positions; head h reads
    the keys and values of group h K / H."""

    def __init__(self, config: LlamaConfig, rng: np.random.Generator | None) -> None:
        c = config
        C, D, H, K = c.hidden_size, c.head_dim, c.num_attention_heads, c.num_key_value_heads
        self.head_dim, self.frequencies = D, rotary_frequencies(c)
        self.q_proj = _linear(rng, H * D, C, c.qkv_bias, c.dtype)
        self.k_proj = _linear(rng, K * D, C, c.qkv_bias, c.dtype)
        self.v_proj = _linear(rng, K * D, C, c.qkv_bias, c.dtype)
        self.o_proj = _linear(rng, C, H * D, c.o_bias, c.dtype)
        self.q_norm = nn.RMSNorm(D, c.dtype, c.rms_norm_eps) if c.qk_norm else None
        self.k_norm = nn.RMSNorm(D, c.dtype, c.rms_norm_eps) if c.qk_norm else None

    def _split_heads(self, x: Array) -> Array:
        """(B, T, heads D) -> (B, heads, T, D), a view."""
        B, T, width = x.shape
        return x.reshape(B, T, width // self.head_dim, self.head_dim).transpose(0, 2, 1, 3)

    def _merge_heads(self, x: Array) -> Array:
        """(B, heads, T, D) -> (B, T, heads D)."""
        B, heads, T, D = x.shape
        return x.transpose(0, 2, 1, 3).reshape(B, T, heads * D)

    def forward(self, x: Array, rng: nn.Rng = None, past: nn.LayerKV | None = None) -> tuple[Array, AttentionCache]:
        """x (B, T, C) -> y (B, T, C).  With `past`, x holds the steps that follow those already in it."""
        q, q_cache = self.q_proj.forward(x, rng)
        k, k_cache = self.k_proj.forward(x, rng)
        v, v_cache = self.v_proj.forward(x, rng)
        q, k, v = self._split_heads(q), self._split_heads(k), self._split_heads(v)
        q_norm = k_norm = None
        if self.q_norm is not None and self.k_norm is not None:
            q, q_norm = self.q_norm.forward(q)
            k, k_norm = self.k_norm.forward(k)
        start = 0 if past is None else past.length
        angles = rotation(array_module(x), x.dtype, self.frequencies, start, x.shape[1])
        q, k = ops.rotary(q, *angles), ops.rotary(k, *angles)
        if past is not None:
            k, v = past.append(k, v)
        y, P = attention.causal_attention(q, k, v)
        out, o_cache = self.o_proj.forward(self._merge_heads(y), rng)
        return out, AttentionCache(q_cache, k_cache, v_cache, o_cache, q_norm, k_norm, q, k, v, y, P, angles)

    def backward(self, dout: Array, cache: AttentionCache, grads: nn.Gradients, need_dx: bool = True) -> Array | None:
        """dout (B, T, C) -> dx (B, T, C): the sum of what comes back through q, k and v.

        A branch is skipped where neither x nor its projection or norm wants the gradient.
        """
        need_q, need_k, need_v = (
            need_dx or any(part is not None and part.trainable for part in parts)
            for parts in ((self.q_proj, self.q_norm), (self.k_proj, self.k_norm), (self.v_proj,))
        )
        dy = self.o_proj.backward(dout, cache.o_proj, grads, need_dx=need_q or need_k or need_v)
        if dy is None:
            return None
        dy = self._split_heads(dy)
        dx = None
        if need_v:
            dv = self._merge_heads(attention.causal_attention_dv(dy, cache.v, cache.P))
            dx = nn.add_terms(dx, self.v_proj.backward(dv, cache.v_proj, grads, need_dx))
        if need_q or need_k:
            dS = attention.causal_attention_dscores(dy, cache.v, cache.y, cache.P)
        if need_q:
            dq = attention.causal_attention_dq(dS, cache.q, cache.k)
            dq = self._turned_back(dq, cache.angles, self.q_norm, cache.q_norm, grads)
            dx = nn.add_terms(dx, self.q_proj.backward(dq, cache.q_proj, grads, need_dx))
        if need_k:
            dk = attention.causal_attention_dk(dS, cache.q, cache.k)
            dk = self._turned_back(dk, cache.angles, self.k_norm, cache.k_norm, grads)
            dx = nn.add_terms(dx, self.k_proj.backward(dk, cache.k_proj, grads, need_dx))
        return dx

    def _turned_back(
        self, dq: Array, angles: tuple[Array, Array], norm: Any, cache: nn.Cache, grads: nn.Gradients
    ) -> Array:
        """From dL/dq of the turned q, or k, (B, heads, T, D), back to the projection's result, (B, T, heads D)."""
        dq = ops.rotary_dx(dq, *angles)
        if norm is not None:
            dq = norm.backward(dq, cache, grads)
        return self._merge_heads(dq)


class MLPCache(NamedTuple):
    """What the MLP's backward reads: the projections' own caches, and the derivatives of a = silu(g) * u (B, T, inner):
    two arrays, not u, silu(g) and s."""

    gate_proj: nn.Cache
    up_proj: nn.Cache
    down_proj: nn.Cache
    da_dg: Array
    da_du: Array


class GatedMLP(nn.Module):
    """y = down_proj(silu(gate_proj(x)) * up_proj(x)): width C -> inner -> C.  Shazeer 2020, eq. 6."""

    def __init__(self, config: LlamaConfig, rng: np.random.Generator | None) -> None:
        C, inner, dtype = config.hidden_size, config.intermediate_size, config.dtype
        self.gate_proj = _linear(rng, inner, C, False, dtype)
        self.up_proj = _linear(rng, inner, C, False, dtype)
        self.down_proj = _linear(rng, C, inner, False, dtype)

    def forward(self, x: Array, rng: nn.Rng = None) -> tuple[Array, MLPCache]:
        """x (B, T, C) -> y (B, T, C)."""
        g, gate_cache = self.gate_proj.forward(x, rng)
        u, up_cache = self.up_proj.forward(x, rng)
        h, s = ops.silu(g)
        y, down_cache = self.down_proj.forward(h * u, rng)
        return y, MLPCache(gate_cache, up_cache, down_cache, ops.silu_dx(u, h, s), h)

    def backward(self, dy: Array, cache: MLPCache, grads: nn.Gradients, need_dx: bool = True) -> Array | None:
        """dy (B, T, C) -> dx (B, T, C)."""
        need_g, need_u = need_dx or self.gate_proj.trainable, need_dx or self.up_proj.trainable
        da = self.down_proj.backward(dy, cache.down_proj, grads, need_dx=need_g or need_u)
        if da is None:
            return None
        dx = None
        if need_u:
            dx = self.up_proj.backward(da * cache.da_du, cache.up_proj, grads, need_dx)
        if need_g:
            dx = nn.add_terms(dx, self.gate_proj.backward(da * cache.da_dg, cache.gate_proj, grads, need_dx))
        return dx


def _linear(rng: np.random.Generator | None, d: int, k: int, bias: bool, dtype: str) -> nn.Linear:
    """A Linear from k to d with Gaussian weights of std STD, and no bias or zeros."""
    b = nn.Parameter(np.zeros(d, dtype)) if bias else None
    return nn.Linear(nn.Parameter(nn.normal(rng, (d, k), STD, dtype)), b)


class Llama(nn.Decoder):
    """A model of Llama's family.  `model(tokens)` maps (B, T) int to logits (B, T, V).

    Llama(config, seed) draws every matrix from a Gaussian of std 0.02, as transformers does; biases are 0. With seed
    None nothing is drawn and every matrix is zero: for a loader, which puts its own in their place.
    """

    def __init__(self, config: LlamaConfig, seed: int | None = 0) -> None:
        rng = None if seed is None else nn.generator(seed)
        c = config
        self.config = c
        self.max_tokens, self.kv_heads, self.head_size = c.max_position_embeddings, c.num_key_value_heads, c.head_dim

        def norm() -> nn.RMSNorm:
            return nn.RMSNorm(c.hidden_size, c.dtype, c.rms_norm_eps)

        self.wte = nn.Embedding(nn.Parameter(nn.normal(rng, (c.vocab_size, c.hidden_size), STD, c.dtype)))
        self.blocks = [
            nn.Block(norm(), GroupedQueryAttention(c, rng), norm(), GatedMLP(c, rng))
            for _ in range(c.num_hidden_layers)
        ]
        self.stack = nn.Stack()
        self.ln_f = norm()
        self.lm_head = None if c.tie_word_embeddings else _linear(rng, c.vocab_size, c.hidden_size, False, c.dtype)
        self.assign_names()

    def unembed(self, x: Array, rng: nn.Rng) -> tuple[Array, nn.Cache]:
        """x (..., C) -> logits (..., V), by the head where there is one, else by the table of embeddings."""
        return super().unembed(x, rng) if self.lm_head is None else self.lm_head.forward(x, rng)

    def unembed_backward(self, dlogits: Array, cache: nn.Cache, grads: nn.Gradients, need_dx: bool) -> Array | None:
        """dlogits (..., V) -> dx (..., C)."""
        if self.lm_head is None:
            return super().unembed_backward(dlogits, cache, grads, need_dx)
        return self.lm_head.backward(dlogits, cache, grads, need_dx)
