"""Table 3: the methods on data-to-text."""

from __future__ import annotations

from minilora.experiments.engine.experiment import Claim, Experiment, Results, gain
from minilora.experiments.engine.plan import Scale, Setting, reference
from minilora.experiments.tables.all_methods import lora_is_best, table

PAPER = {  # GPT-2 M, BLEU on E2E
    "full": ("68.2",),
    "adapter_l": ("68.9",),
    "adapter_h": ("67.3 ± 0.6",),
    "top2": ("68.1",),
    "pre_layer": ("69.7",),
    "lora": ("70.4 ± 0.1",),
}


def settings(scale: Scale) -> list[Setting]:
    return [reference("e2e", method) for method in PAPER]


def claims(results: Results) -> list[Claim]:
    lora, full = (results.score(reference("e2e", method)) for method in ("lora", "full"))
    above = gain(lora, full, "bleu")
    return [
        lora_is_best(results, list(PAPER), ["e2e"]),
        Claim(f"LoRA is above full fine-tuning ({above:+.1f} BLEU)", above > 0),
    ]


EXPERIMENT = Experiment(
    name="table3",
    title="Table 3: the methods on data-to-text",
    source="section 5.4",
    settings=settings,
    table=lambda results: table(results, PAPER, {"e2e": "E2E"}),
    claims=claims,
)
