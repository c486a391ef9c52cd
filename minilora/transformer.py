"""GPT-2's arithmetic, forward and backward: embeddings, pre-LayerNorm blocks, a head tied to the embedding.

    x = wte[tokens] + wpe[0..T-1]
    x = x + attn(ln_1(x));  x = x + mlp(ln_2(x))       n_layer times
    logits = ln_f(x) wte^T

Radford et al. 2019. B is the batch, T the time steps, C = n_embd the width, H = n_head, D = C / H.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from minilora import attention, ops
from minilora.machine.backend import Array, array_module
from minilora.nn import Embedding, Gradients, LayerNorm, Module, Parameter, gaussian_linear, normal


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
        for name in ("vocab_size", "block_size", "n_layer", "n_head", "n_embd"):
            value = getattr(self, name)
            if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
                raise ValueError(f"GPTConfig.{name} is {value!r}: give a whole number of at least 1")
        if self.n_embd % self.n_head:
            raise ValueError(
                f"n_embd={self.n_embd} does not divide into n_head={self.n_head} equal heads: "
                "choose n_embd as a multiple of n_head"
            )
        if self.dtype not in ("float32", "float64"):
            raise ValueError(f'GPTConfig.dtype is {self.dtype!r}: use "float32", or "float64" for proofs')

    @property
    def parameter_count(self) -> int:
        """(V + block_size) C in the embeddings, 12 C^2 + 13 C a block (its six projections hold 12 C^2 of them), 2 C
        in the last LayerNorm."""
        C = self.n_embd
        return (self.vocab_size + self.block_size) * C + self.n_layer * (12 * C**2 + 13 * C) + 2 * C


class LayerKV:
    """The keys and values that one attention layer has computed so far, for generation.

    keys, values (B, H, block_size, D), of which the first `length` steps are filled.
    """

    def __init__(self, keys: Array, values: Array) -> None:
        self.keys, self.values, self.length = keys, values, 0

    def append(self, k: Array, v: Array) -> tuple[Array, Array]:
        """Store k, v (B, H, t, D) behind what is there; return all keys and values so far, as views."""
        end = self.length + k.shape[2]
        self.keys[:, :, self.length : end] = k
        self.values[:, :, self.length : end] = v
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]


class Past(list[LayerKV]):
    """What a model remembers of the tokens that went through it: a LayerKV a block, and the tokens (B, t)."""

    def __init__(self, layers: Iterable[LayerKV], tokens: Array) -> None:
        super().__init__(layers)
        self.tokens = tokens


class AttentionCache(NamedTuple):
    """What attention's backward reads: the projections' own caches, then q, k, v, y (B, H, T, D) and the softmax P
    in blocks of queries."""

    q_proj: Any
    k_proj: Any
    v_proj: Any
    o_proj: Any
    q: Array
    k: Array
    v: Array
    y: Array
    P: list[Array]


class CausalSelfAttention(Module):
    """y = o_proj(concat over heads of softmax(q k^T / sqrt(D)) v), each position seeing itself and the past."""

    def __init__(self, config: GPTConfig, rng: np.random.Generator | None) -> None:
        C, dtype = config.n_embd, config.dtype
        self.n_head = config.n_head
        self.q_proj = gaussian_linear(rng, C, C, 0.02, dtype)
        self.k_proj = gaussian_linear(rng, C, C, 0.02, dtype)
        self.v_proj = gaussian_linear(rng, C, C, 0.02, dtype)
        self.o_proj = gaussian_linear(rng, C, C, residual_std(config), dtype)

    def _split_heads(self, x: Array) -> Array:
        """(B, T, C) -> (B, H, T, D), a view."""
        B, T, C = x.shape
        return x.reshape(B, T, self.n_head, C // self.n_head).transpose(0, 2, 1, 3)

    def _merge_heads(self, x: Array) -> Array:
        """(B, H, T, D) -> (B, T, C)."""
        B, H, T, D = x.shape
        return x.transpose(0, 2, 1, 3).reshape(B, T, H * D)

    def forward(self, x: Array, rng: Any = None, past: LayerKV | None = None) -> tuple[Array, AttentionCache]:
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

    def backward(self, dout: Array, cache: AttentionCache, grads: Gradients, need_dx: bool = True) -> Array | None:
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
            dx = _add(dx, self.v_proj.backward(dv, cache.v_proj, grads, need_dx))
        if need_q or need_k:
            dS = attention.causal_attention_dscores(dy, cache.v, cache.y, cache.P)
        if need_q:
            dq = self._merge_heads(attention.causal_attention_dq(dS, cache.q, cache.k))
            dx = _add(dx, self.q_proj.backward(dq, cache.q_proj, grads, need_dx))
        if need_k:
            dk = self._merge_heads(attention.causal_attention_dk(dS, cache.q, cache.k))
            dx = _add(dx, self.k_proj.backward(dk, cache.k_proj, grads, need_dx))
        return dx


def _add(total: Array | None, term: Array | None) -> Array | None:
    """`total` + `term` where a branch that was not asked for counts as nothing; adds into `total`."""
    if total is None or term is None:
        return term if total is None else total
    total += term
    return total


class MLPCache(NamedTuple):
    """What the MLP's backward reads: the projections' own caches, the GELU's input h, output a and phi
    (B, T, 4C)."""

    up_proj: Any
    down_proj: Any
    h: Array
    a: Array
    phi: Array


class MLP(Module):
    """y = down_proj(gelu(up_proj(x))): width C -> 4C -> C."""

    def __init__(self, config: GPTConfig, rng: np.random.Generator | None) -> None:
        C, dtype = config.n_embd, config.dtype
        self.up_proj = gaussian_linear(rng, 4 * C, C, 0.02, dtype)
        self.down_proj = gaussian_linear(rng, C, 4 * C, residual_std(config), dtype)

    def forward(self, x: Array, rng: Any = None) -> tuple[Array, MLPCache]:
        """x (B, T, C) -> y (B, T, C)."""
        h, up_cache = self.up_proj.forward(x, rng)
        a, phi = ops.gelu(h)
        y, down_cache = self.down_proj.forward(a, rng)
        return y, MLPCache(up_cache, down_cache, h, a, phi)

    def backward(self, dy: Array, cache: MLPCache, grads: Gradients, need_dx: bool = True) -> Array | None:
        """dy (B, T, C) -> dx (B, T, C)."""
        need_dh = need_dx or self.up_proj.trainable
        da = self.down_proj.backward(dy, cache.down_proj, grads, need_dx=need_dh)
        if da is None:
            return None
        return self.up_proj.backward(ops.gelu_dx(da, cache.h, cache.a, cache.phi), cache.up_proj, grads, need_dx)


class BlockCache(NamedTuple):
    """What a block's backward reads, part by part; None for a part that backward will not enter."""

    ln_1: Any
    attn: Any
    ln_2: Any
    mlp: Any


class Block(Module):
    """x + attn(ln_1(x)), then the same with ln_2 and the MLP: the residual stream is only ever added to."""

    def __init__(self, config: GPTConfig, rng: np.random.Generator | None) -> None:
        self.ln_1 = LayerNorm(config.n_embd, config.dtype)
        self.attn = CausalSelfAttention(config, rng)
        self.ln_2 = LayerNorm(config.n_embd, config.dtype)
        self.mlp = MLP(config, rng)

    def forward(
        self, x: Array, rng: Any = None, past: LayerKV | None = None, need_dx: bool = True
    ) -> tuple[Array, BlockCache]:
        """x (B, T, C) -> x (B, T, C).  The cache holds only what `backward` with the same `need_dx` will read."""
        n, ln_1 = self.ln_1.forward(x, rng)
        y, attn = self.attn.forward(n, rng, past)
        y += x
        n, ln_2 = self.ln_2.forward(y, rng)
        z, mlp = self.mlp.forward(n, rng)
        z += y
        enter_ln_1 = need_dx or self.ln_1.trainable
        enter_attn = enter_ln_1 or self.attn.trainable
        enter_ln_2 = enter_attn or self.ln_2.trainable
        enter_mlp = enter_ln_2 or self.mlp.trainable
        return z, BlockCache(
            ln_1 if enter_ln_1 else None,
            attn if enter_attn else None,
            ln_2 if enter_ln_2 else None,
            mlp if enter_mlp else None,
        )

    def backward(self, dz: Array, cache: BlockCache, grads: Gradients, need_dx: bool = True) -> Array | None:
        """dz (B, T, C) -> dx (B, T, C): the gradient of a sum goes unchanged to both of its terms."""
        need_dy = need_dx or self.ln_1.trainable or self.attn.trainable
        dn = self.mlp.backward(dz, cache.mlp, grads, need_dy or self.ln_2.trainable)
        if dn is None:
            return None
        dy = self.ln_2.backward(dn, cache.ln_2, grads, need_dy)
        if dy is None:
            return None
        dy += dz
        dn = self.attn.backward(dy, cache.attn, grads, need_dx or self.ln_1.trainable)
        if dn is None:
            return None
        dx = self.ln_1.backward(dn, cache.ln_1, grads, need_dx)
        if dx is None:
            return None
        dx += dy
        return dx


class Stack(Module):
    """The way of x through the blocks, from the embeddings to the last LayerNorm: one after the other.

    A module of its own, without parameters, so that a method may send rows of its own along with the tokens'
    (`methods.prefix`): attention then sees `extra_rows` more than there are tokens.
    """

    extra_rows = 0

    def forward(
        self, x: Array, blocks: list[Any], tokens: Array, rng: Any, past: Past | None, keep: bool, need_dx: bool
    ) -> tuple[Array, Any]:
        """x (B, T, C), embedded from tokens (B, T) -> x (B, T, C).  The cache is a BlockCache a block, None below the
        lowest trainable parameter and everywhere with `keep=False`."""
        caches: list[BlockCache | None] = []
        for i, block in enumerate(blocks):
            x, cache = block.forward(x, rng, None if past is None else past[i], need_dx)
            need_dx = need_dx or block.trainable
            caches.append(cache if keep and need_dx else None)
        return x, caches

    def backward(
        self, dx: Array | None, blocks: list[Any], cache: Any, grads: Gradients, need_dx: bool
    ) -> Array | None:
        """dx (B, T, C) after the blocks -> dx (B, T, C) before them."""
        below = [need_dx]  # below[i]: something under block i trains
        for block in blocks[:-1]:
            below.append(below[-1] or block.trainable)
        for block, block_cache, need in zip(reversed(blocks), reversed(cache), reversed(below), strict=True):
            if dx is None:
                return None
            dx = block.backward(dx, block_cache, grads, need)
        return dx


class GPTCache(NamedTuple):
    """What the model's backward reads, part by part."""

    wte: Any
    wpe: Any
    blocks: Any
    ln_f: Any
    head: Any


class GPT(Module):
    """A decoder-only transformer.  `model(tokens)` maps (B, T) int to logits (B, T, V).

    GPT(config, seed) draws its weights as GPT-2 does: Gaussian of std 0.02, biases 0, and 0.02 / sqrt(2 n_layer)
    for the projections that write into the residual stream. With seed None nothing is drawn and every matrix is
    zero: for a loader, which overwrites them all.
    """

    method: tuple[str, dict[str, Any]] | None = None  # what `methods.apply` notes here: a name and its options

    def __init__(self, config: GPTConfig, seed: int | None = 0) -> None:
        rng = None if seed is None else np.random.default_rng(seed)
        self.config = config
        self.wte = Embedding(Parameter(normal(rng, (config.vocab_size, config.n_embd), 0.02, config.dtype)))
        self.wpe = Embedding(Parameter(normal(rng, (config.block_size, config.n_embd), 0.02, config.dtype)))
        self.blocks = [Block(config, rng) for _ in range(config.n_layer)]
        self.stack = Stack()
        self.ln_f = LayerNorm(config.n_embd, config.dtype)
        self.assign_names()

    @property
    def max_tokens(self) -> int:
        """The longest sequence, in tokens: block_size, less the rows that a method sends along with them."""
        return self.config.block_size - self.stack.extra_rows

    def __call__(self, tokens: Array) -> Array:
        """tokens (B, T) int -> logits (B, T, V); nothing is kept for a backward."""
        return self.forward(tokens, keep=False)[0]

    def forward(
        self, tokens: Array, rng: Any = None, past: Past | None = None, keep: bool = True
    ) -> tuple[Array, GPTCache]:
        """tokens (B, T) int -> logits (B, T, V) and the cache for `backward`, empty with `keep=False`.

        With `past` (see `new_past`) the tokens follow those that went through it before.
        ValueError if a token is outside the vocabulary or the sequence is longer than `max_tokens`.
        """
        start = 0 if past is None else past.tokens.shape[1]
        tokens = self._checked(tokens, start)
        xp = array_module(tokens)
        x, wte = self.wte.forward(tokens, rng)
        position, wpe = self.wpe.forward(xp.arange(start, start + tokens.shape[1]), rng)
        x += position
        need_dx = self.wte.trainable or self.wpe.trainable
        x, blocks = self.stack.forward(x, self.blocks, tokens, rng, past, keep, need_dx)
        if past is not None:
            past.tokens = xp.concatenate([past.tokens, tokens], axis=1)
        n, ln_f = self.ln_f.forward(x, rng)
        logits, head = self.wte.unembed(n, rng)
        return logits, GPTCache(wte, wpe, blocks, ln_f if keep else None, head if keep else None)

    def backward(self, dlogits: Array, cache: GPTCache, grads: Gradients) -> None:
        """dlogits (B, T, V): adds every trainable parameter's gradient to `grads`, and goes no deeper than the
        lowest of them."""
        embeddings = self.wte.trainable or self.wpe.trainable
        need_dx = embeddings or self.stack.trainable or any(block.trainable for block in self.blocks)
        dn = self.wte.unembed_backward(dlogits, cache.head, grads, need_dx or self.ln_f.trainable)
        if dn is None:
            return
        dx = self.ln_f.backward(dn, cache.ln_f, grads, need_dx)
        dx = self.stack.backward(dx, self.blocks, cache.blocks, grads, embeddings)
        if dx is not None:
            self.wte.backward(dx, cache.wte, grads)
            self.wpe.backward(dx.sum(axis=0), cache.wpe, grads)

    def new_past(self, batch_size: int) -> Past:
        """Empty key/value caches, one a layer, for `batch_size` sequences of up to block_size rows."""
        c = self.config
        xp = array_module(self.wte.weight.data)
        shape = (batch_size, c.n_head, c.block_size, c.n_embd // c.n_head)
        layers = [LayerKV(xp.empty(shape, c.dtype), xp.empty(shape, c.dtype)) for _ in self.blocks]
        return Past(layers, xp.zeros((batch_size, 0), int))

    def _checked(self, tokens: Array, start: int) -> Array:
        """The tokens on the model's device, once they are known to be valid indices."""
        c = self.config
        xp = array_module(self.wte.weight.data)
        if isinstance(tokens, (list, tuple)):
            tokens = np.asarray(tokens)
        if tokens.ndim != 2 or tokens.dtype.kind not in "iu":
            raise ValueError(
                f"tokens have shape {tokens.shape} and dtype {tokens.dtype}: give whole numbers of shape (B, T)"
            )
        if tokens.shape[1] == 0 or start + tokens.shape[1] > self.max_tokens:
            extra = self.stack.extra_rows
            room = (
                f"{self.max_tokens}, block_size less {extra} rows of the method's own,"
                if extra
                else f"block_size={c.block_size}"
            )
            raise ValueError(f"{start + tokens.shape[1]} tokens do not fit: give 1 to {room} of them")
        # Only on the host: asking a device array for its extremes would wait for the device.
        if isinstance(tokens, np.ndarray) and tokens.size and not 0 <= tokens.min() <= tokens.max() < c.vocab_size:
            raise ValueError(
                f"tokens run from {tokens.min()} to {tokens.max()}: this model's vocabulary is 0 to {c.vocab_size - 1}"
            )
        return xp.asarray(tokens)


def residual_std(config: GPTConfig) -> float:
    """The residual stream sums 2 n_layer projections; scaling each by 1/sqrt(2 n_layer) keeps its variance
    (Radford et al. 2019, section 2.3)."""
    return 0.02 / math.sqrt(2 * config.n_layer)
