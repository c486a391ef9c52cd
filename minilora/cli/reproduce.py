"""`minilora reproduce`: make the runs of some experiments, or of all, and the page with their results."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from minilora.cli.arguments import Commands, add_command, positive_int
from minilora.cli.files import check_out
from minilora.cli.language_models import fetched


def add_commands(commands: Commands) -> None:
    """Add the command to the command line's subparsers."""
    p = add_command(
        commands,
        run_reproduce,
        "reproduce the paper's tables and figures in miniature (continues what it finds in --out)",
        "minilora reproduce table6 --quick",
    )
    p.add_argument("names", nargs="*", metavar="NAME", help="experiments, all, or real; without a name: list them")
    p.add_argument("--seeds", type=positive_int, metavar="N", help="seeds of each setting (default: 3, --quick: 1)")
    p.add_argument("--quick", action="store_true", help="only a few steps, to see that it runs; ignore the numbers")
    p.add_argument("--out", type=Path, default=Path("reproduced"), metavar="FOLDER", help="default: %(default)s")
    help = "real: the folder of the E2E csv files, which are not part of minilora"
    p.add_argument("--data", type=Path, metavar="FOLDER", help=help)
    help = "real: test on the meanings of this file, such as testset_w_refs.csv, instead of the development test"
    p.add_argument("--test", type=Path, metavar="FILE", help=help)
    help = "real: the model, a Llama-type folder, a .gguf file or a wheel (default: what `minilora fetch` keeps)"
    p.add_argument("--base", type=Path, metavar="PATH", help=help)
    help = "runs at a time, one process each (default: %(default)s)"
    p.add_argument("--processes", "--workers", dest="processes", type=positive_int, default=2, metavar="N", help=help)
    help = (
        "runs on many machines that share --out: mpirun -n 9 python -m mpi4py.futures -m minilora reproduce all --mpi"
    )
    p.add_argument("--mpi", action="store_true", help=help)


def run_reproduce(a: argparse.Namespace) -> None:
    from minilora.experiments import EXPERIMENTS, QUICK, Scale, reproduce
    from minilora.experiments.engine.report import PAGE

    if not a.names:
        for experiment in EXPERIMENTS.values():
            print(f"{experiment.name:<20}{experiment.title} ({experiment.source})")
        print(f"{'real':<20}The paper on a real model and real data (needs --data)")
        return
    if "real" in a.names:
        return run_real(a)
    if given := [name for name in ("data", "test", "base") if getattr(a, name)]:
        raise ValueError(f"--{given[0]} belongs to real, which runs by itself: minilora reproduce real --data FOLDER")
    names = list(EXPERIMENTS) if "all" in a.names else a.names
    if unknown := [name for name in names if name not in EXPERIMENTS]:
        raise ValueError(f"there is no experiment {unknown[0]!r}: give all, or some of {', '.join(EXPERIMENTS)}")
    a.out.mkdir(parents=True, exist_ok=True)
    check_out(a.out / PAGE)
    scale = QUICK if a.quick else Scale()
    if a.seeds:
        scale = replace(scale, seeds=a.seeds)
    words = ["minilora", "reproduce", *a.names, *(["--quick"] if a.quick else [])]
    words += [f"--seeds {a.seeds}"] if a.seeds else []
    reproduce(
        [EXPERIMENTS[name] for name in names], scale, a.out, None if a.mpi else a.processes, command=" ".join(words)
    )


def run_real(a: argparse.Namespace) -> None:
    from minilora.experiments.real.data import FETCH
    from minilora.experiments.real.plan import QUICK, Scale
    from minilora.experiments.reproduce_real import reproduce_real

    if len(a.names) > 1:
        raise ValueError("real runs by itself: leave the other names out")
    if a.data is None:
        raise ValueError(FETCH)
    scale = QUICK if a.quick else Scale()
    if a.seeds:
        scale = replace(scale, seeds=a.seeds)
    a.out.mkdir(parents=True, exist_ok=True)
    reproduce_real(a.data, a.test, a.base or fetched(), scale, a.out)
