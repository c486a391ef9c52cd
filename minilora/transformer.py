"""GPT-2, forward and backward: embeddings, pre-LayerNorm blocks, a head tied to the embedding.

    x = wte[tokens] + wpe[0..T-1]
    x = x + attn(ln_1(x));  x = x + mlp(ln_2(x))       n_layer times
    logits = ln_f(x) wte^T

Radford et al. 2019. B is the batch, T the time steps, C = n_embd the width, H = n_head, D = C / H. The lines above
that later architectures share (the blocks' loop, the residual sums, the head) are `nn.Decoder` and `nn.Block`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minilora import attention, nn, ops
from minilora.machine.backend import Array


@dataclass(frozen=True)
class GPTConfig:
    """The shape of a model, under nanoGPT's names.  `block_size` is the longest sequence, in tokens."""

    vocab_size: int = 256
    block_size: int = 128
    n_layer: int = 4
    n_head: int = 4
    n_embd: int = 128
    dtype: str = "float32"

    def __post_init__(self) -> None:
        nn.check_config(self, ("vocab_size", "block_size", "n_layer", "n_head", "n_embd"))
        if self.n_embd % self.n_head:
            raise ValueError(
                f"n_embd={self.n_embd} does not divide into n_head={self.n_head} equal heads: "
                "choose n_embd as a multiple of n_head"
            )

    @property
    def width(self) -> int:
        return self.n_embd

    @property
    def layers(self) -> int:
        return self.n_layer

    @property
    def max_tokens(self) -> int:
        return self.block_size

    @property
    def parameter_count(self) -> int:
        return sum(math.prod(shape) for shape in shapes(self).values())


def shapes(config: GPTConfig) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every parameter, in the model's order.

    Together (V + block_size) C in the embeddings, 12 C^2 + 13 C in each block, of which the six projections hold
    12 C^2, and 2 C in the last LayerNorm.
    """
    V, C = config.vocab_size, config.n_embd
    block: dict[str, dict[str, tuple[int, ...]]] = {
        "ln_1": {"weight": (C,), "bias": (C,)},
        "attn.q_proj": {"weight": (C, C), "bias": (C,)},
        "attn.k_proj": {"weight": (C, C), "bias": (C,)},
        "attn.v_proj": {"weight": (C, C), "bias": (C,)},
        "attn.o_proj": {"weight": (C, C), "bias": (C,)},
        "ln_2": {"weight": (C,), "bias": (C,)},
        "mlp.up_proj": {"weight": (4 * C, C), "bias": (4 * C,)},
        "mlp.down_proj": {"weight": (C, 4 * C), "bias": (C,)},
    }
    layers: dict[str, dict[str, tuple[int, ...]]] = {
        "wte": {"weight": (V, C)},
        "wpe": {"weight": (config.block_size, C)},
        **{f"blocks.{i}.{path}": parts for i in range(config.n_layer) for path, parts in block.items()},
        "ln_f": {"weight": (C,), "bias": (C,)},
    }
    return {f"{path}.{name}": shape for path, parts in layers.items() for name, shape in parts.items()}


class AttentionCache(NamedTuple):
    """What attention's backward reads: the projections' own caches, then q, k, v, y (B, H, T, D) and the softmax P
    in blocks of queries."""

    q_proj: nn.Cache
    k_proj: nn.Cache
    v_proj: nn.Cache
    o_proj: nn.Cache
    q: Array
    k: Array
    v: Array
    y: Array
    P: list[Array]


class CausalSelfAttention(nn.Module):
    """y = o_proj(concat over heads of softmax(q k^T / sqrt(D)) v), each position seeing itself and the past."""

    def __init__(self, config: GPTConfig, rng: np.random.Generator | None) -> None:
        C, dtype = config.n_embd, config.dtype
        self.n_head = config.n_head
        self.q_proj = nn.gaussian_linear(rng, C, C, 0.02, dtype)
        self.k_proj = nn.gaussian_linear(rng, C, C, 0.02, dtype)
        self.v_proj = nn.gaussian_linear(rng, C, C, 0.02, dtype)
        self.o_proj = nn.gaussian_linear(rng, C, C, residual_std(config), dtype)

    def _split_heads(self, x: Array) -> Array:
        """(B, T, C) -> (B, H, T, D), a view."""
        B, T, C = x.shape
        return x.reshape(B, T, self.n_head, C // self.n_head).transpose(0, 2, 1, 3)

    def _merge_heads(self, x: Array) -> Array:
        """(B, H, T, D) -> (B, T, C)."""
        B, H, T, D = x.shape
        return x.transpose(0, 2, 1, 3).reshape(B, T, H * D)

    def forward(self, x: Array, rng: nn.Rng = None, past: nn.LayerKV | None = None) -> tuple[Array, AttentionCache]:
        """x (B, T, C) -> y (B, T, C).  With `past`, x holds the steps that follow those already in it."""
        q, q_cache = self.q_proj.forward(x, rng)
        k, k_cache = self.k_proj.forward(x, rng)
        v, v_cache = self.v_proj.forward(x, rng)
        q, k, v = self._split_heads(q), self._split_heads(k), self._split_heads(v)
        if past is not None:
            k, v = past.append(k, v)
        y, P = attention.causal_attention(q, k, v)
        out, o_cache = self.o_proj.forward(self._merge_heads(y), rng)
        return out, AttentionCache(q_cache, k_cache, v_cache, o_cache, q, k, v, y, P)

    def backward(self, dout: Array, cache: AttentionCache, grads: nn.Gradients, need_dx: bool = True) -> Array | None:
        """dout (B, T, C) -> dx (B, T, C): the sum of what comes back through q, k and v.

        A branch is skipped where neither x nor its projection wants the gradient.
        """
        need_q, need_k, need_v = (need_dx or p.trainable for p in (self.q_proj, self.k_proj, self.v_proj))
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
            dq = self._merge_heads(attention.causal_attention_dq(dS, cache.q, cache.k))
            dx = nn.add_terms(dx, self.q_proj.backward(dq, cache.q_proj, grads, need_dx))
        if need_k:
            dk = self._merge_heads(attention.causal_attention_dk(dS, cache.q, cache.k))
            dx = nn.add_terms(dx, self.k_proj.backward(dk, cache.k_proj, grads, need_dx))
        return dx


class MLPCache(NamedTuple):
    """What the MLP's backward reads: the projections' own caches, the GELU's input h, output a and phi
    (B, T, 4C)."""

    up_proj: nn.Cache
    down_proj: nn.Cache
    h: Array
    a: Array
    phi: Array


class MLP(nn.Module):
    """y = down_proj(gelu(up_proj(x))): width C -> 4C -> C."""

    def __init__(self, config: GPTConfig, rng: np.random.Generator | None) -> None:
        C, dtype = config.n_embd, config.dtype
        self.up_proj = nn.gaussian_linear(rng, 4 * C, C, 0.02, dtype)
        self.down_proj = nn.gaussian_linear(rng, C, 4 * C, residual_std(config), dtype)

    def forward(self, x: Array, rng: nn.Rng = None) -> tuple[Array, MLPCache]:
        """x (B, T, C) -> y (B, T, C)."""
        h, up_cache = self.up_proj.forward(x, rng)
        a, phi = ops.gelu(h)
        y, down_cache = self.down_proj.forward(a, rng)
        return y, MLPCache(up_cache, down_cache, h, a, phi)

    def backward(self, dy: Array, cache: MLPCache, grads: nn.Gradients, need_dx: bool = True) -> Array | None:
        """dy (B, T, C) -> dx (B, T, C)."""
        need_dh = need_dx or self.up_proj.trainable
        da = self.down_proj.backward(dy, cache.down_proj, grads, need_dx=need_dh)
        if da is None:
            return None
        return self.up_proj.backward(ops.gelu_dx(da, cache.h, cache.a, cache.phi), cache.up_proj, grads, need_dx)


class GPT(nn.Decoder):
    """GPT-2.  `model(tokens)` maps (B, T) int to logits (B, T, V).

    GPT(config, seed) draws its weights as GPT-2 does: Gaussian of std 0.02, biases 0, and 0.02 / sqrt(2 n_layer)
    for the projections that write into the residual stream. With seed None nothing is drawn and every matrix is
    zero: for a loader, which overwrites them all.
    """

    def __init__(self, config: GPTConfig, seed: int | None = 0) -> None:
        rng = None if seed is None else nn.generator(seed)
        c = config
        self.config = c
        self.max_tokens, self.kv_heads, self.head_size = c.block_size, c.n_head, c.n_embd // c.n_head

        def norm() -> nn.LayerNorm:
            return nn.LayerNorm(c.n_embd, c.dtype)

        self.wte = nn.Embedding(nn.Parameter(nn.normal(rng, (c.vocab_size, c.n_embd), 0.02, c.dtype)))
        self.wpe = nn.Embedding(nn.Parameter(nn.normal(rng, (c.block_size, c.n_embd), 0.02, c.dtype)))
        self.blocks = [nn.Block(norm(), CausalSelfAttention(c, rng), norm(), MLP(c, rng)) for _ in range(c.n_layer)]
        self.stack = nn.Stack()
        self.ln_f = norm()
        self.assign_names()

    @property
    def embeddings(self) -> tuple[nn.Embedding, ...]:
        return self.wte, self.wpe

    def embed(self, tokens: Array, start: int, rng: nn.Rng) -> tuple[Array, tuple[nn.Cache, nn.Cache]]:
        """x = wte[tokens] + wpe[start..start+T-1].  tokens (B, T) -> x (B, T, C)."""
        x, wte = self.wte.forward(tokens, rng)
        position, wpe = self.wpe.forward(self.xp.arange(start, start + tokens.shape[1]), rng)
        x += position
        return x, (wte, wpe)

    def embed_backward(self, dx: Array, cache: tuple[nn.Cache, nn.Cache], grads: nn.Gradients) -> None:
        """dx (B, T, C): both terms of the sum get it, wpe once for each row of the batch."""
        wte, wpe = cache
        self.wte.backward(dx, wte, grads)
        self.wpe.backward(dx.sum(axis=0), wpe, grads)


def residual_std(config: GPTConfig) -> float:
    """The residual stream sums 2 n_layer projections; scaling each by 1/sqrt(2 n_layer) keeps its variance
    (Radford et al. 2019, section 2.3)."""
    return 0.02 / math.sqrt(2 * config.n_layer)
