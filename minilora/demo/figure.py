"""The demo's figure: from its numbers to one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minilora.demo.result import DemoResult
from minilora.plots import BASE, FULL, LORA, OTHER, moving_average, save_figure, subplots

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WINDOW = 10  # steps to average a training loss over: batches differ from each other more than runs do


def demo_figure(result: DemoResult, path: Path) -> None:
    """Write the demo's four panels to `path`.  ImportError without matplotlib."""
    figure, panels = subplots(2, 2, figsize=(8, 6.4))
    for draw, panel in zip((_training_panel, _scaling_panel, _rank_panel, _spectrum_panel), panels.flat, strict=True):
        draw(panel, result)
    save_figure(figure, path)


def _training_panel(axes: Axes, result: DemoResult) -> None:
    run = result.training.run
    steps, losses = zip(*run.val_losses, strict=True)
    _curve(axes, run.losses, "-", color=LORA, alpha=0.35, linewidth=1, label=f"training, mean of {WINDOW} steps")
    axes.plot(steps, losses, "o-", color=LORA, label="held-out source")
    axes.axhline(losses[0], color=BASE, linestyle="--", label="the base (zero init)")
    axes.set(title="LoRA learns Python source", xlabel="step", ylabel="loss (nats per byte)")
    axes.legend()


def _scaling_panel(axes: Axes, result: DemoResult) -> None:
    styles = dict(zip(result.scaling.scaled, ["-", "--", "-.", ":"], strict=False))
    for r, run in result.scaling.unscaled.items():
        _curve(axes, run.losses, styles[r], color=OTHER, label=f"no scale, r={r}")
    for r, run in result.scaling.scaled.items():
        _curve(axes, run.losses, styles[r], color=LORA, label=rf"$\alpha/r$, r={r}")
    axes.set(title="One learning rate for every rank", xlabel="step", ylabel=f"training loss, mean of {WINDOW} steps")
    _log_losses(axes)
    axes.legend(ncols=2, fontsize="small", loc="center", bbox_to_anchor=(0.5, 0.47))  # between the bundles


def _rank_panel(axes: Axes, result: DemoResult) -> None:
    for runs, color, marker, name in (
        (result.scaling.unscaled, OTHER, "s--", "no scale"),
        (result.scaling.scaled, LORA, "o-", r"$\alpha/r$"),
    ):
        axes.plot(list(runs), [run.loss for run in runs.values()], marker, color=color, label=name)
    axes.axhline(result.training.run.val_losses[0][1], color=BASE, linestyle="--", label="the base")
    axes.axhline(result.intrinsic.full.loss, color=FULL, linestyle=":", linewidth=2, label="full fine-tuning")
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(result.scaling.scaled), [str(r) for r in result.scaling.scaled])
    axes.set(title="The same, held-out loss by rank", xlabel="rank r", ylabel="loss (nats per byte)")
    _log_losses(axes)
    axes.legend()


def _spectrum_panel(axes: Axes, result: DemoResult) -> None:
    for spectra, color, style, name in (
        (result.intrinsic.sigma, FULL, "-", "full fine-tuning"),
        (result.intrinsic.control, BASE, "--", "random matrix"),
    ):
        stack = np.stack(list(spectra.values()))
        index = np.arange(1, stack.shape[1] + 1)
        axes.plot(index, stack.mean(axis=0), style, color=color, label=name)
        axes.fill_between(index, stack.min(axis=0), stack.max(axis=0), color=color, alpha=0.15, linewidth=0)
    axes.set(title=r"Singular values of $\Delta W$", xlabel="index i", ylabel=r"$\sigma_i\,/\,\|\Delta W\|_F$")
    axes.legend(title=f"{len(result.intrinsic.sigma)} attention projections,\nmean and range")


def _log_losses(axes: Axes) -> None:
    """A log axis, with its numbers written out, for losses that differ by factors."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")


def _curve(axes: Axes, losses: Sequence[float], style: str, **options: Any) -> None:
    """A loss curve; each point is the mean of the last WINDOW steps."""
    means = moving_average(losses, WINDOW)
    axes.plot(np.arange(len(losses) - len(means), len(losses)) + 1, means, style, **options)
