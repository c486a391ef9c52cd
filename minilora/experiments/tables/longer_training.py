"""Does LoRA catch up with full fine-tuning if both train longer?  The headline leaves this open."""

from __future__ import annotations

from dataclasses import replace

from minilora.experiments.engine.experiment import FROM_NOTHING, HEADLINE, METRICS, Claim, Experiment, Results, markdown
from minilora.experiments.engine.plan import Scale, Setting, reference

TASKS = ("sql", "e2e")
TIMES = (1, 3)  # the scale's steps
FAMILIES = {"full": "full fine-tuning", "lora": "LoRA, attention, r = 4"}


def setting(task: str, family: str, times: int) -> Setting:
    """With the learning rate that was searched at the scale's steps."""
    return replace(reference(task, family), longer=times, seeds=1)


def settings(scale: Scale) -> list[Setting]:
    return [setting(task, family, times) for task in TASKS for times in TIMES for family in FAMILIES]


def table(results: Results) -> str:
    rows = []
    for task in TASKS:
        for times in TIMES:
            own = [setting(task, family, times) for family in FAMILIES]
            cells = [results.cell(s, metric) for s in own for metric in ("loss", HEADLINE[task])]
            rows.append([task, METRICS[HEADLINE[task]].label, str(times * results.scale.task_steps(task)), *cells])
    header = ["task", "metric", "steps"]
    for name in FAMILIES.values():
        header += [f"{name}: loss", "metric"]
    return markdown(header, rows) + "\n\nOne seed each."


def gap(results: Results, task: str, times: int) -> float:
    """How far full fine-tuning is ahead of LoRA, in the metric's units."""
    metric = HEADLINE[task]
    full, lora = (results.score(setting(task, family, times)) for family in FAMILIES)
    return full.gain(lora, metric)


def claims(results: Results) -> list[Claim]:
    gaps = {task: [gap(results, task, times) for times in TIMES] for task in TASKS}
    text = ", ".join(f"{task} {first:.1f} -> {later:.1f} points" for task, (first, later) in gaps.items())
    return [
        Claim(f"the gap narrows with training ({text})", all(later < first for first, later in gaps.values())),
        Claim("and is gone after three times the steps", all(later <= 0 for _, later in gaps.values()), FROM_NOTHING),
    ]


TITLE, SOURCE = "LoRA and full fine-tuning, trained longer", "a question left open by sections 5.4 and 5.5"
EXPERIMENT = Experiment("longer_training", TITLE, SOURCE, settings, table, claims)
