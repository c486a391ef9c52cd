"""What tables 3 and 4 share: a row a method, a column a task, and what is claimed of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from minilora import methods
from minilora.experiments.engine.experiment import METRICS, Claim, Results, Score, gain, headline, markdown
from minilora.experiments.engine.plan import reference


def table(results: Results, paper: Mapping[str, Sequence[str]], tasks: Mapping[str, str]) -> str:
    """`paper`: method -> its scores there, by task; `tasks`: task -> its name there."""
    header = ["method", "trained"]
    for task in tasks:
        header += [f"{task}: loss", METRICS[headline(task)].label]
    rows = []
    for method, theirs in paper.items():
        own = [reference(task, method) for task in tasks]
        trained = f"{results.trainable(own[0]):,}"
        cells = [results.cell(s, metric) for s in own for metric in ("loss", headline(s.task))]
        rows.append([methods.METHODS[method].label, trained, *cells, *theirs])
    return markdown([*header, *(f"paper: {name}" for name in tasks.values())], rows)


def losses(results: Results, names: Sequence[str], task: str) -> dict[str, Score]:
    """Test losses, which tell methods apart where their answers are all wrong."""
    return {method: results.score(reference(task, method), "loss") for method in names}


def lora_is_best(results: Results, names: Sequence[str], tasks: Sequence[str]) -> Claim:
    """The paper's conclusion: no other efficient method is better than LoRA; judged by the loss."""
    ahead = {}
    for task in tasks:
        found = losses(results, names, task)
        others = [m for m in names if m not in ("full", "lora")]
        ahead[task] = [methods.METHODS[m].label for m in others if gain(found[m], found["lora"], "loss") > 0]
    text = "; ".join(f"on {task} {', '.join(above) or 'none'}" for task, above in ahead.items())
    return Claim(f"no efficient method has a lower loss than LoRA (lower: {text})", not any(ahead.values()))
