"""The training loop: loss and gradients of a batch, `fit`, `evaluate`.

The objective is the paper's eq. 1 and 2: maximize sum log p(y_t | x, y_<t) over the tokens of the answer y.
Weights say which targets count; weight 0 on the prompt x makes the objective conditional.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from minilora import ops
from minilora.files.training import load_training, save_training
from minilora.lora import LoraError, is_merged
from minilora.machine.backend import Array, Scalar, array_module, number, on_host, to_host
from minilora.machine.blas import keep_freed_memory
from minilora.machine.pieces import piece_seeds, piece_slices, share_out
from minilora.machine.processes import all_reduce, process_share
from minilora.machine.progress import Progress
from minilora.nn import Gradients, Parameter
from minilora.optim import Adam, clip_grad_norm
from minilora.text import TextData
from minilora.transformer import GPT


class NonFiniteLossError(RuntimeError):
    """The loss or a gradient became infinite or NaN; the model holds the last good weights."""


def loss_and_grads(
    model: GPT,
    tokens: Array,
    targets: Array,
    weights: Array | None = None,
    workers: int = 1,
    rng: np.random.Generator | None = None,
    comm: Any = None,
) -> tuple[Scalar, Gradients]:
    """The loss sum(w * NLL) / sum(w), in nats, and the gradient of every trainable parameter by name.

    tokens, targets (B, T) int; weights (B, T) or None for all ones; all on the host. `rng` turns dropout on.
    The rows are cut into pieces, small enough that their activations stay near a core's own cache, and `workers`
    threads share them out; W0 is read by all and nothing is written but each worker's own gradients.
    Equal inputs and an equal number of workers give equal bits; another number agrees to rounding.
    `comm` is an MPI communicator whose processes all make this call with equal arguments: they share the pieces out
    too, and each gets the sums over all (see `data_parallel`).
    For a model on a GPU the batch is one piece, its tokens, targets and weights are all that goes there and nothing
    comes back: the loss is an array without axes, and `float(loss)` waits for it.
    LoraError while a LoRA is merged; ValueError for wrong shapes, weights without a sum, or nothing to train.
    """
    tokens, targets, weights = checked_batch(tokens, targets, weights, model.config.vocab_size)
    if is_merged(model):
        raise LoraError("the LoRA is merged into the weights: call unmerge(model) before you train")
    if not model.trainable:
        raise ValueError("no parameter trains: call model.unfreeze() or add_lora(model, config) first")
    total = float(weights.sum())
    pieces = pieces_for(model, *tokens.shape)
    keep_freed_memory()
    seeds = None if rng is None else piece_seeds(rng, len(tokens), tokens.shape[1], model.config.n_embd)

    random = array_module(model.wte.weight.data).random

    def work(share: range) -> tuple[Scalar, Gradients]:
        loss, grads = 0.0, Gradients()
        for i in share:
            piece_rng = None if seeds is None else random.default_rng(seeds[i])
            rows = pieces[i]
            loss += _piece(model, tokens[rows], targets[rows], weights[rows] / total, grads, piece_rng)
        return loss, grads

    mine = range(len(pieces)) if comm is None else process_share(len(pieces), comm)
    (loss, grads), *others = share_out(mine, workers, work)
    for other_loss, other_grads in others:
        loss += other_loss
        for name, g in other_grads.items():
            grads[name] += g
    return (loss, grads) if comm is None else all_reduce(comm, model, loss, grads)


def pieces_for(model: GPT, B: int, T: int) -> list[slice]:
    """`piece_slices`; on a device the whole batch, since few rows leave it idle and its caches are no core's."""
    return piece_slices(B, T, model.config.n_embd) if on_host(model.wte.weight.data) else [slice(0, B)]


def _piece(model: GPT, tokens, targets, weights, grads: Gradients, rng) -> Scalar:
    """Forward, loss and backward of some rows; adds to `grads` and returns sum(weights * NLL)."""
    logits, cache = model.forward(tokens, rng)
    xp = array_module(logits)
    B, T, V = logits.shape
    weights = xp.asarray(weights.reshape(-1), dtype=logits.dtype)
    targets = xp.asarray(targets.reshape(-1))
    nll, P = ops.cross_entropy(logits.reshape(B * T, V), targets)
    model.backward(ops.cross_entropy_dlogits(P, targets, weights).reshape(B, T, V), cache, grads)
    return number(weights @ nll)


def checked_batch(tokens, targets, weights, vocab_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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


def evaluate(model: GPT, data: Any, *, batch_size: int = 16, max_batches: int | None = None, workers: int = 1) -> float:
    """The loss over `data`, sum(w * NLL) / sum(w) in nats per token, without dropout.

    data: anything with `batches(batch_size)` such as `TextData`, or a 1-D array of tokens.
    `max_batches` stops after so many, for a quick estimate.  ValueError if there is nothing to evaluate.
    """
    total = weight_sum = 0.0
    keep_freed_memory()
    for batch in islice(as_data(data, model).batches(batch_size), max_batches):
        tokens, targets, weights = checked_batch(batch.tokens, batch.targets, batch.weights, model.config.vocab_size)
        pieces = pieces_for(model, *tokens.shape)

        def work(share: range, tokens=tokens, targets=targets, weights=weights, pieces=pieces) -> Scalar:
            return sum(_weighted_nll(model, tokens[pieces[i]], targets[pieces[i]], weights[pieces[i]]) for i in share)

        total += sum(share_out(range(len(pieces)), workers, work))
        weight_sum += float(weights.sum())
    if not weight_sum:
        raise ValueError("there is no batch to evaluate: give data that is not empty, and max_batches of at least 1")
    return float(total / weight_sum)


def _weighted_nll(model: GPT, tokens, targets, weights) -> Scalar:
    """sum(weights * NLL) of some rows."""
    logits = model(tokens)
    xp = array_module(logits)
    nll, _ = ops.cross_entropy(logits.reshape(-1, logits.shape[-1]), xp.asarray(targets.reshape(-1)))
    return number(xp.asarray(weights.reshape(-1)) @ nll)


def as_data(data: Any, model: GPT) -> Any:
    """A 1-D array of tokens becomes `TextData`; a data set stays what it is."""
    return data if hasattr(data, "batches") else TextData(data, model.max_tokens)


@dataclass
class FitResult:
    """What a run leaves behind: `losses[i]` is step i's training loss, `val_losses` holds (step, loss) pairs,
    both in nats per token; `best_step` is the step whose weights the validation set liked best."""

    losses: list[float] = field(default_factory=list)
    val_losses: list[tuple[int, float]] = field(default_factory=list)
    best_step: int | None = None
    stopped_early: bool = False
    seconds: float = 0.0


class _Watch:
    """Sees to it that losses and gradients stay finite, and keeps the weights of the last step where they were.

    On the host each step is looked at before its update. On a device a look would wait for the step, so numbers
    gather there until somebody wants them: whether a step is good, and which weights to keep, the device decides.
    """

    def __init__(self, trainable: dict[str, Parameter], losses: list[float]) -> None:
        self.trainable, self.losses = trainable, losses  # `losses` gets those that have been looked at
        self.unseen: list[tuple[Scalar, Scalar]] = []
        self.last_good: dict[str, Array] = {}
        self.good: Any = True  # so far, all steps

    def step(self, loss: Scalar, norm: Scalar) -> None:
        """Note a step's loss and its gradients' norm, before the update."""
        self.unseen.append((loss, norm))
        if isinstance(loss, float):
            self.look()
            self.last_good = {name: p.data.copy() for name, p in self.trainable.items()}
            return
        xp = array_module(loss)
        self.good = xp.isfinite(loss) & xp.isfinite(norm) & self.good
        for name, parameter in self.trainable.items():
            if name not in self.last_good:
                self.last_good[name] = parameter.data.copy()
            xp.copyto(self.last_good[name], parameter.data, where=self.good)

    def look(self) -> None:
        """Bring the numbers to the host.  NonFiniteLossError names the first bad step, its weights are taken back."""
        if not self.unseen:
            return
        numbers, self.unseen = _fetched(self.unseen), []
        for loss, norm in numbers:
            if not (math.isfinite(loss) and math.isfinite(norm)):
                for name, array in self.last_good.items():
                    self.trainable[name].data[...] = array
                raise NonFiniteLossError(
                    f"step {len(self.losses)}: the loss is {loss} and the gradients' norm {norm}. The model holds the "
                    "weights of the last step where both were finite. Try a lower learning rate, or a lower clip"
                )
            self.losses.append(loss)


def _fetched(pairs: list[tuple[Scalar, Scalar]]) -> list[tuple[float, float]]:
    """Pairs of numbers, on the host: from a device in one transfer."""
    first = pairs[0][0]
    if isinstance(first, float):
        return pairs
    xp = array_module(first)
    together = to_host(xp.stack([xp.asarray(x) for pair in pairs for x in pair])).tolist()
    return list(zip(together[::2], together[1::2], strict=True))


def fit(
    model: GPT,
    data: Any,
    *,
    steps: int,
    lr: float | Callable[[int], float] = 1e-3,
    batch_size: int = 16,
    weight_decay: float = 0.0,
    clip: float | None = 1.0,
    validation: Any = None,
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
    comm: Any = None,
) -> FitResult:
    """Train the model's trainable parameters with Adam for `steps` steps, in place.

    data        `TextData`, anything with its `sample` and `batches`, or a 1-D array of tokens
    lr          a learning rate, or a function from the step (0, 1, ...) to one, such as `warmup_cosine`
    clip        the greatest global norm of the gradients, or None
    validation  evaluated before the first step, every `eval_every` steps and after the last
    patience    stop when so many evaluations in a row bring nothing better, and put the best weights back
    checkpoint  a file that is written every `checkpoint_every` steps and at the end; with `resume=True` the run
                continues from it, bit for bit as if it had never stopped
    comm        an MPI communicator: its processes share every batch out, and the first of them reports and writes

    NonFiniteLossError names the step and leaves the last good weights in the model. On a GPU it comes when the losses
    are next looked at, which makes the host wait: for the progress line, a validation or a checkpoint, every
    `checkpoint_every` steps at least; step and weights are the same. FileExistsError if there is a checkpoint and
    `resume` does not say what to do with it.
    """
    data = as_data(data, model)
    leads = comm is None or comm.rank == 0
    optimizer = Adam(model, weight_decay=weight_decay)
    rng = np.random.default_rng(seed)
    result = FitResult()
    trainable = {name: p for name, p in model.named_parameters().items() if p.trainable}
    best: dict[str, Array] = {}
    if checkpoint is not None and Path(checkpoint).exists():
        if not resume:
            raise FileExistsError(f"{checkpoint} exists: pass resume=True to continue it, or remove it")
        record, best = load_training(checkpoint, model, optimizer)
        result = FitResult(**record["result"])
        result.val_losses = [(step, loss) for step, loss in result.val_losses]  # JSON made lists of the pairs
        rng.bit_generator.state = record["rng"]

    watch = _Watch(trainable, result.losses)

    def save() -> None:
        watch.look()
        if checkpoint is not None and leads:
            record = {"result": asdict(result), "rng": rng.bit_generator.state}
            save_training(checkpoint, model, optimizer, record, best)

    def validate(step: int) -> bool:
        """Note the validation loss at `step`; whether it has failed to improve for `patience` evaluations."""
        watch.look()
        loss = evaluate(model, validation, batch_size=batch_size, max_batches=eval_batches, workers=workers)
        if patience is not None and all(loss < other for _, other in result.val_losses):
            result.best_step = step
            best.update({name: p.data.copy() for name, p in trainable.items()})
        result.val_losses.append((step, loss))
        return patience is not None and sum(at > (result.best_step or 0) for at, _ in result.val_losses) >= patience

    def note(tokens_per_second: float) -> str:
        watch.look()
        return f"loss {result.losses[-1]:.3f}  {tokens_per_second:,.0f} tokens/s"

    started, before = time.perf_counter(), result.seconds
    done = len(result.losses)
    if validation is not None and done == 0:
        validate(0)
    bar = Progress(steps, label) if progress and leads else None
    tokens_done = 0
    while done < steps and not result.stopped_early:
        batch = data.sample(rng, batch_size)
        loss, grads = loss_and_grads(model, batch.tokens, batch.targets, batch.weights, workers, rng, comm)
        watch.step(loss, clip_grad_norm(grads, math.inf if clip is None else clip))
        optimizer.lr = lr(done) if callable(lr) else lr
        optimizer.step(grads)
        done, tokens_done = done + 1, tokens_done + batch.tokens.size
        if done == steps:
            watch.look()
        elapsed = time.perf_counter() - started
        result.seconds = before + elapsed
        if bar:
            bar.update(done, partial(note, tokens_done / elapsed))
        if validation is not None and (done % eval_every == 0 or done == steps):
            result.stopped_early = validate(done)
        if done % checkpoint_every == 0 or done == steps or result.stopped_early:
            save()
    if bar:
        bar.close()
    if patience is not None:
        for name, array in best.items():
            trainable[name].data[...] = array
    return result
