"""Adapters: what a LoRA trained, apart from its base, in memory and in files."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from minilora.files.container import CheckpointError, content_hash, read_file, refusing, to_json, write_file
from minilora.files.header import (
    base_hash,
    check_dtype,
    check_setup,
    check_shapes,
    config_of,
    describe,
    describe_lora,
    lora_of,
    quantization,
)
from minilora.lora import LoraConfig, LoraError, adapter_shapes, add_lora, is_merged, lora_layers, resolved_config
from minilora.machine.backend import Array, array_module, to_host
from minilora.nn import Config, Decoder, Model, check_type


@dataclass(frozen=True)
class Adapter:
    """What an adapter file holds: everything that LoRA trained, and which base it belongs to.

    config       the shape of the base
    base_sha256  the base's content: its `base_hash`; for an adapter with a parent, the parent's `sha256`
    lora         the LoRA config
    tensors      "PATH.lora_A" (r, k) and "PATH.lora_B" (d, r) of every adapted layer, and biases if they were trained;
                 of a variant, all that it adds
    parent       the name of the adapter that it was trained on top of (see `adapters.AdapterBank`), or None
    quantized    how that base was stored while it trained, such as "NF4"; None for floats
    """

    config: Config
    base_sha256: str
    lora: LoraConfig
    tensors: dict[str, Array]
    parent: str | None = None
    quantized: str | None = None

    @property
    def paths(self) -> list[str]:
        """The adapted layers."""
        return [name.removesuffix(".lora_A") for name in self.tensors if name.endswith(".lora_A")]

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.tensors.values())

    @property
    def sha256(self) -> str:
        """The hash of everything in it and, through `base_sha256`, of its ancestors: like a commit's hash in git."""
        setup = to_json([self.base_sha256, *describe_lora(self.lora).values()]).encode()
        tensors = {name: to_host(array) for name, array in self.tensors.items()}
        tensors[""] = np.frombuffer(setup, dtype=np.uint8)
        return content_hash(tensors, tensors.__getitem__)


def adapter_of(model: Decoder) -> Adapter:
    """The model's LoRA as an adapter, sharing the model's arrays.  LoraError if it has none."""
    lora = resolved_config(model)
    if lora is None:
        raise LoraError("the model has no LoRA to save: call add_lora(model, config), or save_model for all of it")
    names, parameters = list(adapter_shapes(model.shapes(), lora)), model.named_parameters()
    tensors = {name: parameters[name].data for name in names}
    return Adapter(model.config, base_hash(model, names), lora, tensors, quantized=quantization(model))


def plain_adapter(model: Decoder) -> Adapter:
    """The model's update as plain LoRA: a variant's factors, of rank 2 r for PiSSA.  For banks, sums, compression.

    LoraError if the model has no LoRA, or its update is not of low rank, as DoRA's.
    """
    own = adapter_of(model)
    if type(own.lora) is LoraConfig:
        return own
    tensors = {name: array for name, array in own.tensors.items() if name.endswith(".bias")}
    ranks, alphas = dict[str, int](), dict[str, float]()
    for path, layer in lora_layers(model):
        A, B = layer.factors()
        tensors |= {f"{path}.lora_A": A, f"{path}.lora_B": B}
        ranks[path], alphas[path] = len(A), layer.scaling * len(A)
    r, dropout, bias = max(ranks.values()), own.lora.lora_dropout, own.lora.bias
    lora = LoraConfig(r, r, tuple(ranks), dropout, bias, rank_pattern=ranks, alpha_pattern=alphas)
    return replace(own, lora=lora, tensors=tensors)


def write_adapter(adapter: Adapter, path: str | Path) -> None:
    """Write an adapter file."""
    check_type("the adapter", adapter, Adapter, "give one, as read_adapter returns it")
    header = {
        **describe(adapter.config),
        **describe_lora(adapter.lora),
        "base_sha256": adapter.base_sha256,
        "parent": adapter.parent,
        "quantized": adapter.quantized,
    }
    tensors = {name: to_host(array) for name, array in adapter.tensors.items()}
    write_file(path, "adapter", header, tensors, read_adapter)


def read_adapter(path: str | Path, allow_nonfinite: bool = False) -> Adapter:
    """The adapter in a file.  CheckpointError as for `read_file`, or if the tensors do not fit the LoRA config."""
    header, tensors = read_file(path, "adapter", allow_nonfinite)
    with refusing(path):
        config, lora = config_of(header), lora_of(header)
        base_sha256, parent, quantized = header["base_sha256"], header["parent"], header.get("quantized")
        if lora is None or not isinstance(base_sha256, str) or not isinstance(parent, (str, type(None))):
            raise ValueError("no LoRA config, base hash or parent")
        if quantized is not None and not re.fullmatch(r"\w{1,9}(\+\w{1,9}){0,9}", quantized):
            raise ValueError("an odd way to store a base")
        check_dtype(tensors, config.dtype, path)
        adapter = Adapter(config, base_sha256, lora, tensors, parent, quantized)
        expected = {name: a.shape for name, a in tensors.items() if name.endswith(".bias") and a.ndim == 1}
        sizes = lora.sizes(tensors)  # those of B and A, whatever the base
        for layer, (d, k) in sizes.items():
            expected |= lora.shapes(layer, d, k)
        expected |= lora.frozen_shapes(sizes)
        check_shapes(tensors, expected, path)
    return adapter


def save_adapter(model: Decoder, path: str | Path) -> None:
    """Write only what LoRA trained, its config, and the hash of the base it belongs to."""
    write_adapter(adapter_of(model), path)


def load_adapter(model: Model, path: str | Path, allow_nonfinite: bool = False, check_base: bool = True) -> Model:
    """Read an adapter into the model, adding its LoRA if there is none; returns the model.

    CheckpointError, before any change, if the adapter belongs to a different base (`check_base=False` accepts one of
    the same shape), or if the model has a different LoRA; LoraError while a LoRA is merged.
    """
    adapter = read_adapter(path, allow_nonfinite)
    if is_merged(model):
        raise LoraError("the LoRA is merged: call unmerge(model) before you load an adapter")
    present = resolved_config(model)
    check_setup(adapter.config, adapter.lora, model, present or adapter.lora, path)
    with refusing(path):
        check_shapes(adapter.tensors, adapter_shapes(model.shapes(), adapter.lora), path)
    if adapter.parent is not None:
        raise CheckpointError(
            f"{path} was trained on top of the adapter {adapter.parent!r}: load both into an AdapterBank"
        )
    if check_base and adapter.base_sha256 != base_hash(model, list(adapter.tensors)):
        raise CheckpointError(
            f"{path} was trained on a different base (the weights' hash differs): load that base first, "
            "or pass check_base=False if you are sure"
        )
    if adapter.quantized != (here := quantization(model)):
        warnings.warn(
            f"{path} was trained on this base in {adapter.quantized or 'floats'}, here it is in {here or 'floats'}: "
            "expect slightly different outputs",
            stacklevel=2,
        )
    if present is None:
        add_lora(model, adapter.lora)
    for name, parameter in model.named_parameters().items():
        if name in adapter.tensors:
            parameter.data[...] = array_module(parameter.data).asarray(adapter.tensors[name])
    return model
