"""What came after LoRA, at other batch sizes and ranks: a search of rates for each method at each size.

"Learning Rate Matters: Vanilla LoRA May Suffice" (2026, arXiv 2602.04998) compares variants over batch sizes and ranks.
"LoRA Without Regret" (Schulman et al. 2025) finds that LoRA bears a large batch less well than full fine-tuning does,
and that its best rate hardly depends on the rank. Every run sees as many examples as any other.
"""

from __future__ import annotations

from minilora.experiments.engine.experiment import Claim, Experiment, Results, markdown
from minilora.experiments.engine.plan import RANKED, Scale, Setting, reference
from minilora.experiments.tables.variants import LABELS, LORA, TASK, WITHIN, Gain, gain_over

LARGE = 32  # of a batch, where the scale's is 8
RANKS = (1, 4, 16)
FULL = "full"


def by_batch(family: str, batch_size: int | None) -> Setting:
    return reference(TASK, family, batch_size=batch_size)


def by_rank(family: str, r: int) -> Setting:
    return reference(TASK, family if r == 4 else f"{family}_r{r}")


def settings(scale: Scale) -> list[Setting]:
    batches = [by_batch(family, batch_size) for batch_size in (None, LARGE) for family in (*RANKED, FULL)]
    return batches + [by_rank(family, r) for r in RANKS for family in RANKED]


def columns(scale: Scale) -> dict[str, dict[str, Setting]]:
    """A column's title -> family -> its setting at that batch size, with r = 4, or at that rank."""
    by_size = {
        f"batch {size or scale.batch_size}": {family: by_batch(family, size) for family in (*RANKED, FULL)}
        for size in (None, LARGE)
    }
    return by_size | {f"r = {r}": {family: by_rank(family, r) for family in RANKED} for r in RANKS if r != 4}


def rate(results: Results, setting: Setting) -> float:
    """The learning rate that its search chose."""
    return results.plan.rate(setting.group) or 0.0


def gains(results: Results) -> dict[str, dict[str, Gain]]:
    """Column -> variant, or "full" -> its gain over LoRA in the same column."""
    return {
        title: {family: gain_over(results, cells[LORA], cells[family]) for family in cells if family != LORA}
        for title, cells in columns(results.scale).items()
    }


def table(results: Results) -> str:
    sizes, found = columns(results.scale), gains(results)
    rows = []
    for family in (*RANKED, FULL):
        label = LABELS.get(family, "full fine-tuning")
        cells = [column.get(family) for column in sizes.values()]
        rows.append([label, *(f"{results.cell(s, 'loss')} at {rate(results, s):g}" if s else "" for s in cells)])
        if family != LORA:
            rows.append(["gain over LoRA", *(str(of[family]) if family in of else "" for of in found.values())])
    body = markdown(["all six matrices, r = 4 unless stated", *sizes], rows)
    return f"Test loss on {TASK}, nats per byte, at the rate found; gains with 95 % intervals over seeds:\n\n{body}"


def claims(results: Results) -> list[Claim]:
    sizes, found, usual = columns(results.scale), gains(results), results.scale.batch_size
    cells = [(title, family, gain) for title, of in found.items() for family, gain in of.items() if family != FULL]
    better = [cell for cell in cells if cell[2].mean > cell[2].half]
    trained = {
        f"{LABELS[family]}, {title}": [results.trainable(sizes[title][name]) for name in (family, LORA)]
        for title, family, _ in better
    }
    base, large = found[f"batch {usual}"][FULL], found[f"batch {LARGE}"][FULL]
    ranks = {r: rate(results, by_rank(LORA, r)) for r in RANKS}
    return [
        Claim(
            f"no variant is better than LoRA, each at its best rate, at any batch size or rank: of {len(cells)} "
            f"({', '.join(f'{LABELS[family]}, {title}: {gain}' for title, family, gain in better) or 'none'} is)",
            not better,
            "; ".join(f"{cell} trains {more:,} numbers and LoRA {fewer:,}" for cell, (more, fewer) in trained.items()),
        ),
        Claim(
            f"full fine-tuning gains on LoRA as the batch grows ({usual}: {base}; {LARGE}: {large})",
            large.mean - base.mean > max(base.half, large.half),
            WITHIN,
        ),
        Claim(
            f"LoRA's best rate is the same at r = {', '.join(map(str, RANKS))}, to half a decade "
            f"({', '.join(f'{lr:g}' for lr in ranks.values())})",
            max(ranks.values()) <= 3.5 * min(ranks.values()),
            "alpha is fixed, so that r = 1 has a scale 16 times that of r = 16",
        ),
    ]


EXPERIMENT = Experiment(
    "variants_by_size",
    "After LoRA, by batch size and rank",
    "later work: Schulman et al. 2025, and arXiv 2602.04998",
    settings,
    table,
    claims,
)
