"""Trainable rows among the tokens' own: prefix-embedding and prefix-layer tuning (Hu et al. 2021, section 5.1).

l_p special tokens stand before the text (prefix) and l_i between prompt and answer (infix). Nothing else trains.

    PreEmbed   their activations after the embedding layer are parameters: |Theta| = d (l_p + l_i)
    PreLayer   so are those after every layer that another layer reads, in the place of what the layer below computed
               there: |Theta| = L d (l_p + l_i). (After the embeddings and all layers but the last: L times.)

Rows.       Special tokens have no positions: a position's embedding would be one more constant added to a trainable
            row. The text keeps its positions 0, 1, ..., those that it was pre-trained at. But the rows that attention
            sees, and for which a key/value cache has room, stay block_size in all: l_p + l_i of them are no longer
            there for the text (the paper's objection in section 3), and `model.max_tokens` says how many are.
Infix.      Where a prompt ends is for the task to say: `boundary` is the token that ends it, and the infix goes right
            before the `occurrence`-th of these in a row. (Before, so that the boundary's own row, which predicts the
            answer's first token, sees it.) A row without it has its infix behind it, where no token sees it.
Logits.     Those of the tokens, (B, T, V): what special tokens predict is dropped.
Start.      The activations of a text that the model itself writes: words' activations are a better start than noise
            (Li and Liang 2021, section 7). No start leaves the model what it was.

Both replace `model.stack`, the way through the blocks, and no other module.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minilora.generate import generate
from minilora.machine.backend import Array, array_module, to_host
from minilora.methods.method import Method, whole_number
from minilora.nn import Gradients, LayerKV, Parameter, Past, Stack, accumulate
from minilora.transformer import GPT, GPTConfig


class Layout(NamedTuple):
    """Where rows stand in the sequences of l_p + T + l_i rows: indices (B, l_p), (B, l_i) and (B, T)."""

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
    """What the stack's backward reads."""

    layout: Layout
    blocks: Any


class PrefixPast(Past):
    """A Past that also counts the boundaries `seen` (B,) in the tokens of each row."""

    def __init__(self, layers: list[LayerKV]) -> None:
        super().__init__(layers)
        keys = layers[0].keys
        self.seen = array_module(keys).zeros(len(keys), int)


class PrefixStack(Stack):
    """The blocks, with special rows beside the tokens'.

    prefix (n, l_p, C) and infix (n, l_i, C) hold the rows that enter block i, for i < n: n = 1 for PreEmbed, whose
    rows the blocks then carry on, and n_layer for PreLayer.
    """

    def __init__(self, prefix: Parameter, infix: Parameter, boundary: int | None, occurrence: int) -> None:
        self.prefix, self.infix = prefix, infix
        self.boundary, self.occurrence = (boundary if infix.size else None), occurrence

    def new_past(self, layers: list[LayerKV]) -> PrefixPast:
        return PrefixPast(layers)

    def forward(
        self, x: Array, blocks: list[Any], tokens: Array, rng: Any, past: Past | None, keep: bool, need_dx: bool
    ) -> tuple[Array, Any]:
        """x (B, T, C), embedded from tokens (B, T) -> x (B, T, C), that of the tokens' rows."""
        if isinstance(past, PrefixPast):
            return self._forward_cached(x, blocks, tokens, rng, past), None
        infix_at = self._infix_at(tokens, array_module(tokens).zeros(len(tokens), int))
        layout = Layout.around(self.prefix.shape[1], self.infix.shape[1], infix_at, x.shape[1])
        y, caches = self._through(x, blocks, layout, rng, None, keep, need_dx)
        return y, PrefixCache(layout, caches)

    def _through(
        self, x: Array, blocks: list[Any], at: Layout, rng: Any, past: list[LayerKV] | None, keep: bool, need_dx: bool
    ) -> tuple[Array, list[Any]]:
        """The tokens' rows into their places, the special rows into theirs, and all through the blocks."""
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

        A special row starts with no gradient, since nothing reads it after the last block. Before a block whose
        special rows are parameters, its gradient there, summed over the batch, is theirs, and goes no deeper: what
        the block below computed there was dropped.
        """
        if dx is None:
            return None
        at = cache.layout
        xp, (B, T, C) = array_module(dx), dx.shape
        row = xp.arange(B)[:, None]
        dz: Array | None = xp.zeros((B, T + self.prefix.shape[1] + self.infix.shape[1], C), dx.dtype)
        dz[row, at.tokens] = dx  # type: ignore[index]
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
        return dz[row, at.tokens] if need_dx else None  # type: ignore[index]

    # ----------------------------------------------------------------------- with a key/value cache

    def _forward_cached(self, x: Array, blocks: list[Any], tokens: Array, rng: Any, past: PrefixPast) -> Array:
        """Only new rows: the prefix before the first tokens of all, a row's infix when its boundary comes.

        Rows that meet their boundaries at different steps have different numbers of keys in between, so the batch
        goes through in groups of equal layout: all at once again as soon as all have met it.
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
        self, x: Array, blocks: list[Any], layout: Layout, rng: Any, past: PrefixPast, rows: Array, start: int
    ) -> Array:
        """`_through` for some rows of the batch, each with `start` keys in the cache so far."""
        end = start + layout.prefix.shape[1] + layout.infix.shape[1] + x.shape[1]
        # All rows: a view, written to as it is. Some: a copy, of which the new keys and values go back.
        chosen: Any = slice(None) if len(rows) == len(past.seen) else rows
        layers = [LayerKV(layer.keys[chosen, :, :end], layer.values[chosen, :, :end]) for layer in past.layers]
        for layer in layers:
            layer.length = start
        y, _ = self._through(x, blocks, layout, rng, layers, keep=False, need_dx=False)
        if chosen is rows:
            for layer, part in zip(past.layers, layers, strict=True):
                layer.keys[rows, :, start:end] = part.keys[:, :, start:end]
                layer.values[rows, :, start:end] = part.values[:, :, start:end]
        return y

    def _infix_at(self, tokens: Array, seen: Array) -> Array:
        """The token (B,) before which each row's infix goes: its `occurrence`-th boundary, `seen` (B,) of which
        stood in earlier tokens; T, behind them all, where it is not among these."""
        xp, (B, T) = array_module(tokens), tokens.shape
        if self.boundary is None:
            return xp.full(B, T)
        reached = (tokens == self.boundary).cumsum(axis=1) + seen[:, None] >= self.occurrence
        return xp.where(reached.any(axis=1), reached.argmax(axis=1), T)


def _apply(model: GPT, seed: int, layers: int, l_p: int, l_i: int, boundary: int | None, occurrence: int) -> None:
    """Freeze the model and put a PrefixStack with rows for `layers` blocks around its blocks."""
    rows = _written_activations(model, l_p + l_i, layers, np.random.default_rng(seed))
    model.freeze()
    prefix, infix = Parameter(rows[:, :l_p].copy()), Parameter(rows[:, l_p:].copy())
    model.set_submodule("stack", PrefixStack(prefix, infix, boundary, occurrence))
    model.max_tokens -= l_p + l_i


def _written_activations(model: GPT, length: int, layers: int, rng: np.random.Generator) -> Array:
    """What enters the first `layers` blocks where the model writes a text of this length: (layers, length, C)."""
    tokens = generate(model, rng.integers(model.config.vocab_size, size=1), length - 1, seed=rng)
    xp = model.xp
    x = model.wte.forward(xp.asarray(tokens)[None])[0] + model.wpe.forward(xp.arange(length))[0]
    entering = [x]
    for block in model.blocks[: layers - 1]:
        x, _ = block.forward(x)
        entering.append(x)
    return xp.concatenate(entering)


def _special_tokens(config: GPTConfig, l_p: int, l_i: int, boundary: int | None, occurrence: int) -> int:
    """l_p + l_i.  ValueError if the text has no room beside them, or nothing says where the infix goes."""
    total = whole_number("l_p", l_p, 0) + whole_number("l_i", l_i, 0)
    if not 0 < total < config.block_size:
        raise ValueError(
            f"l_p={l_p} and l_i={l_i} make {total} special tokens: give 1 to {config.block_size - 1}, "
            f"so that a token fits into block_size={config.block_size} beside them"
        )
    whole_number("occurrence", occurrence, 1)
    if boundary is not None:
        whole_number("boundary, a token,", boundary, 0, config.vocab_size - 1)
    elif l_i:
        raise ValueError(
            f"l_i={l_i} infix tokens need a boundary: give the token that ends a prompt, such as ord('\\n')"
        )
    return total


def apply_embed(model: GPT, seed: int, **options: Any) -> None:
    _apply(model, seed, 1, **options)


def apply_layer(model: GPT, seed: int, **options: Any) -> None:
    _apply(model, seed, model.config.n_layer, **options)


def count_embed(config: GPTConfig, **options: Any) -> int:
    """d (l_p + l_i)."""
    return config.n_embd * _special_tokens(config, **options)


def count_layer(config: GPTConfig, **options: Any) -> int:
    """L d (l_p + l_i)."""
    return config.n_layer * config.n_embd * _special_tokens(config, **options)


OPTIONS = {"l_p": 8, "l_i": 0, "boundary": None, "occurrence": 1}
PRE_EMBED = Method("pre_embed", "PreEmbed", "Li and Liang 2021, section 7.2", apply_embed, count_embed, OPTIONS)
PRE_LAYER = Method("pre_layer", "PreLayer", "Li and Liang 2021, section 4", apply_layer, count_layer, OPTIONS)
