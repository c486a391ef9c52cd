"""Prefix tuning: trainable rows beside the tokens' own, in the first layer or in every layer (Hu et al. 2021,
section 5.1).

l_p special tokens come before the text (prefix) and l_i between prompt and answer (infix). Nothing else trains.

    PreEmbed   their activations after the embedding layer are parameters: |Theta| = d (l_p + l_i)
    PreLayer   so are their activations after every later layer that another layer reads; they replace what the layer
               below computed there: |Theta| = L d (l_p + l_i). (After the embeddings and all layers but the last.)

Rows.       Special tokens get no position embedding, which would only be a constant added to a trainable row. The text
            keeps the positions 0, 1, ... that it was pre-trained with. But attention still sees at most as many rows as
            before: special tokens use up l_p + l_i of them (the paper's objection in section 3), and `model.max_tokens`
            is what they leave for the text.
Infix.      Only the task knows where a prompt ends: `boundary` is the token that ends it, and the infix goes right
            before a row's `occurrence`-th boundary, so that the boundary itself, which predicts the answer's first
            token, sees it. In a row without one the infix comes last, where no token sees it.
Logits.     Those of the tokens, (B, T, V): what special tokens predict is dropped.
Start.      The activations of a text that the model itself writes: activations of words are a better start than noise
            (Li and Liang 2021, section 7). Any start changes what the model computes.

Both methods replace `model.stack`, which runs x through the blocks, and no other module.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minilora.generate import generate
from minilora.machine.backend import Array, array_module, to_host
from minilora.methods.method import Method
from minilora.nn import (
    BlockCache,
    Config,
    Decoder,
    Gradients,
    LayerKV,
    Parameter,
    Past,
    Rng,
    Stack,
    accumulate,
    generator,
    whole_number,
)


class Layout(NamedTuple):
    """Which of a sequence's l_p + T + l_i rows are which: indices (B, l_p), (B, l_i) and (B, T)."""

    prefix: Array
    infix: Array
    tokens: Array

    @classmethod
    def around(cls, l_p: int, l_i: int, at: Array, T: int) -> Layout:
        """The prefix first, and the infix before token at[b] of row b."""
        xp, (B,) = array_module(at), at.shape
        t = xp.arange(T)
        return cls(
            xp.broadcast_to(xp.arange(l_p), (B, l_p)),
            l_p + at[:, None] + xp.arange(l_i),
            l_p + t + l_i * (t >= at[:, None]),
        )


class PrefixCache(NamedTuple):
    """What the backward of `PrefixStack` reads."""

    layout: Layout
    blocks: list[BlockCache | None]


class PrefixPast(Past):
    """A Past that also counts the boundaries `seen` (B,) in the tokens of each row."""

    def __init__(self, layers: list[LayerKV]) -> None:
        super().__init__(layers)
        keys = layers[0].keys
        self.seen = array_module(keys).zeros(len(keys), int)


class PrefixStack(Stack):
    """Runs x through the blocks in order, with special rows beside the tokens'.

    prefix[i] (l_p, C) and infix[i] (l_i, C) are the special rows that enter block i, for i < n: n is 1 for PreEmbed,
    where the blocks carry the rows on, and the number of blocks for PreLayer.
    """

    def __init__(self, prefix: Parameter, infix: Parameter, boundary: int | None, occurrence: int) -> None:
        self.prefix, self.infix = prefix, infix
        self.boundary, self.occurrence = (boundary if infix.size else None), occurrence

    def new_past(self, layers: list[LayerKV]) -> PrefixPast:
        return PrefixPast(layers)

    def forward(
        self, x: Array, blocks: list[Any], tokens: Array, rng: Rng, past: Any, keep: bool, need_dx: bool
    ) -> tuple[Array, PrefixCache | None]:
        """x (B, T, C), embedded from tokens (B, T) -> x (B, T, C), the tokens' rows."""
        if past is not None:
            return self._forward_cached(x, blocks, tokens, rng, past), None
        infix_at = self._infix_at(tokens, array_module(tokens).zeros(len(tokens), int))
        layout = Layout.around(self.prefix.shape[1], self.infix.shape[1], infix_at, x.shape[1])
        y, caches = self._through(x, blocks, layout, rng, None, keep, need_dx)
        return y, PrefixCache(layout, caches)

    def _through(
        self, x: Array, blocks: list[Any], at: Layout, rng: Rng, past: list[LayerKV] | None, keep: bool, need_dx: bool
    ) -> tuple[Array, list[BlockCache | None]]:
        """Put the tokens' rows and the special rows into their places, and run them all through the blocks."""
        xp, (B, T, C) = array_module(x), x.shape
        row = xp.arange(B)[:, None]
        z = xp.empty((B, at.prefix.shape[1] + at.infix.shape[1] + T, C), x.dtype)
        z[row, at.tokens] = x
        caches = []
        for i, block in enumerate(blocks):
            if i < self.prefix.shape[0]:
                z[row, at.prefix] = self.prefix.data[i, : at.prefix.shape[1]]
                z[row, at.infix] = self.infix.data[i, : at.infix.shape[1]]
                need_dx = need_dx or self.trainable
            z, cache = block.forward(z, rng, None if past is None else past[i], need_dx)
            need_dx = need_dx or block.trainable
            caches.append(cache if keep and need_dx else None)
        return z[row, at.tokens], caches

    def backward(
        self, dx: Array | None, blocks: list[Any], cache: PrefixCache, grads: Gradients, need_dx: bool
    ) -> Array | None:
        """dx (B, T, C) after the blocks -> dx (B, T, C) before them.

        A special row starts without a gradient, since nothing reads it after the last block. Before a block whose
        special rows are parameters, the gradient in those rows, summed over the batch, is the parameters'. It goes no
        deeper: what the block below computed in those rows was dropped.
        """
        if dx is None:
            return None
        at = cache.layout
        xp, (B, T, C) = array_module(dx), dx.shape
        row = xp.arange(B)[:, None]
        dz: Any = xp.zeros((B, T + self.prefix.shape[1] + self.infix.shape[1], C), dx.dtype)
        dz[row, at.tokens] = dx
        need = [need_dx or self.trainable]  # need[i]: something before block i, its special rows included, trains
        for block in blocks[:-1]:
            need.append(need[-1] or block.trainable)
        d_prefix, d_infix = xp.zeros_like(self.prefix.data), xp.zeros_like(self.infix.data)
        for i in reversed(range(len(blocks))):
            dz = blocks[i].backward(dz, cache.blocks[i], grads, need[i])
            if dz is None:
                return None
            if i < self.prefix.shape[0]:
                d_prefix[i], d_infix[i] = dz[row, at.prefix].sum(axis=0), dz[row, at.infix].sum(axis=0)
                dz[row, at.prefix] = dz[row, at.infix] = 0
        for parameter, gradient in ((self.prefix, d_prefix), (self.infix, d_infix)):
            if parameter.trainable:
                accumulate(grads, parameter, gradient)
        return dz[row, at.tokens] if need_dx else None

    # ----------------------------------------------------------------------- with a key/value cache

    def _forward_cached(self, x: Array, blocks: list[Any], tokens: Array, rng: Rng, past: PrefixPast) -> Array:
        """Only the new rows: the prefix goes before the first tokens, a row's infix before its boundary.

        Rows that meet their boundaries at different steps have different numbers of keys until all have met theirs, so
        the batch is run in groups of equal layout.
        """
        xp, T, n = array_module(x), x.shape[1], past.length
        met = past.seen >= self.occurrence
        at = to_host(xp.where(met, -1, self._infix_at(tokens, past.seen)))  # T: not in this chunk; -1: before it
        past.seen += (tokens == self.boundary).sum(axis=1) if self.boundary is not None else 0
        keys = to_host(met) * self.infix.shape[1] + (self.prefix.shape[1] + n if n else 0)
        y = xp.empty_like(x)
        for group in np.unique(at):
            rows = np.flatnonzero(at == group)
            l_p, l_i = (0 if n else self.prefix.shape[1]), (self.infix.shape[1] if 0 <= group < T else 0)
            layout = Layout.around(l_p, l_i, xp.full(len(rows), max(group, 0)), T)
            start = int(keys[rows[0]])
            rows = xp.asarray(rows)
            y[rows] = self._through_cached(x[rows], blocks, layout, rng, past, rows, start)
        return y

    def _through_cached(
        self, x: Array, blocks: list[Any], layout: Layout, rng: Rng, past: PrefixPast, rows: Array, start: int
    ) -> Array:
        """`_through` for some sequences of the batch, each with `start` keys in the cache so far."""
        end = start + layout.prefix.shape[1] + layout.infix.shape[1] + x.shape[1]
        # All of them: a view, so that writing to it writes to the cache. Some: a copy, whose new part is written back.
        chosen: Any = slice(None) if len(rows) == len(past.seen) else rows
        layers = [LayerKV(layer.keys[chosen, :, :end], layer.values[chosen, :, :end], start) for layer in past.layers]
        y, _ = self._through(x, blocks, layout, rng, layers, keep=False, need_dx=False)
        if chosen is rows:
            for layer, part in zip(past.layers, layers, strict=True):
                layer.keys[rows, :, start:end] = part.keys[:, :, start:end]
                layer.values[rows, :, start:end] = part.values[:, :, start:end]
        return y

    def _infix_at(self, tokens: Array, seen: Array) -> Array:
        """The token (B,) before which each row's infix goes: its `occurrence`-th boundary, `seen` (B,) of which came in
        earlier tokens; T, after all tokens, if it is not among these."""
        xp, (B, T) = array_module(tokens), tokens.shape
        if self.boundary is None:
            return xp.full(B, T)
        reached = (tokens == self.boundary).cumsum(axis=1) + seen[:, None] >= self.occurrence
        return xp.where(reached.any(axis=1), reached.argmax(axis=1), T)


def _apply(model: Decoder, seed: int, layers: int, l_p: int, l_i: int, boundary: int | None, occurrence: int) -> None:
    """Freeze the model and give it a PrefixStack with special rows for `layers` blocks."""
    rows = _written_activations(model, l_p + l_i, layers, generator(seed))
    model.freeze()
    prefix, infix = Parameter(rows[:, :l_p].copy()), Parameter(rows[:, l_p:].copy())
    model.replace({"stack": PrefixStack(prefix, infix, boundary, occurrence)})
    model.max_tokens -= l_p + l_i


def _written_activations(model: Decoder, length: int, layers: int, rng: np.random.Generator) -> Array:
    """What enters the first `layers` blocks while the model reads a text of its own: (layers, length, C)."""
    tokens = generate(model, rng.integers(model.vocab_size, size=1), length - 1, seed=rng)
    xp = model.xp
    x, _ = model.embed(xp.asarray(tokens)[None], 0, None)
    entering = [x]
    for block in model.blocks[: layers - 1]:
        x, _ = block.forward(x)
        entering.append(x)
    return xp.concatenate(entering)


def _special_tokens(config: Config, l_p: int, l_i: int, boundary: int | None, occurrence: int) -> int:
    """l_p + l_i.  ValueError if they leave no room for the text, or there is no boundary for the infix."""
    total = whole_number("l_p", l_p, 0) + whole_number("l_i", l_i, 0)
    if not 0 < total < config.max_tokens:
        raise ValueError(
            f"l_p={l_p} and l_i={l_i} make {total} special tokens: give 1 to {config.max_tokens - 1}, "
            f"so that a token fits into the model's {config.max_tokens} beside them"
        )
    whole_number("occurrence", occurrence, 1)
    if boundary is not None:
        whole_number("boundary, a token,", boundary, 0, config.vocab_size - 1)
    elif l_i:
        raise ValueError(
            f"l_i={l_i} infix tokens need a boundary: give the token that ends a prompt, such as ord('\\n')"
        )
    return total


def _method(name: str, label: str, source: str, every_layer: bool) -> Method:
    """Special tokens whose rows are parameters before the first block, or before every block."""

    def layers_with_rows(layers: int) -> int:
        return layers if every_layer else 1

    def change(model: Decoder, seed: int, **options: Any) -> None:
        _apply(model, seed, layers_with_rows(model.layers), **options)

    def count(config: Config, **options: Any) -> int:
        """d (l_p + l_i), or L times that."""
        return layers_with_rows(config.layers) * config.width * _special_tokens(config, **options)

    return Method(name, label, source, change, count, {"l_p": 8, "l_i": 0, "boundary": None, "occurrence": 1})


PRE_EMBED = _method("pre_embed", "PreEmbed", "Li and Liang 2021, section 7.2", every_layer=False)
PRE_LAYER = _method("pre_layer", "PreLayer", "Li and Liang 2021, section 4", every_layer=True)
