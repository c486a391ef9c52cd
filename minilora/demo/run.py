"""Run the five sections in order, print them, and draw the figure."""

from __future__ import annotations

import time
from pathlib import Path

from minilora.analysis import (
    rank_for_energy,
)
from minilora.demo.figure import demo_figure
from minilora.demo.merging import merging, print_merging, slower
from minilora.demo.rank import intrinsic_rank, mean_of, print_intrinsic_rank
from minilora.demo.result import DemoResult
from minilora.demo.scaling import alpha_over_r, print_alpha_over_r, spread
from minilora.demo.task import (
    RANK,
    Size,
    Task,
    heading,
    python_task,
)
from minilora.demo.training import kib, print_training, training
from minilora.demo.zero_init import print_zero_init, zero_init
from minilora.files.model import load_base
from minilora.machine.backend import DEVICES
from minilora.machine.blas import single_threaded_blas
from minilora.transformer import GPT


def demo(size: Size, seed: int, workers: int, figure: Path, progress: bool = True, device: str = "cpu") -> DemoResult:
    """Run and print the five sections, on "cpu" or "gpu", then a table; draw the figure if matplotlib is there.

    RuntimeError if this Python has no standard-library sources, DeviceError (one too) if there is no such device.
    """
    started = time.perf_counter()
    base = load_base()[0].to(DEVICES[device])
    task = python_task(size, seed, workers, progress)
    print_introduction(base, task)
    # On small matrices a BLAS with threads of its own only waits for itself; `workers` share the rows instead.
    with single_threaded_blas():
        print_zero_init(inits := zero_init(base, task))
        print_training(trained := training(base, task))
        print_alpha_over_r(scaling := alpha_over_r(base, task))
        print_intrinsic_rank(intrinsic := intrinsic_rank(base, task), scaling, trained)
        print_merging(merged := merging(base, trained.model, task))
    result = DemoResult(inits, trained, scaling, intrinsic, merged, time.perf_counter() - started)
    print_summary(result)
    print_figure(result, figure)
    return result


def print_introduction(base: GPT, task: Task) -> None:
    c = base.config
    print(
        f"The base: a byte-level GPT, {c.n_layer} layers of width {c.n_embd}, pre-trained on Python's documentation.\n"
        f"The task: Python's source, {len(task.train.tokens):,} bytes of the standard library on this computer,\n"
        f"and {task.size.held_out:,} bytes held out. Losses are nats per byte; five sections, about two minutes."
    )


def print_summary(result: DemoResult) -> None:
    """One line a claim, from the numbers alone."""
    (_, before), *_, (_, after) = result.training.run.val_losses
    lora, full = result.training.lora_bytes, result.training.full_bytes
    scaled, unscaled = spread(result.scaling.scaled), spread(result.scaling.unscaled)
    directions = [mean_of(rank_for_energy, spectra) for spectra in (result.intrinsic.sigma, result.intrinsic.control)]
    merged, unmerged = (slower(result.merging.writing, name) for name in ("merged", "unmerged"))
    heading(6, "in short", "the abstract")
    for claim, measured in {
        "an adapter starts as nothing": "logits equal, bit for bit" if result.inits[0].identical else "NOT equal",
        "few parameters learn a task": f"loss {before:.3f} -> {after:.3f} with r={RANK}",
        "training needs less memory": f"{kib(full.total)} -> {kib(lora.total)} kept from step to step",
        "alpha/r spares retuning": f"loss differs by {scaled:.3f} between ranks, by {unscaled:.3f} without",
        "updates have low rank": "90 % of dW in {:.0f} directions, of noise in {:.0f}".format(*directions),
        "merged, it costs no time": f"{merged:+.0%} a byte, unmerged {unmerged:+.0%}",
    }.items():
        print(f"{claim:<32}{measured}")
    print(f"\n{result.seconds:.0f} s in all")


def print_figure(result: DemoResult, path: Path) -> None:
    try:
        demo_figure(result, path)
    except ImportError:
        print("no figure: matplotlib is not installed. Install it with: python -m pip install matplotlib")
    else:
        print(f"figure: {path.resolve()}")
