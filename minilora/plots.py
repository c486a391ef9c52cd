"""What all figures share: colours, panels, and the PNG.  matplotlib is imported inside, so that nothing else needs it.

Curves differ in line style and marker as well as in colour, so that a figure survives a black-and-white printer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

# Okabe and Ito's colours, which colour-blind readers can tell apart; each means the same in every figure.
LORA, FULL, BASE, OTHER = "#0072B2", "#D55E00", "#555555", "#E69F00"


def moving_average(values: Sequence[float], width: int) -> np.ndarray:
    """Means over `width` neighbours, (len(values) - width + 1,); over all values if there are fewer."""
    width = min(width, len(values))
    return np.convolve(values, np.full(width, 1 / width), mode="valid")


def panels(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, np.ndarray]:
    """(figure, axes (rows, columns)), each panel `size` inches; needs no display.  ImportError without matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def save(figure: Any, path: Path, dpi: int = 130) -> None:
    """Write the figure as a PNG, whatever its name ends in."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="png", dpi=dpi)
