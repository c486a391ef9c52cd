"""Tables 3 and 4: every method beside every other, with what it trains."""

from __future__ import annotations

from minilora import methods
from minilora.experiments.experiment import METRICS, Claim, Experiment, Results, Score, gain, headline, markdown
from minilora.experiments.plan import Scale, Setting, reference, secondary

TASKS = ("nli", "e2e", "sql")
SKIPPED = {(m, "e2e") for m in ("bitfit", "pre_embed")} | {(m, "sql") for m in ("top2", "adapter_l")}  # as in the paper
METHODS = ("full", "top2", "bitfit", "adapter_h", "adapter_l", "pre_embed", "pre_layer", "lora")
PAPER = {  # table 4, GPT-3, MNLI-m; table 3, GPT-2 M, BLEU on E2E; table 4, WikiSQL; the better of two sizes
    "full": ("89.5", "68.2", "73.8"),
    "top2": ("–", "68.1", "–"),
    "bitfit": ("91.0", "–", "71.3"),
    "adapter_h": ("91.5", "67.3 ± 0.6", "73.2"),
    "adapter_l": ("–", "68.9", "–"),
    "pre_embed": ("88.6", "–", "63.1"),
    "pre_layer": ("89.5", "69.7", "70.1"),
    "lora": ("91.7", "70.4 ± 0.1", "74.0"),
}


def setting(task: str, method: str) -> Setting:
    """The headline's settings have the headline's seeds."""
    own = reference(task, method)
    return own if method in ("full", "lora") else secondary(own)


def settings(scale: Scale) -> list[Setting]:
    return [setting(task, method) for task in TASKS for method in METHODS if (method, task) not in SKIPPED]


def table(results: Results) -> str:
    header = ["method", "trained", *(f"{task}: {METRICS[headline(task)].label}" for task in TASKS)]
    header += [f"paper: {name}" for name in ("MNLI-m", "E2E", "WikiSQL")]
    rows = []
    for method in METHODS:
        own = [setting(task, method) for task in TASKS]
        label = methods.METHODS[method].label
        rows.append([label, f"{results.trainable(own[0]):,}", *(results.cell(s) for s in own), *PAPER[method]])
    return markdown(header, rows)


def claims(results: Results) -> list[Claim]:
    score = {(m, t): results.score(setting(t, m)) for m in METHODS for t in TASKS if (m, t) not in SKIPPED}
    best = [t for t in TASKS if all(_gain(score, "lora", m, t) >= 0 for m, at in score if at == t and m != "full")]
    last = [t for t in ("sql", "nli") if all(_gain(score, "pre_embed", m, t) <= 0 for m, at in score if at == t)]
    return [
        Claim(
            f"LoRA is the best of the efficient methods on {len(best)} of {len(TASKS)} tasks "
            f"({', '.join(best) or 'none'})",
            len(best) >= 2,
        ),
        Claim(f"PreEmbed is the weakest of all on {' and '.join(last) or 'neither sql nor nli'}", len(last) == 2),
    ]


def _gain(score: dict[tuple[str, str], Score], a: str, b: str, task: str) -> float:
    return gain(score[a, task], score[b, task], headline(task))


EXPERIMENT = Experiment(
    name="table3_4",
    title="Tables 3 and 4: all methods",
    source="sections 5.4 and 5.5",
    settings=settings,
    table=table,
    claims=claims,
)
