"""The headline of tables 2 to 4: LoRA against full fine-tuning on all five tasks, with few examples and with all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from minilora.experiments.engine.experiment import (
    FROM_NOTHING,
    HEADLINE,
    METRICS,
    TOO_SHORT,
    Claim,
    Experiment,
    Results,
    Score,
    labels,
    markdown,
)
from minilora.experiments.engine.plan import Scale, Setting, reference, untrained
from minilora.experiments.engine.run import Store, load_task

TASKS = ("e2e", "sql", "nli", "summ", "code")
PAPER = {  # full fine-tuning, LoRA: table 3 (GPT-2 M, E2E, BLEU) and table 4 (GPT-3; LoRA with 4.7M parameters)
    "e2e": ("68.2", "70.4 ± 0.1"),
    "sql": ("73.8", "73.4"),
    "nli": ("89.5", "91.7"),
    "summ": ("52.0", "53.8"),
}
SHARE = 0.03  # LoRA may train at most this share of the parameters
LORAS = {"lora": "W_q, W_k, W_v, W_o, r = 4", "lora_v_o_mlp": "W_v, W_o and the MLP's two, r = 3"}
SIZES = (100, None)  # training examples; None: all


def setting(task: str, family: str, train: int | None) -> Setting:
    """Nli takes three times the steps if it has the examples: with fewer steps every method is near chance."""
    longer = 3 if task == "nli" and train is None else 1
    return replace(reference(task, family, train), longer=longer)


def settings(scale: Scale) -> list[Setting]:
    """Task by task, few examples first."""
    chosen = [setting(task, family, train) for train in SIZES for task in TASKS for family in ("full", *LORAS)]
    return [untrained(task) for task in TASKS] + chosen


def measure(results: Results, store: Store) -> Any:
    """task -> baseline -> its score on the headline metric, without a model."""
    scale = results.scale
    loaded = {task: load_task(task, scale.train, scale.valid, scale.test) for task in TASKS}
    return {
        task: {name: scores[HEADLINE[task]] for name, scores in data.baselines().items() if HEADLINE[task] in scores}
        for task, data in loaded.items()
    }


def _best_guess(baselines: dict[str, float], metric: str) -> str:
    """The best of a task's baselines: its score and its name. What a person wrote is not a guess."""
    baselines = {name: value for name, value in baselines.items() if name != "first reference"}
    best = (max if METRICS[metric].higher_is_better else min)(baselines, key=lambda name: baselines[name])
    return f"{Score(baselines[best], 0.0, 1).show(metric)} ({best})"


def table(results: Results) -> str:
    rows = []
    for task in TASKS:
        metric = HEADLINE[task]
        about = [*labels(metric), _best_guess(results.measured[task], metric), results.cell(untrained(task))]
        for train in SIZES:
            cells = [results.cell(setting(task, "full", train))]
            for family in LORAS:
                mark = " ✓" if matches_full(results, task, family, train) else ""
                cells.append(results.cell(setting(task, family, train)) + mark)
            paper = PAPER.get(task, ("–", "–")) if train is None else ("", "")
            rows.append([task, f"{train or results.scale.train:,}", *about, *cells, *paper])
    header = ["task", "examples", "metric", "best guess", "base", "full", *(f"LoRA: {name}" for name in LORAS.values())]
    shares = " and ".join(_share(results, family) for family in LORAS)
    return markdown([*header, "paper: full", "paper: LoRA"], rows) + (
        f"\n\n✓: not worse than full fine-tuning. The two LoRAs train {shares}. On nli with all examples each run "
        "takes three times the steps, at the learning rate that was searched with the usual number."
    )


def _share(results: Results, family: str) -> str:
    run = results.runs(setting(TASKS[0], family, None))[0]
    return f"{run['trainable']:,} parameters ({run['trainable'] / run['total']:.1%})"


def matches_full(results: Results, task: str, family: str, train: int | None) -> bool:
    """Whether a LoRA is not worse than full fine-tuning on the task."""
    lora, full = (results.score(setting(task, name, train)) for name in (family, "full"))
    return lora.not_worse(full, HEADLINE[task])


def claims(results: Results) -> list[Claim]:
    found = []
    for train in SIZES:
        for family, name in LORAS.items():
            tasks = [task for task in TASKS if matches_full(results, task, family, train)]
            run = results.runs(setting(TASKS[0], family, train))[0]
            text = (
                f"with {train or results.scale.train:,} examples, LoRA on {name}, training {_share(results, family)}, "
                f"is not worse than full fine-tuning on most tasks ({len(tasks)} of {len(TASKS)}: "
                f"{', '.join(tasks) or 'none'})"
            )
            held = len(tasks) >= 3 and run["trainable"] / run["total"] < SHARE
            found.append(Claim(text, held, FROM_NOTHING if train else TOO_SHORT))
    return found


TITLE = "Tables 3 and 4, the headline: LoRA and full fine-tuning"
EXPERIMENT = Experiment("lora_vs_full", TITLE, "sections 5.4 and 5.5", settings, table, claims, measure=measure)
