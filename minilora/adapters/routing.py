"""Layers that send different rows of a batch through different LoRA branches.

    y[rows] = x[rows] W0^T + b  +  the sum, over the branches routed to these rows, of s (x[rows] A^T) B^T

The frozen product x W0^T is computed once, over all rows, whichever adapters they use; only the thin products are
done separately. A sum of adapters routes several branches to all rows, a mixed batch routes one to each row, and
training side by side lets those branches train.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from minilora.lora import BranchCache, LookupCache, LoraBranch, LoraError, MergeableLayer
from minilora.machine.backend import Array, array_module
from minilora.nn import Block, Cache, Gradients, Module, Rng, Wrapper

Rows = slice | Array  # of the batch, the first axis: a slice is a view, an array of indices is a copy
ALL = slice(None)


class Generators(dict[str, Any]):
    """In place of one `rng`: adapter's name -> its generator, so that each draws the dropout it would draw alone."""


class Branches(Module):
    """LoRA branches under their adapters' names, so that a parameter is called `...q_proj.adapters.french.lora_A`."""

    def __init__(self, branches: Mapping[str, LoraBranch]) -> None:
        vars(self).update(branches)


class RoutedLayer(MergeableLayer):
    """A frozen layer with branches for rows of the batch."""

    def __init__(
        self, base: Module, branches: Mapping[str, LoraBranch], routes: Iterable[tuple[Rows, str]], n_rows: int | None
    ) -> None:
        """
        routes  (rows, name of a branch); a row may be in many of them, or in none
        n_rows  the rows of the one batch that this is for; None if every route is for all rows of any batch
        """
        self.base = base
        self.adapters = Branches(branches)
        self.routes = tuple((rows, name, branches[name]) for rows, name in routes)
        self.n_rows = n_rows

    def delta(self) -> Array:
        """dW (d, k), the sum over the branches.  LoraError where rows differ: no single weight could hold them."""
        if self.n_rows is not None:
            raise LoraError("the rows of this model use different adapters: merge a model in which they use the same")
        total, *others = (branch.delta() for _, _, branch in self.routes)
        for dW in others:
            total += dW
        return total

    def add_branches(self, y: Array, x: Array, rng: Rng | Generators) -> list[BranchCache]:
        """y[rows] += branch(x[rows]) for each route.  A frozen branch is not in training: it gets no dropout."""
        if self.n_rows is not None and len(x) != self.n_rows:
            raise ValueError(f"this model routes {self.n_rows} rows to their adapters, the batch has {len(x)}")
        caches = []
        for rows, name, branch in self.routes:
            own_rng = rng.get(name) if isinstance(rng, Generators) else rng
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


class RoutedLinear(RoutedLayer):
    """Around a frozen Linear."""

    def forward(self, x: Array, rng: Rng | Generators = None) -> tuple[Array, list[BranchCache] | None]:
        """x (B, ..., k) -> y (B, ..., d)."""
        y, _ = self.base.forward(x)
        return y, None if self.merged else self.add_branches(y, x, rng)

    def backward(self, dy: Array, cache: list[BranchCache], grads: Gradients, need_dx: bool = True) -> Array | None:
        """dy (B, ..., d) -> dx (B, ..., k)."""
        return self.branches_backward(dy, cache, grads, self.base.backward(dy, None, grads, need_dx))


class RoutedEmbedding(RoutedLayer):
    """Around a frozen Embedding, in both of its uses."""

    def forward(self, tokens: Array, rng: Rng | Generators = None) -> tuple[Array, list[LookupCache] | None]:
        """tokens (B, T) int -> y (B, T, d); or positions (T,), which are the same for every row of the batch."""
        y, _ = self.base.forward(tokens)
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

    def backward(self, dy: Array, cache: list[LookupCache], grads: Gradients) -> None:
        """dy (B, T, d), or (T, d) for positions."""
        for (rows, _, branch), branch_cache in zip(self.routes, cache, strict=True):
            branch.lookup_backward(dy[rows], branch_cache, grads)

    def unembed(self, x: Array, rng: Rng | Generators = None) -> tuple[Array, list[BranchCache] | None]:
        """x (B, ..., d) -> logits (B, ..., V)."""
        y, _ = self.base.unembed(x)
        return y, None if self.merged else self.add_branches(y, x, rng)

    def unembed_backward(
        self, dlogits: Array, cache: list[BranchCache], grads: Gradients, need_dx: bool = True
    ) -> Array | None:
        """dlogits (B, ..., V) -> dx (B, ..., d)."""
        dx = self.base.unembed_backward(dlogits, None, grads, need_dx)
        return self.branches_backward(dlogits, cache, grads, dx)


class ComputedOnce(Wrapper):
    """A frozen Linear whose input is `copies` equal copies of one batch: their product is computed once."""

    def __init__(self, base: Module, copies: int) -> None:
        self.base, self.copies = base, copies

    @property
    def weight(self) -> Any:
        return self.base.weight

    def forward(self, x: Array, rng: Rng = None) -> tuple[Array, Cache]:
        """x (copies * B, ..., k) -> y (copies * B, ..., d)."""
        y, cache = self.base.forward(x[: len(x) // self.copies])
        return repeat(y, self.copies), cache

    def backward(self, dy: Array, cache: Cache, grads: Gradients, need_dx: bool = True) -> Array | None:
        """What comes back to the copies differs, so this product is over all of them."""
        return self.base.backward(dy, cache, grads, need_dx)


class FanOut(Wrapper):
    """A block that is given a batch once and continues with `copies` of it."""

    def __init__(self, base: Block, copies: int) -> None:
        self.base, self.copies = base, copies

    def forward(self, x: Array, rng: Rng = None, past: Any = None, need_dx: bool = False) -> tuple[Array, Cache]:
        """x (B, T, C) -> (copies * B, T, C)."""
        return self.base.forward(repeat(x, self.copies), rng, past, need_dx)

    def backward(self, dz: Array, cache: Cache, grads: Gradients, need_dx: bool = False) -> None:
        """Nothing below it trains, so nothing is handed down."""
        self.base.backward(dz, cache, grads, need_dx=False)


def repeat(x: Array, copies: int) -> Array:
    """`copies` of x (B, ...) one after the other, (copies * B, ...); x itself for one."""
    return x if copies == 1 else array_module(x).concatenate([x] * copies)
