"""Figure 2 (and table 15's grid behind it): quality against the number of trained parameters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from minilora import methods
from minilora.experiments.experiment import METRICS, Claim, Experiment, Results, Score, gain, headline, markdown
from minilora.experiments.figures import scores_by_size
from minilora.experiments.plan import Scale, Setting, lora, reference
from minilora.experiments.table6 import setting as of_rank

TASKS = ("sql",)
SIZES: dict[str, list[dict[str, Any]]] = {  # method -> options, small to large
    "lora": [lora(r) for r in (1, 2, 4, 8, 64)],
    "adapter_h": [{"m": 1}, {"m": 8}, {"m": 64}],
    "pre_embed": [{"l_p": 4}, {"l_p": 16}, {"l_p": 64}],
    "pre_layer": [{"l_p": 2}, {"l_p": 8}, {"l_p": 32}],
}
PAPER = {  # table 15, WikiSQL and MultiNLI: smallest, best and largest size of each method
    "lora": "73.4 / 91.3 with 4.7M, 73.8 / 91.6 with 37.7M, 73.6 / 91.4 with 301.9M",
    "adapter_h": "best 73.2 / 91.5 with 40.1M, on WikiSQL 72.6 with 304.4M",
    "pre_embed": "best 63.1 / 88.6 with 3.2M, 55.9 / 85.8 with 6.4M",
    "pre_layer": "best 70.1 / 89.5 with 20.2M, 64.9 / 87.9 with 76.1M",
}


def setting(task: str, method: str, options: dict[str, Any]) -> Setting:
    """LoRA's sizes are runs of table 6, with their seeds; another method has one."""
    own = reference(task, method)
    if method == "lora":
        return of_rank("qv", options["r"])
    options = own.options | options
    return replace(own, options=options, seeds=1)


def settings(scale: Scale) -> list[Setting]:
    return [setting(task, method, options) for method, sizes in SIZES.items() for options in sizes for task in TASKS]


def points(results: Results, task: str, method: str) -> dict[int, Score]:
    """Trained parameters -> score in the metric's units."""
    found = [setting(task, method, options) for options in SIZES[method]]
    return {results.trainable(s): results.score(s).scaled(headline(task)) for s in found}


def table(results: Results) -> str:
    rows = []
    for method, sizes in SIZES.items():
        for options in sizes:
            own = [setting(task, method, options) for task in TASKS]
            rows.append([methods.METHODS[method].label, f"{results.trainable(own[0]):,}", *map(results.cell, own)])
    header = ["method", "trained", *(f"{task}: {METRICS[headline(task)].label}" for task in TASKS)]
    paper = "\n".join(f"- {methods.METHODS[method].label}: {text}" for method, text in PAPER.items())
    return markdown(header, rows) + f"\n\nThe paper (table 15, WikiSQL / MultiNLI on GPT-3):\n\n{paper}"


def claims(results: Results) -> list[Claim]:
    def drop(method: str, task: str) -> float:
        scores = list(points(results, task, method).values())
        best = max(scores, key=lambda score: gain(score, scores[0], headline(task)))
        return gain(best, scores[-1], headline(task))

    drops = {method: {task: drop(method, task) for task in TASKS} for method in SIZES}

    def text(method: str) -> str:
        return ", ".join(f"{value:.1f} points on {task}" for task, value in drops[method].items())

    prefix = [m for m in ("pre_embed", "pre_layer") if all(d > 2 for d in drops[m].values())]
    return [
        Claim(
            f"LoRA at its largest is within 2 points of its best ({text('lora')} below it)",
            all(d <= 2 for d in drops["lora"].values()),
        ),
        *(
            Claim(
                f"{methods.METHODS[m].label} falls by more than 2 points as it grows ({text(m)} below its best)",
                m in prefix,
            )
            for m in ("pre_embed", "pre_layer")
        ),
    ]


def figure(results: Results, path: Path) -> None:
    scores_by_size(
        {
            f"{task}: {METRICS[headline(task)].label}": {
                methods.METHODS[method].label: points(results, task, method) for method in SIZES
            }
            for task in TASKS
        },
        {
            f"{task}: {METRICS[headline(task)].label}": results.score(reference(task, "full")).scaled(headline(task))
            for task in TASKS
        },
        path,
    )


EXPERIMENT = Experiment(
    name="figure2",
    title="Figure 2: quality and number of parameters",
    source="section 5.5 and table 15",
    settings=lambda scale: settings(scale) + [reference(task, "full") for task in TASKS],
    table=table,
    claims=claims,
    figure=figure,
)
