"""How the shipped base was made: a byte-level GPT, pre-trained on English first and then on a mixture.

`minilora pretrain --out base.npz` makes it again, with its card beside it. Documentation alone gives a model that
writes English but cannot copy a name from its context, which adaptation of low rank does not add. The second stage
mixes documentation and docstrings with made-up records told twice (`records.py`).
"""

from __future__ import annotations

import math
import os
import platform
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from minilora.checkpoint import save_model
from minilora.optim import warmup_cosine
from minilora.records import Document, Generator, copied, documents
from minilora.text import Batch, ByteTokenizer, TextData, python_docs, python_docstrings, split
from minilora.train import FitResult, evaluate, fit
from minilora.transformer import GPT, GPTConfig

CONFIG = GPTConfig(vocab_size=256, block_size=320, n_layer=4, n_head=4, n_embd=128)
WEIGHT_DECAY = 0.1
WARMUP = 100  # steps
LAST = 1 / 20  # of the learning rate, at the end of the cosine
RECORD_BYTES = 3_000_000
READ_WEIGHT = 0.25  # of a byte of a record that is no copy, much of it noise by design; a copied byte has 1


@dataclass(frozen=True)
class Stage:
    """One run of `fit`: the share of each part of the corpus in a batch."""

    name: str
    shares: dict[str, float]
    steps: int
    batch_size: int
    lr: float


STAGES = (
    Stage("English", {"documentation": 1.0}, steps=4000, batch_size=8, lr=2e-3),
    Stage("echoes", {"documentation": 0.25, "echoes": 0.5, "records": 0.25}, steps=500, batch_size=12, lr=3e-3),
    Stage("mixture", {"documentation": 0.4, "docstrings": 0.2, "records": 0.4}, steps=2500, batch_size=12, lr=2e-3),
)


class RecordData:
    """Windows that begin with a document, cut from many; bytes that repeat a value weigh 1, the others `read_weight`.

    `sample` and `batches` as of `TextData`.
    """

    def __init__(self, found: list[Document], block_size: int, read_weight: float) -> None:
        texts = [ByteTokenizer().encode(document.text + "\n\n") for document in found]
        ends = np.cumsum([len(text) for text in texts])
        self.tokens = np.concatenate(texts)
        self.weights = np.full(len(self.tokens), read_weight, np.float32)
        starts = [0, *ends[:-1].tolist()]
        for start, document in zip(starts, found, strict=True):
            mask = copied(document)
            part = self.weights[start : start + len(mask)]
            np.copyto(part, 1, where=mask > 0)
        self.block_size = block_size
        self.starts = np.array([start for start in starts if start + block_size < len(self.tokens)])

    def sample(self, rng: np.random.Generator, batch_size: int) -> Batch:
        """`batch_size` windows, each from the start of a random document."""
        return self._windows(rng.choice(self.starts, batch_size))

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """All documents in order, but for those that a window's end cuts in two: the next begins behind them."""
        starts, end = [], 0
        for start in self.starts:
            if start >= end:
                starts.append(start)
                end = start + self.block_size
        for i in range(0, len(starts), batch_size):
            yield self._windows(np.array(starts[i : i + batch_size]))

    def _windows(self, starts: np.ndarray) -> Batch:
        index = starts[:, None] + np.arange(self.block_size + 1)
        tokens = self.tokens[index].astype(np.int64)
        return Batch(tokens[:, :-1], tokens[:, 1:], self.weights[index[:, 1:]])


class Mixture:
    """Batches of which each row comes from one of several data sets, drawn by their shares."""

    def __init__(self, parts: list[TextData | RecordData], shares: list[float]) -> None:
        self.parts, self.shares = parts, shares

    def sample(self, rng: np.random.Generator, batch_size: int) -> Batch:
        """`batch_size` rows; a data set without weights has 1 everywhere."""
        counts = rng.multinomial(batch_size, self.shares)
        drawn = [part.sample(rng, n) for part, n in zip(self.parts, counts, strict=True) if n]
        weights = [np.ones(b.tokens.shape, np.float32) if b.weights is None else b.weights for b in drawn]
        tokens, targets = (np.concatenate(arrays) for arrays in zip(*(b[:2] for b in drawn), strict=True))
        return Batch(tokens, targets, np.concatenate(weights))

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """The parts one after the other."""
        for part in self.parts:
            yield from part.batches(batch_size)


@dataclass(frozen=True)
class Corpus:
    """The parts of the general-domain corpus by name, and what is held out of each."""

    train: dict[str, TextData | RecordData]
    valid: dict[str, TextData | RecordData]


def corpus(seed: int) -> Corpus:
    """Documentation and docstrings, the last tenth of each held out, and records of two seeds."""
    T, encode = CONFIG.block_size, ByteTokenizer().encode
    docs, held_out = split(encode(python_docs()))
    words = sorted(set(re.findall(r"\b[a-z]{3,9}\b", ByteTokenizer().decode(docs))))
    strings = split(encode("\n\n".join(python_docstrings())))
    records = documents(Generator(seed, words).document, RECORD_BYTES)
    echoes = documents(Generator(seed, words).echoed, RECORD_BYTES // 4)
    unseen = documents(Generator(seed + 1, words).document, RECORD_BYTES // 50)
    return Corpus(
        train={
            "documentation": TextData(docs, T),
            "docstrings": TextData(strings[0], T),
            "records": RecordData(records, T, READ_WEIGHT),
            "echoes": RecordData(echoes, T, READ_WEIGHT),
        },
        valid={
            "documentation": TextData(held_out, T),
            "docstrings": TextData(strings[1], T),
            "records": RecordData(unseen, T, 1.0),
            "copied bytes of the records": RecordData(unseen, T, 0.0),
        },
    )


def pretrain(path: Path, *, steps: int | None = None, seed: int = 0, workers: int = 2, resume: bool = False) -> float:
    """Train CONFIG through STAGES, write the model to `path` (.npz) and its card beside it (.md).

    Returns the validation loss in nats per byte, on the last tenth of the documentation, unseen in training.
    `steps` cuts every stage short, for a trial. A checkpoint a stage, `path`.1.run and so on, every 250 steps, lets
    `resume` continue a run that was cut off.
    """
    parts = corpus(seed)
    model = GPT(CONFIG, seed)
    results, checkpoints = [], []
    for i, stage in enumerate(STAGES, 1):
        checkpoints.append(path.with_suffix(f".{i}.run"))
        results.append(run_stage(model, stage, parts, steps, seed, workers, checkpoints[-1], resume))
    losses = {name: evaluate(model, data, workers=workers) for name, data in parts.valid.items()}
    save_model(model, path)
    path.with_suffix(".md").write_text(card(parts, results, losses, steps, seed, workers), encoding="utf-8")
    for checkpoint in checkpoints:
        checkpoint.unlink()
    return losses["documentation"]


def run_stage(
    model: GPT, stage: Stage, parts: Corpus, limit: int | None, seed: int, workers: int, checkpoint: Path, resume: bool
) -> FitResult:
    """Train the model on the stage's mixture, or do what is left of it."""
    steps = stage.steps if limit is None else min(limit, stage.steps)
    schedule: Callable[[int], float] = partial(
        warmup_cosine, steps=steps, lr=stage.lr, warmup=min(WARMUP, steps), min_lr=stage.lr * LAST
    )
    return fit(
        model,
        Mixture([parts.train[name] for name in stage.shares], list(stage.shares.values())),
        steps=steps,
        lr=schedule,
        batch_size=stage.batch_size,
        weight_decay=WEIGHT_DECAY,
        validation=parts.valid["documentation"],
        eval_every=500,
        seed=seed,
        workers=workers,
        checkpoint=checkpoint,
        checkpoint_every=250,
        resume=resume,
        label=f"pre-training, {stage.name}",
    )


# ruff: noqa: E501 (the card is a Markdown table)
CARD = """# The base model

`base.npz`: a byte-level GPT in GPT-2's arithmetic, {parameters:,} parameters, float32.

| | |
|---|---|
| config | `{config}` |
| documentation | `minilora.python_docs()`: Python {python}'s language reference, {docs:,} bytes to train on, the last {held_out:,} held out |
| docstrings | of the standard library's packages (`text.python_docstrings`), {docstrings:,} bytes, a tenth more held out |
| records | made-up records, lists, dialogues and code told twice (`records.py`), {records:,} bytes of seed {seed}; held out: those of seed {next_seed} |
{stages}
| optimizer | AdamW, weight decay {weight_decay}, warm-up of {warmup} steps, cosine to {last:.0%} of the learning rate |
| validation loss | **{loss:.4f} nats per byte, {bits:.4f} bits per byte** on the documentation |
| other parts | {others} |
| time | {minutes:.1f} minutes, {workers} workers on {cores} cores, NumPy {numpy} |
| again | `{command}` |

The documentation and the docstrings are the Python Software Foundation's, under the PSF licence; the weights are this
repository's. No module of `python_source()`, the downstream text, is in the training data.
"""


def card(
    parts: Corpus,
    results: list[FitResult],
    losses: dict[str, float],
    limit: int | None,
    seed: int,
    workers: int,
) -> str:
    """What was trained on what, how, for how long, and how well: Markdown."""
    loss = losses["documentation"]
    cut = "" if limit is None else f"--steps {limit} "
    return CARD.format(
        config=CONFIG,
        parameters=CONFIG.parameter_count,
        docs=len(parts.train["documentation"].tokens),
        held_out=len(parts.valid["documentation"].tokens),
        docstrings=len(parts.train["docstrings"].tokens),
        records=len(parts.train["records"].tokens),
        next_seed=seed + 1,
        stages="\n".join(
            f"| stage {i} | {stage_line(*pair)} |" for i, pair in enumerate(zip(STAGES, results, strict=True), 1)
        ),
        weight_decay=WEIGHT_DECAY,
        warmup=WARMUP,
        last=LAST,
        seed=seed,
        loss=loss,
        bits=loss / math.log(2),
        others=", ".join(f"{name} {value:.3f}" for name, value in losses.items() if name != "documentation"),
        minutes=sum(result.seconds for result in results) / 60,
        workers=workers,
        cores=os.cpu_count(),
        python=platform.python_version(),
        numpy=np.__version__,
        command=f"minilora pretrain {cut}--seed {seed} --workers {workers} --out base.npz",
    )


def stage_line(stage: Stage, result: FitResult) -> str:
    """One stage and its validation losses on the way."""
    shares = ", ".join(f"{share:.0%} {name}" for name, share in stage.shares.items())
    curve = ", ".join(f"{value:.2f} at {step}" for step, value in result.val_losses)
    return (
        f"{len(result.losses)} steps of {stage.batch_size} windows ({shares}), learning rate {stage.lr}; "
        f"documentation {curve}"
    )
