"""Table 6: how small the rank may be.

Judged by the loss, which tells settings apart better than accuracy on a hundred examples.
"""

from __future__ import annotations

from pathlib import Path

from minilora.experiments.engine.experiment import (
    FROM_NOTHING,
    HEADLINE,
    Claim,
    Experiment,
    Results,
    Score,
    labels,
    markdown,
)
from minilora.experiments.engine.figures import scores_by_rank
from minilora.experiments.engine.plan import Scale, Setting, lora
from minilora.experiments.tables.table5 import adapted, symbols

TASK = "sql"
SHOWN = dict(zip(("loss", HEADLINE[TASK]), labels("loss", HEADLINE[TASK]), strict=True))  # metric -> label
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
        for metric, label in SHOWN.items():
            own = [results.cell(setting(letters, r), metric) if r in RANKS[letters] else "" for r in ranks]
            rows.append([symbols(letters), label, *own])
        rows.append([symbols(letters), "paper: WikiSQL, %", *(str(PAPER[letters][r]) for r in ranks)])
    return f"On {TASK}:\n\n" + markdown(["adapted", "", *(f"r = {r}" for r in ranks)], rows)


def claims(results: Results) -> list[Claim]:
    def loss(letters: str, r: int) -> Score:
        return results.score(setting(letters, r), "loss")

    low, top = loss("qv", 1), loss("qv", 64)
    reached = next(r for r in RANKS["qv"] if loss("qv", r).not_worse(top, "loss"))
    both = [r for r in RANKS["q"] if loss("qv", r).gain(loss("q", r), "loss") > 0]
    return [
        Claim(
            f"on W_q, W_v rank 1 is not worse than rank 64 (loss {low.mean:.3f} and {top.mean:.3f}; the lowest rank "
            f"that is not worse is {reached})",
            reached == 1,
            FROM_NOTHING,
        ),
        Claim(f"some rank up to 8 is not worse than rank 64 (the lowest is {reached})", reached <= 8, FROM_NOTHING),
        Claim(
            f"W_q alone is worse than W_q, W_v at the same rank (true at r = {', '.join(map(str, both)) or 'none'})",
            len(both) == len(RANKS["q"]),
        ),
    ]


def figure(results: Results, path: Path) -> None:
    curves = {
        label: {
            symbols(letters): {r: results.score(setting(letters, r), metric).scaled(metric) for r in RANKS[letters]}
            for letters in RANKS
        }
        for metric, label in SHOWN.items()
    }
    scores_by_rank(curves, path)


EXPERIMENT = Experiment("table6", "Table 6: the rank", "section 7.2", settings, table, claims, figure)
