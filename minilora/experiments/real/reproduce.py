"""Make the runs on the real model that are missing, one after the other; each is on disk as soon as it has ended."""

from __future__ import annotations

import time
from pathlib import Path

from minilora.experiments.engine.experiment import METRICS
from minilora.experiments.engine.run import Result, Store
from minilora.experiments.real.data import load
from minilora.experiments.real.plan import Plan, Scale
from minilora.experiments.real.run import file_hash, run
from minilora.hf import load_pretrained
from minilora.machine.progress import format_seconds

FOLDER = Path("results", "real")  # in --out


def reproduce_real(data: Path | None, test: Path | None, base: Path, scale: Scale, out: Path) -> None:
    """Make every run that OUT/results/real does not have yet; print each one's numbers.

    A run that was interrupted continues from its latest state, which lies beside the results until it has ended.
    """
    found = load(data, test, scale.meanings)
    chat = getattr(load_pretrained(base)[1], "chat", None) is not None
    plan = Plan(scale, file_hash(base), *found.digests, chat)
    store = Store(out / FOLDER)
    print(f"{plan.take_known(store)} runs are in {store.folder}", flush=True)
    while config := plan.next():
        started = time.perf_counter()
        result = run(config, found, base, store.folder / f"{config.key}.state")
        plan.results[config.text] = store.put(config, result)
        print(f"{config.key}: {summary(result)}; {format_seconds(time.perf_counter() - started)}", flush=True)


def summary(result: Result) -> str:
    """ "valid_loss 1.412, test_loss 1.380, BLEU 54.1, ..." """
    if "diverged" in result:
        return result["diverged"]
    names = ("valid_loss", "test_loss")
    parts = [f"{name} {result[name]:.3f}" for name in names if result[name] is not None]
    if test := result["test"]:
        shown = {name: METRICS[name] for name in test["interval"]}
        parts += [f"{m.label} {m.factor * test[name]:.{m.decimals}f}" for name, m in shown.items()]
    return ", ".join(parts)
