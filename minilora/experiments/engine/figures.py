"""The experiments' figures: from numbers to a PNG."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minilora.experiments.engine.experiment import Score
from minilora.plots import BASE, FULL, LORA, OTHER, save_figure, subplots

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = (LORA, FULL, OTHER, "#009E73", "#CC79A7", BASE)  # Okabe and Ito's, as in `plots`
MARKERS = ("o-", "s--", "^-.", "D:", "v-", "x--")
WIDTH, HEIGHT = 4.0, 3.2  # inches, of a panel beside others
DPI = 130


@contextmanager
def _row(titles: Iterable[str], path: Path, **settings: str) -> Iterator[np.ndarray]:
    """The panels of a row that show the same curves; at the end they get one legend and are written to `path`."""
    titles = list(titles)
    figure, axes = subplots(1, len(titles), (WIDTH * len(titles), HEIGHT), squeeze=False)
    for panel, title in zip(axes[0], titles, strict=True):
        panel.set(title=title, **settings)
    yield axes[0]
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 3))
    save_figure(figure, path, DPI)


def _draw(panel: Axes, curves: Mapping[str, Mapping[int, Score]]) -> None:
    """label -> x -> score: means against x, with standard deviations as error bars."""
    for (label, scores), marker, colour in zip(curves.items(), MARKERS, COLOURS, strict=False):
        means, stds, _ = zip(*scores.values(), strict=True)
        panel.errorbar(list(scores), means, stds, fmt=marker, color=colour, capsize=3, label=label)


def scores_by_rank(scores: Mapping[str, Mapping[str, Mapping[int, Score]]], path: Path) -> None:
    """panel title -> curve -> rank -> score."""
    with _row(scores, path, xlabel="rank r") as panels:
        for panel, curves in zip(panels, scores.values(), strict=True):
            _draw(panel, curves)
            ranks = sorted({r for curve in curves.values() for r in curve})
            panel.set_xscale("log", base=2)
            panel.set_xticks(ranks, [str(r) for r in ranks])


def scores_by_size(
    scores: Mapping[str, Mapping[str, Mapping[int, Score]]], full: Mapping[str, Score], path: Path
) -> None:
    """panel title -> method -> trained parameters -> score; `full` is drawn as a line across each panel."""
    with _row(scores, path, xlabel="trained parameters") as panels:
        for panel, (title, curves) in zip(panels, scores.items(), strict=True):
            panel.axhline(full[title].mean, color=BASE, linestyle=":", label="full fine-tuning")
            _draw(panel, curves)
            panel.set_xscale("log")


def similarities(grids: Mapping[str, Mapping[str, Any]], titles: Mapping[str, str], path: Path) -> None:
    """pair of adapters -> layer -> phi(i, j), as heat maps: one row per layer, one column per pair."""
    pairs = [pair for pair in grids if grids[pair]]
    layers = list(grids[pairs[0]])
    figure, axes = subplots(len(layers), len(pairs), (3.4 * len(pairs), 2.9 * len(layers)), squeeze=False)
    for row, layer in zip(axes, layers, strict=True):
        for panel, pair in zip(row, pairs, strict=True):
            grid = np.array(grids[pair][layer])
            extent = (0.5, grid.shape[1] + 0.5, 0.5, grid.shape[0] + 0.5)
            image = panel.imshow(grid, vmin=0, vmax=1, cmap="viridis", aspect="auto", origin="lower", extent=extent)
            panel.set(title=f"{titles[pair]}\n{layer.removeprefix('blocks.')}", xlabel="j", ylabel="i")
            panel.title.set_fontsize(9)
    figure.colorbar(image, ax=axes, label=r"$\phi(i, j)$", shrink=0.8)
    save_figure(figure, path, DPI)


def shares_by_dimension(shares: Mapping[str, Mapping[int, float]], path: Path) -> None:
    """task -> dimension -> share of full fine-tuning's gain."""
    figure, panel = subplots(figsize=(5.5, 3.6))
    for i, (task, by_dimension) in enumerate(shares.items()):
        panel.plot(list(by_dimension), list(by_dimension.values()), MARKERS[i], color=COLOURS[i], label=task)
    panel.axhline(0.9, color=BASE, linewidth=1, linestyle=":", label="90 %")
    panel.set_xscale("log")
    panel.set(xlabel="dimension m of the random subspace", ylabel="share of full fine-tuning's gain")
    panel.legend()
    save_figure(figure, path, DPI)


def losses_by_rate(losses: Mapping[str, Mapping[int, Mapping[float, float]]], path: Path) -> None:
    """scale -> rank -> learning rate -> loss."""
    with _row(losses, path, xlabel="learning rate", ylabel="test loss, nats per byte") as panels:
        for panel, by_rank in zip(panels, losses.values(), strict=True):
            for i, (r, curve) in enumerate(by_rank.items()):
                panel.plot(list(curve), list(curve.values()), MARKERS[i], color=COLOURS[i], label=f"r = {r}")
            rates = sorted({lr for curve in by_rank.values() for lr in curve})
            panel.set_xscale("log")
            panel.set_xticks(rates, [f"{lr:g}" for lr in rates])
            panel.minorticks_off()
        panels[1].sharey(panels[0])


def curves(named: Mapping[str, Any], window: int, path: Path) -> None:
    """name -> curves of the training loss, one per seed: their mean as a line, their range shaded."""
    figure, panel = subplots(figsize=(6, 3.8))
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
    save_figure(figure, path, DPI)
