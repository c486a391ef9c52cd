"""How the shipped base was made: a byte-level GPT, pretrained first on English and then on a mixture.

`minilora pretrain --out base.npz` makes it again, with its card. A model pretrained only on documentation writes
English but cannot copy a name from its context, and low-rank adaptation does not teach it to. So the later stages mix
documentation and docstrings with made-up records that are told twice (`records.py`).
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from minilora.files.model import save_model
from minilora.optim import warmup_cosine
from minilora.pretrain.corpus import BLOCK_SIZE, Corpus, Mixture, corpus
from minilora.train import FitResult, evaluate, fit
from minilora.transformer import GPT, GPTConfig

CONFIG = GPTConfig(vocab_size=256, block_size=BLOCK_SIZE, n_layer=4, n_head=4, n_embd=128)
WEIGHT_DECAY = 0.1
WARMUP = 100  # steps
LAST = 1 / 20  # of the learning rate, where the cosine ends


@dataclass(frozen=True)
class Stage:
    """One run of `fit`, and each corpus part's share of its batches."""

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


def pretrain(path: Path, *, steps: int | None = None, seed: int = 0, workers: int = 2, resume: bool = False) -> float:
    """Train CONFIG through STAGES; write the model to `path` (.npz) and its card next to it (.md).

    Returns the validation loss in nats per byte, on the held-out tenth of the documentation. `steps` shortens every
    stage, for a trial. Each stage saves a checkpoint every 250 steps (`path`.1.run, ...), from which `resume` continues
    an interrupted run.
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
    """Train the model on the stage's mixture, or finish what an earlier run has left."""
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
        resume=resume and checkpoint.exists(),
        label=f"pretraining, {stage.name}",
    )


# ruff: noqa: E501 (the card is a Markdown table)
CARD = """# The base model

`base.npz`: a byte-level GPT in GPT-2's arithmetic, {parameters:,} parameters, float32.

| | |
|---|---|
| config | `{config}` |
| documentation | `minilora.python_docs()`: Python {python}'s language reference, {docs:,} bytes to train on, the last {held_out:,} held out |
| docstrings | of the standard library's packages (`corpus.python_docstrings`), {docstrings:,} bytes to train on, the last tenth held out |
| records | made-up records, lists, dialogues and code, told twice (`records.py`), {records:,} bytes from seed {seed}; those held out are from seed {next_seed} |
{stages}
| optimizer | AdamW, weight decay {weight_decay}, warm-up of {warmup} steps, cosine to {last:.0%} of the learning rate |
| validation loss | **{loss:.4f} nats per byte, {bits:.4f} bits per byte** on the documentation |
| other parts | {others} |
| time | {minutes:.1f} minutes, {workers} workers on {cores} cores, NumPy {numpy} |
| again | `{command}` |

The documentation and the docstrings are the Python Software Foundation's, under the PSF licence; the weights are this
repository's. The training data contain no module of `python_source()`, the downstream text.
"""


def card(
    parts: Corpus, results: list[FitResult], losses: dict[str, float], limit: int | None, seed: int, workers: int
) -> str:
    """The model card, as Markdown: the data, the training, its time and its losses."""
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
        command=f"minilora pretrain {cut}--seed {seed} --threads {workers} --out base.npz",
    )


def stage_line(stage: Stage, result: FitResult) -> str:
    """One stage and the validation losses along the way."""
    shares = ", ".join(f"{share:.0%} {name}" for name, share in stage.shares.items())
    curve = ", ".join(f"{value:.2f} at {step}" for step, value in result.val_losses)
    return (
        f"{len(result.losses)} steps of {stage.batch_size} windows ({shares}), learning rate {stage.lr}; "
        f"documentation {curve}"
    )
