"""Section 2: LoRA and full fine-tuning compared: loss, memory for training, and a sample of text."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from minilora.analysis import TrainingBytes, training_bytes
from minilora.demo.setup import LEARNING_RATE, PROMPT, RANK, Setup, adapted, heading
from minilora.generate import generate
from minilora.lora import trainable_report
from minilora.optim import warmup_cosine
from minilora.text import ByteTokenizer
from minilora.train import FitResult, fit
from minilora.transformer import GPT


@dataclass(frozen=True)
class Training:
    """The main run: its cost, its losses, and the adapted model."""

    trainable: str  # how many parameters train, in PEFT's words
    lora_bytes: TrainingBytes
    full_bytes: TrainingBytes
    run: FitResult
    text_before: str
    text_after: str
    model: GPT


def training(base: GPT, setup: Setup) -> Training:
    """Train a LoRA of rank 4 on all four attention projections; count its memory and full fine-tuning's."""
    model = adapted(base, setup)
    tokens, targets, _ = setup.batch
    lora_bytes, full_bytes = (training_bytes(m, tokens, targets) for m in (model, base))
    steps = setup.size.steps
    schedule = partial(warmup_cosine, steps=steps, lr=LEARNING_RATE, warmup=steps // 30)
    run = fit(
        model,
        setup.train,
        steps=steps,
        lr=schedule,
        validation=setup.validation,
        eval_every=-(-steps // 6),
        label=f"LoRA r={RANK}",
        **setup.how,
    )
    text_before, text_after = sample(base, setup), sample(model, setup)
    return Training(trainable_report(model), lora_bytes, full_bytes, run, text_before, text_after, model)


def sample(model: GPT, setup: Setup) -> str:
    """PROMPT and the model's continuation of it; every model gets the same random numbers."""
    tokens = generate(
        model, ByteTokenizer().encode(PROMPT), setup.size.sample_bytes, temperature=0.8, top_k=40, seed=setup.seed
    )
    return ByteTokenizer().decode(tokens)


def print_training(result: Training) -> None:
    heading(2, "training: documentation in, Python source out", "sections 4.2 and 5")
    lora, full = result.lora_bytes, result.full_bytes
    print(result.trainable + "\n")
    print(f"{'kept while training':<26}{'LoRA':>14}{'full':>14}{'full / LoRA':>14}")
    for name in ("weights", "gradients", "adam", "total"):
        a, b = getattr(lora, name), getattr(full, name)
        title = {"adam": "Adam's m and v"}.get(name, name)
        print(f"{title:<26}{kib(a):>14}{kib(b):>14}{b / a:>14.1f}")
    (_, before), *_, (steps, after) = result.run.val_losses
    print(f"\nvalidation loss  {before:.3f} -> {after:.3f} nats per byte in {steps} steps, {result.run.seconds:.0f} s")
    print("(on source that neither the base nor the LoRA was trained on)")
    for title, text in (("the base writes", result.text_before), ("with the LoRA", result.text_after)):
        print(f"\n{title}:")
        print("\n".join("  | " + line for line in text.splitlines()))


def kib(size: int) -> str:
    return f"{size / 1024:,.0f} KiB"
