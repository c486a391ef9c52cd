"""`minilora demo`: what the LoRA paper claims, measured on real text in about two minutes.

The base model knows Python's documentation; the task is Python's source. Five sections, each a function that
measures and returns its numbers, then a function that prints them. `DemoResult` holds all, so that the figure
and the tests are made from numbers alone.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

from minilora.lora import LoraConfig, add_lora
from minilora.text import Batch, ByteTokenizer, TextData, python_source, split
from minilora.train import evaluate, fit
from minilora.transformer import GPT

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
RANK = 4
ALPHA = 4  # "we simply set alpha to the first r we try and do not tune it" (section 4.1)
LEARNING_RATE = 2e-2
FULL_LEARNING_RATE = 1e-3
WRITTEN = 16  # bytes, to time a byte
PROMPT = "import os\n\ndef "  # a module begins; the base makes a sentence of it


@dataclass(frozen=True)
class Size:
    """How much the demo computes."""

    steps: int = 600  # of the main run
    short_steps: int = 60  # of each of the many short runs
    batch_size: int = 8  # windows in a step
    block_size: int = 128  # bytes in a window
    held_out: int = 32_768  # bytes that validation reads
    ranks: tuple[int, ...] = (1, 4, 16, 64)
    repeats: int = 60  # of each latency
    sample_bytes: int = 120  # with the prompt, no more than a window, the positions that training has met


QUICK = Size(steps=4, short_steps=2, batch_size=4, block_size=32, held_out=256, ranks=(1, 4), repeats=3, sample_bytes=8)


@dataclass(frozen=True)
class Task:
    """The downstream task: train on most of the standard library's source, validate on a part that is never seen."""

    train: TextData
    validation: TextData
    batch: Batch  # a fixed batch of the validation text, for what needs only one
    size: Size
    seed: int
    workers: int
    progress: bool


def python_task(size: Size, seed: int, workers: int, progress: bool) -> Task:
    """`python_source()`, its last tenth held out."""
    train, held_out = split(ByteTokenizer().encode(python_source()))
    validation = TextData(held_out[: size.held_out + 1], size.block_size)
    batch = next(validation.batches(size.batch_size))
    return Task(TextData(train, size.block_size), validation, batch, size, seed, workers, progress)


def adapted(base: GPT, task: Task, r: int = RANK, alpha: float = ALPHA) -> GPT:
    """A copy of the base with a fresh LoRA on all four attention projections."""
    config = LoraConfig(r=r, lora_alpha=alpha, target_modules=ATTENTION)
    return add_lora(copy.deepcopy(base), config, task.seed)


@dataclass(frozen=True)
class ShortRun:
    """A short run at a constant learning rate, all on the same batches in the same order."""

    losses: list[float]  # of each step's batch, nats per byte
    loss: float  # validation loss at the end, nats per byte


def short_run(model: GPT, task: Task, lr: float, label: str) -> ShortRun:
    """Train the model's trainable parameters for `short_steps`, then validate."""
    run = fit(
        model,
        task.train,
        steps=task.size.short_steps,
        lr=lr,
        batch_size=task.size.batch_size,
        seed=task.seed,
        workers=task.workers,
        progress=task.progress,
        label=label,
    )
    return ShortRun(run.losses, evaluate(model, task.validation, workers=task.workers))


# ------------------------------------------------------------------------------------------- 1 zero init


# -------------------------------------------------------------------------------------------- 2 training


# ------------------------------------------------------------------------------------- 3 the scale alpha/r


# -------------------------------------------------------------------------------------- 4 intrinsic rank


# --------------------------------------------------------------------------------------------- 5 merging


# ------------------------------------------------------------------------------------------- the whole


def heading(number: int, title: str, source: str) -> None:
    line = f"{number}. {title}  ({source} of the paper)"
    print(f"\n\n{line}\n{'-' * len(line)}", flush=True)
