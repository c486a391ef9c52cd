"""LoRA and what came after it, tuned alike: the same search of rates, the same seeds, data and steps for each.

"Learning Rate Matters: Vanilla LoRA May Suffice" (2026, arXiv 2602.04998) finds that most of the variants' gains go
when LoRA's own rate is searched as theirs is. "LoRA Without Regret" (Schulman et al. 2025) adapts every matrix, not
only attention. Other batch sizes and ranks are the experiment `variants_by_size`.
"""

from __future__ import annotations

import math
import statistics
from typing import NamedTuple

from minilora.experiments.engine.experiment import Claim, Experiment, Results, markdown
from minilora.experiments.engine.plan import Scale, Setting, reference

TASK = "sql"
WITHIN = "the 95 % interval over the seeds includes zero, once LoRA's own rate is searched as well"
LORA, ATTENTION_ONLY = "all_lora", "attention_lora"
VARIANTS = {"all_dora": "DoRA", "all_pissa": "PiSSA", "all_olora": "OLoRA", "all_loraplus": "LoRA+", "all_vera": "VeRA"}
VARIANTS |= {"all_lora_xs": "LoRA-XS, r = 32"}
LABELS = {LORA: "LoRA", **VARIANTS, ATTENTION_ONLY: "LoRA, attention only, r = 9"}
T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # Student's t for n seeds: n - 1 degrees of freedom, 95 %, two sides


def setting(family: str) -> Setting:
    return reference(TASK, family)


def settings(scale: Scale) -> list[Setting]:
    return [*map(setting, LABELS)]


class Gain(NamedTuple):
    """One's test loss minus another's, seed by seed: the mean and the half width of its 95 % interval, in nats."""

    mean: float
    half: float

    def __str__(self) -> str:
        return f"{self.mean:+.4f} ± {self.half:.4f}"


def gain(results: Results, family: str) -> Gain:
    """Of a family over LoRA."""
    return gain_over(results, setting(LORA), setting(family))


def gain_over(results: Results, one: Setting, other: Setting) -> Gain:
    """Pairs of runs with the same seed, and so the same batches; nan if some run diverged."""
    pairs = zip(results.runs(one), results.runs(other), strict=True)
    losses = [(a["test_loss"], b["test_loss"]) for a, b in pairs]
    if any(None in pair for pair in losses):
        return Gain(math.nan, math.nan)
    differences = [a - b for a, b in losses]
    n = len(differences)
    half = T_95[n] * statistics.stdev(differences) / math.sqrt(n) if n in T_95 else math.inf
    return Gain(statistics.fmean(differences), half)


def tried(results: Results, family: str) -> dict[float, float]:
    """Rate -> validation loss in the search, seed 0; infinite if the run diverged."""
    configs = results.plan.search(setting(family).group)
    losses = {config.lr: results.plan.results[config.text]["valid_loss"] for config in configs}
    return {lr: math.inf if loss is None else loss for lr, loss in losses.items()}


def at_its_rate(results: Results, family: str) -> float:
    """The gain that appears if the variant is searched and LoRA gets the rate found: validation loss, seed 0; nan if
    LoRA's own search has not tried that rate."""
    rate = results.plan.rate(setting(family).group)
    mine, theirs = tried(results, family), tried(results, LORA)
    return theirs[rate] - mine[rate] if rate in theirs else math.nan


def table(results: Results) -> str:
    rows = []
    for family, label in LABELS.items():
        one = setting(family)
        row = [label, f"{results.trainable(one):,}", f"{results.plan.rate(one.group):g}", results.cell(one, "loss")]
        if family == LORA:
            rows.append([*row, "", ""])
        else:
            there = at_its_rate(results, family)
            rows.append([*row, str(gain(results, family)), "not tried" if math.isnan(there) else f"{there:+.4f}"])
    header = ["all six matrices, r = 4", "trained", "rate", "test loss", "gain over LoRA, each at its best rate"]
    body = markdown([*header, "gain over LoRA at this rate"], rows)
    return f"On {TASK}, nats per byte, with 95 % intervals over seeds; the last column is validation, seed 0:\n\n{body}"


def claims(results: Results) -> list[Claim]:
    found = []
    for family, label in VARIANTS.items():
        here = gain(results, family)
        trained = f"it trains {results.trainable(setting(family)):,} numbers, LoRA {results.trainable(setting(LORA)):,}"
        why = trained if here.mean < -here.half else WITHIN
        found.append(Claim(f"{label} is better than LoRA, each at its best rate ({here})", here.mean > here.half, why))
    everywhere = gain(results, ATTENTION_ONLY)
    text = f"LoRA on all matrices is better than on attention with as many parameters ({-everywhere.mean:+.4f} ± "
    found.append(Claim(f"{text}{everywhere.half:.4f})", -everywhere.mean > everywhere.half, WITHIN))
    return found


LATER = "Liu et al. 2024, Meng et al. 2024, Büyükakyüz 2024, Hayou et al. 2024, Kopiczko et al. 2024"
EXPERIMENT = Experiment("variants", "After LoRA, tuned alike", f"later work: {LATER}", settings, table, claims)
