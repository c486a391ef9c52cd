"""What a file's header records, and the checks that hold its tensors to it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from minilora.files.architectures import ARCHITECTURES, OLDEST, architecture
from minilora.files.container import CheckpointError, content_hash
from minilora.lora import (
    LoraConfig,
    LoraError,
    mergeable_layers,
)
from minilora.machine.backend import to_host
from minilora.nn import Decoder, Module


def describe(config: Any) -> dict[str, Any]:
    """A header's entries for a model's config."""
    return {"architecture": architecture(config), "config": asdict(config)}


def config_of(header: Mapping[str, Any]) -> Any:
    """The config that `describe` put into a header.  ValueError if its architecture is unknown."""
    name = header.get("architecture", OLDEST)
    if name not in ARCHITECTURES:
        raise ValueError(f"architecture {name!r}: this minilora knows {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name].config(**header["config"])


def describe_lora(lora: LoraConfig | None) -> dict[str, Any]:
    """A header's entry for a LoRA, or for none."""
    return {"lora": None if lora is None else asdict(lora)}


def lora_of(header: Mapping[str, Any]) -> LoraConfig | None:
    """What `describe_lora` put into a header: layers by name, since a hostile regular expression could run for ever."""
    found = header["lora"]
    if found is None:
        return None
    names = [*found["target_modules"], *found["rank_pattern"], *found["alpha_pattern"]]
    if not isinstance(found["target_modules"], list) or not all(re.fullmatch(r"[\w.]+", name) for name in names):
        raise ValueError("its LoRA config must name layers one by one")
    return LoraConfig(**found)


def check_dtype(tensors: Mapping[str, np.ndarray], dtype: str, path: Any) -> None:
    """CheckpointError unless every tensor has the dtype that the config says."""
    for name, array in tensors.items():
        if array.dtype.name != dtype:
            raise CheckpointError(f"{path}: {name} is {array.dtype.name}, its config says {dtype}: make it again")


def check_shapes(tensors: Mapping[str, np.ndarray], expected: Mapping[str, tuple[int, ...]], path: Any) -> None:
    """CheckpointError unless these are exactly the tensors expected, by name and shape."""
    for name in sorted(tensors.keys() | expected.keys()):
        found = tensors[name].shape if name in tensors else "missing"
        if found != expected.get(name):
            raise CheckpointError(f"{path}: {name} is {found}, this model needs {expected.get(name, 'none')}")


def base_hash(model: Module, without: list[str]) -> str:
    """`content_hash` of the frozen base: all parameters but those named, W0 itself where a LoRA is merged."""
    merged = {f"{path}.weight": layer.base_weight for path, layer in mergeable_layers(model) if layer.merged}
    kept = {name: W0 for name, W0 in merged.items() if W0 is not None}
    if len(kept) < len(merged):
        raise LoraError("the LoRA was merged without keeping W0: call unmerge(model) first")
    state = {name: p.data for name, p in model.named_parameters().items() if name not in without} | kept
    return content_hash({name: to_host(array) for name, array in state.items()})


def check_setup(config: Any, lora: LoraConfig | None, model: Decoder, present: LoraConfig | None, path: Any) -> None:
    """CheckpointError unless the configs in a file are the model's config and the LoRA present in it."""
    if architecture(config) != architecture(model.config):
        raise CheckpointError(
            f"{path} belongs to a base of the architecture {architecture(config)}, this model is a "
            f"{architecture(model.config)}"
        )
    for key, value in asdict(model.config).items():
        if getattr(config, key) != value:
            raise CheckpointError(
                f"{path} belongs to a base with {key}={getattr(config, key)}, this model has {key}={value}"
            )
    if lora != present:
        raise CheckpointError(
            f"{path} belongs to the LoRA {lora}, the model has {present}: "
            "set the model up as it was then (remove_lora takes a LoRA off)"
        )
