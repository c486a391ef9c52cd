"""Table 7: how the update relates to the weight it is added to: projections and the amplification factor."""

from __future__ import annotations

from typing import Any

import numpy as np

import minilora as ml
from minilora.analysis import amplification_factor, projection_norm
from minilora.experiments.engine.experiment import Claim, Experiment, Results, markdown
from minilora.experiments.engine.plan import Scale, Setting
from minilora.experiments.engine.run import Store
from minilora.experiments.tables.figure3_4 import middle_layer
from minilora.experiments.tables.table6 import setting as of_rank

RANKS = (4, 64)
MATRICES = ("q_proj", "v_proj")
DIRECTIONS = ("dW", "W", "random")
COLUMNS = (*DIRECTIONS, "||W||", "||dW||")
PAPER = {  # GPT-3, layer 48, W_q: ||U^T W V^T||_F in the directions of dW, W, random; ||W||_F, ||dW||_F
    4: {"dW": 0.32, "W": 21.67, "random": 0.02, "||W||": 61.95, "||dW||": 6.91},
    64: {"dW": 1.90, "W": 37.71, "random": 0.33, "||W||": 61.95, "||dW||": 3.57},
}


def settings(scale: Scale) -> list[Setting]:
    return [of_rank("qv", r) for r in RANKS]


def measure(results: Results, store: Store) -> Any:
    """For each matrix and rank, in the middle layer: the norms of table 7, means over seeds."""
    weights = ml.load_base()[0].named_parameters()
    rng = np.random.default_rng(0)
    measured: dict[str, Any] = {}
    for matrix in MATRICES:
        for r in RANKS:
            setting = of_rank("qv", r)
            scaling = setting.options["lora_alpha"] / r
            rows = []
            for config in results.configs(setting):
                matrices = store.lora(config)
                path = next(p for p in middle_layer(list(matrices)) if p.endswith(matrix))
                A, B = matrices[path]
                W, dW = weights[f"{path}.weight"].data, scaling * B @ A
                rows.append(
                    {
                        "dW": projection_norm(W, dW, r),
                        "W": projection_norm(W, W, r),
                        "random": projection_norm(W, rng.standard_normal(W.shape), r),
                        "||W||": float(np.linalg.norm(W)),
                        "||dW||": float(np.linalg.norm(dW)),
                        "factor": amplification_factor(W, dW, r),
                    }
                )
            measured[f"{matrix} {r}"] = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    return measured


def table(results: Results) -> str:
    header = ["", "r", *(f"W in the directions of {name}" for name in DIRECTIONS), "W", "dW", "amplification"]
    rows = []
    for matrix in MATRICES:
        for r in RANKS:
            ours = results.measured[f"{matrix} {r}"]
            rows.append([f"W_{matrix[0]}", str(r), *(f"{ours[c]:.2f}" for c in COLUMNS), f"{ours['factor']:.2f}"])
    for r, paper in PAPER.items():
        factor = paper["||dW||"] / paper["dW"]
        rows.append(["paper: W_q", str(r), *(f"{paper[c]:.2f}" for c in COLUMNS), f"{factor:.1f}"])
    return "Frobenius norms of the projection U^T W V or, for W and dW, of the whole matrix:\n\n" + markdown(
        header, rows
    )


def claims(results: Results) -> list[Claim]:
    low, high = (results.measured[f"q_proj {r}"] for r in RANKS)
    return [
        Claim(
            f"W_q is more than twice as large in the directions of dW as in random ones ({low['dW']:.2f} and "
            f"{low['random']:.2f} at r = 4)",
            low["dW"] > 2 * low["random"],
            f"dW is {low['||dW||'] / low['||W||']:.0%} as large as W (in the paper, "
            f"{PAPER[4]['||dW||'] / PAPER[4]['||W||']:.0%}): it replaces W's features where the paper's strengthens "
            "them, because the base cannot do the task at all (`minilora reproduce skill`)",
        ),
        Claim(
            f"these are not W_q's own top directions ({low['dW']:.2f} against {low['W']:.2f})", low["dW"] < low["W"] / 2
        ),
        Claim(f"dW amplifies them: the factor is above 1 ({low['factor']:.2f} at r = 4)", low["factor"] > 1),
        Claim(f"and smaller at r = 64 ({high['factor']:.2f})", high["factor"] < low["factor"]),
    ]


TITLE = "Table 7: what the update amplifies"
EXPERIMENT = Experiment("table7", TITLE, "section 7.3", settings, table, claims, measure=measure)
