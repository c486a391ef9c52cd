"""LoRA as one of the methods, and together with special tokens (Hu et al. 2021, sections 4.1 and E; table 15).

|Theta| = 2 L_LoRA d r for L_LoRA adapted weights of d x d; r (d + k) for one of d x k.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from minilora.lora import LoraConfig, add_lora
from minilora.methods import prefix
from minilora.methods.finetune import bias_count
from minilora.methods.method import Method
from minilora.transformer import GPT, GPTConfig

OPTIONS = {"r": 8, "lora_alpha": 16, "target_modules": ("q_proj", "v_proj"), "bias": "none"}


def matrices(config: GPTConfig) -> Iterator[tuple[str, tuple[int, int]]]:
    """(path, (d, k)) of every layer that LoRA can adapt, from the shape of the model alone."""
    C = config.n_embd
    yield "wte", (config.vocab_size, C)
    yield "wpe", (config.block_size, C)
    for i in range(config.n_layer):
        yield from ((f"blocks.{i}.attn.{name}_proj", (C, C)) for name in "qkvo")
        yield f"blocks.{i}.mlp.up_proj", (4 * C, C)
        yield f"blocks.{i}.mlp.down_proj", (C, 4 * C)


def apply_lora(model: GPT, seed: int, **options: Any) -> None:
    add_lora(model, LoraConfig(**options), seed)


def count_lora(config: GPTConfig, **options: Any) -> int:
    """r (d + k) over the adapted weights, and the biases that train along: all, or those of the adapted layers.

    ValueError if a target names no layer.
    """
    lora = LoraConfig(**options)
    names = (lora.target_modules,) if isinstance(lora.target_modules, str) else lora.target_modules
    for name in names:
        one = LoraConfig(target_modules=name if names[0] is lora.target_modules else (name,))
        if not any(one.targets(path) for path, _ in matrices(config)):
            known = sorted({path.rpartition(".")[2] for path, _ in matrices(config)})
            raise ValueError(f"no layer matches the target {name!r}: this model has {', '.join(known)}")
    adapted = {path: shape for path, shape in matrices(config) if lora.targets(path)}
    total = lora.r * sum(d + k for d, k in adapted.values())
    if lora.bias == "lora_only":
        total += sum(d for path, (d, _) in adapted.items() if path.startswith("blocks."))
    return total + (bias_count(config) if lora.bias == "all" else 0)


def _split(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(LoRA's options, the prefix's options)."""
    return {k: options[k] for k in OPTIONS}, {k: options[k] for k in prefix.OPTIONS}


def _apply_both(model: GPT, seed: int, apply_prefix: Any, options: dict[str, Any]) -> None:
    """The special tokens first, since they start from what the base writes; then LoRA, which freezes all others."""
    of_lora, of_prefix = _split(options)
    apply_prefix(model, seed, **of_prefix)
    apply_lora(model, seed, **of_lora)
    model.stack.unfreeze()


def apply_lora_embed(model: GPT, seed: int, **options: Any) -> None:
    _apply_both(model, seed, prefix.apply_embed, options)


def apply_lora_layer(model: GPT, seed: int, **options: Any) -> None:
    _apply_both(model, seed, prefix.apply_layer, options)


def count_lora_embed(config: GPTConfig, **options: Any) -> int:
    of_lora, of_prefix = _split(options)
    return count_lora(config, **of_lora) + prefix.count_embed(config, **of_prefix)


def count_lora_layer(config: GPTConfig, **options: Any) -> int:
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
