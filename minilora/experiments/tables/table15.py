"""Table 15: LoRA together with prefixes."""

from __future__ import annotations

from minilora import methods
from minilora.experiments.engine.experiment import METRICS, Claim, Experiment, Results, gain, headline, markdown
from minilora.experiments.engine.plan import Scale, Setting, reference

TASKS = ("sql",)
METHODS = ("lora", "pre_embed", "pre_layer", "lora_pre_embed", "lora_pre_layer")
PAPER = {  # GPT-3: WikiSQL
    "lora": "73.8",
    "pre_embed": "63.1",
    "pre_layer": "70.1",
    "lora_pre_embed": "76.2",
    "lora_pre_layer": "72.9",
}


def settings(scale: Scale) -> list[Setting]:
    return [reference(task, method) for method in METHODS for task in TASKS]


def table(results: Results) -> str:
    header = ["method", "trained", *(f"{task}: {METRICS[headline(task)].label}" for task in TASKS)]
    rows = []
    for method in METHODS:
        own = [reference(task, method) for task in TASKS]
        label = methods.METHODS[method].label
        rows.append([label, f"{results.trainable(own[0]):,}", *map(results.cell, own), PAPER[method]])
    return markdown([*header, "paper: WikiSQL"], rows)


def claims(results: Results) -> list[Claim]:
    score = {(m, t): results.score(reference(t, m)) for m in METHODS for t in TASKS}
    with_embed = METRICS["execution"].factor * gain(score["lora_pre_embed", "sql"], score["lora", "sql"], "execution")
    with_layer = METRICS["execution"].factor * gain(score["lora_pre_layer", "sql"], score["lora", "sql"], "execution")
    return [
        Claim(f"LoRA+PreEmbed is above LoRA on sql ({with_embed:+.1f} points)", with_embed > 0),
        Claim(f"LoRA+PreLayer is below LoRA on sql ({with_layer:+.1f} points)", with_layer < 0),
    ]


EXPERIMENT = Experiment(
    name="table15",
    title="Table 15: LoRA with prefixes",
    source="appendices E and F.2",
    settings=settings,
    table=table,
    claims=claims,
)
