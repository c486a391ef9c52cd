"""What an experiment is: the settings of one table or figure, and how their results are shown and judged."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from minilora.experiments.engine.plan import Plan, Scale, Setting
from minilora.experiments.engine.run import Result, RunConfig, Store


class Metric(NamedTuple):
    """How to print a metric: its label, the factor for its values, and the number of decimals."""

    label: str
    factor: float = 100
    decimals: int = 1
    higher_is_better: bool = True


METRICS = {
    "loss": Metric("loss, nats per byte", 1, 3, False),
    "nats_per_byte": Metric("nats per byte", 1, 3, False),
    "bleu": Metric("BLEU", 1),
    "nist": Metric("NIST", 1, 2),
    "rouge_l": Metric("ROUGE-L"),
    "cider": Metric("CIDEr", 1, 2),
    "slot_error": Metric("slot errors, %", higher_is_better=False),
    "execution": Metric("execution accuracy, %"),
    "logical_form": Metric("logical form, %"),
    "accuracy": Metric("accuracy, %"),
    "rouge_1": Metric("ROUGE-1"),
    "rouge_2": Metric("ROUGE-2"),
}
HEADLINE = {
    "e2e": "bleu",
    "sql": "logical_form",  # as the paper scores WikiSQL
    "nli": "accuracy",
    "summ": "rouge_1",
    "code": "nats_per_byte",
}


class Score(NamedTuple):
    """Mean and sample standard deviation over seeds (0 for a single one), and the number of seeds."""

    mean: float
    std: float
    n: int

    def scaled(self, metric: str) -> Score:
        """In the metric's units."""
        factor = METRICS[metric].factor
        return Score(factor * self.mean, factor * self.std, self.n)

    def show(self, metric: str) -> str:
        """ "71.3 ± 0.4", in the metric's units."""
        (mean, std, n), decimals = self.scaled(metric), METRICS[metric].decimals
        return f"{mean:.{decimals}f}" + (f" ± {std:.{decimals}f}" if n > 1 else "")

    def gain(self, other: Score, metric: str) -> float:
        """How much better its mean is than the other's, in the metric's units: above 0 if it is better."""
        better = 1 if METRICS[metric].higher_is_better else -1
        return better * METRICS[metric].factor * (self.mean - other.mean)

    def not_worse(self, other: Score, metric: str) -> bool:
        """Whether its mean is better than the other's, or at most one standard deviation worse.

        The deviation is pooled: sqrt((s_a^2 + s_b^2) / 2), each over its own seeds.
        """
        pooled = math.sqrt((self.std**2 + other.std**2) / 2)
        return self.gain(other, metric) >= -METRICS[metric].factor * pooled


class Claim(NamedTuple):
    """A statement of the paper with our numbers in it, whether they support it, and if not, why: what was measured."""

    text: str
    holds: bool
    why: str = ""

    @property
    def answer(self) -> str:
        """The claim with its answer in front, as Markdown."""
        return f"{'yes' if self.holds else '**no**'}: {self.text}"

    @property
    def line(self) -> str:
        """The answer, and the reason for a "no"."""
        return self.answer if self.holds or not self.why else f"{self.answer}. Why: {self.why}"


FROM_NOTHING = "the base cannot do this task, and learning from nothing takes more rank (`minilora reproduce skill`)"
TOO_SHORT = "the runs are too short for LoRA: most of the gap goes if both train longer, [measured](#longer_training)"


def verdict(claims: Sequence[Claim]) -> str:
    """ "agrees" if every claim holds, "agrees in part" if some do, "does not agree" if none does."""
    held = sum(claim.holds for claim in claims)
    return "agrees" if held == len(claims) else "agrees in part" if held else "does not agree"


class Results:
    """The finished runs of a plan, by setting, and the experiment's own measurements."""

    def __init__(self, plan: Plan, measured: Any = None) -> None:
        self.plan, self.scale, self.measured = plan, plan.scale, measured

    def configs(self, setting: Setting) -> list[RunConfig]:
        """One config per seed; none before the setting's learning rate has been chosen."""
        lr = self.plan.rate(setting.group) if setting.lr is None else setting.lr
        return [] if lr is None else [setting.config(self.scale, lr, seed) for seed in setting.seed_range(self.scale)]

    def runs(self, setting: Setting) -> list[Result]:
        """The results of a setting, one per seed, including runs that diverged."""
        return [self.plan.results[c.text] for c in self.configs(setting) if c.text in self.plan.results]

    def complete(self, settings: Iterable[Setting]) -> bool:
        """Whether all runs of these settings are there."""
        return all(len(self.runs(setting)) == len(setting.seed_range(self.scale)) for setting in settings)

    def score(self, setting: Setting, metric: str | None = None) -> Score:
        """A metric of the test split over seeds: by default the task's headline; "loss", or another of its metrics."""
        metric = metric or HEADLINE[setting.task]
        runs = [run for run in self.runs(setting) if run["valid_loss"] is not None]
        values = [run["test_loss"] if metric == "loss" else run["test"][metric] for run in runs]
        if not values:
            return Score(float("nan"), 0.0, 0)
        return Score(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0, len(values))

    def trainable(self, setting: Setting) -> int:
        return self.runs(setting)[0]["trainable"]

    def cell(self, setting: Setting, metric: str | None = None) -> str:
        """A score as a table shows it: "71.3 ± 0.4", "diverged", or a dash if nothing was run."""
        if not self.runs(setting):
            return "–"
        score = self.score(setting, metric)
        return score.show(metric or HEADLINE[setting.task]) if score.n else "diverged"

    def row(self, setting: Setting, *metrics: str) -> list[str]:
        """The number of trained parameters, then a cell for each metric."""
        return [f"{self.trainable(setting):,}", *(self.cell(setting, metric) for metric in metrics)]

    def cell_with_loss(self, setting: Setting) -> str:
        """The headline score, and the loss in brackets."""
        return f"{self.cell(setting)} ({self.cell(setting, 'loss')})"


def labels(*metrics: str) -> list[str]:
    """The metrics' labels, for a table's header."""
    return [METRICS[metric].label for metric in metrics]


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [list(header), ["---"] * len(header), *map(list, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@dataclass(frozen=True)
class Experiment:
    """A table or figure of the paper.

    settings  what to run
    table     our numbers and the paper's, as Markdown
    claims    what the paper concludes from it, and whether our numbers agree
    figure    draws it into a file, if a table is not enough
    measure   other measurements than scores of runs (matrices compared, latencies): JSON
    finding   what the report says about it at its head
    """

    name: str
    title: str
    source: str
    settings: Callable[[Scale], list[Setting]]
    table: Callable[[Results], str]
    claims: Callable[[Results], list[Claim]]
    figure: Callable[[Results, Path], None] | None = None
    measure: Callable[[Results, Store], Any] | None = None
    finding: Callable[[Results], str] | None = None
