"""`python -m tests.benchmarks.adapters`: what many adapters on one base cost, as ratios within one run.

Matrix products run on one thread here: with more, we would measure how they share the machine.
"""

from __future__ import annotations

import tempfile
import tracemalloc
from collections.abc import Callable, Mapping
from itertools import cycle
from pathlib import Path

import numpy as np

import minilora as ml
from minilora.adapters.bank import AdapterBank
from minilora.adapters.side_by_side import loss_and_grads_side_by_side
from minilora.analysis import reduced_bytes
from minilora.lora import lora_shapes
from minilora.machine.blas import single_threaded_blas
from minilora.text import Batch
from minilora.transformer import shapes
from tests.benchmarks.report import Rows, main
from tests.benchmarks.shapes import LORA, SHAPES
from tests.benchmarks.timing import interleaved

SHAPE = SHAPES["M"]
GPT2 = ml.GPTConfig(vocab_size=50257, block_size=1024, n_layer=12, n_head=12, n_embd=768)


def timed(candidates: Mapping[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Median seconds of each candidate, taking turns."""
    with single_threaded_blas():
        return interleaved(candidates, seconds)


def bank_of(n: int) -> AdapterBank:
    """A bank over shape M with adapters "0", "1", ..., each of r=8 on q and v."""
    bank = AdapterBank(ml.GPT(SHAPE.config))
    for i in range(n):
        bank.add_adapter(str(i), LORA, seed=i)
    return bank


def switching(seconds: float) -> Rows:
    """One adapter out, the next in, on shape M (r=8 on q and v); beside it a forward of one row of 128 tokens."""
    bank, merged, base = bank_of(4), bank_of(4), ml.GPT(SHAPE.config)
    merged.set_adapter("0")
    merged.merge()
    names, merged_names, files = cycle("0123"), cycle("0123"), cycle("0123")
    tokens = SHAPE.tokens()[:1, :-1]
    whole = base.state_dict()
    with tempfile.TemporaryDirectory() as folder:
        for name in "0123":
            bank.save_adapter(name, Path(folder) / f"{name}.npz")

        def read() -> None:
            fresh = next(files)
            merged_bank.load_adapter(fresh, Path(folder) / f"{fresh}.npz")
            merged_bank.view(fresh)
            merged_bank.delete_adapter(fresh)

        merged_bank = AdapterBank(ml.GPT(SHAPE.config))
        candidates: dict[str, Callable[[], object]] = {
            "forward, one row": lambda: bank.base(tokens),
            "set_adapter": lambda: bank.set_adapter(next(names)),
            "set_adapter, merged": lambda: merged.set_adapter(next(merged_names)),
            "adapter from its file": read,
            "a whole model's weights copied in": lambda: base.load_state_dict(whole),
        }
        t = timed(candidates, seconds)
    return [
        {"switch": name, "ms": 1e3 * time, "/ forward of one row": time / t["forward, one row"]}
        for name, time in t.items()
    ]


def mixed_batch(seconds: float) -> Rows:
    """A forward of 16 rows of 128 tokens, shape M, whose rows use k adapters; against one adapter for all of them,
    and against the same rows run one adapter after the other, and row by row."""
    bank, tokens, rows = bank_of(16), SHAPE.tokens()[:, :-1], []
    one = bank.view("0")
    for k in (1, 2, 4, 8, 16):
        names = [str(i * k // 16) for i in range(16)]
        scattered = [str(i % k) for i in range(16)]
        groups = [(bank.view(name), tokens[[i for i in range(16) if names[i] == name]]) for name in sorted({*names})]
        singles = [(bank.view(name), tokens[i : i + 1]) for i, name in enumerate(names)]
        t = timed(
            {
                "base": lambda: bank.base(tokens),
                "one adapter": lambda: one(tokens),
                "mixed": lambda names=names: bank.mixed(names)(tokens),
                "scattered rows": lambda names=scattered: bank.mixed(names)(tokens),
                "in turn": lambda groups=groups: [model(part) for model, part in groups],
                "row by row": lambda singles=singles: [model(row) for model, row in singles],
            },
            seconds / 5,
        )
        against = {"mixed": "one adapter", "scattered rows": "one adapter", "in turn": "mixed", "row by row": "mixed"}
        against["one adapter"] = "base"
        rows.append({"adapters": k} | {f"{a} / {b}": t[a] / t[b] for a, b in against.items()})
    return rows


def memory(seconds: float) -> Rows:
    """100 adapters in one bank (r=8 on q and v), in bytes as tracemalloc counts them, Python's own objects included;
    against 100 copies of the model."""
    rows = []
    for name, shape in SHAPES.items():
        bank = AdapterBank(ml.GPT(shape.config))
        tracemalloc.start()
        for i in range(100):
            bank.add_adapter(str(i), LORA, seed=i)
        taken = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        model = 4 * shape.config.parameter_count
        rows.append(
            {
                "shape": name,
                "the base": model,
                "A and B of 100 adapters": bank.nbytes,
                "with all objects": taken,
                "100 copies of the model": 100 * model,
                "copies / adapters": 100 * model / taken,
            }
        )
    return rows


def reduced(seconds: float) -> Rows:
    """Bytes of gradients that each process of a data-parallel step adds up (float32, r=8 on q and v)."""
    rows = []
    for name, config in {**{name: shape.config for name, shape in SHAPES.items()}, "GPT-2, 124M": GPT2}.items():
        if config is GPT2:  # by its shapes: nothing of that size need be computed
            lora = 4 * sum(r * k for r, k in lora_shapes(shapes(config), LORA).values())
            full = 4 * config.parameter_count
        else:
            lora, full = reduced_bytes(ml.add_lora(ml.GPT(config), LORA))
        rows.append({"model": name, "LoRA": lora, "full fine-tuning": full, "full / LoRA": full / lora})
    return rows


def side_by_side(seconds: float) -> Rows:
    """Loss and gradients of k adapters (shape M, 4 rows of 128 tokens each): together, against one after the other."""
    bank, rows = bank_of(8), []
    rng = np.random.default_rng(0)
    for k in (2, 4, 8):
        names = [str(i) for i in range(k)]
        streams = {name: rng.integers(SHAPE.vocab_size, size=(4, 129)) for name in names}
        apart = {name: Batch(s[:, :-1], s[:, 1:], None) for name, s in streams.items()}
        equal = dict.fromkeys(names, apart["0"])
        views = {name: bank.view(name) for name in names}
        t = timed(
            {
                "in turn": lambda views=views, apart=apart: [ml.loss_and_grads(views[n], *apart[n]) for n in views],
                "together": lambda apart=apart: loss_and_grads_side_by_side(bank, apart),
                "together, equal streams": lambda equal=equal: loss_and_grads_side_by_side(bank, equal),
            },
            seconds / 3,
        )
        rows.append({"adapters": k} | {f"{a} / in turn": t[a] / t["in turn"] for a in t if a != "in turn"})
    return rows


if __name__ == "__main__":
    sections = (switching, mixed_batch, memory, reduced, side_by_side)
    main("tests.benchmarks.adapters", sections, "What many adapters on one base cost, as ratios within one run.")
