"""What a method trained, in a file: the method, its options and only those parameters (see `files.container`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minilora.files.architectures import build
from minilora.files.container import CheckpointError, read_file, refusing, write_file
from minilora.files.header import base_hash, config_of, describe
from minilora.lora import LoraError, frozen_parameters, is_merged, resolved_config
from minilora.machine.backend import array_module, to_host
from minilora.methods.method import Method, method_of
from minilora.methods.registry import METHODS
from minilora.nn import Config, Decoder, Model, Parameter, difference


def save_trained(model: Decoder, path: str | Path) -> None:
    """Write the parameters that the model's method trains, and the hash of the frozen base they belong to.

    ValueError if the model has no method; LoraError while a LoRA is merged.
    """
    name, options = _recorded(model)
    if is_merged(model):
        raise LoraError("the LoRA is merged: call unmerge(model) before you save what it trained")
    saved = {name: to_host(p.data) for name, p in _saved(model).items()}
    header = {**describe(model.config), "method": name, "options": options, "base_sha256": base_hash(model, saved)}
    write_file(path, "method", header, saved, _read)


def _saved(model: Decoder) -> dict[str, Parameter]:
    """What the method trains, and what a variant of LoRA adds frozen."""
    frozen = frozen_parameters(model)
    return {name: p for name, p in model.named_parameters().items() if p.trainable or name in frozen}


def load_trained(model: Model, path: str | Path, allow_nonfinite: bool = False) -> Model:
    """Read what `save_trained` wrote into the model, applying its method if the model is plain; returns the model.

    CheckpointError, before any change, if the file is damaged, of another kind, for a different base (by the hash of
    what the method leaves frozen), or of a method or options that the model does not have; LoraError while merged.
    """
    if is_merged(model):
        raise LoraError("the LoRA is merged: call unmerge(model) before you load what was trained")
    config, method, options, base_sha256, tensors = _read(path, allow_nonfinite)
    with refusing(path):
        if config != model.config:
            raise CheckpointError(f"{path} is for a base of {config}, this one is {model.config}")
        applied = method_of(model)
        if applied is not None and _recorded(model) != (method.name, options):
            raise CheckpointError(f"{path} holds {method.name} {options}, the model has {applied}: use a fresh base")
        if base_sha256 != base_hash(model, tensors):
            raise CheckpointError(
                f"{path} was trained on a different base (the weights' hash differs): load that base first"
            )
    if applied is None:
        method.apply(model, **options)
    parameters = model.named_parameters()
    for name, array in tensors.items():
        parameters[name].data[...] = array_module(parameters[name].data).asarray(array)
    return model


def _read(
    path: str | Path, allow_nonfinite: bool = False
) -> tuple[Config, Method, dict[str, Any], str, dict[str, np.ndarray]]:
    """The config, the method, its options, the base's hash and the tensors in a file, once they are known to fit."""
    header, tensors = read_file(path, "method", allow_nonfinite)
    with refusing(path):
        method, options, config = METHODS[header["method"]], _plain(header["options"]), config_of(header)
        # The count comes first, so that no file makes us build what it does not hold.
        if method.count(config, **options) > sum(array.size for array in tensors.values()):
            raise CheckpointError(f"{path}: its tensors are not those of {method.name} {options}: make it again")
        found = {name: (array.shape, array.dtype.name) for name, array in tensors.items()}
        twin = _saved(method.apply(build(config), **options))  # of zeros
        if odd := difference(found, {name: (p.shape, np.dtype(p.data.dtype).name) for name, p in twin.items()}):
            raise CheckpointError(f"{path}: {odd}")
    return config, method, options, header["base_sha256"], tensors


def _recorded(model: Decoder) -> tuple[str, dict[str, Any]]:
    """The model's method as a file records it, LoRA's layers named one by one.  ValueError if it has none."""
    applied = method_of(model)
    if applied is None:
        raise ValueError('the model has no method: call methods.apply(model, "lora"), or save_model for all of it')
    name, options = applied
    lora = resolved_config(model)
    return name, options if lora is None else {**options, "target_modules": lora.target_modules}


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options in a header, lists as tuples.  ValueError unless layers are named one by one: a hostile regular
    expression could run for ever."""
    targets = options.get("target_modules", [])
    if isinstance(targets, str) or not all(re.fullmatch(r"[\w.]+", name) for name in targets):
        raise ValueError("its target_modules must name layers one by one")
    return {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
