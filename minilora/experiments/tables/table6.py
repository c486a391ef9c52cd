"""Table 6: how small the rank may be.

Judged by the loss, which tells settings apart more finely than an accuracy on a hundred examples.
"""

from __future__ import annotations

from pathlib import Path

from minilora.experiments.engine.experiment import (
    METRICS,
    Claim,
    Experiment,
    Results,
    gain,
    headline,
    markdown,
    not_worse,
)
from minilora.experiments.engine.figures import scores_by_rank
from minilora.experiments.engine.plan import Scale, Setting, lora
from minilora.experiments.tables.table5 import adapted, symbols

TASK = "sql"
RANKS = {"q": (1, 8, 64), "qv": (1, 2, 4, 8, 64), "qkvo": (1, 2, 4, 64)}
PAPER = {  # GPT-3, WikiSQL (± 0.5)
    "q": {1: 68.8, 2: 69.6, 4: 70.5, 8: 70.4, 64: 70.0},
    "qv": {1: 73.4, 2: 73.3, 4: 73.7, 8: 73.8, 64: 73.5},
    "qkvo": {1: 74.1, 2: 73.7, 4: 74.0, 8: 74.0, 64: 73.9},
}


def setting(letters: str, r: int) -> Setting:
    return Setting(TASK, "lora", lora(r, adapted(letters)))


def settings(scale: Scale) -> list[Setting]:
    return [setting(letters, r) for letters in ("qv", "q", "qkvo") for r in RANKS[letters]]


def table(results: Results) -> str:
    ranks = RANKS["qv"]
    rows = []
    for letters in RANKS:
        for metric in ("loss", headline(TASK)):
            own = [results.cell(setting(letters, r), metric) if r in RANKS[letters] else "" for r in ranks]
            rows.append([symbols(letters), METRICS[metric].label, *own])
        rows.append([symbols(letters), "paper: WikiSQL, %", *(str(PAPER[letters][r]) for r in ranks)])
    return f"On {TASK}:\n\n" + markdown(["adapted", "", *(f"r = {r}" for r in ranks)], rows)


def claims(results: Results) -> list[Claim]:
    def loss(letters: str, r: int):
        return results.score(setting(letters, r), "loss")

    low, top = loss("qv", 1), loss("qv", 64)
    reached = [r for r in RANKS["qv"] if not_worse(loss("qv", r), top, "loss")]
    both = [r for r in RANKS["q"] if gain(loss("qv", r), loss("q", r), "loss") > 0]
    return [
        Claim(
            f"on W_q, W_v a rank of 1 is not worse than 64 (loss {low.mean:.3f} and {top.mean:.3f}; the lowest rank "
            f"that is not worse is {reached[0]})",
            reached[0] == 1,
        ),
        Claim(f"a rank of 8 or less is not worse than 64 (the lowest is {reached[0]})", reached[0] <= 8),
        Claim(
            f"W_q alone is worse than W_q, W_v of the same rank: true at r = {', '.join(map(str, both)) or 'none'}",
            len(both) == len(RANKS["q"]),
        ),
    ]


def figure(results: Results, path: Path) -> None:
    panels = {
        METRICS[metric].label: {
            symbols(letters): {r: results.score(setting(letters, r), metric).scaled(metric) for r in RANKS[letters]}
            for letters in RANKS
        }
        for metric in ("loss", headline(TASK))
    }
    scores_by_rank(panels, path)


EXPERIMENT = Experiment(
    name="table6",
    title="Table 6: the rank",
    source="section 7.2",
    settings=settings,
    table=table,
    claims=claims,
    figure=figure,
)
