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
    needed = [make(task) for task in TASKS for make in (untrained, lambda t: reference(t, "full"))]
    return needed + [setting(task, m) for task in TASKS for m in DIMENSIONS]


def gained(results: Results, task: str) -> dict[int, float]:
    """Dimension -> the share of full fine-tuning's gain in loss that the subspace gets."""
    start, full = _ends(results, task)
    return {m: (start - results.score(setting(task, m), "loss").mean) / (start - full) for m in DIMENSIONS}


def _ends(results: Results, task: str) -> tuple[float, float]:
    return tuple(results.score(s, "loss").mean for s in (untrained(task), reference(task, "full")))  # type: ignore[return-value]


def d90(results: Results, task: str) -> int | None:
    losses = {m: results.score(setting(task, m), "loss").mean for m in DIMENSIONS}
    return dimension_for_share(losses, *_ends(results, task))


def table(results: Results) -> str:
    rows = []
    for task in TASKS:
        start, full = _ends(results, task)
        shares = gained(results, task)
        found = d90(results, task)
        rows.append(
            [
                task,
                f"{start:.2f}",
                f"{full:.2f}",
                *(f"{shares[m]:.0%}" for m in DIMENSIONS),
                f"{found:,}" if found else f"> {DIMENSIONS[-1]:,}",
            ]
        )
    header = ["task", "loss of the base", "of full", *(f"m = {m:,}" for m in DIMENSIONS), "d90"]
    return markdown(header, rows) + (
        "\n\nShares of the gain of full fine-tuning. Aghajanyan et al. 2020: about 200 for RoBERTa-large on MRPC, "
        "of 355 million parameters."
    )


def claims(results: Results) -> list[Claim]:
    total = results.runs(reference(TASKS[0], "full"))[0]["total"]
    found = {task: d90(results, task) for task in TASKS}
    low = [task for task, m in found.items() if m and m <= total / 50]
    return [
        Claim(
            f"d90 is at most 2 % of the {total:,} parameters on {len(low)} of {len(TASKS)} tasks "
            f"({', '.join(low) or 'none'})",
            len(low) == len(TASKS),
        ),
    ]


def figure(results: Results, path: Path) -> None:
    shares_by_dimension({task: gained(results, task) for task in TASKS}, path)


EXPERIMENT = Experiment(
    name="intrinsic_dimension",
    title="The intrinsic dimension of tasks",
    source="section 4.1; Aghajanyan et al. 2020",
    settings=settings,
    table=table,
    claims=claims,
    figure=figure,
)
