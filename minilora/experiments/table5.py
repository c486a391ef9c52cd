"""Table 5: which matrices to adapt, at an equal number of trained parameters."""

from __future__ import annotations

from minilora.experiments.experiment import METRICS, Claim, Experiment, Results, gain, headline, markdown, not_worse
from minilora.experiments.plan import ATTENTION, Scale, Setting, lora, secondary

TASKS = ("sql", "nli")
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


def setting(task: str, letters: str) -> Setting:
    return secondary(Setting(task, "lora", lora(CHOICES[letters], adapted(letters))))


def settings(scale: Scale) -> list[Setting]:
    return [setting(task, letters) for letters in CHOICES for task in TASKS]


def symbols(letters: str) -> str:
    """ "qv" -> "W_q, W_v"."""
    return ", ".join(f"W_{letter}" for letter in letters)


def table(results: Results) -> str:
    header = ["adapted", "r", "trained", *(f"{task}: {METRICS[headline(task)].label}" for task in TASKS)]
    header += ["paper: WikiSQL", "paper: MultiNLI"]
    rows = []
    for letters, r in CHOICES.items():
        own = [setting(task, letters) for task in TASKS]
        cells = [results.cell(s) for s in own]
        rows.append([symbols(letters), str(r), f"{results.trainable(own[0]):,}", *cells, *PAPER[letters]])
    return markdown(header, rows)


def claims(results: Results) -> list[Claim]:
    score = {(c, t): results.score(setting(t, c)) for c in CHOICES for t in TASKS}

    def everywhere(a: str, b: str, strictly: bool) -> bool:
        return all(
            (gain(score[a, t], score[b, t], headline(t)) > 0)
            if strictly
            else not_worse(score[a, t], score[b, t], headline(t))
            for t in TASKS
        )

    weak = [c for c in "qk" if everywhere("v", c, True)]
    better = [c for c in ("qv", "qkvo") if all(everywhere(c, single, False) for single in "qkvo")]
    return [
        Claim(
            f"W_q alone and W_k alone are each worse than W_v alone: true of {symbols(''.join(weak)) or 'neither'}",
            len(weak) == 2,
        ),
        Claim(
            "more matrices at a lower rank are not worse than any single one: true of "
            f"{' and of '.join(symbols(c) for c in better) or 'neither W_q, W_v nor all four'}",
            len(better) == 2,
        ),
    ]


EXPERIMENT = Experiment(
    name="table5",
    title="Table 5: which matrices, at equal budget",
    source="section 7.1",
    settings=settings,
    table=table,
    claims=claims,
)
