"""Whole models in files, and the base that is shipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from minilora.files.architectures import build, shapes
from minilora.files.container import CheckpointError, read_file, refusing, write_file
from minilora.files.header import check_dtype, check_shapes, config_of, describe, describe_lora, lora_of, quantization
from minilora.lora import LoraConfig, LoraError, adapter_shapes, add_lora, is_merged, resolved_config
from minilora.nn import Config, Decoder
from minilora.text import ByteTokenizer


def save_model(model: Decoder, path: str | Path) -> None:
    """Write the model's config, its weights and its LoRA, if it has one.

    LoraError while a LoRA is merged; ValueError if another method has added parameters, or the model is quantized.
    """
    if is_merged(model):
        raise LoraError("the LoRA is merged: call remove_lora(model) to save only W, or unmerge(model) to save both")
    if stored := quantization(model):
        raise ValueError(f"the model is stored as {stored}: save its adapter, or quantized.dequantize(model) first")
    base, lora = shapes(model.config), resolved_config(model)
    if model.shapes().keys() != (base if lora is None else base | adapter_shapes(base, lora)).keys():
        raise ValueError("a method has added parameters to the model: save them with methods.save_trained")
    write_file(path, "model", {**describe(model.config), **describe_lora(lora)}, model.state_dict(), _read)


def load_model(path: str | Path, allow_nonfinite: bool = False) -> Any:
    """The model that `save_model` wrote, LoRA included.  CheckpointError as `read_file`.

    Nothing is built before the file is known to hold the tensors of the model that its header describes.
    """
    config, lora, tensors = _read(path, allow_nonfinite)
    with refusing(path):
        model = build(config)
        if lora is not None:
            add_lora(model, lora)
        model.load_state_dict(tensors)
    return model


def _read(path: str | Path, allow_nonfinite: bool = False) -> tuple[Config, LoraConfig | None, dict[str, np.ndarray]]:
    """The config, the LoRA and the tensors in a file, once they are known to fit."""
    header, tensors = read_file(path, "model", allow_nonfinite)
    with refusing(path):
        config, lora = config_of(header), lora_of(header)
        if config.layers > len(tensors):  # before a list of them is made
            raise CheckpointError(f"{path}: its tensors are not those of {config}: make it again")
        base = shapes(config)
        check_shapes(tensors, base if lora is None else base | adapter_shapes(base, lora), path)
        check_dtype(tensors, config.dtype, path)
    return config, lora, tensors


BASE_PATH = Path(__file__).parent.parent / "weights" / "base.npz"


def load_base() -> tuple[Any, ByteTokenizer]:
    """The small byte-level model shipped inside the package, pre-trained by `minilora pretrain`, and its tokenizer.

    See `minilora/weights/README.md`.
    """
    return load_model(BASE_PATH), ByteTokenizer()
