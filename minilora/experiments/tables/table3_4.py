"""Tables 3 and 4: all methods on data-to-text (table 3), on SQL (table 4), and on three tasks whatever the table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from minilora.experiments.engine.experiment import HEADLINE, TOO_SHORT, Claim, Experiment, Results, labels, markdown
from minilora.experiments.engine.plan import Scale, Setting, reference
from minilora.methods import METHODS

E2E = {  # the paper's BLEU on E2E, GPT-2 M
    "full": "68.2",
    "adapter_l": "68.9",
    "adapter_h": "67.3 ± 0.6",
    "top2": "68.1",
    "pre_layer": "69.7",
    "lora": "70.4 ± 0.1",
}
WIKISQL = {  # the paper's accuracy, GPT-3; the better of two sizes where there are two
    "full": "73.8",
    "bitfit": "71.3",
    "pre_embed": "63.1",
    "pre_layer": "70.1",
    "adapter_h": "73.2",
    "lora": "74.0",
}
TASKS = ("e2e", "sql", "summ")
ALL = ("full", "top2", "bitfit", "adapter_h", "adapter_l", "pre_embed", "pre_layer", "lora")


def settings(scale: Scale, tasks: Iterable[str], compared: Iterable[str]) -> list[Setting]:
    return [reference(task, method) for task in tasks for method in compared]


def one_task(results: Results, task: str, paper: Mapping[str, str], name: str) -> str:
    """Our loss and score of each method, and the paper's score on the task it calls `name`."""
    metrics = ("loss", HEADLINE[task])
    rows = [[METHODS[m].label, *results.row(reference(task, m), *metrics), theirs] for m, theirs in paper.items()]
    loss, score = f"{task}: loss", *labels(HEADLINE[task])
    return markdown(["method", "trained", loss, score, f"paper: {name}"], rows)


def three_tasks(results: Results) -> str:
    rows = [
        [
            METHODS[method].label,
            *results.row(reference(TASKS[0], method)),
            *(results.cell_with_loss(reference(task, method)) for task in TASKS),
        ]
        for method in ALL
    ]
    header = ["method", "trained", *(f"{task}: {labels(HEADLINE[task])[0]}" for task in TASKS)]
    return markdown(header, rows) + "\n\nIn brackets: the loss, nats per byte."


def lower_loss(results: Results, task: str, a: str, b: str) -> bool:
    """Whether method a has a lower loss than b. The loss tells methods apart even where all their answers are wrong."""
    score_a, score_b = (results.score(reference(task, method), "loss") for method in (a, b))
    return score_a.gain(score_b, "loss") > 0


def lora_is_best(results: Results, task: str, compared: Iterable[str]) -> Claim:
    """The paper's conclusion, judged by the loss."""
    others = [m for m in compared if m not in ("full", "lora")]
    lower = [METHODS[m].label for m in others if lower_loss(results, task, m, "lora")]
    text = f"on {task}, no other efficient method has a lower loss than LoRA (lower: {', '.join(lower) or 'none'})"
    return Claim(text, not lower, "; ".join(_why(results, task, m) for m in others if METHODS[m].label in lower))


def _why(results: Results, task: str, method: str) -> str:
    """What a method that has a lower loss than LoRA has ahead of it: its size, its reach, or luck."""
    lora, other = (results.score(reference(task, m), "loss") for m in ("lora", method))
    label, run = METHODS[method].label, results.runs(reference(task, method))[0]
    if lora.not_worse(other, "loss"):
        return f"{label}'s lead is within one standard deviation ({lora.show('loss')} and {other.show('loss')})"
    share = run["trainable"] / run["total"]
    return f"{label} trains {share:.0%} of the model here, two of its four blocks (in GPT-2 M 7 %, two of 24)"


def claims3(results: Results) -> list[Claim]:
    lora, full = (results.score(reference("e2e", method)) for method in ("lora", "full"))
    above = lora.gain(full, "bleu")
    return [
        lora_is_best(results, "e2e", E2E),
        Claim(f"LoRA beats full fine-tuning ({above:+.1f} BLEU)", above > 0, TOO_SHORT),
    ]


def claims4(results: Results) -> list[Claim]:
    others = [m for m in WIKISQL if m != "pre_embed"]
    higher = [METHODS[m].label for m in others if lower_loss(results, "sql", "pre_embed", m)]
    return [
        lora_is_best(results, "sql", WIKISQL),
        Claim(f"PreEmbed has the highest loss of all (higher: {', '.join(higher) or 'none'})", not higher, TOO_SHORT),
    ]


TABLE3 = Experiment(
    "table3",
    "Table 3: the methods on data-to-text",
    "section 5.4",
    partial(settings, tasks=["e2e"], compared=E2E),
    partial(one_task, task="e2e", paper=E2E, name="E2E"),
    claims3,
)
TABLE4 = Experiment(
    "table4",
    "Table 4: the methods on SQL",
    "section 5.5",
    partial(settings, tasks=["sql"], compared=WIKISQL),
    partial(one_task, task="sql", paper=WIKISQL, name="WikiSQL"),
    claims4,
)
BOTH = Experiment(
    "three_tasks",
    "Tables 3 and 4: every method on three tasks",
    "sections 5.4 and 5.5",
    partial(settings, tasks=TASKS, compared=ALL),
    three_tasks,
    lambda results: [lora_is_best(results, task, ALL) for task in TASKS],
)
