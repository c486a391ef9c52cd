"""The headline of tables 2 to 4: LoRA beside full fine-tuning, here on all five tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minilora.experiments.experiment import (
    METRICS,
    Claim,
    Experiment,
    Results,
    Score,
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
    """LoRA, full fine-tuning and the untrained base, task by task; then LoRA on the MLP's matrices too."""
    first = [make(task) for task in TASKS for make in (_lora, _full, untrained)]
    return first + [_lora_all(task) for task in TASKS]


def _lora(task: str) -> Setting:
    return reference(task, "lora")


def _lora_all(task: str) -> Setting:
    return reference(task, "lora_all")


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
    """The best of a task's baselines, in words and numbers; a person's answer is none."""
    baselines = {name: value for name, value in baselines.items() if name != "first reference"}
    best = (max if METRICS[metric].higher_is_better else min)(baselines, key=lambda name: baselines[name])
    return f"{show(Score(baselines[best], 0.0, 1), metric)} ({best})"


def table(results: Results) -> str:
    rows = []
    for task in TASKS:
        metric = headline(task)
        base, full, lora, everywhere = (results.score(make(task)) for make in (untrained, _full, _lora, _lora_all))
        rows.append(
            [
                task,
                METRICS[metric].label,
                _best_guess(results.measured[task], metric),
                *(show(score, metric) for score in (base, full)),
                *(
                    show(score, metric) + (" ✓" if not_worse(score, full, metric) else "")
                    for score in (lora, everywhere)
                ),
                *PAPER.get(task, ("–", "–")),
            ]
        )
    ours = ["LoRA: attention, r = 4", "LoRA: all six matrices, r = 2"]
    header = ["task", "metric", "best guess", "base", "full", *ours, "paper: full", "paper: LoRA"]
    shares = " and ".join(_share(results, make) for make in (_lora, _lora_all))
    return markdown(header, rows) + f"\n\n✓: not worse than full fine-tuning. The two LoRAs train {shares}."


def _share(results: Results, make: Callable[[str], Setting]) -> str:
    run = results.runs(make(TASKS[0]))[0]
    return f"{run['trainable']:,} ({run['trainable'] / run['total']:.1%})"


def claims(results: Results) -> list[Claim]:
    found = []
    for name, make in (("attention, r = 4", _lora), ("all six matrices, r = 2", _lora_all)):
        level = [t for t in TASKS if not_worse(results.score(make(t)), results.score(_full(t)), headline(t))]
        run = results.runs(make(TASKS[0]))[0]
        text = (
            f"LoRA on {name}, {_share(results, make)} of the parameters, is within one standard deviation of full "
            f"fine-tuning or above on {len(level)} of {len(TASKS)} tasks ({', '.join(level) or 'none'})"
        )
        found.append(Claim(text, len(level) >= 3 and run["trainable"] / run["total"] < SHARE))
    return found


EXPERIMENT = Experiment(
    name="lora_vs_full",
    title="Tables 3 and 4, the headline: LoRA and full fine-tuning",
    source="sections 5.4 and 5.5",
    settings=settings,
    table=table,
    claims=claims,
    measure=measure,
)
