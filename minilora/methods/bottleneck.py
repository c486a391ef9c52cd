"""Bottleneck adapters (Houlsby et al. 2019, section 2): small layers in series with the base's own.

    adapter(z) = z + up(gelu(down(z)))          down: d -> m with bias, up: m -> d with bias, m << d

Unlike LoRA's branch, which runs beside W0 and can be merged into it, an adapter waits for its input and leaves a
nonlinearity behind: it cannot be folded into any weight, and costs time at inference (Hu et al. 2021, table 1).

    Adapter-H   Houlsby et al. 2019: two a block, on what attention and what the MLP are about to add to x
    Adapter-P   Pfeiffer et al. 2021: one a block, on what the MLP is about to add
    Adapter-L   Lin et al. 2020: one a block, on the block's output, behind a LayerNorm of its own:
                x + up(gelu(down(ln(x))))
    Adapter-D   Rücklé et al. 2020 (AdapterDrop): here Adapter-L, without those of the lowest `drop` blocks; backward
                then ends at the lowest adapter, and inference passes the dropped ones by

|Theta| = L_Adpt (2 d m + m + d) + 2 L_LN d for L_Adpt adapters and L_LN LayerNorms of their own (section 5.1, which
writes r for the bottleneck m).
Houlsby et al. draw both matrices with a standard deviation of 0.01, for a map near the identity. Here up is zero, as
LoRA's B is: the adapted model starts as the base exactly, and gradients reach `up` at once and `down` behind it.
The sources differ in the nonlinearity; this is the transformer's own, for all of them.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from minilora import ops
from minilora.machine.backend import Array
from minilora.methods.method import Method, whole_number
from minilora.nn import Block, Gradients, LayerNorm, Linear, Module, Parameter, normal
from minilora.transformer import GPT, MLP, CausalSelfAttention, GPTConfig


class AdapterCache(NamedTuple):
    """What the adapter's backward reads: its layers' own caches, the GELU's input h, output a and phi (..., m)."""

    ln: Any
    down: Any
    up: Any
    h: Array
    a: Array
    phi: Array


class Adapter(Module):
    """y = z + up(gelu(down(n))) with n = ln(z), or n = z where `ln` is None."""

    def __init__(self, down: Linear, up: Linear, ln: LayerNorm | None = None) -> None:
        self.ln, self.down, self.up = ln, down, up

    def forward(self, z: Array, rng: Any = None) -> tuple[Array, AdapterCache]:
        """z (..., d) -> y (..., d)."""
        n, ln = (z, None) if self.ln is None else self.ln.forward(z, rng)
        h, down = self.down.forward(n, rng)
        a, phi = ops.gelu(h)
        y, up = self.up.forward(a, rng)
        y += z
        return y, AdapterCache(ln, down, up, h, a, phi)

    def backward(self, dy: Array, cache: AdapterCache, grads: Gradients, need_dx: bool = True) -> Array | None:
        """dy (..., d) -> dz (..., d): what comes back through the bottleneck, and dy itself past it."""
        need_dz = need_dx or (self.ln is not None and self.ln.trainable)
        da = self.up.backward(dy, cache.up, grads, need_dx=need_dz or self.down.trainable)
        if da is None:
            return None
        dh = ops.gelu_dx(da, cache.h, cache.a, cache.phi)
        dz = self.down.backward(dh, cache.down, grads, need_dz)
        if self.ln is not None and dz is not None:
            dz = self.ln.backward(dz, cache.ln, grads, need_dx)
        if dz is not None:
            dz += dy
        return dz


class Adapted(Module):
    """A layer with an adapter on its output.  It is the layer still: its parameters keep their names."""

    adapter: Adapter

    def forward(self, x: Array, *context: Any, **settings: Any) -> tuple[Array, Any]:
        """The layer's own forward, whatever it takes besides x (..., d), and then the adapter's."""
        z, layer = super().forward(x, *context, **settings)  # type: ignore[misc]
        y, adapter = self.adapter.forward(z)
        return y, (layer, adapter)

    def backward(self, dy: Array, cache: Any, grads: Gradients, need_dx: bool = True) -> Array | None:
        """dy (..., d) -> dx (..., d).  The layer is entered only if it, or something below it, trains."""
        layer, adapter = cache
        enter = need_dx or any(child.trainable for _, child in self.children() if child is not self.adapter)
        dz = self.adapter.backward(dy, adapter, grads, enter)
        return None if dz is None or not enter else super().backward(dz, layer, grads, need_dx)  # type: ignore[misc]


class AdaptedAttention(Adapted, CausalSelfAttention):
    """Attention with an adapter on what it adds to x."""


class AdaptedMLP(Adapted, MLP):
    """The MLP with an adapter on what it adds to x."""


class AdaptedBlock(Adapted, Block):
    """A block with an adapter on its output."""


_ADAPTED: dict[type, type[Adapted]] = {CausalSelfAttention: AdaptedAttention, MLP: AdaptedMLP, Block: AdaptedBlock}


def _adapt(model: GPT, paths: list[str], seed: int, m: int, layer_norm: bool) -> None:
    """Freeze the model and put a new adapter behind the layer at each path."""
    model.freeze()
    rng = np.random.default_rng(seed)
    for path in paths:
        layer = model.get_submodule(path)
        adapted = _ADAPTED[type(layer)].__new__(_ADAPTED[type(layer)])
        vars(adapted).update(vars(layer))
        adapted.adapter = _new_adapter(model, rng, m, layer_norm)
        model.set_submodule(path, adapted)


def _new_adapter(model: GPT, rng: np.random.Generator, m: int, layer_norm: bool) -> Adapter:
    """down drawn with std 1/sqrt(d), so that down(z) has the scale of z; up zero, so that adapter(z) = z."""
    d, dtype = model.config.n_embd, model.config.dtype
    down = Linear(Parameter(normal(rng, (m, d), 1 / math.sqrt(d), dtype)), Parameter(np.zeros(m, dtype)))
    up = Linear(Parameter(np.zeros((d, m), dtype)), Parameter(np.zeros(d, dtype)))
    adapter = Adapter(down, up, LayerNorm(d, dtype) if layer_norm else None)
    xp = model.xp
    for parameter in adapter.named_parameters().values():
        parameter.data = xp.asarray(parameter.data)
    return adapter


def _parameters(config: GPTConfig, adapters: int, m: int, layer_norms: int) -> int:
    """L_Adpt (2 d m + m + d) + 2 L_LN d."""
    m, d = whole_number("m, the bottleneck's width,", m, 1), config.n_embd
    return adapters * (2 * d * m + m + d) + 2 * layer_norms * d


def _apply_h(model: GPT, seed: int, m: int) -> None:
    blocks = range(model.config.n_layer)
    _adapt(model, [f"blocks.{i}.{part}" for i in blocks for part in ("attn", "mlp")], seed, m, layer_norm=False)


def _count_h(config: GPTConfig, m: int) -> int:
    return _parameters(config, 2 * config.n_layer, m, 0)


def _apply_p(model: GPT, seed: int, m: int) -> None:
    _adapt(model, [f"blocks.{i}.mlp" for i in range(model.config.n_layer)], seed, m, layer_norm=False)


def _count_p(config: GPTConfig, m: int) -> int:
    return _parameters(config, config.n_layer, m, 0)


def _apply_l(model: GPT, seed: int, m: int, drop: int = 0) -> None:
    _adapt(model, [f"blocks.{i}" for i in range(drop, model.config.n_layer)], seed, m, layer_norm=True)


def _count_l(config: GPTConfig, m: int, drop: int = 0) -> int:
    kept = config.n_layer - whole_number("drop, the blocks without an adapter,", drop, 0, config.n_layer - 1)
    return _parameters(config, kept, m, kept)


ADAPTER_H = Method("adapter_h", "Adapter-H", "Houlsby et al. 2019", _apply_h, _count_h, {"m": 8})
ADAPTER_L = Method("adapter_l", "Adapter-L", "Lin et al. 2020", _apply_l, _count_l, {"m": 8})
ADAPTER_P = Method("adapter_p", "Adapter-P", "Pfeiffer et al. 2021", _apply_p, _count_p, {"m": 8})
ADAPTER_D = Method("adapter_d", "Adapter-D", "Rücklé et al. 2020", _apply_l, _count_l, {"m": 8, "drop": 2})
