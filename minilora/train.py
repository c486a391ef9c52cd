"""Training: the loss of a batch and its gradients, `evaluate`, and the loop, `fit`.

The objective is the paper's eq. 1 and 2: maximize sum log p(y_t | x, y_<t) over the tokens of the answer y.
Weights decide which targets count; weight 0 on the prompt x makes the objective conditional.

How a batch is shared out to threads, processes or a GPU is in `machine.pieces`, how a run that diverges is caught in
`machine.watch`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import cast

import numpy as np

from minilora import ops
from minilora.files.training import load_training, save_training
from minilora.lora import LoraError, is_merged
from minilora.machine.backend import Array, Scalar, number
from minilora.machine.pieces import sum_over_pieces
from minilora.machine.processes import Comm
from minilora.machine.progress import Progress
from minilora.machine.watch import NonFiniteLossError, Watch
from minilora.nn import Decoder, Gradients, Rng
from minilora.optim import Adam, clip_grad_norm
from minilora.text import Data, TextData

__all__ = ["FitResult", "NonFiniteLossError", "evaluate", "fit", "loss_and_grads"]


def loss_and_grads(
    model: Decoder,
    tokens: Array,
    targets: Array,
    weights: Array | None = None,
    workers: int = 1,
    rng: np.random.Generator | None = None,
    comm: Comm | None = None,
) -> tuple[Scalar, Gradients]:
    """The loss sum(w * NLL) / sum(w), in nats, and the gradient of every trainable parameter by name.

    tokens   (B, T) int, as targets; both and the weights on the host
    weights  (B, T), or None for all ones; a target of weight 0 gets no logits
    workers  threads; equal inputs and an equal number of workers give equal bits, a different number agrees to rounding
    rng      turns dropout on
    comm     an MPI communicator whose processes all make this call with equal arguments; each gets the result

    With a model on a GPU, only tokens, targets and weights are copied there and nothing comes back: the loss is an
    array without axes, and `float(loss)` waits for it.
    LoraError while a LoRA is merged; ValueError for wrong shapes, weights that sum to 0, or nothing to train.
    """
    tokens, targets, weights = checked_batch(tokens, targets, weights, model.vocab_size)
    if is_merged(model):
        raise LoraError("the LoRA is merged into the weights: call unmerge(model) before you train")
    trained = {p.name: p.data for p in model.parameters if p.trainable}
    if not trained:
        raise ValueError("no parameter trains: call model.unfreeze() or add_lora(model, config) first")
    weights = (weights / weights.sum()).astype(model.dtype)

    def piece(rows: slice, rng: Rng, grads: Gradients) -> Scalar:
        """The part of some rows in the loss, sum(w * NLL); their part in each gradient is added to `grads`."""
        positions, y, w = _counted(targets[rows], weights[rows], model.xp)
        logits, cache = model.forward(tokens[rows], rng, positions=positions)
        shape, logits = logits.shape, logits.reshape(-1, model.vocab_size)
        nll, P = ops.cross_entropy(logits, y)
        del logits  # with a vocabulary of 50,000, one of the two largest arrays of a step; the other is P
        model.backward(ops.cross_entropy_dlogits(P, y, w).reshape(shape), cache, grads)
        return number(w @ nll)

    return sum_over_pieces(piece, trained, (*tokens.shape, model.width), model.xp, workers, rng, comm)


def checked_batch(
    tokens: Array, targets: Array, weights: Array | None, vocab_size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """tokens, targets and weights as (B, T) arrays, the weights in float64.  ValueError if they make no sense."""
    tokens, targets = np.asarray(tokens), np.asarray(targets)
    weights = np.ones(tokens.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    if tokens.ndim != 2 or targets.shape != tokens.shape or weights.shape != tokens.shape or not tokens.size:
        raise ValueError(
            f"tokens {tokens.shape}, targets {targets.shape} and weights {weights.shape} must all be the same (B, T)"
        )
    if targets.dtype.kind not in "iu" or not 0 <= targets.min() <= targets.max() < vocab_size:
        raise ValueError(
            f"targets must be whole numbers from 0 to {vocab_size - 1}: to leave a target out, set its weight to 0"
        )
    total = weights.sum()
    if not (np.isfinite(total) and total > 0):
        raise ValueError(f"the weights sum to {total}: at least one target must count")
    return tokens, targets, weights


def evaluate(
    model: Decoder, data: Data | Array, *, batch_size: int = 16, max_batches: int | None = None, workers: int = 1
) -> float:
    """The loss over `data`, sum(w * NLL) / sum(w) in nats per token, without dropout.

    data         anything with `batches(batch_size)`, such as `TextData`, or a 1-D array of tokens
    max_batches  how many batches to evaluate, for a quick estimate; None for all
    ValueError if there is nothing to evaluate.
    """
    batches = islice(as_data(data, model).batches(batch_size), max_batches)
    sums = [_weighted_nll(model, b.tokens, b.targets, b.weights, workers) for b in batches]
    if not sums:
        raise ValueError("there is no batch to evaluate: give data that is not empty, and max_batches of at least 1")
    total, weight = map(sum, zip(*sums, strict=True))
    return float(total / weight)


def _weighted_nll(
    model: Decoder, tokens: Array, targets: Array, weights: Array | None, workers: int
) -> tuple[Scalar, float]:
    """sum(w * NLL) of a batch, and sum(w)."""
    tokens, targets, weights = checked_batch(tokens, targets, weights, model.vocab_size)

    def piece(rows: slice, rng: Rng, grads: Gradients) -> Scalar:
        positions, y, w = _counted(targets[rows], weights[rows], model.xp)
        logits, _ = model.forward(tokens[rows], keep=False, positions=positions)
        return number(w @ ops.cross_entropy(logits.reshape(-1, model.vocab_size), y)[0])

    total, _ = sum_over_pieces(piece, {}, (*tokens.shape, model.width), model.xp, workers)
    return total, float(weights.sum())


def _counted(targets: np.ndarray, weights: np.ndarray, xp: ModuleType) -> tuple[Array | None, Array, Array]:
    """Where the weight is not 0: positions (n,) in the (B, T) grid laid flat, or None for all of them; targets and
    weights there (n,). In the arrays of `xp`, positions and targets moved as one."""
    positions, y, w = np.flatnonzero(weights), targets.reshape(-1), weights.reshape(-1)
    if len(positions) == len(w):
        return None, xp.asarray(y), xp.asarray(w)
    at, y = xp.asarray(np.stack([positions, y[positions]]))
    return at, y, xp.asarray(w[positions])


def as_data(data: Data | Array, model: Decoder) -> Data:
    """A 1-D array of tokens as `TextData`; a data set as it is."""
    return cast(Data, data) if hasattr(data, "batches") else TextData(data, model.max_tokens)


@dataclass
class FitResult:
    """The history of a run. Losses are in nats per token.

    losses      the training loss of each step
    val_losses  (step, loss) pairs
    best_step   with `patience`, the step whose weights had the lowest validation loss
    seconds     how long the run took, all its parts together if it was resumed
    """

    losses: list[float] = field(default_factory=list)
    val_losses: list[tuple[int, float]] = field(default_factory=list)
    best_step: int | None = None
    stopped_early: bool = False
    seconds: float = 0.0

    def note_validation(self, step: int, loss: float, patience: int | None) -> bool:
        """Add a validation loss; whether it is the lowest. Sets `stopped_early` once `patience` others were not."""
        lowest = patience is not None and all(loss < other for _, other in self.val_losses)
        self.best_step = step if lowest else self.best_step
        self.val_losses.append((step, loss))
        since_best = sum(at > (self.best_step or 0) for at, _ in self.val_losses)
        self.stopped_early = patience is not None and since_best >= patience
        return lowest


def fit(
    model: Decoder,
    data: Data | Array,
    *,
    steps: int,
    lr: float | Callable[[int], float] = 1e-3,
    batch_size: int = 16,
    weight_decay: float = 0.0,
    clip: float | None = 1.0,
    validation: Data | Array | None = None,
    eval_every: int = 100,
    eval_batches: int | None = None,
    patience: int | None = None,
    seed: int = 0,
    workers: int = 1,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 100,
    resume: bool = False,
    progress: bool = True,
    label: str = "step",
    comm: Comm | None = None,
) -> FitResult:
    """Train the model's trainable parameters with Adam for `steps` steps, in place.

    data        `TextData`, anything with its `sample` and `batches`, or a 1-D array of tokens
    lr          a learning rate, or a function from the step (0, 1, ...) to one, such as `warmup_cosine`
    clip        the largest allowed global norm of the gradients, or None
    validation  data to evaluate before the first step, every `eval_every` steps and after the last
    patience    stop after this many evaluations in a row without a new best, and put the best weights back
    checkpoint  a file that is written every `checkpoint_every` steps and at the end; with `resume=True` the run
                continues from it, bit for bit as if it had never stopped
    comm        an MPI communicator: its processes share every batch, and the first of them reports and writes

    NonFiniteLossError names the step and leaves the last good weights in the model. On a GPU it comes when the losses
    are next looked at, since that makes the host wait: for the progress line, a validation or a checkpoint, and at
    least every `checkpoint_every` steps; step and weights are the same. FileExistsError if there is a checkpoint and
    `resume` is False.
    """
    data, rng, optimizer = as_data(data, model), np.random.default_rng(seed), Adam(model, weight_decay=weight_decay)
    result, best = _begin(checkpoint, resume, model, optimizer, rng)
    trained = {p.name: p.data for p in model.parameters if p.trainable}
    watch = Watch(trained, result.losses, model.xp)
    leads = comm is None or comm.rank == 0
    bar = Progress(steps, label, shown=progress and leads)
    first, tokens_seen, started, before = len(result.losses), 0, time.perf_counter(), result.seconds
    for done in range(first, steps + 1):
        fresh = not result.val_losses or result.val_losses[-1][0] < done
        if validation is not None and fresh and (done % eval_every == 0 or done == steps):
            watch.look()
            val_loss = evaluate(model, validation, batch_size=batch_size, max_batches=eval_batches, workers=workers)
            if result.note_validation(done, val_loss, patience):
                best = {name: w.copy() for name, w in trained.items()}
        ends = done == steps or result.stopped_early
        if done > first and (done % checkpoint_every == 0 or ends):
            watch.look()
            if checkpoint is not None and leads:
                record = {"result": asdict(result), "rng": rng.bit_generator.state}
                save_training(checkpoint, model, optimizer, record, best)
        if ends:
            break
        batch = data.sample(rng, batch_size)
        loss, grads = loss_and_grads(model, batch.tokens, batch.targets, batch.weights, workers, rng, comm)
        watch.step(loss, clip_grad_norm(grads, math.inf if clip is None else clip))
        optimizer.lr = lr(done) if callable(lr) else lr
        optimizer.step(grads)
        tokens_seen += batch.tokens.size
        elapsed = time.perf_counter() - started
        result.seconds = before + elapsed
        bar.update(done + 1, partial(_progress_note, watch, tokens_seen / elapsed))
    bar.close()
    if patience is not None:
        for name, w in best.items():
            trained[name][...] = w
    return result


def _progress_note(watch: Watch, tokens_per_second: float) -> str:
    return f"loss {watch.latest():.3f}  {tokens_per_second:,.0f} tokens/s"


def _begin(
    checkpoint: str | Path | None, resume: bool, model: Decoder, optimizer: Adam, rng: np.random.Generator
) -> tuple[FitResult, dict[str, Array]]:
    """History and best weights of a run: empty, or a checkpoint's with model, optimizer and `rng` as they were then."""
    if checkpoint is None or not Path(checkpoint).exists():
        return FitResult(), {}
    if not resume:
        raise FileExistsError(f"{checkpoint} exists: pass resume=True to continue it, or remove it")
    record, best = load_training(checkpoint, model, optimizer)
    rng.bit_generator.state = record["rng"]
    result = FitResult(**record["result"])
    result.val_losses = [(step, loss) for step, loss in result.val_losses]  # JSON made lists of the pairs
    return result, best
