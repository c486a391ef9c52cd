"""Figure 2, with the grid of table 15: quality against the number of trained parameters."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from minilora.experiments.engine.experiment import (
    FROM_NOTHING,
    HEADLINE,
    Claim,
    Experiment,
    Results,
    Score,
    labels,
    markdown,
)
from minilora.experiments.engine.figures import scores_by_size
from minilora.experiments.engine.plan import Scale, Setting, lora, reference
from minilora.experiments.tables.table6 import setting as of_rank
from minilora.methods import METHODS
from minilora.tasks.task import BLOCK_SIZE

TASK = "sql"
SHOWN = ("loss", HEADLINE[TASK])
SIZES: dict[str, list[dict[str, Any]]] = {  # method -> options, small to large
    "lora": [lora(r) for r in (1, 2, 4, 8, 64)],
    "adapter_h": [{"m": 1}, {"m": 8}, {"m": 64}],
    "pre_embed": [{"l_p": 4}, {"l_p": 16}, {"l_p": 64}],
    "pre_layer": [{"l_p": 2}, {"l_p": 8}, {"l_p": 32}],
}
PAPER = {  # table 15, WikiSQL / MultiNLI: the smallest, best and largest size of each method
    "lora": "73.4 / 91.3 with 4.7M, 73.8 / 91.6 with 37.7M, 73.6 / 91.4 with 301.9M",
    "adapter_h": "best 73.2 / 91.5 with 40.1M, on WikiSQL 72.6 with 304.4M",
    "pre_embed": "best 63.1 / 88.6 with 3.2M, 55.9 / 85.8 with 6.4M",
    "pre_layer": "best 70.1 / 89.5 with 20.2M, 64.9 / 87.9 with 76.1M",
}


def setting(method: str, options: dict[str, Any]) -> Setting:
    """LoRA's sizes are runs of table 6."""
    if method == "lora":
        return of_rank("qv", options["r"])
    own = reference(TASK, method)
    return replace(own, options=own.options | options)


def settings(scale: Scale) -> list[Setting]:
    sizes = [setting(method, options) for method, sizes in SIZES.items() for options in sizes]
    return [*sizes, reference(TASK, "full")]


def points(results: Results, method: str, metric: str) -> dict[int, Score]:
    """Trained parameters -> score in the metric's units."""
    found = [setting(method, options) for options in SIZES[method]]
    return {results.trainable(s): results.score(s, metric).scaled(metric) for s in found}


def table(results: Results) -> str:
    rows = [
        [METHODS[method].label, *results.row(setting(method, options), *SHOWN)]
        for method, sizes in SIZES.items()
        for options in sizes
    ]
    paper = "\n".join(f"- {METHODS[method].label}: {text}" for method, text in PAPER.items())
    ours = markdown(["method", "trained", *labels(*SHOWN)], rows)
    prefixes = (
        "The paper's prefixes get worse above 256 (PreEmbed) and above 32 (PreLayer) special tokens. That cannot be "
        f"tested here: 256 do not fit into a context of {BLOCK_SIZE} tokens beside an example. Ours, up to "
        f"{SIZES['pre_embed'][-1]['l_p']} and {SIZES['pre_layer'][-1]['l_p']}, still get better as they grow."
    )
    return f"On {TASK}:\n\n{ours}\n\nThe paper (table 15, WikiSQL / MultiNLI on GPT-3):\n\n{paper}\n\n{prefixes}"


def claims(results: Results) -> list[Claim]:
    """Judged by the loss: at the smallest sizes all answers are wrong."""

    loss = {method: {n: s.mean for n, s in points(results, method, "loss").items()} for method in SIZES}
    sizes = ", ".join(f"{mean:.3f} with {n:,}" for n, mean in loss["lora"].items())
    *smaller, largest = loss["lora"].values()

    def smaller_lora(n: int) -> float:
        """The loss of the largest LoRA with at most n parameters; infinite if there is none."""
        return min((mean for size, mean in loss["lora"].items() if size <= n), default=math.inf)

    prefixes = [(n, mean) for method in ("pre_embed", "pre_layer") for n, mean in loss[method].items()]
    fair = [(n, mean) for n, mean in prefixes if smaller_lora(n) < math.inf]
    behind = [n for n, mean in fair if smaller_lora(n) < mean]
    return [
        Claim(f"LoRA does not get worse as it grows (loss {sizes} parameters)", largest <= min(smaller), FROM_NOTHING),
        Claim(
            f"LoRA is better than a prefix that trains as many parameters or more (at {len(behind)} of {len(fair)} "
            "sizes)",
            len(behind) == len(fair),
            FROM_NOTHING,
        ),
    ]


def figure(results: Results, path: Path) -> None:
    curves, lines = {}, {}
    for label, metric in zip(labels(*SHOWN), SHOWN, strict=True):
        curves[label] = {METHODS[m].label: points(results, m, metric) for m in SIZES}
        lines[label] = results.score(reference(TASK, "full"), metric).scaled(metric)
    scores_by_size(curves, lines, path)


TITLE = "Figure 2: quality and number of parameters"
EXPERIMENT = Experiment("figure2", TITLE, "section 5.5 and table 15", settings, table, claims, figure)
