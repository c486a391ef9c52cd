"""The experiments' figures, from numbers alone to a PNG, in the colours of `plots`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minilora.experiments.engine.experiment import Score
from minilora.plots import BASE, FULL, LORA, OTHER

COLOURS = (LORA, FULL, OTHER, "#009E73", "#CC79A7", BASE)  # Okabe and Ito's, as in `plots`
MARKERS = ("o-", "s--", "^-.", "D:", "v-", "x--")


def _panels(columns: int, rows: int = 1, size: tuple[float, float] = (4.0, 3.2)) -> tuple[Any, np.ndarray]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # draws without a display
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _legend_below(figure: Any, axes: np.ndarray) -> None:
    """One legend for panels that show the same curves."""
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 3))


def _save(figure: Any, path: Path) -> None:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="png", dpi=130)


def _with_errors(axes: Any, index: int, scores: Mapping[int, Score], label: str) -> None:
    """Means over x with their standard deviations as bars."""
    xs = list(scores)
    means, stds = ([getattr(score, name) for score in scores.values()] for name in ("mean", "std"))
    axes.errorbar(xs, means, stds, fmt=MARKERS[index], color=COLOURS[index], capsize=3, label=label)


def scores_by_rank(panels: Mapping[str, Mapping[str, Mapping[int, Score]]], path: Path) -> None:
    """panel title -> curve -> rank -> score."""
    figure, axes = _panels(len(panels))
    for panel, (title, curves) in zip(axes.flat, panels.items(), strict=True):
        for i, (label, scores) in enumerate(curves.items()):
            _with_errors(panel, i, scores, label)
        ranks = sorted({r for scores in curves.values() for r in scores})
        panel.set_xscale("log", base=2)
        panel.set_xticks(ranks, [str(r) for r in ranks])
        panel.set(title=title, xlabel="rank r")
        panel.grid(alpha=0.3)
    _legend_below(figure, axes)
    _save(figure, path)


def scores_by_size(
    panels: Mapping[str, Mapping[str, Mapping[int, Score]]], full: Mapping[str, Score], path: Path
) -> None:
    """panel title -> method -> trained parameters -> score; `full` is a line across each panel."""
    figure, axes = _panels(len(panels))
    for panel, (title, curves) in zip(axes.flat, panels.items(), strict=True):
        panel.axhline(full[title].mean, color=BASE, linestyle=":", label="full fine-tuning")
        for i, (label, scores) in enumerate(curves.items()):
            _with_errors(panel, i, scores, label)
        panel.set_xscale("log")
        panel.set(title=title, xlabel="trained parameters")
        panel.grid(alpha=0.3)
    _legend_below(figure, axes)
    _save(figure, path)


def similarities(grids: Mapping[str, Mapping[str, Any]], titles: Mapping[str, str], path: Path) -> None:
    """pair of adapters -> layer -> phi(i, j): a row of heat maps a layer, a column a pair."""
    pairs = [pair for pair in grids if grids[pair]]
    layers = list(grids[pairs[0]])
    figure, axes = _panels(len(pairs), len(layers), (3.4, 2.9))
    for row, layer in zip(axes, layers, strict=True):
        for panel, pair in zip(row, pairs, strict=True):
            grid = np.array(grids[pair][layer])
            extent = (0.5, grid.shape[1] + 0.5, 0.5, grid.shape[0] + 0.5)
            image = panel.imshow(grid, vmin=0, vmax=1, cmap="viridis", aspect="auto", origin="lower", extent=extent)
            panel.set(title=f"{titles[pair]}\n{layer.removeprefix('blocks.')}", xlabel="j", ylabel="i")
            panel.title.set_fontsize(9)
    figure.colorbar(image, ax=axes, label=r"$\phi(i, j)$", shrink=0.8)
    _save(figure, path)


def shares_by_dimension(shares: Mapping[str, Mapping[int, float]], path: Path) -> None:
    """task -> dimension -> the share of full fine-tuning's gain."""
    figure, axes = _panels(1, size=(5.5, 3.6))
    panel = axes[0, 0]
    for i, (task, by_dimension) in enumerate(shares.items()):
        panel.plot(list(by_dimension), list(by_dimension.values()), MARKERS[i], color=COLOURS[i], label=task)
    panel.axhline(0.9, color=BASE, linewidth=1, linestyle=":", label="90 %")
    panel.set_xscale("log")
    panel.set(xlabel="dimension m of the random subspace", ylabel="share of full fine-tuning's gain")
    panel.grid(alpha=0.3)
    panel.legend()
    _save(figure, path)


def losses_by_rate(losses: Mapping[str, Mapping[int, Mapping[float, float]]], path: Path) -> None:
    """way to scale -> rank -> learning rate -> loss."""
    figure, axes = _panels(len(losses))
    for panel, (way, by_rank) in zip(axes.flat, losses.items(), strict=True):
        for i, (r, curve) in enumerate(by_rank.items()):
            panel.plot(list(curve), list(curve.values()), MARKERS[i], color=COLOURS[i], label=f"r = {r}")
        rates = sorted({lr for curve in by_rank.values() for lr in curve})
        panel.set_xscale("log")
        panel.set_xticks(rates, [f"{lr:g}" for lr in rates])
        panel.minorticks_off()
        panel.set(title=way, xlabel="learning rate", ylabel="test loss, nats per byte")
        panel.grid(alpha=0.3)
    _legend_below(figure, axes)
    axes[0, 1].sharey(axes[0, 0])
    _save(figure, path)


def curves(named: Mapping[str, Any], window: int, path: Path) -> None:
    """name -> curves of the training loss, one a seed: the mean, and the range in a shade."""
    figure, axes = _panels(1, size=(6, 3.8))
    panel = axes[0, 0]
    for i, (name, runs) in enumerate(named.items()):
        stack = np.array(runs)
        steps = np.arange(stack.shape[1]) + window
        colour = FULL if name == "full" else (LORA, OTHER, "#009E73")[i - 1]
        panel.plot(steps, stack.mean(axis=0), MARKERS[i][1:], color=colour, label=name)
        panel.fill_between(steps, stack.min(axis=0), stack.max(axis=0), color=colour, alpha=0.2, linewidth=0)
    panel.set_yscale("log")
    panel.set(xlabel="step", ylabel=f"training loss, mean of {window}")
    panel.grid(alpha=0.3, which="both")
    panel.legend()
    _save(figure, path)
