"""Run the five sections in order, print them, and draw the figure."""

from __future__ import annotations

import time
from pathlib import Path

from minilora.analysis import rank_for_energy
from minilora.demo.figure import demo_figure
from minilora.demo.merging import merging, print_merging, slower
from minilora.demo.rank import intrinsic_rank, mean_of, print_intrinsic_rank
from minilora.demo.result import DemoResult
from minilora.demo.scaling import alpha_over_r, print_alpha_over_r, spread
from minilora.demo.setup import RANK, Setup, Size, heading, python_setup
from minilora.demo.training import kib, print_training, training
from minilora.demo.zero_init import print_zero_init, zero_init
from minilora.files.model import load_base
from minilora.machine.blas import single_threaded_blas
from minilora.transformer import GPT


def demo(size: Size, seed: int, workers: int, figure: Path, progress: bool = True, device: str = "numpy") -> DemoResult:
    """Run the five sections, print them and a summary, and draw the figure if matplotlib is installed.

    device  "numpy" (the host) or "cupy" (a GPU), as for `model.to`

    RuntimeError if this Python was installed without its sources; DeviceError if there is no such device.
    """
    started = time.perf_counter()
    base = load_base()[0].to(device)
    setup = python_setup(size, seed, workers, progress)
    print_introduction(base, setup)
    # On small matrices a multithreaded BLAS spends its time waiting; `workers` split the rows of a batch instead.
    with single_threaded_blas():
        print_zero_init(inits := zero_init(base, setup))
        print_training(trained := training(base, setup))
        print_alpha_over_r(scaling := alpha_over_r(base, setup))
        print_intrinsic_rank(intrinsic := intrinsic_rank(base, setup), scaling, trained)
        print_merging(merged := merging(base, trained.model, setup))
    result = DemoResult(inits, trained, scaling, intrinsic, merged, time.perf_counter() - started)
    print_summary(result)
    print_figure(result, figure)
    return result


def print_introduction(base: GPT, setup: Setup) -> None:
    print(
        f"The base: a byte-level GPT, {base.layers} layers of width {base.width}, "
        "pretrained on Python's documentation.\n"
        f"The task: Python's source, {len(setup.train.tokens):,} bytes of the standard library on this computer,\n"
        f"with {setup.size.held_out:,} more bytes held out. Losses are in nats per byte."
    )


def print_summary(result: DemoResult) -> None:
    """One line per claim, from the numbers alone."""
    (_, before), *_, (_, after) = result.training.run.val_losses
    lora, full = result.training.lora_bytes, result.training.full_bytes
    scaled, unscaled = spread(result.scaling.scaled), spread(result.scaling.unscaled)
    directions = [mean_of(rank_for_energy, spectra) for spectra in (result.intrinsic.sigma, result.intrinsic.control)]
    merged, unmerged = (slower(result.merging.writing, name) for name in ("merged", "unmerged"))
    heading(6, "in short", "the abstract")
    for claim, measured in {
        "a new adapter changes nothing": "logits equal, bit for bit" if result.inits[0].identical else "NOT equal",
        "few parameters learn a task": f"loss {before:.3f} -> {after:.3f} with r={RANK}",
        "training needs less memory": f"{kib(full.total)} -> {kib(lora.total)} kept from step to step",
        "alpha/r saves retuning": f"final losses span {scaled:.3f} across ranks ({unscaled:.3f} without the scale)",
        "updates have low rank": "{:.0f} directions hold 90 % of dW; noise needs {:.0f}".format(*directions),
        "merging adds no latency": f"time per byte against the base: merged {merged:+.0%}, unmerged {unmerged:+.0%}",
    }.items():
        print(f"{claim:<32}{measured}")
    print(f"\n{result.seconds:.0f} s in all")


def print_figure(result: DemoResult, path: Path) -> None:
    """Draw the figure and print where it is, or how to get matplotlib."""
    try:
        demo_figure(result, path)
    except ImportError:
        print("no figure: matplotlib is not installed. Install it with: python -m pip install matplotlib")
    else:
        print(f"figure: {path.resolve()}")
