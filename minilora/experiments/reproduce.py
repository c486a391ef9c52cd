"""Make the runs of some experiments that are missing, and report each experiment once it is complete."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from minilora.experiments.engine.experiment import Experiment, Results, verdict
from minilora.experiments.engine.plan import Plan, Scale
from minilora.experiments.engine.pool import execute
from minilora.experiments.engine.report import PAGE, page, save
from minilora.experiments.engine.run import Store, write_text
from minilora.experiments.real.page import section
from minilora.experiments.tables import EXPERIMENTS


def reproduce(
    experiments: Iterable[Experiment],
    scale: Scale,
    out: Path,
    processes: int | None,
    command: str,
    progress: bool = True,
) -> None:
    """Make every run of the experiments that OUT does not have yet, `processes` at a time, or with
    None as many as MPI has workers; print each verdict.

    `command` is what the user typed: the report shows it.
    """
    store = Store(out / "results" / "runs")
    waiting = list(experiments)
    plan = Plan([setting for experiment in waiting for setting in experiment.settings(scale)], scale)

    def report_complete(idle: bool = False) -> None:
        """Report what is complete. What needs no runs waits until the machine is `idle`: it may measure latencies."""
        for experiment in list(waiting):
            results, settings = Results(plan), experiment.settings(scale)
            if idle or (settings and results.complete(settings)):
                waiting.remove(experiment)
                save(experiment, results, store, out, command)
                write_page(out)
                print(f"{experiment.title}: {verdict(experiment.claims(results))}", flush=True)

    print(
        f"{len(plan.jobs)} runs, {processes or 'as many as MPI has workers'} at a time; results in {out / 'results'}",
        flush=True,
    )
    execute(plan, store, processes, progress, report_complete)
    report_complete(idle=True)
    print(f"wrote {out / PAGE}")


def write_page(out: Path) -> None:
    """Write OUT/RESULTS.md from the JSON files in OUT/results."""
    write_text(out / PAGE, page(EXPERIMENTS.values(), out, section(out)))
