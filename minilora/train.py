"""Training: the loss of a batch and its gradients, `evaluate`, and the loop, `fit`.

The objective is the paper's eq. 1 and 2: maximize sum log p(y_t | x, y_<t) over the tokens of the answer y.
Weights decide which targets count; weight 0 on the prompt x makes the objective conditional.

How a batch is shared out to threads, processes or a GPU is in `machine.pieces`, how a run that diverges is caught in
`machine.watch`.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np

from minilora import ops
from minilora.files.container import CheckpointError, as_path
from minilora.files.training import load_training, save_training
from minilora.lora import LoraError, is_merged
from minilora.machine.backend import Array, Scalar, number
from minilora.machine.pieces import sum_over_pieces
from minilora.machine.processes import Comm
from minilora.machine.progress import Progress
from minilora.machine.sums import slices_of_rows
from minilora.machine.watch import NonFiniteLossError, Watch
from minilora.nn import Decoder, Gradients, Rng, check_type, generator, whole_number
from minilora.optim import Adam, clip_grad_norm
from minilora.text import Batch, Data, TextData

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
    check_counts(workers=workers)
    check_type("rng", rng, (np.random.Generator, type(None)), "give np.random.default_rng(seed), or None")
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
        scores, nll = logits.reshape(-1, model.vocab_size), model.xp.empty_like(w)
        for part in slices_of_rows(scores):  # a step's largest array: its gradient is written over it
            nll[part], P = ops.cross_entropy(scores[part], y[part])
            scores[part] = ops.cross_entropy_dlogits(P, y[part], w[part])
        model.backward(scores.reshape(logits.shape), cache, grads)
        return number(w @ nll)

    return sum_over_pieces(piece, trained, (*tokens.shape, model.width), model.xp, workers, rng, comm)


def checked_batch(
    tokens: Array, targets: Array, weights: Array | None, vocab_size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """tokens, targets and weights as (B, T) arrays, the weights in float64.  ValueError if they make no sense."""
    tokens, targets = np.asarray(tokens), np.asarray(targets)
    weights = np.ones(tokens.shape) if weights is None else np.asarray(weights)
    if weights.size and weights.dtype.kind not in "fiub":
        raise ValueError(f"the weights are of type {weights.dtype}: give one number for each target, or None")
    weights = weights.astype(np.float64)
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
    check_counts(batch_size=batch_size, max_batches=max_batches, workers=workers)
    batches = islice(as_data(data, model).batches(batch_size), max_batches)
    total: Scalar = 0.0
    weight = 0.0
    for b in batches:  # not by sum(), which from Python 3.12 on adds floats, but not a GPU's numbers, with a correction
        batch_total, batch_weight = _weighted_nll(model, b.tokens, b.targets, b.weights, workers)
        total, weight = total + batch_total, weight + batch_weight
    if not weight:
        raise ValueError("there is no batch to evaluate: give data that is not empty, and max_batches of at least 1")
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


def fit(
    model: Decoder,
    data: Data | Array,
    *,
    steps: int,
    lr: float | Callable[[int], float] = 1e-3,
    batch_size: int = 16,
    weight_decay: float = 0.0,
    lr_factor: Mapping[str, float] | None = None,
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
    lr_factor   a parameter's name, or its ending, -> what `lr` is multiplied by there: see `Adam`
    clip        the largest allowed global norm of the gradients, or None
    validation  data to evaluate before the first step, every `eval_every` steps and after the last
    patience    stop after this many evaluations in a row without a new best, and put the best weights back
    checkpoint  a file that is written every `checkpoint_every` steps and at the end; with `resume=True` the run
                continues from it, bit for bit as if it had never stopped
    comm        an MPI communicator: its processes share every batch, and the first of them reports and writes

    NonFiniteLossError names the step and leaves the last good weights in the model; an update that was small against
    the weights stays, since it is not to blame (see `Watch`). Every `checkpoint_every` steps and at the end, before
    anything is written, the latest batch's loss is computed again, to see what the update did. On a GPU losses are
    looked at only then, for the progress line and for a validation, since that makes the host wait; the error's step
    and weights are the same.
    ValueError for a setting out of range. FileExistsError if there is a checkpoint and `resume` is False,
    FileNotFoundError if there is none and it is True, CheckpointError if it is from a run with a different seed, batch
    size, weight decay, `lr_factor` or data.
    """
    check_counts(steps=steps, batch_size=batch_size, eval_every=eval_every, checkpoint_every=checkpoint_every)
    check_counts(eval_batches=eval_batches, patience=patience, workers=workers)
    if patience is not None and validation is None:
        raise ValueError("patience counts evaluations: give validation data as well")
    data, rng = as_data(data, model), generator(seed)
    optimizer = Adam(model, 0.0 if callable(lr) else lr, weight_decay, lr_factor=lr_factor)
    writes, settings = comm is None or comm.rank == 0, _settings(seed, batch_size, optimizer)
    file = _RunFile(checkpoint, writes, settings, model, optimizer, rng)
    result, best = file.begin(resume, lambda rng: data.sample(rng, batch_size))
    trained = {p.name: p.data for p in model.parameters if p.trainable}
    watch, early = Watch(trained, result.losses, model.xp), _EarlyStopping(patience, result, trained, best)
    loss_on = partial(evaluate, model, batch_size=batch_size, max_batches=eval_batches, workers=workers)
    bar = Progress(steps, label, shown=progress and file.writes)
    started, before, done, tokens_seen = time.perf_counter(), result.seconds, len(result.losses), 0
    if validation is not None and not done:
        early.note(0, loss_on(validation))
    while done < steps and not result.stopped_early:
        drawn, batch = rng.bit_generator.state, data.sample(rng, batch_size)
        loss, grads = loss_and_grads(model, batch.tokens, batch.targets, batch.weights, workers, rng, comm)
        optimizer.lr = lr(done) if callable(lr) else lr
        watch.step(loss, clip_grad_norm(grads, math.inf if clip is None else clip), optimizer.reach(watch.size))
        optimizer.step(grads)
        done, tokens_seen, grads = done + 1, tokens_seen + batch.tokens.size, {}  # gone before the next step's
        result.seconds = before + time.perf_counter() - started
        bar.update(done, partial(_progress_note, watch, tokens_seen / (result.seconds - before)))
        if validation is not None and done % eval_every == 0:
            watch.look()
            early.note(done, loss_on(validation))
        if done % checkpoint_every == 0 or done == steps or result.stopped_early:
            watch.look()
            watch.after_update(batch_loss(model, batch, workers))
            file.save(result, early.best, drawn, batch)
    if validation is not None and done % eval_every:  # after the file, as a longer run would not evaluate here
        early.note(done, loss_on(validation))
    bar.close()
    early.restore()
    return result


def check_counts(**counts: int | None) -> None:
    """ValueError for a setting that is not a whole number of at least 1 (0 for `steps` and `max_batches`).  None is
    allowed where it has a meaning."""
    for name, value in counts.items():
        least = 0 if name in ("steps", "max_batches") else 1
        if value is None and name in ("eval_batches", "max_batches", "patience"):
            continue
        whole_number(name, value, least)


def batch_loss(model: Decoder, batch: Batch, workers: int = 1) -> float:
    """The loss of one batch, without dropout."""
    total, weight = _weighted_nll(model, batch.tokens, batch.targets, batch.weights, workers)
    return float(total / weight)


def _progress_note(watch: Watch, tokens_per_second: float) -> str:
    return f"loss {watch.latest():.3f}  {tokens_per_second:,.0f} tokens/s"


@dataclass
class _EarlyStopping:
    """Notes validation losses; with `patience`, keeps the best weights and ends a run that finds none better."""

    patience: int | None
    result: FitResult
    trained: dict[str, Array]
    best: dict[str, Array]

    def note(self, step: int, loss: float) -> None:
        result = self.result
        if self.patience is not None and all(loss < other for _, other in result.val_losses):
            result.best_step = step
            self.best = {name: w.copy() for name, w in self.trained.items()}
        result.val_losses.append((step, loss))
        since_best = sum(at > (result.best_step or 0) for at, _ in result.val_losses)
        result.stopped_early = self.patience is not None and since_best >= self.patience

    def restore(self) -> None:
        """Put the best weights back."""
        if self.patience is not None:
            for name, w in self.best.items():
                self.trained[name][...] = w


def _settings(seed: int | np.random.Generator, batch_size: int, optimizer: Adam) -> dict[str, str]:
    """What a run's file records, so that nobody resumes it with other settings."""
    settings = {"seed": str(seed), "batch_size": str(batch_size), "weight_decay": str(float(optimizer.weight_decay))}
    if optimizer.lr_factor:
        settings["lr_factor"] = str(sorted(optimizer.lr_factor.items()))
    return settings


@dataclass
class _RunFile:
    """The checkpoint of a run. Besides what `save_training` names it holds the run's settings and its latest batch, so
    that nobody resumes it with others."""

    path: str | Path | None
    writes: bool
    settings: dict[str, str]
    model: Decoder
    optimizer: Adam
    rng: np.random.Generator

    def begin(self, resume: bool, sample: Callable[[np.random.Generator], Batch]) -> tuple[FitResult, dict[str, Array]]:
        """An empty history and no best weights; or the file's, with model, optimizer and `rng` as they were then."""
        exists = self.path is not None and as_path(self.path).exists()
        if not resume and exists:
            raise FileExistsError(f"{self.path} exists: pass resume=True to continue it, or remove it")
        if not resume:
            return FitResult(), {}
        if self.path is None:
            raise ValueError("resume=True continues a file: pass its path as `checkpoint`")
        if not exists:
            raise FileNotFoundError(f"there is no {self.path} to resume: check the path, or pass resume=False to begin")
        record, best = load_training(self.path, self.model, self.optimizer, partial(self._check, sample))
        self.rng.bit_generator.state = record["rng"]
        result = FitResult(**record["result"])
        result.val_losses = [(step, loss) for step, loss in result.val_losses]  # JSON made lists of the pairs
        return result, best

    def _check(self, sample: Callable[[np.random.Generator], Batch], record: dict[str, Any]) -> None:
        """CheckpointError unless settings and data are those of the file.  Version 0.1.0 recorded neither."""
        found, none = record.get("settings", self.settings), "none"  # a run without factors does not name them
        names = dict.fromkeys([*self.settings, *found])
        pairs = {name: (found.get(name, none), self.settings.get(name, none)) for name in names}
        other = [f"{name}={theirs}, not {ours}" for name, (theirs, ours) in pairs.items() if theirs != ours]
        if not other and "batch" in record:
            rng = np.random.default_rng()
            rng.bit_generator.state = record["batch"]["rng"]
            other = ["different data"] if _digest(sample(rng)) != record["batch"]["sha256"] else []
        if other:
            raise CheckpointError(
                f"{self.path} is from a run with {', '.join(other)}: pass the same, or begin a new run with a new file"
            )

    def save(self, result: FitResult, best: dict[str, Array], drawn: Any, batch: Batch) -> None:
        """drawn: the state of `rng` from which `batch`, the latest, was drawn."""
        if self.path is not None and self.writes:
            record = {"result": asdict(result), "rng": self.rng.bit_generator.state, "settings": self.settings}
            record["batch"] = {"rng": drawn, "sha256": _digest(batch)}
            save_training(self.path, self.model, self.optimizer, record, best)


def _digest(batch: Batch) -> str:
    """SHA-256 of a batch, the same on every platform."""
    digest = hashlib.sha256(str(np.shape(batch.tokens)).encode())
    for array, dtype in ((batch.tokens, "<i8"), (batch.targets, "<i8"), (batch.weights, "<f8")):
        if array is not None:
            digest.update(np.ascontiguousarray(array, dtype).tobytes())
    return digest.hexdigest()
