"""Tables 3 and 4: every method beside every other, with what it trains."""

from __future__ import annotations

from minilora import methods
from minilora.experiments.experiment import METRICS, Claim, Experiment, Results, gain, headline, markdown
from minilora.experiments.plan import Scale, Setting, reference

TASKS = ("e2e", "sql", "nli")
METHODS = ("full", "top2", "bitfit", "adapter_h", "adapter_l", "pre_embed", "pre_layer", "lora")
PAPER = {  # table 3, GPT-2 M, BLEU on E2E; table 4, GPT-3, WikiSQL and MNLI-m, the better of two sizes where it has two
    "full": ("68.2", "73.8", "89.5"),
    "top2": ("68.1", "–", "–"),
    "bitfit": ("–", "71.3", "91.0"),
    "adapter_h": ("67.3 ± 0.6", "73.2", "91.5"),
    "adapter_l": ("68.9", "–", "–"),
    "pre_embed": ("–", "63.1", "88.6"),
    "pre_layer": ("69.7", "70.1", "89.5"),
    "lora": ("70.4 ± 0.1", "74.0", "91.7"),
}


def settings(scale: Scale) -> list[Setting]:
    return [reference(task, method) for method in METHODS for task in TASKS]


def table(results: Results) -> str:
    header = ["method", "trained", *(f"{task}: {METRICS[headline(task)].label}" for task in TASKS)]
    header += [f"paper: {name}" for name in ("E2E", "WikiSQL", "MNLI-m")]
    rows = []
    for method in METHODS:
        own = [reference(task, method) for task in TASKS]
        label = methods.METHODS[method].label
        rows.append([label, f"{results.trainable(own[0]):,}", *(results.cell(s) for s in own), *PAPER[method]])
    return markdown(header, rows)


def claims(results: Results) -> list[Claim]:
    score = {(m, t): results.score(reference(t, m)) for m in METHODS for t in TASKS}
    efficient = [m for m in METHODS if m not in ("full", "lora")]
    best = [t for t in TASKS if all(gain(score["lora", t], score[m, t], headline(t)) >= 0 for m in efficient)]
    last = [t for t in TASKS[1:] if all(gain(score["pre_embed", t], score[m, t], headline(t)) <= 0 for m in METHODS)]
    return [
        Claim(
            f"LoRA is the best of the efficient methods on {len(best)} of {len(TASKS)} tasks "
            f"({', '.join(best) or 'none'})",
            len(best) >= 2,
        ),
        Claim(f"PreEmbed is the weakest of all on {' and '.join(last) or 'neither sql nor nli'}", len(last) == 2),
    ]


EXPERIMENT = Experiment(
    name="table3_4",
    title="Tables 3 and 4: all methods",
    source="sections 5.4 and 5.5",
    settings=settings,
    table=table,
    claims=claims,
)
