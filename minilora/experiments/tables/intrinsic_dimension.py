"""The intrinsic dimension d90 of two tasks: how many random directions fine-tuning needs.

Section 4.1 builds on Aghajanyan et al. 2020 (arXiv 2012.13255): training theta0 + P z, with m numbers z, gets 90 % of
what full fine-tuning gains for an m far below the number of parameters. Measured by the loss on the test split.
"""

from __future__ import annotations

from pathlib import Path

from minilora.analysis import dimension_for_share
from minilora.experiments.engine.experiment import Claim, Experiment, Results, markdown
from minilora.experiments.engine.figures import shares_by_dimension
from minilora.experiments.engine.plan import Scale, Setting, reference, untrained

TASKS = ("sql", "nli")
DIMENSIONS = (100, 1000, 10_000, 100_000)


def setting(task: str, m: int) -> Setting:
    return Setting(task, "subspace", {"m": m}, seeds=1, answers=False)


def settings(scale: Scale) -> list[Setting]:
    ends = [end for task in TASKS for end in (untrained(task), reference(task, "full"))]
    return ends + [setting(task, m) for task in TASKS for m in DIMENSIONS]


def losses(results: Results, task: str) -> tuple[float, float, dict[int, float]]:
    """The test loss of the base, of full fine-tuning, and in a subspace of each dimension."""

    def loss(setting: Setting) -> float:
        return results.score(setting, "loss").mean

    return loss(untrained(task)), loss(reference(task, "full")), {m: loss(setting(task, m)) for m in DIMENSIONS}


def gained(results: Results, task: str) -> dict[int, float]:
    """Dimension -> the share of full fine-tuning's gain in loss that the subspace gets."""
    start, full, inside = losses(results, task)
    return {m: (start - loss) / (start - full) for m, loss in inside.items()}


def d90(results: Results, task: str) -> int | None:
    """The smallest dimension measured that gets 90 % of the gain, if any does."""
    start, full, inside = losses(results, task)
    return dimension_for_share(inside, start, full)


def table(results: Results) -> str:
    rows = []
    for task in TASKS:
        start, full, _ = losses(results, task)
        found = d90(results, task)
        shares = [f"{share:.0%}" for share in gained(results, task).values()]
        rows.append([task, f"{start:.2f}", f"{full:.2f}", *shares, f"{found:,}" if found else f"> {DIMENSIONS[-1]:,}"])
    header = ["task", "loss of the base", "of full", *(f"m = {m:,}" for m in DIMENSIONS), "d90"]
    return markdown(header, rows) + (
        "\n\nThe columns of m: the share of full fine-tuning's gain. Aghajanyan et al. 2020 find d90 = 200 or so for "
        "RoBERTa-large, which has 355 million parameters, on MRPC."
    )


def claims(results: Results) -> list[Claim]:
    total = results.runs(reference(TASKS[0], "full"))[0]["total"]
    low = [task for task in TASKS if (m := d90(results, task)) and m <= total / 50]
    count = f"{len(low)} of {len(TASKS)} tasks ({', '.join(low) or 'none'})"
    return [Claim(f"d90 is at most 2 % of the {total:,} parameters on {count}", len(low) == len(TASKS))]


def figure(results: Results, path: Path) -> None:
    shares_by_dimension({task: gained(results, task) for task in TASKS}, path)


TITLE, SOURCE = "The intrinsic dimension of tasks", "section 4.1; Aghajanyan et al. 2020"
EXPERIMENT = Experiment("intrinsic_dimension", TITLE, SOURCE, settings, table, claims, figure)
