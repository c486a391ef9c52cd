"""Weights as rectangles whose sides are their numbers of rows and columns: grey is frozen, blue trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minilora.plots import LORA, OTHER, subplots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FROZEN = "#D0D0D0"


def _canvas(width: float, height: float, inches: float) -> tuple[Figure, Axes]:
    """Axes without ticks on which one unit is equally long in both directions."""
    figure, axes = subplots(figsize=(inches, inches * height / width))
    axes.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    axes.axis("off")
    return figure, axes


def _matrix(axes: Axes, x: float, y: float, width: float, height: float, color: str = FROZEN) -> None:
    """A rectangle with its lower left corner at (x, y)."""
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((x, y), width, height, facecolor=color, edgecolor="black", linewidth=0.6))


def _box(axes: Axes, x: float, y: float, text: str, color: str = "white", width: float = 12, height: float = 5) -> None:
    """A labelled box with its centre at (x, y)."""
    _matrix(axes, x - width / 2, y - height / 2, width, height, color)
    axes.text(x, y, text, ha="center", va="center", fontsize=8, color="white" if color == LORA else "black")


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], **look: Any) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "linewidth": 0.9, **look})


def lora(d: int = 128, k: int = 128, r: int = 4) -> Figure:
    """W = W0 + (alpha/r) B A, all three to scale: by default, W_q of the shipped base at rank 4."""
    gap = 0.22 * k
    figure, axes = _canvas(2 * k + r + 2.7 * gap, 1.32 * d, 8)
    bottom, middle = 0.19 * d, 0.69 * d
    _matrix(axes, 0.3 * gap, bottom, k, d)
    axes.text(0.3 * gap + k / 2, middle, f"$W_0$\n{d} × {k}\n{d * k:,} numbers\nfrozen", ha="center", va="center")
    x_B = 0.3 * gap + k + 1.6 * gap
    axes.text(x_B - 0.8 * gap, middle, r"$+\;\frac{\alpha}{r}$", ha="center", va="center", fontsize=18)
    _matrix(axes, x_B, bottom, r, d, LORA)
    axes.text(x_B + r / 2, bottom - 0.04 * d, f"$B$\n{d} × {r}", ha="center", va="top")
    x_A = x_B + r + 0.5 * gap
    _matrix(axes, x_A, bottom + d - r, k, r, LORA)
    axes.text(x_A + k / 2, bottom + d + 0.03 * d, f"$A$,  {r} × {k}", ha="center", va="bottom")
    share = r * (d + k) / (d * k)
    text = f"{d * r:,} + {r * k:,} numbers train:\n{share:.1%} of $W_0$'s {d * k:,}"
    axes.text(x_A + k / 2, middle, text, ha="center", va="center", color=LORA)
    return figure


def added_at_rank(dW: np.ndarray, ranks: Sequence[int] = (1, 2, 4)) -> Figure:
    """How outer products add up to dW: its first r terms for each rank, and dW.  Rows and columns are sorted along the
    first term, because their order means nothing."""
    U, sigma, Vt = np.linalg.svd(dW, full_matrices=False)
    rows, columns = U[:, 0].argsort(), Vt[0].argsort()
    figure, axes = subplots(1, len(ranks) + 1, figsize=(2.6 * (len(ranks) + 1), 3.1), sharey=True)
    top = np.quantile(np.abs(dW), 0.995)
    for panel, r in zip(axes, [*ranks, len(sigma)], strict=True):
        sum_of_terms = ((U[:, :r] * sigma[:r]) @ Vt[:r])[rows][:, columns]
        image = panel.imshow(sum_of_terms, cmap="RdBu_r", vmin=-top, vmax=top, interpolation="nearest")
        kept = (sigma[:r] ** 2).sum() / (sigma**2).sum()
        terms = r"$\sigma_1 u_1 v_1^\top$" if r == 1 else rf"$\sum_{{i \leq {r}}} \sigma_i u_i v_i^\top$"
        title = f"rank {r}: {terms}\n{kept:.0%} of the energy" if r < len(sigma) else f"$\\Delta W$\nrank {r}"
        panel.set_title(title, fontsize=9)
        panel.set_xticks([])
        panel.set_yticks([])
    figure.colorbar(image, ax=axes, label=r"entry of $\Delta W$", shrink=0.75)
    return figure


def block(adapted: Sequence[str] = ("q_proj", "v_proj"), C: int = 128, r: int = 4) -> Figure:
    """A block of GPT-2 and its six matrices to scale, with A and B at those that are adapted."""
    figure, axes = _canvas(12.3 * C, 5.9 * C, 9)
    places = {  # name: label, left, bottom, columns (in), rows (out), all in units of C
        "q_proj": ("$W_q$", 0.6, 4.0, 1, 1),
        "k_proj": ("$W_k$", 0.6, 2.4, 1, 1),
        "v_proj": ("$W_v$", 0.6, 0.8, 1, 1),
        "o_proj": ("$W_o$", 3.4, 2.4, 1, 1),
        "up_proj": (r"$W_{\mathrm{up}}$", 5.6, 0.9, 1, 4),
        "down_proj": (r"$W_{\mathrm{down}}$", 7.5, 2.4, 4, 1),
    }
    for name, (label, left, bottom, columns, rows) in places.items():
        x, y, width, height = (C * value for value in (left, bottom, columns, rows))
        _matrix(axes, x, y, width, height)
        axes.text(x + width / 2, y + height / 2, label, ha="center", va="center")
        if name in adapted:
            _matrix(axes, x + width + 0.07 * C, y, r, height, LORA)  # B
            _matrix(axes, x, y + height + 0.07 * C, width, r, LORA)  # A
    middle = 2.9 * C
    for y in (4.5, 2.9, 1.3):  # into q, k and v, and out of them
        _arrow(axes, (0.02 * C, middle), (0.56 * C, y * C))
        _arrow(axes, (1.8 * C, y * C), (2.3 * C, middle))
    axes.text(2.75 * C, middle, "attention", ha="center", va="center", fontsize=9)
    for start, end in ((3.15, 3.36), (4.62, 5.0), (5.3, 5.56), (6.75, 6.95), (7.28, 7.46), (11.53, 11.85)):
        _arrow(axes, (start * C, middle), (end * C, middle))
    for x in (5.15, 12.0):
        axes.text(x * C, middle, "+", ha="center", va="center")
    axes.text(7.12 * C, middle, "GELU", ha="center", va="center", fontsize=8, rotation=90)
    axes.text(2.3 * C, 5.4 * C, "attention's four: $C$ × $C$", ha="center", fontsize=9)
    axes.text(8.6 * C, 5.4 * C, "the MLP's two: $4C$ × $C$ and $C$ × $4C$", ha="center", fontsize=9)
    numbers = sum(r * C * (columns + rows) for name, (_, _, _, columns, rows) in places.items() if name in adapted)
    text = f"grey: frozen, {12 * C * C:,} numbers; blue: $A$ and $B$ at rank {r}, {numbers:,} numbers"
    axes.text(5.8 * C, 0.25 * C, text, ha="center", fontsize=9)
    return figure


WAYS = {  # title: what one token's row passes, in order; what runs beside W; what the picture says below it
    "Bottleneck layer: in series": (["$W_0$", "down", "g", "up"], [], "three more steps,\none after the other"),
    "LoRA: in parallel": (["$W_0$"], ["$A$", "$B$"], "two thin products,\nbeside the large one"),
    "LoRA, merged": ([r"$W_0 + \frac{\alpha}{r} B A$"], [], "nothing more"),
}
BLOCK = ("$W_q, W_k, W_v$, attention", "$W_o$", "$W_{\\mathrm{up}}$, GELU", "$W_{\\mathrm{down}}$")


def ways_to_add() -> Figure:
    """A bottleneck, LoRA and a merged LoRA at one weight; and below, a block on two devices with its all-reduces."""
    figure, axes = _canvas(150, 92, 9)
    for column, (title, (path, beside, words)) in enumerate(WAYS.items()):
        x = 25 + 50 * column
        axes.text(x, 89, title, ha="center", va="top", fontsize=10, weight="bold")
        shift = -9 if beside else 0
        for i, text in enumerate(path):
            color = LORA if "B A" in text else FROZEN if "W" in text else "white" if text == "g" else OTHER
            wide = 26 if "B A" in text else 12
            _step(axes, x + shift, i, text, color, wide)
        for i, text in enumerate(beside):
            _step(axes, x + 10, i, text, LORA)
        if beside:
            _arrow(axes, (x + 10, 66.5), (x + 0.5, 73.5))
            _arrow(axes, (x + shift, 57.5), (x - 0.5, 73.5))
            axes.text(x, 75.5, "+", ha="center", va="center", fontsize=12)
        axes.text(x, 47.5, words, ha="center", va="top", fontsize=8)
    rows = {"base; LoRA, merged or not": (), "with Adapter-H": (1, 3)}
    for row, (name, after) in enumerate(rows.items()):
        y = 26 - 17 * row
        axes.text(2, y + 9, name, fontsize=9, weight="bold")
        at = 22.0
        for i, text in enumerate(BLOCK):
            _box(axes, at, y + 3, text, FROZEN, 26 if i == 0 else 14)
            _box(axes, at, y - 2.5, text, FROZEN, 26 if i == 0 else 14)
            at += 22 if i == 0 else 16
            if i in (1, 3):  # each device has a part of the sum
                at = _all_reduce(axes, at - 6, y)
                if i in after:
                    _box(axes, at + 2, y + 3, "down, up", OTHER, 15)
                    _box(axes, at + 2, y - 2.5, "down, up", OTHER, 15)
                    at = _all_reduce(axes, at + 12, y) + 3
                else:
                    at += 3
        count = 2 + len(after)
        axes.text(148, y, f"{count} a block", ha="right", va="center", fontsize=9)
    axes.text(75, 39.5, "One block on two devices: where they have to wait for each other", ha="center", fontsize=10)
    return figure


def _step(axes: Axes, x: float, i: int, text: str, color: str, width: float = 12) -> None:
    """The i-th box of a column, with the arrow that leads into it."""
    y = 55 + 9 * i
    _box(axes, x, y, text, color, width)
    _arrow(axes, (x, y - 6.5), (x, y - 2.5))


def _all_reduce(axes: Axes, x: float, y: float) -> float:
    """Two devices add up what each of them has: a bar across both.  Returns where the next box begins."""
    _matrix(axes, x, y - 5.5, 2.2, 11.5, "black")
    return x + 9
