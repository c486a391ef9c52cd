"""Section 1: four ways to start A and B. Which leave the base unchanged, and which can learn?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minilora.demo.setup import Setup, adapted, heading
from minilora.lora import lora_layers
from minilora.machine.backend import array_module
from minilora.nn import normal
from minilora.train import loss_and_grads
from minilora.transformer import GPT


@dataclass(frozen=True)
class InitEffect:
    """The model before its first step, and the first gradient, for one way to start A and B."""

    name: str
    identical: bool  # the logits equal the base's, bit for bit
    logit_change: float  # largest |logit - base logit|
    grad_A: float  # largest |dL/dA| over all layers
    grad_B: float
    loss: float  # nats per byte, on the setup's batch


INITS = {
    "A Gaussian, B = 0 (LoRA)": (1, 0),
    "A = 0, B Gaussian": (0, 1),
    "A = 0, B = 0": (0, 0),
    "both Gaussian": (1, 1),
}


def zero_init(base: GPT, setup: Setup) -> list[InitEffect]:
    """Section 4.1 starts with B = 0, so that BA = 0. Compare four ways to start, one gradient each."""
    tokens, targets, _ = setup.batch
    base_logits = base(tokens)
    effects = []
    for name, (draw_A, draw_B) in INITS.items():
        model = adapted(base, setup)
        rng = np.random.default_rng(setup.seed)
        for _, layer in lora_layers(model):
            layer.lora_A.data *= draw_A
            if draw_B:  # std 1/sqrt(r), like A's 1/sqrt(k), so that B h has the scale of h
                drawn = normal(rng, layer.lora_B.shape, layer.r**-0.5, model.config.dtype)
                layer.lora_B.data[...] = array_module(layer.lora_B.data).asarray(drawn)
        logits = model(tokens)
        loss, grads = loss_and_grads(model, tokens, targets, workers=setup.workers)
        largest = {ending: max(abs(g).max() for n, g in grads.items() if n.endswith(ending)) for ending in "AB"}
        effects.append(
            InitEffect(
                name=name,
                identical=logits.tobytes() == base_logits.tobytes(),
                logit_change=float(abs(logits - base_logits).max()),
                grad_A=float(largest["A"]),
                grad_B=float(largest["B"]),
                loss=float(loss),
            )
        )
    return effects


def print_zero_init(effects: list[InitEffect]) -> None:
    heading(1, "zero init: a new adapter changes nothing", "section 4.1")
    print("h = W0 x + (alpha/r) B A x before the first step:\n")
    print(f"{'start':<26}{'logits':<26}{'max |dA|':>10}{'max |dB|':>10}{'loss':>8}")
    for e in effects:
        logits = "equal the base's bits" if e.identical else f"differ by up to {e.logit_change:.2f}"
        print(f"{e.name:<26}{logits:<26}{e.grad_A:>10.4f}{e.grad_B:>10.4f}{e.loss:>8.3f}")
    print(
        "\nWith s = alpha/r and dh = dL/dh:  dB = s dh (A x)^T  and  dA = s B^T dh x^T.\n"
        "With B = 0, dA is exactly 0 on the first step and dB is not: B moves first, A follows.\n"
        "With both 0, neither ever moves. With both random, the model is damaged before it learns."
    )
