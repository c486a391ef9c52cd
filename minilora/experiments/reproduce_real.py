"""Make the runs on the real model that are missing, one after the other; each is on disk as soon as it has ended."""

from __future__ import annotations

import json
import time
from pathlib import Path

from minilora.experiments.engine.experiment import METRICS
from minilora.experiments.engine.run import Result, Store, write_text
from minilora.experiments.real.data import load
from minilora.experiments.real.page import FOLDER, PAIRS, SHARED, page
from minilora.experiments.real.plan import Cell, Plan, Scale
from minilora.experiments.real.run import adapter_file, file_hash, run
from minilora.experiments.real.updates import shared
from minilora.experiments.reproduce import write_page
from minilora.files.adapter import read_adapter
from minilora.hf import load_pretrained
from minilora.machine.progress import format_seconds


def reproduce_real(data: Path | None, test: Path | None, base: Path, scale: Scale, out: Path) -> None:
    """Make every run that OUT/results/real does not have yet; print each one's numbers, and the tables
    at the end or at Ctrl-C.

    A run that was interrupted continues from its latest state, which lies beside the results until it has ended.
    """
    found = load(data, test, scale.meanings)
    chat = getattr(load_pretrained(base)[1], "chat", None) is not None
    plan = Plan(scale, file_hash(base), *found.digests, chat)
    store = Store(out / FOLDER)
    print(f"{plan.take_known(store)} runs are in {store.folder}", flush=True)
    try:
        while config := plan.next():
            started = time.perf_counter()
            result = run(config, found, base, store.folder)
            plan.results[config.text] = store.put(config, result)
            compare(plan, store.folder)
            write_page(out)
            print(f"{config.key}: {summary(result)}; {format_seconds(time.perf_counter() - started)}", flush=True)
    finally:
        write_page(out)
        print(page(plan, store.folder))


def compare(plan: Plan, folder: Path) -> None:
    """Write which directions two runs share, once both have ended here: their adapters are in the folder."""
    N, file = plan.scale.usual, folder / SHARED
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for label, *ends in PAIRS:
        files = [adapter_file(config, folder) for way, seed in ends for config in plan.runs(Cell(way, N))[seed:][:1]]
        if label not in known and len(files) == len(ends) and all(map(Path.exists, files)):
            known[label] = shared(*map(read_adapter, files))
            write_text(file, json.dumps(known, indent=1) + "\n")


def summary(result: Result) -> str:
    """ "valid_loss 1.412", or "test_loss 1.380, BLEU 54.1, ..." """
    if "diverged" in result:
        return result["diverged"]
    parts = [f"{name} {result[name]:.3f}" for name in ("valid_loss", "test_loss") if result[name] is not None]
    shown = {name: METRICS[name] for name in result["test"].get("interval", ())}
    return ", ".join([*parts, *(f"{m.label} {m.factor * result['test'][n]:.{m.decimals}f}" for n, m in shown.items())])
