"""Whole models in files, and the base that is shipped."""

from __future__ import annotations

from pathlib import Path

from minilora.files.container import CheckpointError, read_file, refusing, write_file
from minilora.files.header import check_dtype, check_shapes, config_and_lora, description
from minilora.lora import (
    LoraError,
    add_lora,
    is_merged,
    lora_shapes,
)
from minilora.text import ByteTokenizer
from minilora.transformer import GPT


def save_model(model: GPT, path: str | Path) -> None:
    """Write config, weights and, if the model has one, its LoRA.

    LoraError while a LoRA is merged; ValueError if another method has added parameters.
    """
    if is_merged(model):
        raise LoraError("the LoRA is merged: call remove_lora(model) to save W alone, or unmerge(model) for both")
    base = [p for name, p in model.named_parameters().items() if not name.endswith((".lora_A", ".lora_B"))]
    if sum(p.size for p in base) != model.config.parameter_count:
        raise ValueError("a method has added parameters to the model: save them with methods.save_trained")
    write_file(path, "model", description(model), model.state_dict())


def load_model(path: str | Path, allow_nonfinite: bool = False) -> GPT:
    """The model that `save_model` wrote, LoRA included.  CheckpointError as `read_file`.

    Nothing is built before the file is known to hold as many numbers as what its header describes.
    """
    header, tensors = read_file(path, "model", allow_nonfinite)
    with refusing(path):
        config, lora = config_and_lora(header)
        base = [name for name in tensors if not name.endswith((".lora_A", ".lora_B"))]
        tensor_count = 4 + 16 * config.n_layer  # wte, wpe, two of ln_f; 16 a block
        if len(base) != tensor_count or sum(tensors[name].size for name in base) != config.parameter_count:
            raise CheckpointError(f"{path}: its tensors are not those of {config}: make it again")
        check_dtype(tensors, config.dtype, path)
        model = GPT(config, seed=None)
        if lora is not None:
            check_shapes({name: a for name, a in tensors.items() if name not in base}, lora_shapes(model, lora), path)
            add_lora(model, lora)
        model.load_state_dict(tensors)
    return model


BASE_PATH = Path(__file__).parent.parent / "weights" / "base.npz"


def load_base() -> tuple[GPT, ByteTokenizer]:
    """The small byte-level model shipped inside the package, pre-trained by `minilora pretrain`, and its tokenizer.

    `minilora/weights/README.md` says how it was made.
    """
    return load_model(BASE_PATH), ByteTokenizer()
