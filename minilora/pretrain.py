"""How the shipped base was made: a byte-level GPT, pre-trained on Python's language reference.

`minilora pretrain --out base.npz` makes it again, with its card beside it.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from minilora.checkpoint import save_model
from minilora.optim import warmup_cosine
from minilora.text import ByteTokenizer, TextData, python_docs, split
from minilora.train import evaluate, fit
from minilora.transformer import GPT, GPTConfig

CONFIG = GPTConfig(vocab_size=256, block_size=320, n_layer=4, n_head=4, n_embd=128)
STEPS = 4000
BATCH_SIZE = 8
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.1


def pretrain(path: Path, *, steps: int = STEPS, seed: int = 0, workers: int = 2, resume: bool = False) -> float:
    """Train CONFIG on `python_docs()`, write the model to `path` (.npz) and its card beside it (.md).

    Returns the validation loss in nats per byte, on the last tenth of the documentation, unseen in training.
    A checkpoint `path`.run every 250 steps lets `resume` continue a run that was cut off.
    """
    train, valid = (TextData(part, CONFIG.block_size) for part in split(ByteTokenizer().encode(python_docs())))
    model = GPT(CONFIG, seed)
    checkpoint = path.with_suffix(".run")
    schedule: Callable[[int], float] = partial(
        warmup_cosine, steps=steps, lr=LEARNING_RATE, warmup=min(100, steps), min_lr=LEARNING_RATE / 20
    )
    result = fit(
        model,
        train,
        steps=steps,
        lr=schedule,
        batch_size=BATCH_SIZE,
        weight_decay=WEIGHT_DECAY,
        validation=valid,
        eval_every=500,
        seed=seed,
        workers=workers,
        checkpoint=checkpoint,
        checkpoint_every=250,
        resume=resume,
        label="pre-training",
    )
    loss = evaluate(model, valid)
    save_model(model, path)
    parameters = sum(p.size for p in model.named_parameters().values())
    path.with_suffix(".md").write_text(
        CARD.format(
            config=CONFIG,
            parameters=parameters,
            train_bytes=len(train.tokens),
            valid_bytes=len(valid.tokens),
            steps=steps,
            batch=BATCH_SIZE,
            lr=LEARNING_RATE,
            weight_decay=WEIGHT_DECAY,
            seed=seed,
            loss=loss,
            bits=loss / math.log(2),
            curve=", ".join(f"{value:.2f} at {step}" for step, value in result.val_losses),
            minutes=result.seconds / 60,
            workers=workers,
            cores=os.cpu_count(),
            python=platform.python_version(),
            numpy=np.__version__,
        ),
        encoding="utf-8",
    )
    checkpoint.unlink()
    return loss


# ruff: noqa: E501 (the card is a Markdown table)
CARD = """# The base model

`base.npz`: a byte-level GPT in GPT-2's arithmetic, {parameters:,} parameters, float32.

| | |
|---|---|
| config | `{config}` |
| data | `minilora.python_docs()`: Python {python}'s language reference, {train_bytes:,} bytes to train on, the last {valid_bytes:,} held out |
| training | {steps} steps of {batch} windows, AdamW, learning rate {lr} (warm-up 100, cosine to a twentieth), weight decay {weight_decay}, seed {seed} |
| validation loss | **{loss:.4f} nats per byte, {bits:.4f} bits per byte** |
| on the way | {curve} |
| time | {minutes:.1f} minutes, {workers} workers on {cores} cores, NumPy {numpy} |
| again | `minilora pretrain --steps {steps} --seed {seed} --workers {workers} --out base.npz` |

The documentation is the Python Software Foundation's, under the PSF licence; the weights are this repository's.
"""
