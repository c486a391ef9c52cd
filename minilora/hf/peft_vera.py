"""VeRA as PEFT stores it: two vectors for each layer, and A and B once for the whole model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minilora.files.container import CheckpointError
from minilora.hf.safetensors_folder import StoredTensor
from minilora.lora import LoraError, add_lora, lora_layers
from minilora.machine.backend import array_module, to_host
from minilora.methods.vera import VeraConfig, VeraLinear
from minilora.nn import Decoder

PROJECTIONS = ("base_model.vera_A", "base_model.vera_B")
VECTORS = ("vera_lambda_d", "vera_lambda_b")
READ = {"r", "target_modules", "exclude_modules", "layers_to_transform", "vera_dropout", "d_initial", "save_projection"}
SILENT = {"auto_mapping", "base_model_name_or_path", "fan_in_fan_out", "inference_mode", "init_weights"}
SILENT |= {"layers_pattern", "peft_type", "peft_version", "projection_prng_key", "revision", "task_type"}


def vera_settings(config: VeraConfig, targets: list[str]) -> dict[str, Any]:
    """What adapter_config.json has for VeRA and not for LoRA.  LoraError if biases train too."""
    if config.bias != "none":
        raise LoraError(f'bias={config.bias!r}: minilora hands on VeRA without biases, train it with bias="none"')
    own = {"r": config.r, "vera_dropout": config.lora_dropout, "d_initial": config.d_initial, "bias": "none"}
    return {"peft_type": "VERA", "save_projection": True, "projection_prng_key": 0, "target_modules": targets, **own}


def vera_tensors(
    model: Decoder, layers: Mapping[str, list[str]], prefix: str
) -> tuple[dict[str, np.ndarray], list[str]]:
    """PEFT's tensors, by their whole names, and its paths of the adapted layers.

    layers  transformers' path -> our layers that stand in it
    """
    adapted, tensors = dict(lora_layers(model)), dict[str, np.ndarray]()
    names = [name for name, paths in layers.items() if any(path in adapted for path in paths)]
    for name in names:
        _check_single(name, layers[name])
        layer: Any = adapted[layers[name][0]]
        tensors |= {f"{prefix}{name}.{which}": to_host(getattr(layer, which).data) for which in VECTORS}
        tensors |= zip(PROJECTIONS, (to_host(layer.vera_A.data), to_host(layer.vera_B.data)), strict=True)
    return tensors, names


def _check_single(name: str, paths: list[str]) -> None:
    """CheckpointError for a layer that joins several of ours: its rows are not the first rows of B for each."""
    if len(paths) > 1:
        raise CheckpointError(
            f"{name} joins {len(paths)} layers of minilora's, and VeRA gives each of them the same rows of B: "
            "leave it out of target_modules, or use LoRA"
        )


def load_vera(
    model: Decoder,
    settings: Mapping[str, Any],
    stored: Mapping[str, StoredTensor],
    layers: Mapping[str, list[str]],
    targeted: list[str],
    path: Path,
) -> None:
    """Add PEFT's VeRA to these layers of the model.  CheckpointError, before any change, if it does not fit."""
    beyond = [name for name, value in settings.items() if name not in READ | SILENT and value not in (None, "none")]
    if beyond:
        raise CheckpointError(f"{path} sets {beyond[0]} to {settings[beyond[0]]!r}, which minilora's VeRA lacks")
    if not settings.get("save_projection", True) or not set(PROJECTIONS) <= stored.keys():
        raise CheckpointError(
            f"{path} belongs to a VeRA whose A and B are not stored: only torch can draw them again. Load it with PEFT "
            "and save it with save_projection=True"
        )
    for name in targeted:
        _check_single(name, layers[name])
    ours = {layers[name][0]: name for name in targeted}
    try:
        dropout, start = settings.get("vera_dropout") or 0.0, settings.get("d_initial", 0.1)
        config = VeraConfig(settings["r"], 1, tuple(ours), dropout, d_initial=start)
        sizes = {layer: model.get_submodule(layer).weight.shape for layer in ours}  # type: ignore[attr-defined]
        shapes = config.frozen_shapes(sizes)
        expected = dict(zip(PROJECTIONS, shapes.values(), strict=True))
        for layer, (d, k) in sizes.items():
            own = config.shapes(layer, d, k)
            expected |= {f"{ours[layer]}.{which}": own[f"{layer}.{which}"] for which in VECTORS}
    except (TypeError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} is damaged: {error}. Fetch it again") from None
    found = {name: tensor.shape for name, tensor in stored.items()}
    if odd := sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)):
        here, there = found.get(odd[0], "missing"), expected.get(odd[0], "no such tensor")
        raise CheckpointError(f"{path}: {odd[0]} is {here}, expected {there}: it belongs to a different model")
    arrays = {name: tensor.read() for name, tensor in stored.items()}
    add_lora(model, config)
    for layer, module in lora_layers(model):
        assert isinstance(module, VeraLinear)
        names = [*PROJECTIONS, *(f"{ours[layer]}.{which}" for which in VECTORS)]
        parameters = (module.vera_A, module.vera_B, module.vera_lambda_d, module.vera_lambda_b)
        for name, parameter in zip(names, parameters, strict=True):
            parameter.data[...] = array_module(parameter.data).asarray(arrays[name], dtype=parameter.data.dtype)
