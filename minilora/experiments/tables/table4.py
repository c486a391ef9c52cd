"""Table 4: the methods on SQL."""

from __future__ import annotations

from minilora.experiments.engine.experiment import Claim, Experiment, Results, gain
from minilora.experiments.engine.plan import Scale, Setting, reference
from minilora.experiments.tables.all_methods import lora_is_best, losses, table

TASKS = {"sql": "WikiSQL"}
PAPER = {  # GPT-3, WikiSQL, the better of two sizes where it has two
    "full": ("73.8",),
    "bitfit": ("71.3",),
    "pre_embed": ("63.1",),
    "pre_layer": ("70.1",),
    "adapter_h": ("73.2",),
    "lora": ("74.0",),
}


def settings(scale: Scale) -> list[Setting]:
    return [reference(task, method) for task in TASKS for method in PAPER]


def claims(results: Results) -> list[Claim]:
    found = losses(results, list(PAPER), "sql")
    below = [m for m in PAPER if m != "pre_embed" and gain(found["pre_embed"], found[m], "loss") > 0]
    return [
        lora_is_best(results, list(PAPER), list(TASKS)),
        Claim(f"PreEmbed has the highest loss of all (higher: {', '.join(below) or 'none'})", not below),
    ]


EXPERIMENT = Experiment(
    name="table4",
    title="Table 4: the methods on SQL",
    source="section 5.5",
    settings=settings,
    table=lambda results: table(results, PAPER, TASKS),
    claims=claims,
)
