"""Table 4: the methods on entailment and SQL."""

from __future__ import annotations

from minilora.experiments.all_methods import lora_is_best, scores, setting, table
from minilora.experiments.experiment import Claim, Experiment, Results, gain, headline
from minilora.experiments.plan import Scale, Setting

TASKS = {"nli": "MNLI-m", "sql": "WikiSQL"}
PAPER = {  # GPT-3, the better of two sizes where it has two
    "full": ("89.5", "73.8"),
    "bitfit": ("91.0", "71.3"),
    "pre_embed": ("88.6", "63.1"),
    "pre_layer": ("89.5", "70.1"),
    "adapter_h": ("91.5", "73.2"),
    "lora": ("91.7", "74.0"),
}


def settings(scale: Scale) -> list[Setting]:
    return [setting(task, method) for task in TASKS for method in PAPER]


def claims(results: Results) -> list[Claim]:
    last = []
    for task in TASKS:
        found = scores(results, list(PAPER), task)
        if all(gain(found["pre_embed"], score, headline(task)) <= 0 for score in found.values()):
            last.append(task)
    return [
        lora_is_best(results, list(PAPER), list(TASKS)),
        Claim(
            f"PreEmbed is the weakest of all: true on {' and '.join(last) or 'neither task'}", len(last) == len(TASKS)
        ),
    ]


EXPERIMENT = Experiment(
    name="table4",
    title="Table 4: the methods on entailment and SQL",
    source="section 5.5",
    settings=settings,
    table=lambda results: table(results, PAPER, TASKS),
    claims=claims,
)
