"""Section 5: merged weights cost no latency and can be undone exactly."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass

from minilora.demo.task import (
    PROMPT,
    WRITTEN,
    Task,
    heading,
)
from minilora.generate import generate
from minilora.lora import add_lora, lora_layers, merge, remove_lora, unmerge
from minilora.machine.backend import array_module, on_host
from minilora.machine.timing import interleaved_medians
from minilora.text import ByteTokenizer
from minilora.transformer import GPT, GPTConfig


@dataclass(frozen=True)
class Merging:
    """What merging changes: nothing but rounding in the logits, and the time of a forward pass."""

    logit_difference: dict[str, float]  # dtype -> largest |merged - unmerged| logit
    largest_logit: float
    reading: dict[str, float]  # base, unmerged, merged -> median milliseconds of one window's forward pass
    writing: dict[str, float]  # the same of a byte, when written one by one
    restored: bool  # unmerge gave every weight's very bits back
    drift: float  # largest |W - W0| after the paper's way: subtract B A again
    where: str  # what took these times


def merging(base: GPT, model: GPT, task: Task) -> Merging:
    """Section 4.1: with W = W0 + (alpha/r) B A stored, inference has no additional latency."""
    tokens = task.batch.tokens
    logits = model(tokens)
    merged = merge(copy.deepcopy(model))
    double, double_merged = as_float64(model), merge(as_float64(model))
    difference = {
        "float32": float(abs(merged(tokens) - logits).max()),
        "float64": float(abs(double_merged(tokens) - double(tokens)).max()),
    }
    deployed = remove_lora(copy.deepcopy(merged))  # plain layers that hold W, as `minilora merge` writes them
    models, window = {"base": base, "unmerged": model, "merged": deployed}, tokens[:1]
    reading = interleaved_medians(models, lambda m: m(window), task.size.repeats)
    writing = interleaved_medians(
        models, lambda m: generate(m, window[:, :1], WRITTEN, temperature=0), task.size.repeats
    )
    writing = {name: ms / WRITTEN for name, ms in writing.items()}
    weights = weight_bits(unmerge(merged))
    subtracted = unmerge(merge(copy.deepcopy(model), keep_base=False))
    drift = max(
        float(abs(a.weight.data - b.weight.data).max())
        for (_, a), (_, b) in zip(lora_layers(subtracted), lora_layers(model), strict=True)
    )
    where = "one core" if on_host(logits) else "the GPU"
    return Merging(difference, float(abs(logits).max()), reading, writing, weights == weight_bits(base), drift, where)


def write_bytes(model: GPT) -> None:
    """Write WRITTEN bytes behind the prompt's first, each of them a forward pass of its own."""
    generate(model, ByteTokenizer().encode(PROMPT)[:1], WRITTEN, temperature=0)


def as_float64(model: GPT) -> GPT:
    """The same adapted model in double precision."""
    config = next(layer.config for _, layer in lora_layers(model))
    double = add_lora(GPT(GPTConfig(**{**asdict(model.config), "dtype": "float64"})), config)
    double.load_state_dict(model.state_dict())
    return double.to(array_module(model.wte.weight.data).__name__)


def weight_bits(model: GPT) -> dict[str, bytes]:
    """Name -> the bytes of each parameter, A and B left out."""
    return {n: a.tobytes() for n, a in model.state_dict().items() if not n.endswith((".lora_A", ".lora_B"))}


def print_merging(result: Merging) -> None:
    heading(5, "merge: W = W0 + (alpha/r) B A costs nothing at inference", "section 4.1")
    print(f"largest |merged - unmerged| logit, of logits up to {result.largest_logit:.1f}:")
    for dtype, value in result.logit_difference.items():
        print(f"  {dtype:<12}{value:.1e}")
    print("It shrinks as the unit roundoff does: rounding, and nothing else.\n")
    print(f"{f'median milliseconds of {result.where}':<32}" + "".join(f"{name:>10}" for name in result.reading))
    for title, times in (
        ("to read a window at once", result.reading),
        ("to write one more byte", result.writing),
    ):
        print(f"{title:<32}" + "".join(f"{ms:>10.2f}" for ms in times.values()))
        print(f"{'':<32}{'':>10}{slower(times, 'unmerged'):>+10.0%}{slower(times, 'merged'):>+10.0%}")
    print("A and B are small; what they cost is two more products a layer, which a short input feels most.")
    print(f"\nunmerge: W0 {'restored bit for bit' if result.restored else 'NOT restored'} (it was kept aside)")
    print(f"the paper's way, W - (alpha/r) B A, misses W0 by up to {result.drift:.1e}")


def slower(milliseconds: dict[str, float], name: str) -> float:
    """By what part of the base's time a model takes longer."""
    return milliseconds[name] / milliseconds["base"] - 1
