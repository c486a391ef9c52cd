"""Spaces that fit on paper: a subspace of three parameters, and what a 2 x 2 weight does to the plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from minilora.plots import BASE, LORA, OTHER, subplots

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def subspace() -> Figure:
    """Three parameters, a task that fixes one direction of them, and a random line that reaches a solution."""
    figure, axes = subplots(figsize=(6, 4.6), subplot_kw={"projection": "3d"})
    grid = np.linspace(-1, 1, 2)
    x, y = np.meshgrid(grid, grid)
    normal, height = np.array([0.3, 0.2, 1.0]), 0.55  # the solutions: normal . theta = height
    z = (height - normal[0] * x - normal[1] * y) / normal[2]
    axes.plot_surface(x, y, z, color=OTHER, alpha=0.45)
    start, direction = np.array([-0.2, -0.3, -0.8]), np.array([0.5, 0.35, 0.8])
    reach = (height - normal @ start) / (normal @ direction)
    line = start + np.outer([-0.2, reach, reach + 0.35], direction)
    axes.plot(*line.T, color=LORA, linewidth=2)
    found = start + reach * direction
    axes.scatter(*start, color=BASE, s=40)
    axes.scatter(*found, color=LORA, s=60, depthshade=False)
    axes.text(start[0] + 0.1, start[1], start[2] - 0.1, r"$\theta_0$, the base", color=BASE)
    axes.text(found[0] + 0.15, found[1], found[2] - 0.2, r"$\theta_0 + P z$", color=LORA)
    axes.text(-1.0, 1.0, float(z[1, 0]) + 0.1, "all these solve the task")
    axes.set(xlabel=r"$\theta_1$", ylabel=r"$\theta_2$", zlabel=r"$\theta_3$", zlim=(-1, 1))
    axes.set_title(
        "3 parameters, but the task fixes only 1 direction:\na random line (1 number, $z$) reaches a solution"
    )
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_ticklabels([])
    axes.view_init(elev=16, azim=-62)
    return figure


def stretched() -> Figure:
    """What W0 and W0 + BA do to a circle: the update, of rank 1, moves every point along one direction, b."""
    W0, b, a = np.array([[1.6, 0.2], [0.2, 0.5]]), np.array([[-0.35], [0.9]]), np.array([[0.3, 1.0]])
    angles = np.linspace(0, 2 * np.pi, 200)
    circle = np.stack([np.cos(angles), np.sin(angles)])
    dots = circle[:, ::20]
    figure, axes = subplots(1, 3, figsize=(9.5, 3.6), sharex=True, sharey=True)
    after = W0 + b @ a
    images = (("the inputs $x$", np.eye(2), BASE), ("$W_0 x$", W0, BASE), ("$(W_0 + B A)\\,x$", after, LORA))
    for panel, (title, W, color) in zip(axes, images, strict=True):
        panel.plot(*(W @ circle), color=color)
        panel.plot(*(W @ dots), "o", color=color, markersize=4)
        panel.set(title=title, aspect="equal", xlim=(-2.1, 2.1), ylim=(-1.9, 1.9))
    axes[0].annotate("", a.ravel() / np.linalg.norm(a), (0, 0), arrowprops={"arrowstyle": "->", "color": OTHER})
    axes[0].text(0.35, 1.15, "$a$: what the update looks at", ha="center", color=OTHER, fontsize=8)
    axes[2].plot(*(W0 @ circle), "--", color=BASE, linewidth=1)
    for before, now in zip((W0 @ dots).T, (after @ dots).T, strict=True):
        axes[2].annotate("", now, before, arrowprops={"arrowstyle": "->", "color": OTHER, "linewidth": 0.8})
    axes[2].text(-2, 1.6, "all arrows are parallel to $b$", color=OTHER, fontsize=8)
    return figure
