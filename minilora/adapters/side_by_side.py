"""Training several adapters at once: k adapters on k streams of data, over one frozen base.

What they share, and how that affects the results:

- Every frozen product, x W0^T in the forward and dy W0 in the backward pass, is one product over the rows of all
  streams, so W0 is read once instead of k times. Each row is the same sum of the same terms, but a BLAS may split a
  larger matrix into different blocks and add the terms in a different order: equal to rounding.
- If the streams are equal (the same data with several ranks, seeds or learning rates), the adapters' inputs are equal
  too, up to the first branch. All blocks below the lowest adapted one, and the frozen products of q, k and v in that
  block if their inputs are still equal, are computed for one copy only. They are the same products as in training each
  alone, equal bit for bit.
- The thin products with A and B, the gradients, clipping and Adam are separate for each adapter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from minilora import ops
from minilora.adapters.bank import AdapterBank
from minilora.adapters.routing import ComputedOnce, FanOut, Generators, RoutedLayer, RoutedLinear
from minilora.lora import LoraError
from minilora.machine.backend import Array, to_host
from minilora.machine.pieces import piece_seeds, pieces_for
from minilora.machine.progress import Progress
from minilora.machine.watch import Watch
from minilora.nn import Decoder, Gradients, Module, check_type, whole_number
from minilora.optim import Adam, clip_grad_norm
from minilora.text import Batch, Data
from minilora.train import FitResult, as_data, batch_loss, check_counts, checked_batch


def fit_side_by_side(
    bank: AdapterBank,
    data: Mapping[str, Data | Array],
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
    lr    one learning rate for all, or one per name

    To rounding, each ends where `fit(bank.view(name), data[name], steps=..., lr=..., batch_size=..., clip=...,
    seed=...)` would have taken it, dropout included. ValueError if the streams' batches differ in shape.
    NonFiniteLossError names the adapter and puts its last good weights back, as in `fit`.
    """
    check_counts(steps=steps, batch_size=batch_size)
    check_type("bank", bank, AdapterBank, "give an AdapterBank with the adapters")
    check_type("data", data, Mapping, "give adapter's name -> what it learns from")
    if missing := [name for name in data if isinstance(lr, Mapping) and name not in lr]:
        raise ValueError(f"lr lacks {missing[0]!r}: give every adapter in `data` a learning rate, or one for all")
    streams = {name: as_data(stream, bank.base) for name, stream in data.items()}
    rngs = {name: np.random.default_rng(whole_number("seed", seed, 0)) for name in data}
    optimizers = {name: Adam(bank.view(name), lr[name] if isinstance(lr, Mapping) else lr) for name in data}
    results = {name: FitResult() for name in data}
    watches = {}
    for name in data:
        trained = {p.name: p.data for p in bank.view(name).parameters if p.trainable}
        watches[name] = Watch(trained, results[name].losses, np, f", adapter {name!r}")
    bar = Progress(steps, "side by side", shown=progress)
    for step in range(steps):
        batches = {name: stream.sample(rngs[name], batch_size) for name, stream in streams.items()}
        losses, grads = loss_and_grads_side_by_side(bank, batches, rngs)
        for name, watch in watches.items():
            watch.step(losses[name], float(clip_grad_norm(grads[name], math.inf if clip is None else clip)))
        for name in data:
            optimizers[name].step(grads[name])
        bar.update(step + 1, "  ".join(f"{name} {loss:.3f}" for name, loss in losses.items()))
    if steps:
        for name, watch in watches.items():
            watch.after_update(batch_loss(bank.view(name), batches[name]))
    return results


def loss_and_grads_side_by_side(
    bank: AdapterBank, batches: Mapping[str, Batch], rngs: Mapping[str, np.random.Generator] | None = None
) -> tuple[dict[str, float], dict[str, Gradients]]:
    """Loss and gradients by adapter, each as `loss_and_grads(bank.view(name), *batches[name])` would return them.

    batches  adapter's name -> tokens, targets (B, T) and weights, all of one shape
    rngs     adapter's name -> generator; turns dropout on
    LoraError if an adapter has children, which freeze it; ValueError for unequal or wrong shapes.
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
    models: dict[int, Decoder] = {}  # by the number of rows in a piece: the last may be shorter
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
            Generators({name: xp.random.default_rng(seed[i]) for name, seed in seeds.items()}) or None,
            grads,
            len(batches),
        )
    by_adapter = {name: {n: g for n, g in grads.items() if f".adapters.{name}." in n} for name in batches}
    return dict(zip(batches, losses.tolist(), strict=True)), by_adapter


def _piece(
    model: Decoder, tokens: Array, targets: Array, weights: Array, rng: Any, grads: Gradients, k: int
) -> np.ndarray:
    """Forward, loss and backward for the same number of rows from each of k streams, one stream after the other.

    Adds to `grads`; returns each stream's sum(weights * NLL), (k,).
    """
    logits, cache = model.forward(tokens, rng)
    y, w = model.xp.asarray(targets.reshape(-1)), model.xp.asarray(weights.reshape(-1), dtype=logits.dtype)
    nll, P = ops.cross_entropy(logits.reshape(len(y), -1), y)
    model.backward(ops.cross_entropy_dlogits(P, y, w).reshape(logits.shape), cache, grads)
    return to_host((w * nll).reshape(k, -1).sum(axis=1)).astype(np.float64)


def _adapts_embeddings(bank: AdapterBank, names: Iterable[str]) -> bool:
    """Whether any of these adapters or their ancestors changes the embeddings, so that no layer has equal inputs."""
    used = {ancestor for name in names for ancestor in bank.lineage(name)}
    return any(path in ("wte", "wpe") for name in used for path in bank.adapter(name).paths)


def fan_out(model: Decoder, copies: int) -> Decoder:
    """Make a model of `bank.mixed` take one of `copies` equal streams and repeat it where the adapters begin to differ:
    in the lowest block with a branch, after the frozen products of q, k and v."""
    lowest = next(i for i, block in enumerate(model.blocks) if _is_routed(block))
    layers: dict[str, Module] = {}
    modules = dict(model.named_modules())
    for name in ("q_proj", "k_proj", "v_proj"):  # their inputs are still equal
        layer = modules[path := f"blocks.{lowest}.attn.{name}"]
        if isinstance(layer, RoutedLinear):
            layer.base = ComputedOnce(layer.base, copies)
        else:
            layers[path] = ComputedOnce(layer, copies)
    model.replace({**layers, f"blocks.{lowest}": FanOut(model.blocks[lowest], copies)})
    return model


def _is_routed(block: Module) -> bool:
    return any(isinstance(module, RoutedLayer) for _, module in block.named_modules())
