"""The shapes that are timed, and our side of a training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import minilora as ml
from minilora.nn import Decoder

WORKERS = 2
LORA = ml.LoraConfig(r=8, lora_alpha=16, target_modules=("q_proj", "v_proj"))


class Shape(NamedTuple):
    """A model's shape and a batch size."""

    vocab_size: int
    block_size: int
    n_layer: int
    n_head: int
    n_embd: int
    batch_size: int

    @property
    def config(self) -> ml.GPTConfig:
        return ml.GPTConfig(*self[:5])

    def tokens(self) -> np.ndarray:
        """(B, T + 1) random tokens: inputs are all but the last, targets all but the first."""
        rng = np.random.default_rng(0)
        return rng.integers(0, self.vocab_size, (self.batch_size, self.block_size + 1))


SHAPES = {"S": Shape(96, 64, 2, 4, 64, 16), "M": Shape(96, 128, 4, 4, 128, 16), "L": Shape(512, 128, 4, 8, 256, 16)}


def our_model(shape: Shape, lora: bool) -> ml.GPT:
    model = ml.GPT(shape.config)
    return ml.add_lora(model, LORA) if lora else model


def our_step(shape: Shape, lora: bool, workers: int = WORKERS) -> Callable[[], None]:
    """One training step of LoRA or of full fine-tuning."""
    return step_of(our_model(shape, lora), shape.tokens(), workers)


def step_of(model: Decoder, tokens: np.ndarray, workers: int = WORKERS, lr: float = 1e-4) -> Callable[[], None]:
    """One training step of the model, wherever it is, on (B, T + 1) tokens: forward, backward and Adam."""
    optimizer = ml.Adam(model, lr)

    def step() -> None:
        _, grads = ml.loss_and_grads(model, tokens[:, :-1], tokens[:, 1:], workers=workers)
        optimizer.step(grads)

    return step
