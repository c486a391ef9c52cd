"""Table 5: which matrices to adapt, with an equal number of trained parameters.

Judged by the loss, which tells settings apart better than accuracy on a hundred examples.
"""

from __future__ import annotations

from minilora.experiments.engine.experiment import HEADLINE, Claim, Experiment, Results, labels, markdown
from minilora.experiments.engine.plan import ATTENTION, Scale, Setting, lora

TASK = "sql"
CHOICES = {"q": 8, "k": 8, "v": 8, "o": 8, "qk": 4, "qv": 4, "qkvo": 2}  # matrices -> rank
PAPER = {  # GPT-3, 18M parameters: WikiSQL (± 0.5), MultiNLI (± 0.1)
    "q": ("70.4", "91.0"),
    "k": ("70.0", "90.8"),
    "v": ("73.0", "91.0"),
    "o": ("73.2", "91.3"),
    "qk": ("71.4", "91.3"),
    "qv": ("73.7", "91.3"),
    "qkvo": ("73.7", "91.7"),
}


def adapted(letters: str) -> list[str]:
    """ "qv" -> ["q_proj", "v_proj"]."""
    return [name for name in ATTENTION if name[0] in letters]


def setting(letters: str) -> Setting:
    return Setting(TASK, "lora", lora(CHOICES[letters], adapted(letters)))


def settings(scale: Scale) -> list[Setting]:
    return [setting(letters) for letters in CHOICES]


def symbols(letters: str) -> str:
    """ "qv" -> "W_q, W_v"."""
    return ", ".join(f"W_{letter}" for letter in letters)


def table(results: Results) -> str:
    metrics = ("loss", HEADLINE[TASK])
    rows = [[symbols(c), str(r), *results.row(setting(c), *metrics), *PAPER[c]] for c, r in CHOICES.items()]
    header = ["adapted", "r", "trained", "loss", *labels(HEADLINE[TASK]), "paper: WikiSQL", "paper: MultiNLI"]
    return f"On {TASK}:\n\n" + markdown(header, rows)


def claims(results: Results) -> list[Claim]:
    score = {letters: results.score(setting(letters), "loss") for letters in CHOICES}
    weak = [c for c in "qk" if score["v"].gain(score[c], "loss") > 0]
    better = [c for c in ("qv", "qkvo") if all(score[c].gain(score[single], "loss") > 0 for single in "qkvo")]
    return [
        Claim(
            f"W_q alone and W_k alone are each worse than W_v alone (true of {symbols(''.join(weak)) or 'neither'})",
            len(weak) == 2,
        ),
        Claim(
            "several matrices at a lower rank are better than any single one (true of "
            f"{' and of '.join(symbols(c) for c in better) or 'neither W_q, W_v nor all four'})",
            len(better) == 2,
        ),
    ]


EXPERIMENT = Experiment("table5", "Table 5: which matrices, at equal budget", "section 7.1", settings, table, claims)
