"""Table 6: how small the rank may be."""

from __future__ import annotations

from pathlib import Path

from minilora.experiments.experiment import METRICS, Claim, Experiment, Results, gain, headline, markdown, not_worse
from minilora.experiments.figures import scores_by_rank
from minilora.experiments.plan import Scale, Setting, lora, secondary
from minilora.experiments.table5 import adapted, symbols

TASKS = ("sql", "nli")
RANKS = {"q": (1, 8, 64), "qv": (1, 2, 4, 8, 64), "qkvo": (1, 2, 4, 64)}
PAPER = {  # GPT-3: WikiSQL (± 0.5), MultiNLI (± 0.1)
    "sql": {
        "q": {1: 68.8, 2: 69.6, 4: 70.5, 8: 70.4, 64: 70.0},
        "qv": {1: 73.4, 2: 73.3, 4: 73.7, 8: 73.8, 64: 73.5},
        "qkvo": {1: 74.1, 2: 73.7, 4: 74.0, 8: 74.0, 64: 73.9},
    },
    "nli": {
        "q": {1: 90.7, 2: 90.9, 4: 91.1, 8: 90.7, 64: 90.7},
        "qv": {1: 91.3, 2: 91.4, 4: 91.3, 8: 91.6, 64: 91.4},
        "qkvo": {1: 91.2, 2: 91.7, 4: 91.7, 8: 91.5, 64: 91.4},
    },
}


def setting(task: str, letters: str, r: int) -> Setting:
    return secondary(Setting(task, "lora", lora(r, adapted(letters))))


def settings(scale: Scale) -> list[Setting]:
    return [setting(task, letters, r) for task in TASKS for letters in ("qv", "q", "qkvo") for r in RANKS[letters]]


def table(results: Results) -> str:
    ranks = RANKS["qv"]
    rows = []
    for task in TASKS:
        for letters in RANKS:
            ours = [results.cell(setting(task, letters, r)) if r in RANKS[letters] else "" for r in ranks]
            rows.append([f"{task}: {METRICS[headline(task)].label}", symbols(letters), *ours])
            rows.append(
                [f"paper: {'WikiSQL' if task == 'sql' else 'MultiNLI'}", symbols(letters)]
                + [str(PAPER[task][letters][r]) for r in ranks]
            )
    return markdown(["task", "adapted", *(f"r = {r}" for r in ranks)], rows)


def claims(results: Results) -> list[Claim]:
    def level(task: str, letters: str, a: int, b: int) -> bool:
        metric = headline(task)
        return not_worse(results.score(setting(task, letters, a)), results.score(setting(task, letters, b)), metric)

    enough = [task for task in TASKS if level(task, "qv", 1, 64)]
    few = [task for task in TASKS if level(task, "qv", 8, 64)]
    below = [
        task
        for task in TASKS
        if all(
            gain(results.score(setting(task, "q", r)), results.score(setting(task, "qv", r)), headline(task)) < 0
            for r in RANKS["q"]
        )
    ]
    return [
        Claim(
            f"r = 1 on W_q, W_v is not worse than r = 64: true on {' and '.join(enough) or 'neither task'}",
            len(enough) == len(TASKS),
        ),
        Claim(
            f"r = 8 on W_q, W_v is not worse than r = 64: true on {' and '.join(few) or 'neither task'}",
            len(few) == len(TASKS),
        ),
        Claim(
            f"W_q alone stays below W_q, W_v at every rank: true on {' and '.join(below) or 'neither task'}",
            len(below) == len(TASKS),
        ),
    ]


def figure(results: Results, path: Path) -> None:
    scores_by_rank(
        {
            f"{task}: {METRICS[headline(task)].label}": {
                symbols(letters): {r: results.score(setting(task, letters, r)) for r in RANKS[letters]}
                for letters in RANKS
            }
            for task in TASKS
        },
        METRICS[headline("sql")].factor,
        path,
    )


EXPERIMENT = Experiment(
    name="table6",
    title="Table 6: the rank",
    source="section 7.2",
    settings=settings,
    table=table,
    claims=claims,
    figure=figure,
)
