"""What a table or figure of the paper is here: its settings, and what is made of their results alone."""

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
    """How a metric is printed: its label, what its values are multiplied with, and the decimals."""

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
HEADLINES = {"e2e": "bleu", "sql": "execution", "nli": "accuracy", "summ": "rouge_1", "code": "nats_per_byte"}


class Score(NamedTuple):
    """Mean and sample standard deviation over seeds (0 for a single one), and how many seeds."""

    mean: float
    std: float
    n: int

    def scaled(self, metric: str) -> Score:
        """In the metric's units."""
        factor = METRICS[metric].factor
        return Score(factor * self.mean, factor * self.std, self.n)

    def text(self, decimals: int) -> str:
        spread = f" ± {self.std:.{decimals}f}" if self.n > 1 else ""
        return f"{self.mean:.{decimals}f}{spread}"


class Claim(NamedTuple):
    """A statement of the paper, as it reads with our numbers, and whether they bear it out."""

    text: str
    holds: bool


def verdict(claims: Sequence[Claim]) -> str:
    """ "agrees" if every claim holds, "agrees in part" if some do, "does not agree" if none does."""
    held = sum(claim.holds for claim in claims)
    return "agrees" if held == len(claims) else "agrees in part" if held else "does not agree"


class Results:
    """The finished runs of a plan, by setting, and what was measured beside them."""

    def __init__(self, plan: Plan, measured: Any = None) -> None:
        self.plan, self.scale, self.measured = plan, plan.scale, measured

    def runs(self, setting: Setting) -> list[Result]:
        """The results of a setting, a seed each; those that diverged are among them."""
        lr = self.plan.rate(setting.group) if setting.lr is None else setting.lr
        if lr is None:
            return []
        configs = [setting.config(self.scale, lr, seed) for seed in setting.seed_range(self.scale)]
        return [self.plan.results[c.text] for c in configs if c.text in self.plan.results]

    @property
    def seeds(self) -> int:
        return self.scale.seeds

    def config(self, setting: Setting, seed: int) -> RunConfig:
        """The config of a finished run."""
        lr = self.plan.rate(setting.group) if setting.lr is None else setting.lr
        if lr is None:
            raise ValueError(f"the learning rate of {setting.group} has not been searched yet")
        return setting.config(self.scale, lr, seed)

    def complete(self, settings: Iterable[Setting]) -> bool:
        """Whether every run of these settings is there."""
        return all(len(self.runs(setting)) == len(setting.seed_range(self.scale)) for setting in settings)

    def score(self, setting: Setting, metric: str | None = None) -> Score:
        """A metric of the test split over seeds: the task's headline, "loss", or another of its metrics."""
        metric = metric or headline(setting.task)
        runs = [run for run in self.runs(setting) if run["valid_loss"] is not None]
        values = [run["test_loss"] if metric == "loss" else run["test"][metric] for run in runs]
        if not values:
            return Score(float("nan"), 0.0, 0)
        return Score(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0, len(values))

    def trainable(self, setting: Setting) -> int:
        return self.runs(setting)[0]["trainable"]

    def cell(self, setting: Setting, metric: str | None = None) -> str:
        """A score as a table shows it: "71.3 ± 0.4", "diverged", or a dash for what has not been run."""
        metric = metric or headline(setting.task)
        if not self.runs(setting):
            return "–"
        score = self.score(setting, metric)
        return show(score, metric) if score.n else "diverged"


def headline(task: str) -> str:
    """The metric that stands for a task."""
    return HEADLINES[task]


def show(score: Score, metric: str) -> str:
    """A score in the metric's units."""
    return score.scaled(metric).text(METRICS[metric].decimals)


def not_worse(a: Score, b: Score, metric: str) -> bool:
    """Whether a's mean is better than b's, or within one standard deviation of it.

    The deviation is the two pooled: sqrt((s_a^2 + s_b^2) / 2), each over that score's own seeds.
    """
    pooled = math.sqrt((a.std**2 + b.std**2) / 2)
    return gain(a, b, metric) >= -pooled


def gain(a: Score, b: Score, metric: str) -> float:
    """How much better a's mean is than b's: the difference, with the sign that makes better positive."""
    return (a.mean - b.mean) * (1 if METRICS[metric].higher_is_better else -1)


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [list(header), ["---"] * len(header), *map(list, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@dataclass(frozen=True)
class Experiment:
    """A table or figure of the paper.

    settings  what has to be run
    table     our numbers beside the paper's, as Markdown
    claims    what the paper concludes from it, each with whether our numbers agree
    figure    draws it into a file, if a table does not say enough
    measure   numbers that are not scores of runs (matrices compared, latencies, counts): JSON
    """

    name: str
    title: str
    source: str
    settings: Callable[[Scale], list[Setting]]
    table: Callable[[Results], str]
    claims: Callable[[Results], list[Claim]]
    figure: Callable[[Results, Path], None] | None = None
    measure: Callable[[Results, Store], Any] | None = None
