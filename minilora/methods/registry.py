"""All methods by name: those that the paper compares, and what came after LoRA."""

from __future__ import annotations

from typing import Any

from minilora.methods import bottleneck, dora, finetune, lora_xs, loraplus, low_rank, pissa, prefix, vera
from minilora.methods.method import Method
from minilora.nn import Config, Model

PAPER = [finetune.FULL, finetune.TOP2, finetune.BITFIT]
PAPER += [bottleneck.ADAPTER_H, bottleneck.ADAPTER_L, bottleneck.ADAPTER_P, bottleneck.ADAPTER_D]
PAPER += [prefix.PRE_EMBED, prefix.PRE_LAYER, low_rank.LORA, low_rank.LORA_PRE_EMBED, low_rank.LORA_PRE_LAYER]
LATER = [dora.DORA, pissa.PISSA, pissa.OLORA, loraplus.LORA_PLUS, vera.VERA, lora_xs.LORA_XS]
METHODS: dict[str, Method] = {method.name: method for method in [*PAPER, *LATER]}


def _named(name: str) -> Method:
    if not isinstance(name, str) or name not in METHODS:
        raise ValueError(f"method {name!r:.80} is unknown: choose from {', '.join(METHODS)}")
    return METHODS[name]


def apply(model: Model, name: str, seed: int = 0, **options: Any) -> Model:
    """Set a plain model up for the method of this name; see `Method.apply`.  ValueError for an unknown name."""
    return _named(name).apply(model, seed, **options)


def count(name: str, config: Config, **options: Any) -> int:
    """|Theta| of the method of this name on a model of this shape; see `Method.count`."""
    return _named(name).count(config, **options)
