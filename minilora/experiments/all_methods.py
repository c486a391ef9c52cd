"""What tables 3 and 4 share: a row a method, a column a task, and what is claimed of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from minilora import methods
from minilora.experiments.experiment import METRICS, Claim, Results, Score, gain, headline, markdown
from minilora.experiments.plan import Setting, reference, secondary


def setting(task: str, method: str) -> Setting:
    """Full fine-tuning and LoRA with the headline's seeds, which are run already; others with what is affordable."""
    own = reference(task, method)
    return own if method in ("full", "lora") else secondary(own)


def table(results: Results, paper: Mapping[str, Sequence[str]], tasks: Mapping[str, str]) -> str:
    """`paper`: method -> its scores there, by task; `tasks`: task -> its name there."""
    header = ["method", "trained", *(f"{task}: {METRICS[headline(task)].label}" for task in tasks)]
    rows = []
    for method, theirs in paper.items():
        own = [setting(task, method) for task in tasks]
        trained = f"{results.trainable(own[0]):,}"
        rows.append([methods.METHODS[method].label, trained, *map(results.cell, own), *theirs])
    return markdown([*header, *(f"paper: {name}" for name in tasks.values())], rows)


def scores(results: Results, names: Sequence[str], task: str) -> dict[str, Score]:
    return {method: results.score(setting(task, method)) for method in names}


def lora_is_best(results: Results, names: Sequence[str], tasks: Sequence[str]) -> Claim:
    """The paper's conclusion: no other efficient method is above LoRA."""
    ahead = {}
    for task in tasks:
        found = scores(results, names, task)
        others = [m for m in names if m not in ("full", "lora")]
        ahead[task] = [methods.METHODS[m].label for m in others if gain(found[m], found["lora"], headline(task)) > 0]
    text = "; ".join(f"on {task} {', '.join(above) or 'none'}" for task, above in ahead.items())
    return Claim(f"no efficient method is above LoRA (above it: {text})", not any(ahead.values()))
