"""Figures: the colours and the few lines that every one of them shares.  matplotlib is imported where it is used.

Curves differ by line style and marker as well as by colour, so that a figure survives a grey printer.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers tell apart; one meaning each in every figure.
LORA, FULL, BASE, OTHER = "#0072B2", "#D55E00", "#555555", "#E69F00"


def moving_average(values: Sequence[float], width: int) -> np.ndarray:
    """The means of all `width` neighbours, (len(values) - width + 1,), or of all values where they are fewer."""
    width = min(width, len(values))
    return np.convolve(values, np.full(width, 1 / width), mode="valid")


def subplots(
    rows: int = 1, columns: int = 1, figsize: tuple[float, float] = (6.4, 4.8), **options: Any
) -> tuple[Figure, Any]:
    """A figure and its axes, like `pyplot.subplots` but needing no display and leaving no global state.  ImportError
    without matplotlib, saying how to get it."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError('figures need matplotlib: pip install "minilora[plots]"') from None

    figure = Figure(figsize=figsize, layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def plot_spread(axes: Axes, samples: Mapping[Any, Sequence[float]], style: str, **options: Any) -> None:
    """x -> one value per seed: the means, with bars of one standard deviation (none for a single seed)."""
    values = list(samples.values())
    bars = np.array([np.std(v, ddof=1) if len(v) > 1 else 0.0 for v in values])
    axes.errorbar(list(samples), [np.mean(v) for v in values], bars, fmt=style, **{"capsize": 3, **options})


def write_cells(axes: Axes, texts: Mapping[tuple[int, int], str], **options: Any) -> None:
    """(row, column) -> text into that cell of the image that `axes` shows: white where the cell is dark, else black."""
    image: Any = axes.images[0]
    dark = image.to_rgba(image.get_array())[..., :3].mean(axis=-1) < 0.5
    for (row, column), text in texts.items():
        color = "white" if dark[row, column] else "black"
        axes.text(column, row, text, ha="center", va="center", color=color, **options)


def frame_cell(axes: Axes, row: int, column: int, color: str, style: str = "-") -> None:
    """A frame around one cell of an image."""
    from matplotlib.patches import Rectangle

    place = (column - 0.47, row - 0.47)
    axes.add_patch(Rectangle(place, 0.94, 0.94, fill=False, edgecolor=color, linewidth=2.5, linestyle=style))


def save_figure(figure: Figure, path: str | Path | BinaryIO, dpi: int = 150) -> None:
    """Write a PNG.  Curves get a light grid and lose the box around them; images and colour bars keep it."""
    for axes in figure.axes:
        if not axes.images and axes.get_label() != "<colorbar>":
            axes.grid(alpha=0.3)
            axes.set_axisbelow(True)
            axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="png", dpi=dpi)


def show_figure(figure: Figure, name: str) -> None:
    """What a lesson does with its figure: write it into `drawn/` beside the lesson, and show it if this is a notebook.

    Git ignores `drawn/`, so reading a lesson changes no committed file. To remake those, set MINILORA_FIGURES to their
    folder, as `python -m tutorials.notebooks` does.
    """
    path = _path(name)
    save_figure(figure, path)
    _show(path)


def show_animation(figure: Figure, draw: Callable[[int], None], frames: int, name: str) -> None:
    """The same for a picture that moves: `draw(i)` changes the figure to frame i.  The file is an animated PNG."""
    from PIL import Image  # matplotlib needs it, so it is there

    images = []
    for i in range(frames):
        draw(i)
        page = io.BytesIO()
        save_figure(figure, page, dpi=80)
        images.append(Image.open(page).convert("P", palette=Image.Palette.ADAPTIVE, colors=32))
    path = _path(name)
    durations = [400] * (frames - 1) + [2500]  # milliseconds
    images[0].save(path, format="PNG", save_all=True, append_images=images[1:], duration=durations, loop=0)
    _show(path)


def _path(name: str) -> Path:
    """Where a lesson's figure goes."""
    lesson = Path(getattr(sys.modules["__main__"], "__file__", None) or "notebook")  # a notebook runs in its folder
    path = Path(os.environ.get("MINILORA_FIGURES") or lesson.parent / "drawn") / name
    path.parent.mkdir(exist_ok=True)
    return path


def _show(path: Path) -> None:
    """Show a figure below a notebook's cell, or print where it is."""
    if any(kernel in sys.modules for kernel in ("ipykernel", "pyodide_kernel")):  # the second is a browser's
        from IPython.display import Image, display

        display(Image(filename=str(path)))
    elif "MINILORA_FIGURES" not in os.environ:
        print(f"figure: {path}")
