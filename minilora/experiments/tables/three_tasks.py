"""Tables 3 and 4 together: every method on data-to-text, SQL and summaries, whichever table the paper has it in."""

from __future__ import annotations

from minilora import methods
from minilora.experiments.engine.experiment import METRICS, Claim, Experiment, Results, headline, markdown
from minilora.experiments.engine.plan import Scale, Setting, reference
from minilora.experiments.tables.all_methods import lora_is_best

TASKS = ("e2e", "sql", "summ")
METHODS = ("full", "top2", "bitfit", "adapter_h", "adapter_l", "pre_embed", "pre_layer", "lora")


def settings(scale: Scale) -> list[Setting]:
    return [reference(task, method) for task in TASKS for method in METHODS]


def table(results: Results) -> str:
    rows = []
    for method in METHODS:
        own = [reference(task, method) for task in TASKS]
        cells = [f"{results.cell(s)} ({results.score(s, 'loss').mean:.3f})" for s in own]
        rows.append([methods.METHODS[method].label, f"{results.trainable(own[0]):,}", *cells])
    header = [f"{task}: {METRICS[headline(task)].label}" for task in TASKS]
    return markdown(["method", "trained", *header], rows) + "\n\nIn brackets the loss, nats per byte."


def claims(results: Results) -> list[Claim]:
    return [lora_is_best(results, METHODS, [task]) for task in TASKS]


EXPERIMENT = Experiment(
    name="three_tasks",
    title="Tables 3 and 4: every method on three tasks",
    source="sections 5.4 and 5.5",
    settings=settings,
    table=table,
    claims=claims,
)
