"""LoRA as one of the methods, and together with special tokens (Hu et al. 2021, sections 4.1 and E; table 15).

|Theta| = 2 L_LoRA d r for L_LoRA adapted weights of d x d; r (d + k) for one of d x k.
"""

from __future__ import annotations

import math
from typing import Any

from minilora.files.architectures import shapes
from minilora.lora import LoraConfig, add_lora, lora_shapes
from minilora.methods import prefix
from minilora.methods.method import Method
from minilora.nn import Decoder

OPTIONS = {"r": 8, "lora_alpha": 16, "target_modules": ("q_proj", "v_proj"), "bias": "none"}


def apply_lora(model: Decoder, seed: int, **options: Any) -> None:
    add_lora(model, LoraConfig(**options), seed)


def count_lora(config: Any, **options: Any) -> int:
    """r (d + k) over the adapted weights, and the biases that train along: all, or those of the adapted layers.

    ValueError if a target names no layer.
    """
    return sum(math.prod(shape) for shape in lora_shapes(shapes(config), LoraConfig(**options)).values())


def _split(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(LoRA's options, the prefix's options)."""
    return {k: options[k] for k in OPTIONS}, {k: options[k] for k in prefix.OPTIONS}


def _apply_both(model: Decoder, seed: int, apply_prefix: Any, options: dict[str, Any]) -> None:
    """The special tokens first, since they start from what the base writes; then LoRA, which freezes all others."""
    of_lora, of_prefix = _split(options)
    apply_prefix(model, seed, **of_prefix)
    apply_lora(model, seed, **of_lora)
    model.stack.unfreeze()


def apply_lora_embed(model: Decoder, seed: int, **options: Any) -> None:
    _apply_both(model, seed, prefix.apply_embed, options)


def apply_lora_layer(model: Decoder, seed: int, **options: Any) -> None:
    _apply_both(model, seed, prefix.apply_layer, options)


def count_lora_embed(config: Any, **options: Any) -> int:
    of_lora, of_prefix = _split(options)
    return count_lora(config, **of_lora) + prefix.count_embed(config, **of_prefix)


def count_lora_layer(config: Any, **options: Any) -> int:
    of_lora, of_prefix = _split(options)
    return count_lora(config, **of_lora) + prefix.count_layer(config, **of_prefix)


_BOTH = {**OPTIONS, **prefix.OPTIONS}
_SOURCE = "Hu et al. 2021"
LORA = Method("lora", "LoRA", f"{_SOURCE}, section 4.1", apply_lora, count_lora, OPTIONS)
LORA_PRE_EMBED = Method(
    "lora_pre_embed", "LoRA+PreEmbed", f"{_SOURCE}, section E", apply_lora_embed, count_lora_embed, _BOTH
)
LORA_PRE_LAYER = Method(
    "lora_pre_layer", "LoRA+PreLayer", f"{_SOURCE}, section E", apply_lora_layer, count_lora_layer, _BOTH
)
