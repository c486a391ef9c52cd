"""Bottleneck adapters (Houlsby et al. 2019, section 2): small layers in series with the base's own.

    bottleneck(z) = z + up(gelu(down(z)))       down: d -> m with bias, up: m -> d with bias, m << d

LoRA's branch runs beside W0 and can be merged into it. A bottleneck has to wait for its input, and its nonlinearity
cannot be folded into any weight, so it costs time at inference (Hu et al. 2021, table 1). The papers call it an
adapter, as the methods' names still do; elsewhere in minilora an adapter is LoRA's A and B.

    Adapter-H   Houlsby et al. 2019: two per block, on what attention and what the MLP are about to add to x
    Adapter-P   Pfeiffer et al. 2021: one per block, on what the MLP is about to add
    Adapter-L   Lin et al. 2020: one per block, on the block's output, after a LayerNorm of its own:
                x + up(gelu(down(ln(x))))
    Adapter-D   Rücklé et al. 2020 (AdapterDrop): here Adapter-L without those of the lowest `drop` blocks; backward
                then ends at the lowest bottleneck, and inference skips the dropped ones

|Theta| = L_Adpt (2 d m + m + d) + 2 L_LN d for L_Adpt bottlenecks and L_LN LayerNorms of their own (section 5.1, which
writes r for the width m).
Houlsby et al. draw both matrices with a standard deviation of 0.01, for a map near the identity. Here up is zero, as
LoRA's B is: the adapted model starts as the base exactly; the first gradient reaches `up`, and from the next step on
`down` as well. The sources differ in the nonlinearity; here all of them have the transformer's own, GELU.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from minilora import nn, ops
from minilora.machine.backend import Array
from minilora.methods.method import Method


class BottleneckCache(NamedTuple):
    """What the bottleneck's backward reads: its layers' own caches, the GELU's input h, output a and phi (..., m)."""

    ln: nn.Cache
    down: nn.Cache
    up: nn.Cache
    h: Array
    a: Array
    phi: Array


class Bottleneck(nn.Module):
    """y = z + up(gelu(down(n))) with n = ln(z), or n = z where `ln` is None."""

    def __init__(self, down: nn.Linear, up: nn.Linear, ln: nn.LayerNorm | None = None) -> None:
        self.ln, self.down, self.up = ln, down, up

    def forward(self, z: Array, rng: nn.Rng = None) -> tuple[Array, BottleneckCache]:
        """z (..., d) -> y (..., d)."""
        n, ln = (z, None) if self.ln is None else self.ln.forward(z, rng)
        h, down = self.down.forward(n, rng)
        a, phi = ops.gelu(h)
        y, up = self.up.forward(a, rng)
        y += z
        return y, BottleneckCache(ln, down, up, h, a, phi)

    def backward(self, dy: Array, cache: BottleneckCache, grads: nn.Gradients, need_dx: bool = True) -> Array | None:
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


class BottleneckAfter(nn.Wrapper):
    """A layer (attention, the MLP or a whole block) with a bottleneck on its output."""

    def __init__(self, base: nn.Module, bottleneck: Bottleneck) -> None:
        self.base = base
        self.adapter = bottleneck  # named as the paper names it, and as files do

    def forward(self, x: Array, *context: Any, **settings: Any) -> tuple[Array, tuple[nn.Cache, BottleneckCache]]:
        """The base's own forward, whatever it takes besides x (..., d), and then the bottleneck's."""
        z, base = self.base.forward(x, *context, **settings)
        y, bottleneck = self.adapter.forward(z)
        return y, (base, bottleneck)

    def backward(
        self, dy: Array, cache: tuple[nn.Cache, BottleneckCache], grads: nn.Gradients, need_dx: bool = True
    ) -> Array | None:
        """dy (..., d) -> dx (..., d).  The base is entered only if it, or something below it, trains."""
        base, bottleneck = cache
        enter = need_dx or self.base.trainable
        dz = self.adapter.backward(dy, bottleneck, grads, enter)
        return None if dz is None or not enter else self.base.backward(dz, base, grads, need_dx)


def _new(model: nn.Decoder, rng: np.random.Generator, m: int, layer_norm: bool) -> Bottleneck:
    """down drawn with std 1/sqrt(d), so that down(z) has the scale of z; up zero, so that it starts as y = z."""
    d, dtype = model.width, model.dtype
    down = nn.Linear(nn.Parameter(nn.normal(rng, (m, d), 1 / math.sqrt(d), dtype)), nn.Parameter(np.zeros(m, dtype)))
    up = nn.Linear(nn.Parameter(np.zeros((d, m), dtype)), nn.Parameter(np.zeros(d, dtype)))
    return Bottleneck(down, up, nn.LayerNorm(d, dtype) if layer_norm else None).to(model.xp.__name__)


def _method(name: str, label: str, source: str, parts: tuple[str, ...], drop: int | None = None) -> Method:
    """The method that puts a bottleneck after each of these parts of each block: ".attn", ".mlp", or "" for all of it,
    where it has a LayerNorm.  `drop` is the option's default, None if there is no such option."""
    layer_norm = parts == ("",)

    def places(layers: int, drop: int) -> list[str]:
        drop = nn.whole_number("drop, the blocks without a bottleneck,", drop, 0, layers - 1)
        return [f"blocks.{i}{part}" for i in range(drop, layers) for part in parts]

    def change(model: nn.Decoder, seed: int, m: int, drop: int = 0) -> None:
        model.freeze()
        rng, layers = nn.generator(seed), dict(model.named_modules())
        paths = places(model.layers, drop)
        model.replace({path: BottleneckAfter(layers[path], _new(model, rng, m, layer_norm)) for path in paths})

    def count(config: nn.Config, m: int, drop: int = 0) -> int:
        m, d = nn.whole_number("m, the bottleneck's width,", m, 1), config.width
        return len(places(config.layers, drop)) * (2 * d * m + m + d + (2 * d if layer_norm else 0))

    return Method(name, label, source, change, count, {"m": 8} if drop is None else {"m": 8, "drop": drop})


ADAPTER_H = _method("adapter_h", "Adapter-H", "Houlsby et al. 2019", (".attn", ".mlp"))
ADAPTER_L = _method("adapter_l", "Adapter-L", "Lin et al. 2020", ("",))
ADAPTER_P = _method("adapter_p", "Adapter-P", "Pfeiffer et al. 2021", (".mlp",))
ADAPTER_D = _method("adapter_d", "Adapter-D", "Rücklé et al. 2020", ("",), drop=2)
