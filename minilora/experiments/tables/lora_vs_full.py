"""The headline of tables 2 to 4: LoRA beside full fine-tuning, on all five tasks, with few examples and with all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from minilora.experiments.engine.experiment import (
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
from minilora.experiments.engine.plan import Scale, Setting, reference, untrained
from minilora.experiments.engine.run import Store, load_task

TASKS = ("e2e", "sql", "nli", "summ", "code")
PAPER = {  # full fine-tuning, LoRA: table 3 (GPT-2 M, E2E, BLEU) and table 4 (GPT-3; LoRA with 4.7M parameters)
    "e2e": ("68.2", "70.4 ± 0.1"),
    "sql": ("73.8", "73.4"),
    "nli": ("89.5", "91.7"),
    "summ": ("52.0", "53.8"),
}
SHARE = 0.03  # of the parameters that LoRA may train here
LORAS = {"lora": "W_q, W_k, W_v, W_o, r = 4", "lora_v_o_mlp": "W_v, W_o and the MLP's two, r = 3"}
SIZES = (100, None)  # examples to train on; None is all of them


def setting(task: str, family: str, train: int | None) -> Setting:
    """On nli three times the steps where there are examples for it: before that every method is near chance."""
    longer = 3 if task == "nli" and train is None else 1
    return replace(reference(task, family, train), longer=longer)


def settings(scale: Scale) -> list[Setting]:
    """Task by task, few examples first."""
    chosen = [setting(task, family, train) for train in SIZES for task in TASKS for family in ("full", *LORAS)]
    return [untrained(task) for task in TASKS] + chosen


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
        about = [METRICS[metric].label, _best_guess(results.measured[task], metric)]
        about.append(show(results.score(untrained(task)), metric))
        for train in SIZES:
            full = results.score(setting(task, "full", train))
            cells = [show(full, metric)]
            for family in LORAS:
                score = results.score(setting(task, family, train))
                cells.append(show(score, metric) + (" ✓" if not_worse(score, full, metric) else ""))
            paper = PAPER.get(task, ("–", "–")) if train is None else ("", "")
            rows.append([task, f"{train or results.scale.train:,}", *about, *cells, *paper])
    header = ["task", "examples", "metric", "best guess", "base", "full", *(f"LoRA: {name}" for name in LORAS.values())]
    shares = " and ".join(_share(results, family) for family in LORAS)
    return markdown([*header, "paper: full", "paper: LoRA"], rows) + (
        f"\n\n✓: not worse than full fine-tuning. The two LoRAs train {shares}. On nli with all examples each run "
        "takes three times the steps, at the learning rate searched at the usual number."
    )


def _share(results: Results, family: str) -> str:
    run = results.runs(setting(TASKS[0], family, None))[0]
    return f"{run['trainable']:,} ({run['trainable'] / run['total']:.1%})"


def level(results: Results, family: str, train: int | None) -> list[str]:
    """The tasks on which a LoRA is not worse than full fine-tuning."""

    def score(task: str, family: str) -> Score:
        return results.score(setting(task, family, train))

    return [task for task in TASKS if not_worse(score(task, family), score(task, "full"), headline(task))]


def claims(results: Results) -> list[Claim]:
    found = []
    for train in SIZES:
        for family, name in LORAS.items():
            tasks = level(results, family, train)
            run = results.runs(setting(TASKS[0], family, train))[0]
            text = (
                f"with {train or results.scale.train:,} examples LoRA on {name}, {_share(results, family)} of the "
                f"parameters, is within one standard deviation of full fine-tuning or above on {len(tasks)} of "
                f"{len(TASKS)} tasks ({', '.join(tasks) or 'none'})"
            )
            found.append(Claim(text, len(tasks) >= 3 and run["trainable"] / run["total"] < SHARE))
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
