"""What a file's header records, and the checks that its tensors agree with it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from minilora.files.architectures import ARCHITECTURES, OLDEST, architecture
from minilora.files.container import CheckpointError, content_hash
from minilora.lora import LoraConfig, LoraError, mergeable_layers, same_lora
from minilora.machine.backend import to_host
from minilora.nn import Config, Decoder, Module, difference


def describe(config: Config) -> dict[str, Any]:
    """A header's entries for a model's config."""
    return {"architecture": architecture(config), "config": asdict(config)}


def config_of(header: Mapping[str, Any]) -> Any:
    """The config that `describe` put into a header.  ValueError if its architecture is unknown."""
    name = header.get("architecture", OLDEST)
    if name not in ARCHITECTURES:
        raise ValueError(f"architecture {name!r}: this minilora knows {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name].config(**header["config"])


def describe_lora(lora: LoraConfig | None) -> dict[str, Any]:
    """A header's entry for a LoRA, or for none; a variant of LoRA is named."""
    if lora is None:
        return {"lora": None}
    chosen = {"exclude_modules", "layers_to_transform"}  # `resolved_config` has put these into target_modules
    found = {key: value for key, value in asdict(lora).items() if key not in chosen}
    return {"lora": found if lora.variant == "lora" else {"variant": lora.variant, **found}}


def lora_of(header: Mapping[str, Any]) -> LoraConfig | None:
    """What `describe_lora` put into a header: layers by name, since a hostile regular expression could run for ever."""
    if header["lora"] is None:
        return None
    found = dict(header["lora"])
    variant = found.pop("variant", "lora")
    if variant not in LoraConfig.variants:
        raise ValueError(f"variant {variant!r}: this minilora knows {', '.join(LoraConfig.variants)}")
    names = [*found["target_modules"], *found["rank_pattern"], *found["alpha_pattern"]]
    if not isinstance(found["target_modules"], list) or not all(re.fullmatch(r"[\w.]+", name) for name in names):
        raise ValueError("its LoRA config must name layers one by one")
    return LoraConfig.variants[variant](**found)


def check_dtype(tensors: Mapping[str, np.ndarray], dtype: str, path: Any) -> None:
    """CheckpointError unless every tensor has the config's dtype."""
    for name, array in tensors.items():
        if array.dtype.name != dtype:
            raise CheckpointError(f"{path}: {name} is {array.dtype.name}, its config says {dtype}: make the file again")


def check_shapes(tensors: Mapping[str, np.ndarray], expected: Mapping[str, tuple[int, ...]], path: Any) -> None:
    """CheckpointError unless the tensors are exactly those expected, by name and shape."""
    if odd := difference({name: array.shape for name, array in tensors.items()}, expected):
        raise CheckpointError(f"{path}: {odd}")


def base_hash(model: Module, without: Collection[str]) -> str:
    """`content_hash` of the frozen base: all parameters except those named, and W0 where a LoRA is merged.

    A base that was quantized counts as the one it was made from.
    """
    merged = {f"{path}.weight": layer.base_weight for path, layer in mergeable_layers(model) if layer.merged}
    kept = {name: W0 for name, W0 in merged.items() if W0 is not None}
    if len(kept) < len(merged):
        raise LoraError("the LoRA was merged without keeping W0: call unmerge(model) first")
    frozen = {name: p for name, p in model.named_parameters().items() if name not in without}
    if made_from := {p.made_from for p in frozen.values() if p.made_from is not None}:
        if other := [name for name in without if name.endswith((".weight", ".bias"))]:
            raise LoraError(f"{other[0]} trains, and a quantized base is known by all its weights: train a LoRA only")
        return made_from.pop()
    return content_hash(frozen, lambda name: to_host(kept[name] if name in kept else frozen[name].data))


def quantization(model: Module) -> str | None:
    """How the weights are stored that are not floats, such as "NF4"; None if all are."""
    return "+".join(sorted({p.stored_as for p in model.parameters if p.stored_as is not None})) or None


def check_setup(config: Config, lora: LoraConfig | None, model: Decoder, present: LoraConfig | None, path: Any) -> None:
    """CheckpointError unless the configs in a file are those of the model and of the LoRA `present` in it."""
    if architecture(config) != architecture(model.config):
        raise CheckpointError(
            f"{path} belongs to a base of the architecture {architecture(config)}, this model is a "
            f"{architecture(model.config)}"
        )
    for key, value in asdict(model.config).items():
        if getattr(config, key) != value:
            raise CheckpointError(f"{path} belongs to a base with {key}={getattr(config, key)}, this model has {value}")
    if not same_lora(model.shapes(), lora, present):
        raise CheckpointError(
            f"{path} belongs to the LoRA {lora}, the model has {present}: "
            "give the model the same LoRA first (remove_lora takes one off)"
        )
