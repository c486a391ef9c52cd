"""Table 15: LoRA together with prefixes, at the paper's size that is nearest to LoRA's own (37.7M parameters).

(Its best LoRA+PreEmbed, 76.2, trains 302.1M.)
"""

from __future__ import annotations

from minilora.experiments.engine.experiment import HEADLINE, Claim, Experiment, Results, labels, markdown
from minilora.experiments.engine.plan import Scale, Setting, reference
from minilora.methods import METHODS

TASK = "sql"
PAPER = {  # GPT-3: WikiSQL
    "lora": "73.8",
    "pre_embed": "63.1",
    "pre_layer": "70.1",
    "lora_pre_embed": "75.0",
    "lora_pre_layer": "72.9",
}


def settings(scale: Scale) -> list[Setting]:
    return [reference(TASK, method) for method in PAPER]


def table(results: Results) -> str:
    metric = HEADLINE[TASK]
    rows = [[METHODS[m].label, *results.row(reference(TASK, m), metric), theirs] for m, theirs in PAPER.items()]
    return markdown(["method", "trained", f"{TASK}: {labels(metric)[0]}", "paper: WikiSQL"], rows)


def claims(results: Results) -> list[Claim]:
    metric = HEADLINE[TASK]
    score = {method: results.score(reference(TASK, method)) for method in PAPER}
    noise = " and ".join(f"{score[m].scaled(metric).std:.1f}" for m in ("lora", "lora_pre_embed"))
    with_embed, with_layer = (score[both].gain(score["lora"], metric) for both in ("lora_pre_embed", "lora_pre_layer"))
    return [
        Claim(
            f"LoRA+PreEmbed beats LoRA on sql ({with_embed:+.1f} points)",
            with_embed > 0,
            f"the difference is smaller than the scatter over seeds (standard deviations {noise}), and made-up words "
            f"by themselves teach this base nothing ({results.cell(reference(TASK, 'pre_embed'))})",
        ),
        Claim(f"LoRA+PreLayer does worse than LoRA on sql ({with_layer:+.1f} points)", with_layer < 0),
    ]


EXPERIMENT = Experiment("table15", "Table 15: LoRA with prefixes", "appendices E and F.2", settings, table, claims)
