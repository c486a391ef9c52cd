"""What the five sections share: the text to learn, how much to compute, and a short training run.

The base model was trained on Python's documentation; the demo adapts it to Python's source.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from minilora.lora import LoraConfig, add_lora
from minilora.text import Batch, ByteTokenizer, TextData, python_source, split
from minilora.train import evaluate, fit
from minilora.transformer import GPT

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
RANK = 4
ALPHA = 4  # "we simply set alpha to the first r we try and do not tune it" (section 4.1)
LEARNING_RATE = 2e-2
FULL_LEARNING_RATE = 1e-3
WRITTEN = 16  # bytes to write when timing generation
PROMPT = "import os\n\ndef "  # the start of a module; the base continues it as prose


@dataclass(frozen=True)
class Size:
    """How much the demo computes."""

    steps: int = 600  # of the main run
    short_steps: int = 60  # of each of the many short runs
    batch_size: int = 8  # windows per step
    block_size: int = 128  # bytes per window
    held_out: int = 32_768  # bytes of validation text
    ranks: tuple[int, ...] = (1, 4, 16, 64)
    repeats: int = 60  # of each timing
    sample_bytes: int = 120  # with the prompt no longer than a window: only those positions were trained


QUICK = Size(steps=4, short_steps=2, batch_size=4, block_size=32, held_out=256, ranks=(1, 4), repeats=3, sample_bytes=8)


@dataclass(frozen=True)
class Setup:
    """Text to train on, text to validate on (never trained on), and how to run."""

    train: TextData
    validation: TextData
    batch: Batch  # the first of the validation text, for sections that need only one
    size: Size
    seed: int
    workers: int
    progress: bool

    @property
    def how(self) -> dict[str, Any]:
        """The options that all runs of `fit` share."""
        size = {"batch_size": self.size.batch_size, "seed": self.seed}
        return {**size, "workers": self.workers, "progress": self.progress}


def python_setup(size: Size, seed: int, workers: int, progress: bool) -> Setup:
    """`python_source()`, its last tenth held out."""
    train, held_out = split(ByteTokenizer().encode(python_source()))
    validation = TextData(held_out[: size.held_out + 1], size.block_size)
    batch = next(validation.batches(size.batch_size))
    return Setup(TextData(train, size.block_size), validation, batch, size, seed, workers, progress)


def adapted(base: GPT, setup: Setup, r: int = RANK, alpha: float = ALPHA) -> GPT:
    """A copy of the base with a fresh LoRA on all four attention projections."""
    config = LoraConfig(r=r, lora_alpha=alpha, target_modules=ATTENTION)
    return add_lora(copy.deepcopy(base), config, setup.seed)


@dataclass(frozen=True)
class ShortRun:
    """A short run at a constant learning rate; every such run sees the same batches in the same order."""

    losses: list[float]  # per step, nats per byte
    loss: float  # on the validation text at the end, nats per byte


def short_run(model: GPT, setup: Setup, lr: float, label: str) -> ShortRun:
    """Train the model's trainable parameters for `short_steps`, then validate."""
    run = fit(model, setup.train, steps=setup.size.short_steps, lr=lr, label=label, **setup.how)
    return ShortRun(run.losses, evaluate(model, setup.validation, workers=setup.workers))


def heading(number: int, title: str, source: str) -> None:
    """Print a section's title and where the paper makes the claim."""
    line = f"{number}. {title}  ({source} of the paper)"
    print(f"\n\n{line}\n{'-' * len(line)}", flush=True)
