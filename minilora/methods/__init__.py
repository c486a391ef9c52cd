"""The methods that the paper compares (Hu et al. 2021, section 5.1), each a way to set a plain model up.

    methods.apply(model, "adapter_h", seed=0, m=8)           # in place: wraps, and freezes all but |Theta| parameters
    methods.count("adapter_h", model.config, m=8)            # |Theta| from the shape alone
    fit(model, data, steps=100)                              # every method's model is a GPT like any other
    methods.save_trained(model, "task.npz")                  # just what was trained
    methods.load_trained(load_base()[0], "task.npz")         # onto a fresh base, bit for bit

One file per family: `finetune`, `bottleneck`, `prefix`, `low_rank`. Each states its formula and where it comes from.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minilora.methods import bottleneck, files, finetune, low_rank, prefix, published
from minilora.methods.files import save_trained
from minilora.methods.method import Method, Model, method_of
from minilora.methods.published import MODELS, Published, checkpoint_bytes

__all__ = [
    "METHODS",
    "MODELS",
    "Method",
    "Published",
    "apply",
    "checkpoint_bytes",
    "count",
    "load_trained",
    "method_of",
    "published_counts",
    "save_trained",
]

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        finetune.FULL,
        finetune.TOP2,
        finetune.BITFIT,
        bottleneck.ADAPTER_H,
        bottleneck.ADAPTER_L,
        bottleneck.ADAPTER_P,
        bottleneck.ADAPTER_D,
        prefix.PRE_EMBED,
        prefix.PRE_LAYER,
        low_rank.LORA,
        low_rank.LORA_PRE_EMBED,
        low_rank.LORA_PRE_LAYER,
    )
}


def _method(name: str) -> Method:
    if name not in METHODS:
        raise ValueError(f"method {name!r} is unknown: choose from {', '.join(METHODS)}")
    return METHODS[name]


def apply(model: Model, name: str, seed: int = 0, **options: Any) -> Model:
    """Set a plain model up for the method of this name; see `Method.apply`.  ValueError for an unknown name."""
    return _method(name).apply(model, seed, **options)


def count(name: str, config: Any, **options: Any) -> int:
    """|Theta| of the method of this name on a model of this shape; see `Method.count`."""
    return _method(name).count(config, **options)


def load_trained(model: Model, path: str | Path, allow_nonfinite: bool = False) -> Model:
    """Read what `save_trained` wrote into the model, applying its method if the model is plain; returns the model.

    CheckpointError, before any change, if the file is damaged, of another kind, of another base (by the hash of
    what the method leaves frozen), or not of the method and options that the model has; LoraError while merged.
    """
    return files.load_trained(model, path, METHODS, allow_nonfinite)


def published_counts() -> Iterator[Published]:
    """The paper's printed counts of GPT-2 M, GPT-2 L and GPT-3, each with what the formula gives."""
    return published.published_counts(METHODS)
