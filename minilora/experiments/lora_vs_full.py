"""The headline of tables 2 to 4: LoRA beside full fine-tuning, here on all five tasks."""

from __future__ import annotations

from typing import Any

from minilora.experiments.experiment import (
    METRICS,
    Claim,
    Experiment,
    Results,
    Score,
    gain,
    headline,
    markdown,
    not_worse,
    show,
)
from minilora.experiments.plan import Scale, Setting, reference, untrained
from minilora.experiments.run import Store, load_task

TASKS = ("e2e", "sql", "nli", "summ", "code")
PAPER = {  # full fine-tuning, LoRA: table 3 (GPT-2 M, E2E, BLEU) and table 4 (GPT-3; LoRA with 4.7M parameters)
    "e2e": ("68.2", "70.4 ± 0.1"),
    "sql": ("73.8", "73.4"),
    "nli": ("89.5", "91.7"),
    "summ": ("52.0", "53.8"),
}
SHARE = 0.03  # of the parameters that LoRA may train here


def settings(scale: Scale) -> list[Setting]:
    """LoRA, full fine-tuning and the untrained base, task by task."""
    return [make(task) for task in TASKS for make in (_lora, _full, untrained)]


def _lora(task: str) -> Setting:
    return reference(task, "lora")


def _full(task: str) -> Setting:
    return reference(task, "full")


def measure(results: Results, store: Store) -> Any:
    """task -> what each of its baselines without a model scores on the headline metric."""
    scale = results.scale
    loaded = {task: load_task(task, scale.train, scale.valid, scale.test) for task in TASKS}
    return {
        task: {name: scores[headline(task)] for name, scores in data.baselines().items() if headline(task) in scores}
        for task, data in loaded.items()
    }


def _best_guess(baselines: dict[str, float], metric: str) -> str:
    """The best of a task's baselines, in words and numbers."""
    best = (max if METRICS[metric].higher_is_better else min)(baselines, key=lambda name: baselines[name])
    return f"{show(Score(baselines[best], 0.0, 1), metric)} ({best})"


def table(results: Results) -> str:
    rows = []
    for task in TASKS:
        full, lora, base = (results.score(make(task)) for make in (_full, _lora, untrained))
        metric = headline(task)
        rows.append(
            [
                task,
                METRICS[metric].label,
                _best_guess(results.measured[task], metric),
                *(show(score, metric) for score in (base, full, lora)),
                "yes" if not_worse(lora, full, metric) else "no",
                *PAPER.get(task, ("–", "–")),
            ]
        )
    run = results.runs(_lora("nli"))[0]
    header = ["task", "metric", "best guess", "base", "full", "LoRA", "LoRA not worse", "paper: full", "paper: LoRA"]
    share = f"LoRA trains {run['trainable']:,} of {run['total']:,} parameters ({run['trainable'] / run['total']:.1%})."
    return markdown(header, rows) + f"\n\n{share}"


def claims(results: Results) -> list[Claim]:
    scores = {task: (results.score(_lora(task)), results.score(_full(task))) for task in TASKS}
    level = [task for task, (lora, full) in scores.items() if not_worse(lora, full, headline(task))]
    above = [task for task, (lora, full) in scores.items() if gain(lora, full, headline(task)) > 0]
    run = results.runs(_lora("nli"))[0]
    share = run["trainable"] / run["total"]
    return [
        Claim(
            f"LoRA with {share:.1%} of the parameters is within one standard deviation of full fine-tuning or above on "
            f"{len(level)} of {len(TASKS)} tasks ({', '.join(level) or 'none'})",
            len(level) >= 3 and share < SHARE,
        ),
        Claim(f"LoRA is above full fine-tuning on {len(above)} ({', '.join(above) or 'none'})", len(above) >= 3),
    ]


EXPERIMENT = Experiment(
    name="lora_vs_full",
    title="Tables 3 and 4, the headline: LoRA and full fine-tuning",
    source="sections 5.4 and 5.5",
    settings=settings,
    table=table,
    claims=claims,
    measure=measure,
)
