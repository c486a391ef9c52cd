"""Training several adapters at once: k adapters on k streams of data, over one frozen base.

What is shared, and what that does to the results:

- Every frozen product, x W0^T going up and dy W0 coming down, is one product over the rows of all streams, so W0 is
  read once where training alone reads it k times. Row by row it is the same sum of the same terms, but a BLAS may
  take the rows of a larger matrix in other blocks and so add the terms in another order: equal to rounding.
- Where the streams are equal (the same data under several ranks, seeds or learning rates), the adapters' inputs are
  equal too until the first branch has been added. All blocks below the lowest adapted one, and the frozen products
  of q, k and v in that block if their inputs are still equal, are computed once, for one copy: the very products that
  training alone computes, equal bit for bit.
- The thin products with A and B, the gradients, clipping and Adam are each adapter's own: nothing to share.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from minilora import ops
from minilora.adapters.bank import AdapterBank
from minilora.adapters.routing import FanOut, RoutedLayer, RoutedLinear, graft
from minilora.lora import LoraError
from minilora.machine.backend import Array, array_module, to_host
from minilora.machine.pieces import piece_seeds, pieces_for
from minilora.machine.progress import Progress
from minilora.nn import Gradients, Module
from minilora.optim import Adam, clip_grad_norm
from minilora.text import Batch
from minilora.train import FitResult, NonFiniteLossError, as_data, checked_batch
from minilora.transformer import GPT


def fit_side_by_side(
    bank: AdapterBank,
    data: Mapping[str, Any],
    *,
    steps: int,
    lr: float | Mapping[str, float] = 1e-3,
    batch_size: int = 16,
    clip: float | None = 1.0,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, FitResult]:
    """Train the adapters named in `data`, each on its own data, for `steps` steps, in place.

    data  adapter's name -> `TextData`, anything with its `sample`, or a 1-D array of tokens
    lr    a learning rate for all, or one for each by name

    Each ends where `fit(bank.view(name), data[name], steps=..., lr=..., batch_size=..., clip=..., seed=...)` would
    have taken it, dropout included, to rounding. ValueError if the streams' batches differ in shape.
    NonFiniteLossError names the adapter; all of them then hold the weights of the step before.
    """
    streams = {name: as_data(stream, bank.base) for name, stream in data.items()}
    rngs = {name: np.random.default_rng(seed) for name in data}
    optimizers = {name: Adam(bank.view(name), lr[name] if isinstance(lr, Mapping) else lr) for name in data}
    results = {name: FitResult() for name in data}
    bar = Progress(steps, "side by side") if progress else None
    for step in range(steps):
        batches = {name: stream.sample(rngs[name], batch_size) for name, stream in streams.items()}
        losses, grads = loss_and_grads_side_by_side(bank, batches, rngs)
        for name in data:
            norm = clip_grad_norm(grads[name], math.inf if clip is None else clip)
            if not (math.isfinite(losses[name]) and math.isfinite(norm)):
                raise NonFiniteLossError(
                    f"step {step}, adapter {name!r}: the loss is {losses[name]} and the gradients' norm {norm}. "
                    "Try a lower learning rate, or a lower clip"
                )
        for name in data:
            optimizers[name].step(grads[name])
            results[name].losses.append(losses[name])
        if bar:
            bar.update(step + 1, "  ".join(f"{name} {loss:.3f}" for name, loss in losses.items()))
    return results


def loss_and_grads_side_by_side(
    bank: AdapterBank, batches: Mapping[str, Batch], rngs: Mapping[str, np.random.Generator] | None = None
) -> tuple[dict[str, float], dict[str, Gradients]]:
    """Loss and gradients by adapter, each as `loss_and_grads(bank.view(name), *batches[name])` would give them.

    batches  adapter's name -> tokens, targets (B, T) and weights, of one shape for all
    rngs     adapter's name -> generator, which turns dropout on
    LoraError if an adapter has children, for then it is frozen; ValueError for unequal or wrong shapes.
    """
    if frozen := [name for name in batches if bank.children(name)]:
        raise LoraError(f"{frozen[0]!r} has children that were trained on top of it: add a child of its own to train")
    checked = {name: checked_batch(*batch, bank.base.vocab_size) for name, batch in batches.items()}
    tokens, targets, weights = (list(arrays) for arrays in zip(*checked.values(), strict=True))
    if len({t.shape for t in tokens}) != 1:
        raise ValueError(f"the streams' batches have shapes {[t.shape for t in tokens]}: give all of them one (B, T)")
    weights = [w / w.sum() for w in weights]
    shared = all(np.array_equal(t, tokens[0]) for t in tokens) and not _adapts_embeddings(bank, batches)
    (B, T), C, xp = tokens[0].shape, bank.base.width, bank.base.xp
    seeds = {name: piece_seeds(rng, B, T, C) for name, rng in (rngs or {}).items()}
    models: dict[int, GPT] = {}  # by the number of rows in a piece: the last may be shorter
    losses, grads = np.zeros(len(batches)), Gradients()
    for i, rows in enumerate(pieces_for(B, T, C, xp)):
        n = rows.stop - rows.start
        if n not in models:
            models[n] = bank.mixed([name for name in batches for _ in range(n)], trained=list(batches))
            models[n] = fan_out(models[n], len(batches)) if shared else models[n]
        losses += _piece(
            models[n],
            tokens[0][rows] if shared else np.concatenate([t[rows] for t in tokens]),
            np.concatenate([t[rows] for t in targets]),
            np.concatenate([w[rows] for w in weights]),
            {name: xp.random.default_rng(seed[i]) for name, seed in seeds.items()} or None,
            grads,
            len(batches),
        )
    by_adapter = {name: {n: g for n, g in grads.items() if f".adapters.{name}." in n} for name in batches}
    return dict(zip(batches, losses.tolist(), strict=True)), by_adapter


def _piece(model: GPT, tokens: Array, targets: Array, weights: Array, rng: Any, grads: Gradients, k: int) -> np.ndarray:
    """Forward, loss and backward of the same number of rows from each of k streams, one stream after the other.

    Adds to `grads`; returns each stream's sum(weights * NLL), (k,).
    """
    logits, cache = model.forward(tokens, rng)
    xp, V = array_module(logits), logits.shape[-1]
    weights = xp.asarray(weights.reshape(-1), dtype=logits.dtype)
    targets = xp.asarray(targets.reshape(-1))
    nll, P = ops.cross_entropy(logits.reshape(-1, V), targets)
    model.backward(ops.cross_entropy_dlogits(P, targets, weights).reshape(logits.shape), cache, grads)
    return to_host((weights * nll).reshape(k, -1).sum(axis=1)).astype(np.float64)


def _adapts_embeddings(bank: AdapterBank, names: Iterable[str]) -> bool:
    """Whether any of these adapters or their ancestors makes inputs differ from the very first layer on."""
    used = {ancestor for name in names for ancestor in bank.lineage(name)}
    return any(path in ("wte", "wpe") for name in used for path in bank.adapter(name).paths)


def fan_out(model: GPT, copies: int) -> GPT:
    """A view of `bank.mixed` for `copies` equal streams: it is given one of them, and goes on with all of them where
    the adapters begin to differ."""
    lowest = next(i for i, block in enumerate(model.blocks) if _is_routed(block))
    attn = model.blocks[lowest].attn
    plain = {}
    for name in ("q_proj", "k_proj", "v_proj"):  # their inputs are equal still
        layer = getattr(attn, name)
        if isinstance(layer, RoutedLinear):
            layer.copies = copies
        else:
            plain[f"blocks.{lowest}.attn.{name}"] = RoutedLinear(layer, copies)
    model = graft(model, plain) if plain else model
    return graft(model, {f"blocks.{lowest}": FanOut(model.blocks[lowest], copies)})


def _is_routed(block: Module) -> bool:
    return any(isinstance(module, RoutedLayer) for _, module in block.named_modules())
