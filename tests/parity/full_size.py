"""Load a GPT-2 folder, take a LoRA step, generate; print seconds and peak memory as JSON.

    python -m tests.parity.full_size FOLDER

A process of its own: its peak memory is that of NumPy and minilora alone.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

import numpy as np
import safetensors.numpy  # noqa: F401 (loaded before the baseline is taken)

import minilora as ml
from minilora.hf import load_gpt2

TOKENS = np.arange(128).reshape(2, 64) * 37 % 50_000


def peak_bytes() -> int:
    """The largest amount of memory that this process has had (Linux)."""
    # Not getrusage: its ru_maxrss starts with what the parent had when it forked.
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])


def main(folder: Path) -> None:
    baseline, started, report = peak_bytes(), time.perf_counter(), {}

    def note(what: str) -> None:
        nonlocal started
        report[what] = {"seconds": time.perf_counter() - started, "peak_bytes": peak_bytes() - baseline}
        started = time.perf_counter()

    model, _ = load_gpt2(folder)
    note("load")
    np.save(folder / "logits.npy", model(TOKENS[:, :16]))
    started = time.perf_counter()
    ml.add_lora(model, ml.LoraConfig(r=8))
    optimizer = ml.Adam(model)
    loss, grads = ml.loss_and_grads(model, TOKENS[:, :-1], TOKENS[:, 1:])
    optimizer.step(grads)
    note("LoRA step of 126 tokens")
    ml.generate(model, TOKENS[0], 20)
    note("generate 20 tokens")
    report["model_bytes"] = sum(p.nbytes for p in model.named_parameters().values())
    report["loss"] = loss
    print(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
