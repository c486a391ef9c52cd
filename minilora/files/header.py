"""What a file's header records, and the checks that hold its tensors to it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from minilora.files.container import CheckpointError, content_hash
from minilora.lora import (
    LoraConfig,
    LoraError,
    mergeable_layers,
    resolved_config,
)
from minilora.machine.backend import to_host
from minilora.nn import Module
from minilora.transformer import GPT, GPTConfig


def description(model: GPT) -> dict[str, Any]:
    """What a header says about the model: its config, and its LoRA's."""
    lora = resolved_config(model)
    return {"config": asdict(model.config), "lora": None if lora is None else asdict(lora)}


def config_and_lora(header: Mapping[str, Any]) -> tuple[GPTConfig, LoraConfig | None]:
    """What `description` put into a header: layers by name, since a hostile regular expression could run for ever."""
    said = header["lora"]
    if said is None:
        return GPTConfig(**header["config"]), None
    names = [*said["target_modules"], *said["rank_pattern"], *said["alpha_pattern"]]
    if not isinstance(said["target_modules"], list) or not all(re.fullmatch(r"[\w.]+", name) for name in names):
        raise ValueError("its LoRA config must name layers one by one")
    return GPTConfig(**header["config"]), LoraConfig(**said)


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


def check_setup(config: GPTConfig, lora: LoraConfig | None, model: GPT, present: LoraConfig | None, path: Any) -> None:
    """CheckpointError unless the configs in a file are the model's config and the LoRA present in it."""
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
