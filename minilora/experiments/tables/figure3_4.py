"""Figures 3 and 4: do LoRAs of different rank, or from different seeds, find the same directions?

phi(A1, A2, i, j) of eq. 4 (`analysis.similarity_grid`) between the A of r = 8 and of r = 64, between two seeds of
r = 64, and between two Gaussian matrices. Like the paper, the figure shows one layer in the middle; the table has the
mean over all layers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from minilora.analysis import random_similarity, similarity_grid
from minilora.experiments.engine.experiment import Claim, Experiment, Results, markdown
from minilora.experiments.engine.figures import similarities
from minilora.experiments.engine.plan import Scale, Setting
from minilora.experiments.engine.run import Store
from minilora.experiments.tables.table6 import setting as of_rank

LOW, HIGH = 8, 64
NAMES = {"ranks": f"r = {LOW} and r = {HIGH}", "seeds": f"two seeds of r = {HIGH}", "random": "two Gaussian matrices"}
PAIRS = tuple(NAMES)


def settings(scale: Scale) -> list[Setting]:
    return [of_rank("qv", r) for r in (LOW, HIGH)]


def measure(results: Results, store: Store) -> Any:
    """For each pair: phi's rounded grids in the middle layer, and phi(1, 1) and phi(1, 64) in every layer."""
    low, high = ([store.lora(config) for config in results.configs(of_rank("qv", r))] for r in (LOW, HIGH))
    rng = np.random.default_rng(0)
    grids: dict[str, dict[str, Any]] = {pair: {} for pair in PAIRS}
    for path, (A, _) in high[0].items():
        grids["ranks"][path] = similarity_grid(low[0][path][0], A)
        if len(high) > 1:
            grids["seeds"][path] = similarity_grid(A, high[1][path][0])
        grids["random"][path] = similarity_grid(rng.standard_normal(A.shape), rng.standard_normal(A.shape))
    middle = middle_layer(list(high[0]))
    return {
        "k": next(iter(high[0].values()))[0].shape[1],
        "grids": {
            pair: {p: grid.round(2).tolist() for p, grid in g.items() if p in middle} for pair, g in grids.items()
        },
        "top": {pair: {path: float(grid[0, 0]) for path, grid in g.items()} for pair, g in grids.items()},
        "contained": {pair: {path: float(grid[0, -1]) for path, grid in g.items()} for pair, g in grids.items()},
    }


def middle_layer(paths: list[str]) -> list[str]:
    """The paths in the middle block."""
    blocks = sorted({int(path.split(".")[1]) for path in paths})
    return [path for path in paths if int(path.split(".")[1]) == blocks[len(blocks) // 2]]


def _mean(measured: Any, what: str, pair: str, matrix: str) -> float:
    values = [value for path, value in measured[what][pair].items() if matrix in path]
    return float(np.mean(values)) if values else float("nan")


def table(results: Results) -> str:
    m = results.measured
    columns = [(what, matrix) for what in ("top", "contained") for matrix in ("q_proj", "v_proj")]
    rows = [[NAMES[pair], *(f"{_mean(m, what, pair, matrix):.2f}" for what, matrix in columns)] for pair in PAIRS]
    header = ["mean over layers", "phi(1, 1): W_q", "W_v", "phi(1, 64): W_q", "W_v"]
    return markdown(header, rows) + (
        f"\n\nOn average, unrelated subspaces of R^{m['k']} have phi(1, 1) = 1/{m['k']} = "
        f"{random_similarity(1, 1, m['k']):.2f} and phi(1, 64) = {random_similarity(1, 64, m['k']):.2f}. In the paper, "
        "the top directions of r = 8 and of r = 64 have phi > 0.5."
    )


def claims(results: Results) -> list[Claim]:
    m = results.measured
    top = {(pair, x): _mean(m, "top", pair, f"{x}_proj") for pair in PAIRS for x in "qv"}
    shared = [x for x in "qv" if top["ranks", x] > 0.5]
    above = [x for x in "qv" if top["seeds", x] > 5 * random_similarity(1, 1, m["k"])]
    ranks, seeds = (f"W_q {top[pair, 'q']:.2f}, W_v {top[pair, 'v']:.2f}" for pair in ("ranks", "seeds"))
    return [
        Claim(
            f"r = 8 and r = 64 share their top direction: phi(1, 1) > 0.5 ({ranks})",
            len(shared) == 2,
            f"A is still partly its random start, which differs; more training brings the two together: phi(1, 1) is "
            f"0.06 after the 60 steps of lesson 9 and {top['ranks', 'q']:.2f} after {results.scale.steps} here",
        ),
        Claim(
            f"two seeds share their top direction far more than chance allows ({seeds}; random "
            f"{top['random', 'q']:.2f})",
            len(above) == 2,
        ),
        Claim("two seeds agree more on W_q than on W_v", top["seeds", "q"] > top["seeds", "v"]),
    ]


def figure(results: Results, path: Path) -> None:
    similarities(results.measured["grids"], NAMES, path)


TITLE = "Figures 3 and 4: directions shared by ranks and by seeds"
EXPERIMENT = Experiment("figure3_4", TITLE, "section 7.2, eq. 4", settings, table, claims, figure, measure)
