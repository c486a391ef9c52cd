"""The growth of a step's time as a figure:  python -m tests.benchmarks.figure RESULTS.json growth.png"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from minilora.plots import LORA, OTHER, save_figure, subplots
from tests.benchmarks.report import Rows


def growth_figure(rows: Rows, path: Path) -> None:
    """A panel for each axis of the section `growth`, on log axes, beside a line of slope 1."""
    axes_of_rows = list(dict.fromkeys(row["axis"] for row in rows))
    figure, panels = subplots(1, len(axes_of_rows), figsize=(10, 2.8), sharey=True)
    panels[0].set(ylabel="ms a step", ylim=(min(row["ms"] for row in rows) / 1.5, max(row["ms"] for row in rows) * 1.5))
    for axes, axis in zip(panels, axes_of_rows, strict=True):
        x, y = np.array([(row["value"], row["ms"]) for row in rows if row["axis"] == axis]).T
        slope = np.log(y[-1] / y[-2]) / np.log(x[-1] / x[-2])
        axes.plot(x, y, "o-", color=LORA, label="LoRA step")
        axes.plot(x, y[-1] * x / x[-1], "--", color=OTHER, label="slope 1")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        axes.set_xticks(x, [f"{value:.0f}" for value in x], fontsize="small")
        axes.yaxis.set_major_formatter("{x:.0f}")
        axes.set(title=f"last slope {slope:.2f}")
        axes.set_xlabel({"T": "T, at 2048 tokens a batch", "r": "rank r"}.get(axis, axis))
    axes.legend()
    save_figure(figure, path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.figure", description="Draw the growth section.")
    parser.add_argument("results", type=Path, help="what `python -m tests.benchmarks --json FILE` wrote")
    parser.add_argument("png", type=Path)
    args = parser.parse_args()
    growth_figure(json.loads(args.results.read_text(encoding="utf-8"))["growth"], args.png)
