"""Layers whose rows take different LoRA branches: one mechanism for a stack, a mixed batch and training side by side.

    y[rows] = x[rows] W0^T + b  +  the sum, over the branches routed to these rows, of s (x[rows] A^T) B^T

The frozen product x W0^T is one, over all rows, whoever they belong to; only the thin products are done apart.
A stack routes several branches to all rows, a mixed batch one to each row, training side by side lets them train.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from minilora.lora import BranchCache, LoraBranch, LoraError, MergeableLayer
from minilora.machine.backend import Array, array_module
from minilora.nn import Block, Embedding, Gradients, Linear, Module, Parameter

Rows = slice | Array  # of the batch, the first axis: a slice is a view, an array of indices is a copy
ALL = slice(None)


class Branches(Module):
    """LoRA branches under their adapters' names, so that a parameter is called `...q_proj.adapters.french.lora_A`."""

    def __init__(self, branches: Mapping[str, LoraBranch]) -> None:
        vars(self).update(branches)


class RoutedLayer(MergeableLayer):
    """A layer with a frozen W0 and branches for rows of the batch.

    `n_rows` is the number of rows of the one batch that it is for; None if every route is for all rows of any batch.
    A frozen branch is not in training: it gets no dropout.
    """

    def init_routes(
        self, branches: Mapping[str, LoraBranch], routes: Iterable[tuple[Rows, str]], n_rows: int | None
    ) -> None:
        """routes: (rows, name of a branch); a row may be in many of them, or in none."""
        self.adapters = Branches(branches)
        self.routes = tuple((rows, name, branches[name]) for rows, name in routes)
        self.n_rows = n_rows

    def delta(self) -> Array:
        """dW (d, k), the sum over the branches.  LoraError where rows differ: then no one weight holds them."""
        if self.n_rows is not None:
            raise LoraError("the rows of this model use different adapters: merge a model in which they use the same")
        total, *others = (branch.delta() for _, _, branch in self.routes)
        for dW in others:
            total += dW
        return total

    def add_branches(self, y: Array, x: Array, rng: Any) -> list[BranchCache]:
        """y[rows] += branch(x[rows]) for each route.  `rng` may be a dictionary: a generator for each adapter."""
        if self.n_rows is not None and len(x) != self.n_rows:
            raise ValueError(f"this model routes {self.n_rows} rows to their adapters, the batch has {len(x)}")
        caches = []
        for rows, name, branch in self.routes:
            own_rng = rng.get(name) if isinstance(rng, dict) else rng
            z, cache = branch.branch(x[rows], own_rng if branch.trainable else None)
            y[rows] += z
            caches.append(cache)
        return caches

    def branches_backward(
        self, dy: Array, caches: list[BranchCache], grads: Gradients, dx: Array | None
    ) -> Array | None:
        """dx[rows] += what comes back through the branch of each route; dx None if nothing below trains."""
        for (rows, _, branch), cache in zip(self.routes, caches, strict=True):
            branch_dx = branch.branch_backward(dy[rows], cache, grads, need_dx=dx is not None)
            if dx is not None:
                dx[rows] += branch_dx
        return dx


class RoutedLinear(RoutedLayer, Linear):
    """In place of a frozen Linear, whose arrays it shares.

    `copies`: the rows are so many equal copies of one batch, whose frozen product is then computed once.
    """

    def __init__(self, base: Linear, copies: int = 1) -> None:
        # A handle of its own, so that merging here does not reach the base.
        self.weight, self.bias = Parameter(base.weight.data, trainable=False), base.bias
        self.copies = copies
        self.init_routes({}, (), None)

    def forward(self, x: Array, rng: Any = None) -> tuple[Array, Any]:
        """x (B, ..., k) -> y (B, ..., d)."""
        y, _ = Linear.forward(self, x[: len(x) // self.copies])
        y = repeat(y, self.copies)
        return y, None if self.merged else self.add_branches(y, x, rng)

    def backward(self, dy: Array, cache: Any, grads: Gradients, need_dx: bool = True) -> Array | None:
        """dy (B, ..., d) -> dx (B, ..., k).  What comes back to the copies differs, so this product is over all."""
        return self.branches_backward(dy, cache, grads, Linear.backward(self, dy, None, grads, need_dx))


class RoutedEmbedding(RoutedLayer, Embedding):
    """In place of a frozen Embedding, in both of its uses."""

    def __init__(self, base: Embedding) -> None:
        self.weight = Parameter(base.weight.data, trainable=False)
        self.init_routes({}, (), None)

    def forward(self, tokens: Array, rng: Any = None) -> tuple[Array, Any]:
        """tokens (B, T) int -> y (B, T, d); or positions (T,), which are the same for every row of the batch."""
        y, _ = Embedding.forward(self, tokens)
        if self.merged:
            return y, None
        if tokens.ndim == 1 and self.n_rows is not None:
            raise ValueError("positions are looked up once for all rows: an adapter of wpe cannot be in a mixed batch")
        caches = []
        for rows, _, branch in self.routes:
            z, cache = branch.lookup(tokens[rows])
            y[rows] += z
            caches.append(cache)
        return y, caches

    def backward(self, dy: Array, cache: Any, grads: Gradients) -> None:
        """dy (B, T, d), or (T, d) for positions."""
        for (rows, _, branch), branch_cache in zip(self.routes, cache, strict=True):
            branch.lookup_backward(dy[rows], branch_cache, grads)

    def unembed(self, x: Array, rng: Any = None) -> tuple[Array, Any]:
        """x (B, ..., d) -> logits (B, ..., V)."""
        y, _ = Embedding.unembed(self, x)
        return y, None if self.merged else self.add_branches(y, x, rng)

    def unembed_backward(self, dlogits: Array, cache: Any, grads: Gradients, need_dx: bool = True) -> Array | None:
        """dlogits (B, ..., V) -> dx (B, ..., d)."""
        dx = Embedding.unembed_backward(self, dlogits, None, grads, need_dx)
        return self.branches_backward(dlogits, cache, grads, dx)


class FanOut(Module):
    """A block that is given a batch once and goes on with `copies` of it."""

    def __init__(self, block: Block, copies: int) -> None:
        self.block, self.copies = block, copies

    def forward(self, x: Array, rng: Any = None, past: Any = None, need_dx: bool = False) -> tuple[Array, Any]:
        """x (B, T, C) -> (copies * B, T, C)."""
        return self.block.forward(repeat(x, self.copies), rng, past, need_dx)

    def backward(self, dz: Array, cache: Any, grads: Gradients, need_dx: bool = False) -> None:
        """Nothing below it trains, so nothing is handed down."""
        self.block.backward(dz, cache, grads, need_dx=False)


def repeat(x: Array, copies: int) -> Array:
    """`copies` of x (B, ...) one after the other, (copies * B, ...); x itself for one."""
    return x if copies == 1 else array_module(x).concatenate([x] * copies)


def graft(tree: Any, layers: Mapping[str, Module], path: str = "") -> Any:
    """A copy of a tree of modules with other layers at some paths.

    Only the modules on the way to those paths are new; all others, and every array, are the tree's own.
    """
    if path in layers:
        return layers[path]
    prefix = path and path + "."
    if not any(other.startswith(prefix) for other in layers):
        return tree
    if isinstance(tree, list):
        return [graft(item, layers, f"{prefix}{i}") for i, item in enumerate(tree)]
    twin = copy.copy(tree)
    for name, value in vars(tree).items():
        if isinstance(value, (Module, list)):
            setattr(twin, name, graft(value, layers, prefix + name))
    return twin
