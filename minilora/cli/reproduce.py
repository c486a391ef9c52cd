"""`minilora reproduce`: the runs, and the page, of some experiments or all."""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from minilora.cli.arguments import add_command, positive_int


def add_commands(commands: Any) -> None:
    """Add the command to the subparsers of `minilora`."""
    p = partial(add_command, commands)(
        run_reproduce,
        "the paper's tables and figures in miniature (continues what it finds in --out)",
        "minilora reproduce table6 --quick",
    )
    p.add_argument("names", nargs="*", metavar="NAME", help="experiments, or all; without a name: the list of them")
    p.add_argument("--seeds", type=positive_int, metavar="N", help="seeds of each setting (default: 3, --quick: 1)")
    p.add_argument("--quick", action="store_true", help="a few steps only: does it run? (numbers mean nothing)")
    p.add_argument("--out", type=Path, default=Path("reproduced"), metavar="DIR", help="default: %(default)s")
    p.add_argument("--workers", type=positive_int, default=2, help="processes, one a run (default: %(default)s)")


def run_reproduce(a: argparse.Namespace) -> None:
    from minilora.experiments.catalogue import EXPERIMENTS
    from minilora.experiments.engine.plan import QUICK, Scale

    if not a.names:
        for experiment in EXPERIMENTS.values():
            print(f"{experiment.name:<20}{experiment.title} ({experiment.source})")
        return
    names = list(EXPERIMENTS) if "all" in a.names else a.names
    if unknown := [name for name in names if name not in EXPERIMENTS]:
        raise ValueError(f"there is no experiment {unknown[0]!r}: give all, or some of {', '.join(EXPERIMENTS)}")
    scale = QUICK if a.quick else Scale()
    if a.seeds:
        scale = replace(scale, seeds=a.seeds)
    words = ["minilora", "reproduce", *a.names, *(["--quick"] if a.quick else [])]
    words += [f"--seeds {a.seeds}"] if a.seeds else []
    reproduce([EXPERIMENTS[name] for name in names], scale, a.out, a.workers, command=" ".join(words))


def reproduce(experiments: list, scale: Any, out: Path, workers: int, command: str, progress: bool = True) -> None:
    """Make every run of the experiments that is not in OUT yet; each reports as soon as it is complete."""
    from minilora.experiments.catalogue import EXPERIMENTS
    from minilora.experiments.engine.experiment import Results, verdict
    from minilora.experiments.engine.plan import Plan
    from minilora.experiments.engine.pool import execute
    from minilora.experiments.engine.report import PAGE, save, write_page
    from minilora.experiments.engine.run import Store

    store = Store(out / "results" / "runs")
    plan = Plan([setting for experiment in experiments for setting in experiment.settings(scale)], scale)
    waiting = list(experiments)

    def report_complete(idle: bool = False) -> None:
        """Report what is complete; what only measures waits until the machine is `idle`: latencies are among it."""
        for experiment in list(waiting):
            results, settings = Results(plan), experiment.settings(scale)
            if idle or (settings and results.complete(settings)):
                waiting.remove(experiment)
                save(experiment, results, store, out, command)
                write_page(EXPERIMENTS.values(), out)
                print(f"{experiment.title}: {verdict(experiment.claims(results))}", flush=True)

    print(f"{len(plan.jobs)} runs, {workers} at once; results in {out / 'results'}", flush=True)
    execute(plan, store, workers, progress, report_complete)
    report_complete(idle=True)
    print(f"wrote {out / PAGE}")
