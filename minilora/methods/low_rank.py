"""LoRA as one of the methods, by itself and with special tokens (Hu et al. 2021, sections 4.1 and E; table 15).

|Theta| = 2 L_LoRA d r for L_LoRA adapted weights of d x d; r (d + k) for one of d x k.
"""

from __future__ import annotations

import math
from typing import Any

from minilora.files.architectures import shapes
from minilora.lora import LoraConfig, add_lora, lora_shapes
from minilora.methods.method import Method
from minilora.methods.prefix import PRE_EMBED, PRE_LAYER
from minilora.nn import Config, Decoder

OPTIONS = {"r": 8, "lora_alpha": 16, "target_modules": ("q_proj", "v_proj"), "bias": "none"}


def lora_method(kind: type[LoraConfig], label: str, source: str, **own: Any) -> Method:
    """LoRA or a variant of it as a method; `own`: the options that the variant has besides LoRA's."""

    def change(model: Decoder, seed: int, **options: Any) -> None:
        add_lora(model, kind(**options), seed)

    def count(config: Config, **options: Any) -> int:
        """The sizes of all that trains.  ValueError if a target names no layer."""
        return sum(math.prod(shape) for shape in lora_shapes(shapes(config), kind(**options)).values())

    return Method(kind.variant, label, source, change, count, {**OPTIONS, **own})


LORA = lora_method(LoraConfig, "LoRA", "Hu et al. 2021, section 4.1")


def _with_special_tokens(name: str, label: str, prefix: Method) -> Method:
    """LoRA on a model with the special tokens of `prefix`."""

    def split(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """(LoRA's options, the prefix's)."""
        return {k: options[k] for k in OPTIONS}, {k: options[k] for k in prefix.defaults}

    def change(model: Decoder, seed: int, **options: Any) -> None:
        of_lora, of_prefix = split(options)
        prefix.change(model, seed, **of_prefix)  # first: its start is what the base itself writes
        LORA.change(model, seed, **of_lora)  # freezes everything else
        model.stack.unfreeze()

    def count(config: Config, **options: Any) -> int:
        of_lora, of_prefix = split(options)
        return LORA.count(config, **of_lora) + prefix.count(config, **of_prefix)

    return Method(name, label, "Hu et al. 2021, section E", change, count, {**OPTIONS, **prefix.defaults})


LORA_PRE_EMBED = _with_special_tokens("lora_pre_embed", "LoRA+PreEmbed", PRE_EMBED)
LORA_PRE_LAYER = _with_special_tokens("lora_pre_layer", "LoRA+PreLayer", PRE_LAYER)
