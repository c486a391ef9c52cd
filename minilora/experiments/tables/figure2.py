"""Figure 2, with the grid of table 15: quality against the number of trained parameters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from minilora.experiments.engine.experiment import HEADLINE, Claim, Experiment, Results, Score, labels, markdown
from minilora.experiments.engine.figures import scores_by_size
from minilora.experiments.engine.plan import Scale, Setting, lora, reference
from minilora.experiments.tables.table6 import setting as of_rank
from minilora.methods import METHODS

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
    return f"On {TASK}:\n\n{ours}\n\nThe paper (table 15, WikiSQL / MultiNLI on GPT-3):\n\n{paper}"


def claims(results: Results) -> list[Claim]:
    """Judged by the loss: at the smallest sizes all answers are wrong."""

    def text(method: str) -> str:
        return ", ".join(f"{score.mean:.3f} with {n:,}" for n, score in points(results, method, "loss").items())

    def worsens(method: str) -> bool:
        """Whether the largest size is worse than a smaller one."""
        losses = [score.mean for score in points(results, method, "loss").values()]
        return losses[-1] > min(losses)

    prefixes = ("pre_embed", "pre_layer")
    return [
        Claim(f"LoRA does not get worse as it grows (loss {text('lora')} parameters)", not worsens("lora")),
        *(Claim(f"{METHODS[m].label} gets worse as it grows (loss {text(m)})", worsens(m)) for m in prefixes),
    ]


def figure(results: Results, path: Path) -> None:
    curves, lines = {}, {}
    for label, metric in zip(labels(*SHOWN), SHOWN, strict=True):
        curves[label] = {METHODS[m].label: points(results, m, metric) for m in SIZES}
        lines[label] = results.score(reference(TASK, "full"), metric).scaled(metric)
    scores_by_size(curves, lines, path)


TITLE = "Figure 2: quality and number of parameters"
EXPERIMENT = Experiment("figure2", TITLE, "section 5.5 and table 15", settings, table, claims, figure)
